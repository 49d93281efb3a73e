//! Frames: what the log's files are made of.
//!
//! A frame is `crc32 (4) | length (4) | segment (8) | batch (8) | kind (1) | payload`, integers big-endian, the checksum
//! over all that follows it. `segment` is the number of the file: what a reused file still holds of its
//! former life is of another number and never taken for its own. `batch` counts the writes that were synced
//! one after the other: a frame of batch n+1 proves that all of batch n had reached the disk. The last frame of a
//! batch says so.

use super::super::types::{LogId, Vote, log_id};
use super::super::wire::{vote_from_wire, vote_to_wire};
use prost::Message;
use trireme_proto::peer::v1 as wire;

/// Bytes of a frame besides its payload.
pub(super) const HEADER_BYTES: usize = 4 + 4 + 8 + 8 + 1;

const KIND_CHECKPOINT: u8 = 1;
const KIND_VOTE: u8 = 2;
const KIND_ENTRY: u8 = 3;
const KIND_TRUNCATE: u8 = 4;
const KIND_PURGE: u8 = 5;
const KIND_COMMITTED: u8 = 6;
const KIND_MARK: u8 = 7;
/// Set in the kind of a batch's last frame.
const LAST: u8 = 0x80;

/// What all segments before one have left, as its first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Checkpoint {
    /// The last batch before.
    pub(super) batch: u64,
    /// The vote.
    pub(super) vote: Option<Vote>,
    /// The last log id known to be committed.
    pub(super) committed: Option<LogId>,
    /// The last log id that was purged.
    pub(super) purged: Option<LogId>,
    /// The last log id.
    pub(super) last: Option<LogId>,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// See [`Checkpoint`].
    Checkpoint(Checkpoint),
    /// A vote.
    Vote(Vote),
    /// The record of the next entry.
    Entry(&'a [u8]),
    /// All entries after this one are gone; all of them, if there is none.
    Truncate(Option<LogId>),
    /// All entries up to this one are gone.
    Purge(LogId),
    /// Entries up to this one are committed.
    Committed(LogId),
    /// Nothing; it only proves that the batch before it is whole.
    Mark,
}

/// A frame that was read.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// Its batch.
    pub(super) batch: u64,
    /// Whether it ends its batch.
    pub(super) last: bool,
    /// What it carries.
    pub(super) content: Content<'a>,
    /// All its bytes.
    pub(super) len: usize,
}

/// Appends a frame to `out`.
pub(super) fn write(out: &mut Vec<u8>, segment: u64, batch: u64, content: &Content<'_>) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&segment.to_be_bytes());
    out.extend_from_slice(&batch.to_be_bytes());
    let kind = match content {
        Content::Checkpoint(_) => KIND_CHECKPOINT,
        Content::Vote(_) => KIND_VOTE,
        Content::Entry(_) => KIND_ENTRY,
        Content::Truncate(_) => KIND_TRUNCATE,
        Content::Purge(_) => KIND_PURGE,
        Content::Committed(_) => KIND_COMMITTED,
        Content::Mark => KIND_MARK,
    };
    out.push(kind);
    match content {
        Content::Checkpoint(checkpoint) => write_checkpoint(out, checkpoint),
        Content::Vote(vote) => write_vote(out, vote),
        Content::Entry(record) => out.extend_from_slice(record),
        Content::Truncate(None) | Content::Mark => {}
        Content::Truncate(Some(id)) | Content::Purge(id) | Content::Committed(id) => write_id(out, *id),
    }
    let payload = u32::try_from(out.len() - start - HEADER_BYTES).expect("a payload is far below 4 GiB");
    out[start + 4..start + 8].copy_from_slice(&payload.to_be_bytes());
    seal(&mut out[start..]);
}

/// Marks the frame that begins at `start` of `out`, and is the last there, as its batch's last.
pub(super) fn end_batch(out: &mut [u8], start: usize) {
    out[start + HEADER_BYTES - 1] |= LAST;
    seal(&mut out[start..]);
}

fn seal(frame: &mut [u8]) {
    let crc = crc32fast::hash(&frame[4..]);
    frame[..4].copy_from_slice(&crc.to_be_bytes());
}

