//! A connection whose client puts a whole URL where HTTP/2 wants an authority.
//!
//! etcd's own tools of the 3.4 series do so when they are given `http://host:port`, and our HTTP/2 refuses it, rightly.
//! Since only etcd's clients are meant, the first request's `:authority` is made a valid one before HTTP/2 sees it, by
//! as many bytes as it had: `http://` becomes `httpj--`. Its length stays the same, also in Huffman's code, and so does
//! what both sides keep of it for later requests. Nothing here reads that header.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES: usize = 9;
/// Larger frames cannot come before the server has allowed them.
const FRAME_BYTES_MAX: usize = 16 << 10;
const READ_BYTES: usize = 4 << 10;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The place of `:authority` in HPACK's static table.
const AUTHORITY: usize = 1;

/// `://` and what it becomes.
const SEPARATOR: &[u8] = b"://";
const REPLACEMENT: &[u8] = b"j--";
/// The same in HPACK's Huffman code: values and their bits.
const SCHEMES: [&[(u64, u32)]; 2] = [
    &[(0x27, 6), (0x09, 5), (0x09, 5), (0x2b, 6)],
    &[(0x27, 6), (0x09, 5), (0x09, 5), (0x2b, 6), (0x08, 5)],
];
const SEPARATOR_CODE: &[(u64, u32)] = &[(0x5c, 7), (0x18, 6), (0x18, 6)];
const REPLACEMENT_CODE: &[(u64, u32)] = &[(0x74, 7), (0x16, 6), (0x16, 6)];

/// See the module.
pub(super) struct Lenient<S> {
    inner: S,
    state: State,
    /// What was read but not given on.
    held: BytesMut,
    /// How much of it may be given on.
    ready: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is known yet.
    Preface,
    /// Before the first request.
    Frames,
    /// Nothing is to be done any more.
    Pass,
}

impl<S> Lenient<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            state: State::Preface,
            held: BytesMut::new(),
            ready: 0,
        }
    }

    /// Looks at what is held, and says how much of it may go.
    fn release(&mut self) {
        if self.state == State::Preface {
            let seen = self.held.len().min(PREFACE.len());
            if self.held[..seen] != PREFACE[..seen] {
                self.pass();
            } else if seen == PREFACE.len() {
                self.state = State::Frames;
                self.ready = seen;
            }
        }
        while self.state == State::Frames {
            let frame = &mut self.held[self.ready..];
            let Some((header, payload)) = frame.split_first_chunk_mut::<FRAME_HEADER_BYTES>() else {
                return;
            };
            let [high, middle, low, kind, flags, ..] = *header;
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if length > FRAME_BYTES_MAX {
                return self.pass();
            }
            let Some(payload) = payload.get_mut(..length) else {
                return;
            };
            if kind == HEADERS {
                mend(payload, flags);
                return self.pass();
            }
            self.ready += FRAME_HEADER_BYTES + length;
        }
    }

    fn pass(&mut self) {
        self.state = State::Pass;
        self.ready = self.held.len();
    }
}

/// Mends the authority in a frame with a request's headers, if it needs that. What does not look like such a frame is
/// left to HTTP/2 to complain of.
fn mend(payload: &mut [u8], flags: u8) {
    let padding = usize::from(flags & PADDED != 0);
    let priority = if flags & PRIORITY == 0 { 0 } else { 5 };
    if let Some(authority) = payload.get_mut(padding + priority..).and_then(find_authority) {
        let (is_huffman, value) = authority;
        if is_huffman {
            mend_huffman(value);
        } else {
            mend_plain(value);
        }
    }
}

/// Walks over the fields of a header block to the value of `:authority`; whether it is in Huffman's code.
fn find_authority(block: &mut [u8]) -> Option<(bool, &mut [u8])> {
    let mut at = 0;
    loop {
        let first = *block.get(at)?;
        // An index alone, a literal that is to be remembered, a new size of the table, another literal.
        let (bits, is_literal) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let name = integer(block, &mut at, bits)?;
        if !is_literal {
            continue;
        }
        if name == 0 {
            string(block, &mut at)?;
        }
        let (is_huffman, start, end) = string(block, &mut at)?;
        if name == AUTHORITY {
            return Some((is_huffman, block.get_mut(start..end)?));
        }
    }
}

