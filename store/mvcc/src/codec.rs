//! Bytes to numbers and back: the small alphabet of all our encodings.
//!
//! Lengths and numbers are variable-length integers, seven bits a byte, lowest first. Reading is bounded by
//! the input and shares it instead of copying: whatever the bytes, it never panics and never allocates more
//! than a constant times their number.

use bytes::{Buf, Bytes};

/// Why bytes could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end too early.
    #[error("the bytes end too early")]
    Truncated,
    /// A number does not fit.
    #[error("a number is too large")]
    Overflow,
    /// A tag stands for nothing.
    #[error("unknown {what} {tag}")]
    UnknownTag {
        /// Of what.
        what: &'static str,
        /// The tag.
        tag: u8,
    },
    /// Bytes are left over.
    #[error("{0} bytes are left over")]
    Trailing(usize),
    /// Nested too deep.
    #[error("transactions are nested too deep")]
    TooDeep,
    /// Too large as a whole.
    #[error("{0} bytes are too many")]
    TooLarge(usize),
}

/// Writes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) out: Vec<u8>,
}

impl Writer {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    pub(crate) fn flag(&mut self, flag: bool) {
        self.out.push(u8::from(flag));
    }

    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.out.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
    }

    pub(crate) fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    pub(crate) fn slice(&mut self, slice: &[u8]) {
        self.count(slice.len());
        self.out.extend_from_slice(slice);
    }
}

/// Reads.
#[derive(Debug)]
pub(crate) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(crate) fn new(rest: Bytes) -> Self {
        Self { rest }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.rest.try_get_u8().map_err(|_| DecodeError::Truncated)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(DecodeError::UnknownTag { what: "flag", tag }),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Overflow);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeError::Overflow)
    }

    pub(crate) fn signed(&mut self) -> Result<i64, DecodeError> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// A number of things that each take at least one byte: never more than there are bytes.
    pub(crate) fn count(&mut self) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.number()?).map_err(|_| DecodeError::Overflow)?;
        if count > self.rest.len() {
            Err(DecodeError::Truncated)
        } else {
            Ok(count)
        }
    }

    pub(crate) fn size(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.number()?).map_err(|_| DecodeError::Overflow)
    }

    pub(crate) fn slice(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.count()?;
        Ok(self.rest.split_to(length))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing(self.rest.len()))
        }
    }
}

/// Writes a list.
pub(crate) fn write_list<T>(writer: &mut Writer, list: &[T], each: impl Fn(&mut Writer, &T)) {
    writer.count(list.len());
    for item in list {
        each(writer, item);
    }
}

/// Reads a list. It grows as items are really read, so that a lying count costs nothing.
pub(crate) fn read_list<T>(
    reader: &mut Reader,
    mut each: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.count()?;
    let mut list = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        list.push(each(reader)?);
    }
    Ok(list)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(number in any::<u64>(), signed in any::<i64>(), small in -3i64..3) {
            let mut writer = Writer::default();
            writer.number(number);
            writer.signed(signed);
            writer.signed(small);
            let mut reader = Reader::new(writer.out.into());
            prop_assert_eq!(reader.number().unwrap(), number);
            prop_assert_eq!(reader.signed().unwrap(), signed);
            prop_assert_eq!(reader.signed().unwrap(), small);
            reader.finish().unwrap();
        }
    }

    #[test]
    fn bad_numbers_are_refused() {
        let read = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes)).number();
        assert_eq!(read(&[0x80]), Err(DecodeError::Truncated));
        assert_eq!(read(&[0xff; 10]), Err(DecodeError::Overflow));
        assert_eq!(read(&[0xff; 11]), Err(DecodeError::Overflow));
        assert_eq!(
            Reader::new(Bytes::from_static(&[5, 1])).count(),
            Err(DecodeError::Truncated)
        );
    }
}
