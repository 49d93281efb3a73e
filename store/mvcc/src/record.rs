//! One version of a key as it lies in the table `Data`.
//!
//! Format byte, flags, create revision, version, lease, and then the value to the end. The key and the mod
//! revision are in the key of the row. A tombstone has no value, version 0 and create revision 0.

use crate::keys::owned;
use crate::storage::StorageError;
use crate::types::{KeyValue, Revision};

const FORMAT: u8 = 1;
const FLAG_TOMBSTONE: u8 = 1;

/// A version of a key, with its value borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key was deleted here.
    pub tombstone: bool,
    /// Revision in which the key came to exist.
    pub create_revision: Revision,
    /// 1 at creation.
    pub version: i64,
    /// The lease; 0 for none.
    pub lease: i64,
    /// The value.
    pub value: &'a [u8],
}

impl<'a> Record<'a> {
    /// The mark that a key was deleted.
    pub const TOMBSTONE: Record<'static> = Record {
        tombstone: true,
        create_revision: 0,
        version: 0,
        lease: 0,
        value: &[],
    };

    /// The record of a live version.
    pub fn of(kv: &'a KeyValue) -> Self {
        let KeyValue {
            key: _,
            value,
            create_revision,
            mod_revision: _,
            version,
            lease,
        } = kv;
        Self {
            tombstone: false,
            create_revision: *create_revision,
            version: *version,
            lease: *lease,
            value,
        }
    }

    /// Encodes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = crate::codec::Writer {
            out: Vec::with_capacity(self.value.len() + 24),
        };
        writer.byte(FORMAT);
        writer.byte(if self.tombstone { FLAG_TOMBSTONE } else { 0 });
        writer.signed(self.create_revision);
        writer.signed(self.version);
        writer.signed(self.lease);
        writer.out.extend_from_slice(self.value);
        writer.out
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if it is not one.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, StorageError> {
        decode(bytes).ok_or_else(|| StorageError::Corrupt(format!("a record of {} bytes is malformed", bytes.len())))
    }

    /// The version as the store's words say it.
    pub fn to_key_value(self, key: &[u8], mod_revision: Revision, with_value: bool) -> KeyValue {
        KeyValue {
            key: owned(key),
            value: if with_value {
                owned(self.value)
            } else {
                bytes::Bytes::new()
            },
            create_revision: self.create_revision,
            mod_revision,
            version: self.version,
            lease: self.lease,
        }
    }
}

fn decode(bytes: &[u8]) -> Option<Record<'_>> {
    let [FORMAT, flags, rest @ ..] = bytes else { return None };
    if flags & !FLAG_TOMBSTONE != 0 {
        return None;
    }
    let (create_revision, rest) = signed(rest)?;
    let (version, rest) = signed(rest)?;
    let (lease, value) = signed(rest)?;
    Some(Record {
        tombstone: flags & FLAG_TOMBSTONE != 0,
        create_revision,
        version,
        lease,
        value,
    })
}

/// Reads a number off a borrowed slice, where the shared reader would need shared bytes.
fn signed(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut number = 0u64;
    for (place, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if place == 9 && bits > 1 {
            return None;
        }
        number |= bits << (7 * place);
        if byte & 0x80 == 0 {
            let value = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
            return Some((value, &bytes[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn comes_back(create_revision in any::<i64>(), version in any::<i64>(), lease in any::<i64>(),
                      value in proptest::collection::vec(any::<u8>(), 0..40), tombstone in any::<bool>()) {
            let record = Record { tombstone, create_revision, version, lease, value: &value };
            let bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes).unwrap(), record);
        }

        #[test]
        fn garbage_is_refused_not_fatal(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Record::decode(&bytes);
        }
    }
}