/// Reads an integer with a prefix of so many bits.
fn integer(block: &[u8], at: &mut usize, bits: u32) -> Option<usize> {
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(*block.get(*at)?) & most;
    *at += 1;
    if value < most {
        return Some(value);
    }
    for shift in [0, 7, 14] {
        let byte = *block.get(*at)?;
        *at += 1;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Passes over a string: whether it is in Huffman's code, its beginning and its end.
fn string(block: &[u8], at: &mut usize) -> Option<(bool, usize, usize)> {
    let is_huffman = *block.get(*at)? & 0x80 != 0;
    let length = integer(block, at, 7)?;
    let start = *at;
    *at = start.checked_add(length).filter(|end| *end <= block.len())?;
    Some((is_huffman, start, *at))
}

fn mend_plain(value: &mut [u8]) {
    for scheme in [&b"http"[..], b"https"] {
        let end = scheme.len() + SEPARATOR.len();
        if value.starts_with(scheme) && value.get(scheme.len()..end) == Some(SEPARATOR) {
            value[scheme.len()..end].copy_from_slice(REPLACEMENT);
        }
    }
}

fn mend_huffman(value: &mut [u8]) {
    for scheme in SCHEMES {
        let (wanted, bits) = code(scheme, SEPARATOR_CODE);
        let (mended, _) = code(scheme, REPLACEMENT_CODE);
        let mut first = [0; 8];
        let seen = value.len().min(first.len());
        first[..seen].copy_from_slice(&value[..seen]);
        let number = u64::from_be_bytes(first);
        let rest = u64::BITS - bits;
        if number >> rest == wanted {
            let number = mended << rest | number & ((1 << rest) - 1);
            value[..seen].copy_from_slice(&number.to_be_bytes()[..seen]);
        }
    }
}

/// The bits of several symbols, and how many they are: fewer than 64.
fn code(first: &[(u64, u32)], then: &[(u64, u32)]) -> (u64, u32) {
    let symbols = first.iter().chain(then);
    symbols.fold((0, 0), |(code, bits), (symbol, length)| {
        (code << length | symbol, bits + length)
    })
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let this = &mut *self;
            if this.ready > 0 {
                let given = this.ready.min(buffer.remaining());
                buffer.put_slice(&this.held[..given]);
                this.held.advance(given);
                this.ready -= given;
                if this.state == State::Pass && this.held.is_empty() {
                    this.held = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            if this.state == State::Pass {
                return Pin::new(&mut this.inner).poll_read(context, buffer);
            }
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                this.pass();
                if this.ready == 0 {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            this.held.extend_from_slice(read.filled());
            this.release();
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// `http://127.0.0.1:24349` in Huffman's code, as etcdctl sends it.
    const HUFFMAN: &[u8] = &[
        0x9d, 0x29, 0xae, 0xe3, 0x0c, 0x04, 0x4e, 0xae, 0x05, 0xc0, 0xb8, 0x6e, 0x09, 0xa6, 0x5a, 0x7f,
    ];

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// A block with a POST, a literal of a new name, and the authority.
    fn block(is_huffman: bool, authority: &[u8]) -> Vec<u8> {
        let length = u8::try_from(authority.len()).expect("a short authority") | u8::from(is_huffman) << 7;
        [&[0x83, 0x86, 0x40, 1, b'n', 2, 0x41, 3, 0x41, length], authority].concat()
    }

    /// What comes through, written in pieces of so many bytes.
    async fn through(bytes: &[u8], piece: usize) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let mut server = Lenient::new(server);
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            server.read_to_end(&mut read).await.map(|_| read)
        });
        for piece in bytes.chunks(piece) {
            client.write_all(piece).await.expect("written");
            tokio::task::yield_now().await;
        }
        drop(client);
        reading.await.expect("no panic").expect("read")
    }

    async fn check(before: &[u8], after: &[u8]) {
        for piece in [1, 7, 1_000] {
            assert_eq!(through(before, piece).await, after);
        }
    }

    #[tokio::test]
    async fn the_first_authority_becomes_one() {
        let settings = frame(4, 0, &[0, 3, 0, 0, 0, 100]);
        let stream = |block: &[u8], flags| [PREFACE, &settings, &frame(HEADERS, flags, block), b"rest"].concat();
        for (before, after) in [
            ("http://127.0.0.1:24349", "httpj--127.0.0.1:24349"),
            ("https://host:1", "httpsj--host:1"),
            ("127.0.0.1:24349", "127.0.0.1:24349"),
            ("http:", "http:"),
        ] {
            let (before, after) = (block(false, before.as_bytes()), block(false, after.as_bytes()));
            check(&stream(&before, 4), &stream(&after, 4)).await;
            let padded = |block: &[u8]| [&[0, 0, 0, 0, 0, 16], block].concat();
            let flags = PADDED | PRIORITY;
            check(&stream(&padded(&before), flags), &stream(&padded(&after), flags)).await;
        }
    }

    #[tokio::test]
    async fn the_same_in_huffmans_code() {
        let mut mended = HUFFMAN.to_vec();
        mend_huffman(&mut mended);
        assert_ne!(mended, HUFFMAN);
        let stream = |authority: &[u8]| [PREFACE, &frame(HEADERS, 4, &block(true, authority))].concat();
        check(&stream(HUFFMAN), &stream(&mended)).await;
        // Only the separator has changed: bits 22 to 40.
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"));
        let changed = number(HUFFMAN) ^ number(&mended);
        assert_eq!(
            changed,
            (0x5c_u64 << 12 | 0x18 << 6 | 0x18) << 23 ^ (0x74_u64 << 12 | 0x16 << 6 | 0x16) << 23
        );
    }

    #[tokio::test]
    async fn everything_else_passes_as_it_is() {
        for bytes in [
            &b""[..],
            b"GET / HTTP/1.1\r\nhost: http://x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nXX",
            &[PREFACE, &[0xff; 100]].concat(),
            &[PREFACE, &frame(HEADERS, 4, &[0x41, 0xff, 0xff, 0xff, 0xff])].concat(),
            &[PREFACE, &frame(HEADERS, 4, &[0x41])].concat(),
            &[PREFACE, &frame(HEADERS, PADDED, &[])].concat(),
            &[PREFACE, &[0, 0, 9, HEADERS, 4, 0, 0]].concat(),
        ] {
            check(bytes, bytes).await;
        }
    }
}
