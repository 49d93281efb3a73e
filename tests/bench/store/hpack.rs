//! The little of HPACK (RFC 7541) that the load generator needs: request headers by index, and the status of an answer.
//!
//! It is no general decoder: the generator tells servers to use no dynamic table, so an answer's headers are static
//! entries and literals, and of these only `:status` and `grpc-status` are read.

use anyhow::{Context, Result, bail, ensure};

/// Entries of the table that every peer knows.
const STATIC_ENTRIES: usize = 61;
/// `grpc-status` in the code of HPACK.
const GRPC_STATUS_CODED: [u8; 8] = [0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f];

/// The headers of requests as the server's dynamic table holds them after the first request that used them.
#[derive(Debug, Default)]
pub(super) struct RequestHeaders {
    inserted: Vec<(&'static str, String)>,
}

impl RequestHeaders {
    /// Appends the header block of a gRPC request.
    pub(super) fn encode(&mut self, path: &str, authority: &str, out: &mut Vec<u8>) {
        out.push(0x80 | 3); // :method POST
        out.push(0x80 | 6); // :scheme http
        self.field(":path", Some(4), path, out);
        self.field(":authority", Some(1), authority, out);
        self.field("content-type", Some(31), "application/grpc", out);
        self.field("te", None, "trailers", out);
    }

    fn field(&mut self, name: &'static str, name_index: Option<u8>, value: &str, out: &mut Vec<u8>) {
        let known = self
            .inserted
            .iter()
            .rev()
            .position(|(key, text)| *key == name && text == value);
        if let Some(age) = known {
            integer(out, 0x80, 7, STATIC_ENTRIES + 1 + age);
            return;
        }
        integer(out, 0x40, 6, name_index.unwrap_or(0).into());
        if name_index.is_none() {
            string(out, name);
        }
        string(out, value);
        self.inserted.push((name, value.to_owned()));
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    integer(out, 0, 7, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn integer(out: &mut Vec<u8>, pattern: u8, prefix_bits: u32, value: usize) {
    let limit = (1_usize << prefix_bits) - 1;
    if value < limit {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | limit as u8);
    let mut rest = value - limit;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// The `grpc-status` in a header block, if it holds one.
///
/// # Errors
/// If the block is broken, refers to a dynamic table, or says another `:status` than 200.
pub(super) fn grpc_status(block: &[u8]) -> Result<Option<u8>> {
    let mut rest = block;
    let mut status = None;
    while let Some(&first) = rest.first() {
        if first & 0x80 != 0 {
            let index = take_integer(&mut rest, 7)?;
            ensure!(index <= STATIC_ENTRIES, "the server used a dynamic table");
            ensure!(!(9..=14).contains(&index), "the server answered with an error of HTTP");
            continue;
        }
        if first & 0xe0 == 0x20 {
            take_integer(&mut rest, 5)?;
            continue;
        }
        let index = take_integer(&mut rest, if first & 0x40 != 0 { 6 } else { 4 })?;
        let is_status = index == 0 && {
            let (coded, name) = take_string(&mut rest)?;
            name == if coded {
                &GRPC_STATUS_CODED[..]
            } else {
                &b"grpc-status"[..]
            }
        };
        let (coded, value) = take_string(&mut rest)?;
        if is_status {
            status = Some(if coded {
                coded_number(value)?
            } else {
                plain_number(value)?
            });
        }
    }
    Ok(status)
}

fn take_integer(rest: &mut &[u8], prefix_bits: u32) -> Result<usize> {
    let limit = (1_usize << prefix_bits) - 1;
    let (&first, mut tail) = rest.split_first().context("a header block ends early")?;
    let mut value = first as usize & limit;
    if value == limit {
        let mut shift = 0;
        loop {
            let (&byte, behind) = tail.split_first().context("a header block ends early")?;
            tail = behind;
            ensure!(shift <= 28, "a length in a header block is too great");
            value += ((byte & 0x7f) as usize) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = tail;
    Ok(value)
}

/// A string and whether it is coded.
fn take_string<'b>(rest: &mut &'b [u8]) -> Result<(bool, &'b [u8])> {
    let coded = rest.first().context("a header block ends early")? & 0x80 != 0;
    let length = take_integer(rest, 7)?;
    let (text, tail) = rest.split_at_checked(length).context("a header block ends early")?;
    *rest = tail;
    Ok((coded, text))
}

fn plain_number(text: &[u8]) -> Result<u8> {
    std::str::from_utf8(text)?.parse().context("grpc-status is no number")
}

/// Decimal digits in the code of HPACK: 0, 1 and 2 have five bits, the others six.
fn coded_number(text: &[u8]) -> Result<u8> {
    let mut bits: Vec<u8> = Vec::new();
    for byte in text {
        bits.extend((0..8).rev().map(|bit| byte >> bit & 1));
    }
    let value_of = |bits: &[u8]| bits.iter().fold(0_u8, |value, bit| value << 1 | bit);
    let mut number = 0_u8;
    let mut at = 0;
    while bits.len() - at >= 5 {
        let five = value_of(&bits[at..at + 5]);
        let digit = if five <= 2 {
            at += 5;
            five
        } else if bits.len() - at >= 6 {
            let six = value_of(&bits[at..at + 6]);
            at += 6;
            match six {
                0b01_1001..=0b01_1111 => six - 0b01_1001 + 3,
                0b11_1111 => break,
                _ => bail!("grpc-status is no number"),
            }
        } else {
            break;
        };
        number = number.saturating_mul(10).saturating_add(digit);
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_request_is_six_indices() {
        let mut headers = RequestHeaders::default();
        let (mut first, mut second, mut third) = (Vec::new(), Vec::new(), Vec::new());
        headers.encode("/a/B", "localhost", &mut first);
        headers.encode("/a/B", "localhost", &mut second);
        headers.encode("/a/C", "localhost", &mut third);
        assert!(first.len() > 40);
        // The newest entry has the lowest index: te, content-type, :authority, :path.
        assert_eq!(second, [0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]);
        assert_eq!(&third[2..8], [0x40 | 4, 4, b'/', b'a', b'/', b'C']);
        assert_eq!(&third[8..], [0x80 | 65, 0x80 | 64, 0x80 | 63]);
    }

    #[test]
    fn a_status_is_read_plain_and_coded() {
        let named = |name: &[u8], coded: u8| [&[0x00, coded | name.len() as u8][..], name].concat();
        let plain = [named(b"grpc-status", 0), vec![2, b'1', b'4']].concat();
        assert_eq!(grpc_status(&plain).unwrap(), Some(14));
        // 14 is 00001 011010 and five ones of padding.
        let coded = [
            named(&GRPC_STATUS_CODED, 0x80),
            vec![0x80 | 2, 0b0000_1011, 0b0101_1111],
        ]
        .concat();
        assert_eq!(grpc_status(&coded).unwrap(), Some(14));
        let zero = [vec![0x20, 0x88], named(&GRPC_STATUS_CODED, 0x80), vec![0x80 | 1, 0x07]].concat();
        assert_eq!(grpc_status(&zero).unwrap(), Some(0));
        assert_eq!(grpc_status(&[0x88]).unwrap(), None);
    }

    #[test]
    fn a_broken_block_is_refused() {
        for block in [&[0x00, 0x05, b'a'][..], &[0xff, 0xff], &[0x80 | 62], &[0x80 | 13]] {
            assert!(grpc_status(block).is_err(), "{block:?}");
        }
    }
}