/// Reads the frame that `bytes` begin with; `None` if they begin with no whole frame of `segment`.
pub(super) fn read(bytes: &[u8], segment: u64) -> Option<Frame<'_>> {
    // The cheap checks come first: a search for frames tries each byte.
    if number::<8>(bytes, 8)? != segment {
        return None;
    }
    let payload = usize::try_from(number::<4>(bytes, 4)?).ok()?;
    let len = HEADER_BYTES.checked_add(payload)?;
    let whole = bytes.get(..len)?;
    if number::<4>(whole, 0)? != u64::from(crc32fast::hash(&whole[4..])) {
        return None;
    }
    let kind = whole[HEADER_BYTES - 1];
    let payload = &whole[HEADER_BYTES..];
    let content = match kind & !LAST {
        KIND_CHECKPOINT => Content::Checkpoint(read_checkpoint(payload)?),
        KIND_VOTE => Content::Vote(read_vote(payload)?),
        KIND_ENTRY => Content::Entry(payload),
        KIND_TRUNCATE if payload.is_empty() => Content::Truncate(None),
        KIND_TRUNCATE => Content::Truncate(Some(read_id(payload)?)),
        KIND_PURGE => Content::Purge(read_id(payload)?),
        KIND_COMMITTED => Content::Committed(read_id(payload)?),
        KIND_MARK if payload.is_empty() => Content::Mark,
        _ => return None,
    };
    Some(Frame {
        batch: number::<8>(whole, 16)?,
        last: kind & LAST != 0,
        content,
        len,
    })
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let part = bytes.get(at..at + N)?;
    Some(part.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn write_id(out: &mut Vec<u8>, id: LogId) {
    out.extend_from_slice(&id.leader_id.term.to_be_bytes());
    out.extend_from_slice(&id.index.to_be_bytes());
}

fn read_id(payload: &[u8]) -> Option<LogId> {
    (payload.len() == 16).then_some(())?;
    let (term, index) = (number::<8>(payload, 0)?, number::<8>(payload, 8)?);
    // Behind the last number there is there is no next one.
    (index < u64::MAX).then(|| log_id(term, index))
}

fn write_vote(out: &mut Vec<u8>, vote: &Vote) {
    vote_to_wire(vote)
        .encode(out)
        .expect("a vector takes all that is written");
}

fn read_vote(payload: &[u8]) -> Option<Vote> {
    let message = wire::BallotVote::decode(payload).ok()?;
    vote_from_wire(Some(message)).ok()
}

/// `batch | flags | those of committed, purged, last that are there | the vote, if it is there`.
fn write_checkpoint(out: &mut Vec<u8>, checkpoint: &Checkpoint) {
    let Checkpoint {
        batch,
        vote,
        committed,
        purged,
        last,
    } = checkpoint;
    out.extend_from_slice(&batch.to_be_bytes());
    let ids = [committed, purged, last];
    let flags = ids
        .iter()
        .enumerate()
        .fold(u8::from(vote.is_some()), |flags, (bit, id)| {
            flags | u8::from(id.is_some()) << (bit + 1)
        });
    out.push(flags);
    ids.into_iter().flatten().for_each(|id| write_id(out, *id));
    if let Some(vote) = vote {
        write_vote(out, vote);
    }
}

fn read_checkpoint(payload: &[u8]) -> Option<Checkpoint> {
    let batch = number::<8>(payload, 0).filter(|batch| *batch < u64::MAX)?;
    let flags = *payload.get(8)?;
    let mut rest = payload.get(9..)?;
    let mut ids = [None; 3];
    for (bit, id) in ids.iter_mut().enumerate() {
        if flags & 1 << (bit + 1) != 0 {
            let (here, behind) = rest.split_at_checked(16)?;
            *id = Some(read_id(here)?);
            rest = behind;
        }
    }
    let vote = match flags & 1 {
        0 if rest.is_empty() => None,
        0 => return None,
        _ => Some(read_vote(rest)?),
    };
    let [committed, purged, last] = ids;
    Some(Checkpoint {
        batch,
        vote,
        committed,
        purged,
        last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Vec<Content<'static>> {
        let whole = Checkpoint {
            batch: 9,
            vote: Some(Vote::new_committed(5, 2)),
            committed: Some(log_id(4, 70)),
            purged: Some(log_id(3, 60)),
            last: Some(log_id(5, 80)),
        };
        vec![
            Content::Checkpoint(Checkpoint::default()),
            Content::Checkpoint(whole),
            Content::Checkpoint(Checkpoint {
                purged: None,
                vote: None,
                ..whole
            }),
            Content::Vote(Vote::new(7, 3)),
            Content::Entry(b"a record"),
            Content::Entry(b""),
            Content::Truncate(None),
            Content::Truncate(Some(log_id(2, 77))),
            Content::Purge(log_id(1, 2)),
            Content::Committed(log_id(u64::MAX, 0)),
            Content::Mark,
        ]
    }

    #[test]
    fn a_frame_reads_back_as_it_was() {
        for content in contents() {
            let mut out = b"before".to_vec();
            write(&mut out, 3, 9, &content);
            let frame = read(&out[6..], 3).expect("it is whole");
            assert_eq!(
                (frame.batch, frame.last, frame.content, frame.len),
                (9, false, content, out.len() - 6)
            );
            end_batch(&mut out, 6);
            let frame = read(&out[6..], 3).expect("it is whole");
            assert_eq!((frame.last, frame.content), (true, content));
        }
    }

    #[test]
    fn every_flipped_bit_every_cut_and_every_other_segment_is_found() {
        for content in contents() {
            let mut good = Vec::new();
            write(&mut good, 3, 9, &content);
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(read(&bad, 3).is_none(), "{content:?}, bit {bit}");
            }
            for cut in 0..good.len() {
                assert!(read(&good[..cut], 3).is_none(), "{content:?}, cut {cut}");
            }
            assert!(read(&good, 4).is_none());
        }
        assert!(read(&[0; 64], 0).is_none(), "a hole is no frame");
    }
}
