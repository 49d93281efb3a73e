//! What the fuzz targets drive of the log: its frames, and its recovery from any files whatever.
//!
//! A fuzzer hardly ever finds a checksum, so each target also gives its input the right ones: then what lies behind the
//! checksums is met, too. A disk does not do that, but another version of this program, or its bug, may.

use std::collections::BTreeMap;

use bytes::Bytes;
use openraft::entry::RaftEntry;

use super::super::record;
use super::super::types::{Command, LogEntry, MemberNode, Payload, RaftMembership, Vote, log_id};
use super::frame::{self, Checkpoint, Content, HEADER_BYTES};
use super::recovery::{RecoverError, Recovered, recover};
use super::sim_disk::SimDisk;
use super::{next_index, segment_name};

/// The segment that single frames are of.
const SEGMENT: u64 = 1;
/// Entries kept in memory by a recovery, in bytes: few, so that entries are read back from the files.
const TAIL_BYTES: usize = 256;
/// Files of a recovery are no longer than this, in bytes.
const FILE_BYTES: usize = 4 << 10;
/// Files of one recovery.
const FILES_MAX: usize = 8;
/// In front of the files: whether they are to be given the right checksums.
const AS_THEY_ARE: u8 = 0;
const SEALED: u8 = 1;

/// One frame: what is read and written again reads the same.
pub fn log_frame(input: &[u8]) -> bool {
    let mut sealed = input.to_vec();
    if let Some(length) = sealed.len().checked_sub(HEADER_BYTES) {
        sealed[4..8].copy_from_slice(&u32::try_from(length).expect("an input is short").to_be_bytes());
        sealed[8..16].copy_from_slice(&SEGMENT.to_be_bytes());
        seal(&mut sealed, 0, input.len());
    }
    let read = |bytes: &[u8]| {
        let Some(found) = frame::read(bytes, SEGMENT) else {
            return false;
        };
        assert!(found.len <= bytes.len());
        let mut again = Vec::new();
        frame::write(&mut again, SEGMENT, found.batch, &found.content);
        if found.last {
            frame::end_batch(&mut again, 0);
        }
        let back = frame::read(&again, SEGMENT).expect("what was written can be read");
        assert_eq!(
            (back.batch, back.last, back.content, back.len),
            (found.batch, found.last, found.content, again.len())
        );
        true
    };
    read(input) | read(&sealed)
}

/// A whole log: either it is refused, or what is recovered is whole, and is the same the next time.
pub fn log_recovery(input: &[u8]) -> bool {
    let Some((mode, files)) = input.split_first() else {
        return false;
    };
    let disk = SimDisk::with_files_of(FILE_BYTES);
    for (number, mut bytes) in files_of(files) {
        if *mode == SEALED {
            seal_all(&mut bytes);
        }
        disk.put(&segment_name(number), bytes);
    }
    let recovered = match recover(&*disk, TAIL_BYTES) {
        Ok(recovered) => recovered,
        Err(RecoverError::Damaged(why)) => {
            assert!(!why.is_empty());
            return false;
        }
        Err(RecoverError::Io { doing, source }) => panic!("the disk is sound, but could not {doing}: {source}"),
    };
    check(&recovered);
    let again = recover(&*disk, TAIL_BYTES).expect("what was recovered once can be recovered again");
    assert_eq!(
        again.state, recovered.state,
        "a recovery changes nothing that the next one sees"
    );
    assert_eq!(
        (again.end.segment, again.end.offset),
        (recovered.end.segment, recovered.end.offset)
    );
    true
}

/// Each entry behind the purged ones can be read, and is the one that its place says.
fn check(recovered: &Recovered) {
    let Recovered {
        state, segments, tail, ..
    } = recovered;
    assert!(state.committed <= state.last && state.purged <= state.last);
    let mut next = next_index(state.purged);
    for run in segments.locate(next, next_index(state.last), usize::MAX) {
        for bytes in run.read().expect("an entry's place is in its file") {
            let entry = record::open(bytes).expect("it was checked");
            assert_eq!(entry.log_id.index, next, "the log has no holes");
            next += 1;
        }
    }
    assert_eq!(next, next_index(state.last), "every entry is there");
    assert!(tail.first_index() <= next);
}

/// `number (1) | length (2) | bytes`, again and again.
fn files_of(mut rest: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut files = Vec::new();
    while let Some(([number, high, low], behind)) = rest.split_first_chunk::<3>()
        && files.len() < FILES_MAX
    {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (bytes, behind) = behind.split_at(length);
        files.push((u64::from(*number), bytes.to_vec()));
        rest = behind;
    }
    files
}

/// Gives all frames that follow each other the right checksums.
fn seal_all(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(length) = bytes.get(at + 4..at + 8) {
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        let Some(end) = length.checked_add(at + HEADER_BYTES).filter(|end| *end <= bytes.len()) else {
            return;
        };
        seal(bytes, at, end);
        at = end;
    }
}

/// Gives the frame `from..end`, and a record in it, the right checksum.
fn seal(bytes: &mut [u8], from: usize, end: usize) {
    const RECORD_CHECKSUM_BYTES: usize = 4;
    if let Some(payload) = bytes.get_mut(from + HEADER_BYTES..end)
        && payload.len() >= RECORD_CHECKSUM_BYTES
        && let Some(mut entry) = record_in(payload)
    {
        payload.copy_from_slice(&record::seal(&mut entry));
    }
    let crc = crc32fast::hash(&bytes[from + 4..end]);
    bytes[from..from + 4].copy_from_slice(&crc.to_be_bytes());
}

