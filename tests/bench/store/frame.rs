//! HTTP/2's frames (RFC 9113) and the messages of gRPC in them, as far as the load generator needs them.
//!
//! Nothing here holds state or reads a socket.

use anyhow::{Context, Result};

/// Length of a frame's head.
pub(super) const HEAD_BYTES: usize = 9;
/// The greatest payload of a frame that no one has to allow first.
pub(super) const MAX_FRAME_BYTES: usize = 16_384;

/// A piece of a message.
pub(super) const DATA: u8 = 0;
/// Headers, first or last.
pub(super) const HEADERS: u8 = 1;
/// An answer is cut off.
pub(super) const RST_STREAM: u8 = 3;
/// What the other side wants.
pub(super) const SETTINGS: u8 = 4;
/// To be sent back.
pub(super) const PING: u8 = 6;
/// The connection ends.
pub(super) const GOAWAY: u8 = 7;
/// More may be sent.
pub(super) const WINDOW_UPDATE: u8 = 8;
/// More headers.
pub(super) const CONTINUATION: u8 = 9;

/// The last frame of a request or an answer.
pub(super) const END_STREAM: u8 = 1;
/// The answer to settings or a ping.
pub(super) const ACK: u8 = 1;
/// All headers are here.
pub(super) const END_HEADERS: u8 = 4;
/// There is padding.
pub(super) const PADDED: u8 = 8;
/// Five bytes of priority come first.
pub(super) const PRIORITY: u8 = 0x20;

/// Hands on each whole message of `partial` followed by `content`; leaves the rest in `partial`.
pub(super) fn take_messages(partial: &mut Vec<u8>, content: &[u8], handle: &mut impl FnMut(&[u8])) {
    if partial.is_empty() {
        let rest = whole_messages(content, handle);
        partial.extend_from_slice(rest);
        return;
    }
    partial.extend_from_slice(content);
    let left = whole_messages(partial, handle).len();
    partial.drain(..partial.len() - left);
}

fn whole_messages<'b>(mut bytes: &'b [u8], handle: &mut impl FnMut(&[u8])) -> &'b [u8] {
    while let Some((prefix, rest)) = bytes.split_at_checked(5) {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        let Some((message, behind)) = rest.split_at_checked(length) else {
            break;
        };
        handle(message);
        bytes = behind;
    }
    bytes
}

/// A frame's payload without its padding.
pub(super) fn unpadded(flags: u8, payload: &[u8]) -> Result<&[u8]> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let (&padding, rest) = payload.split_first().context("a padded frame says how much")?;
    let length = rest
        .len()
        .checked_sub(padding.into())
        .context("a frame of padding only")?;
    Ok(&rest[..length])
}

/// Appends a frame.
pub(super) fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let head = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    write_head(&mut out[head..], payload.len(), kind, flags, id);
    out.extend_from_slice(payload);
}

/// Writes a frame's head.
pub(super) fn write_head(head: &mut [u8], length: usize, kind: u8, flags: u8, id: u32) {
    head[..3].copy_from_slice(&(length as u32).to_be_bytes()[1..]);
    head[3] = kind;
    head[4] = flags;
    head[5..HEAD_BYTES].copy_from_slice(&id.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages of chunks that arrive one after the other.
    fn messages_of(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut partial, mut messages) = (Vec::new(), Vec::new());
        for chunk in chunks {
            take_messages(&mut partial, chunk, &mut |message| messages.push(message.to_vec()));
        }
        messages
    }

    #[test]
    fn messages_are_found_wherever_frames_cut_them() {
        let stream = [&[0, 0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0, 0], &[0, 0, 0, 0, 1], b"d"].concat();
        let expected = vec![b"abc".to_vec(), Vec::new(), b"d".to_vec()];
        assert_eq!(messages_of(&[&stream]), expected);
        for cut in 0..stream.len() {
            assert_eq!(messages_of(&[&stream[..cut], &stream[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn padding_is_taken_off() {
        assert_eq!(unpadded(0, &[1, 2]).unwrap(), &[1, 2]);
        assert_eq!(unpadded(PADDED, &[1, 7, 0]).unwrap(), &[7]);
        assert!(unpadded(PADDED, &[2, 0]).is_err());
    }
}