/// The entry of a payload that is a record but for its checksum.
fn record_in(payload: &[u8]) -> Option<LogEntry> {
    let mut sealed = payload.to_vec();
    let crc = crc32fast::hash(&sealed[4..]);
    sealed[..4].copy_from_slice(&crc.to_be_bytes());
    let entry = record::open(sealed.into()).ok()?;
    entry
        .record
        .as_ref()
        .is_some_and(|record| record.len() == payload.len())
        .then_some(entry)
}

/// One record of an entry.
pub fn log_record(input: &[u8]) -> bool {
    let read = |bytes: &[u8]| {
        let Ok(entry) = record::open(Bytes::copy_from_slice(bytes)) else {
            return false;
        };
        let mut anew = LogEntry::new(entry.log_id, entry.payload.clone());
        assert_eq!(
            record::open(record::seal(&mut anew)),
            Ok(entry),
            "it means the same when it is written anew"
        );
        true
    };
    let mut sealed = input.to_vec();
    if sealed.len() > 4 {
        let crc = crc32fast::hash(&sealed[4..]);
        sealed[..4].copy_from_slice(&crc.to_be_bytes());
    }
    read(input) | read(&sealed)
}

/// Entries of every kind.
pub(crate) fn entries() -> Vec<LogEntry> {
    let node = MemberNode {
        name: "a".into(),
        api_address: "h:1".into(),
        peer_address: "h:2".into(),
    };
    let membership = RaftMembership::new(
        vec![[1].into(), [1, 7].into()],
        BTreeMap::from([(1, node.clone()), (7, node)]),
    );
    let command = Command(Bytes::from_static(b"a command that nobody reads here"));
    vec![
        LogEntry::new(
            log_id(0, 0),
            Payload::Membership(membership.expect("every voter has a node")),
        ),
        LogEntry::new(log_id(1, 1), Payload::Blank),
        LogEntry::new(log_id(1, 2), Payload::Normal(command)),
    ]
}

/// Frames of every kind.
pub fn log_frame_seeds() -> Vec<Vec<u8>> {
    let checkpoint = Checkpoint {
        batch: 9,
        vote: Some(Vote::new_committed(5, 2)),
        committed: Some(log_id(4, 70)),
        purged: None,
        last: Some(log_id(5, 80)),
    };
    let contents = [
        Content::Checkpoint(checkpoint),
        Content::Vote(Vote::new(7, 3)),
        Content::Entry(b"a record"),
        Content::Truncate(None),
        Content::Truncate(Some(log_id(2, 77))),
        Content::Purge(log_id(1, 2)),
        Content::Committed(log_id(u64::MAX, 0)),
        Content::Mark,
    ];
    let framed = |content: &Content<'_>| {
        let mut out = Vec::new();
        frame::write(&mut out, SEGMENT, 9, content);
        frame::end_batch(&mut out, 0);
        out
    };
    contents.iter().map(framed).collect()
}

/// Records of every kind.
pub fn log_record_seeds() -> Vec<Vec<u8>> {
    entries().iter_mut().map(|entry| record::seal(entry).to_vec()).collect()
}

/// Logs of one segment and of two, each as it is and to be sealed.
pub fn log_recovery_seeds() -> Vec<Vec<u8>> {
    let mut records: Vec<Bytes> = entries().iter_mut().map(record::seal).collect();
    let mut more = LogEntry::new(log_id(3, 2), Payload::Blank);
    records.push(record::seal(&mut more));
    let first = segment(
        1,
        0,
        &[
            &[Content::Checkpoint(Checkpoint::default())],
            &[Content::Vote(Vote::new(1, 1)), Content::Entry(&records[0])],
            &[Content::Entry(&records[1]), Content::Entry(&records[2]), Content::Mark],
            &[
                Content::Truncate(Some(log_id(1, 1))),
                Content::Vote(Vote::new_committed(3, 2)),
            ],
            &[Content::Entry(&records[3]), Content::Committed(log_id(1, 1))],
        ],
    );
    let checkpoint = Checkpoint {
        batch: 5,
        vote: Some(Vote::new_committed(3, 2)),
        committed: Some(log_id(1, 1)),
        purged: None,
        last: Some(log_id(3, 2)),
    };
    let next: &[&[Content<'_>]] = &[
        &[Content::Checkpoint(checkpoint)],
        &[Content::Purge(log_id(1, 1)), Content::Mark],
        &[Content::Committed(log_id(3, 2))],
    ];
    let second = segment(2, 5, next);
    let mut only_second = next.to_vec();
    let purge: &[Content<'_>] = &[Content::Purge(log_id(3, 2))];
    only_second[1] = purge;
    let logs = [
        vec![(1, first.clone())],
        vec![(1, first), (2, second)],
        vec![(2, segment(2, 5, &only_second))],
    ];
    let as_input = |mode: u8, log: &[(u8, Vec<u8>)]| {
        let mut out = vec![mode];
        for (number, bytes) in log {
            out.push(*number);
            out.extend_from_slice(&u16::try_from(bytes.len()).expect("a seed is short").to_be_bytes());
            out.extend_from_slice(bytes);
        }
        out
    };
    logs.iter()
        .flat_map(|log| [AS_THEY_ARE, SEALED].map(|mode| as_input(mode, log)))
        .collect()
}

/// A segment of these batches, the first of which comes after batch `before`.
fn segment(number: u64, before: u64, batches: &[&[Content<'_>]]) -> Vec<u8> {
    let mut out = Vec::new();
    for (contents, batch) in batches.iter().zip(before + 1..) {
        let mut last = 0;
        for content in *contents {
            last = out.len();
            frame::write(&mut out, number, batch, content);
        }
        frame::end_batch(&mut out, last);
    }
    out
}
