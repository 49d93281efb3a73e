//! The encoded form of a log entry, the same in the log, in memory and on the wire.
//!
//! A record is `crc32 (4) | kind (1) | term (8) | index (8) | payload`, integers big-endian, the
//! checksum over all that follows it. It travels with its checksum, so that a byte that changed on
//! any disk or wire in between is found before the entry is used.

use bytes::{BufMut, Bytes, BytesMut};
use openraft::EntryPayload;
use prost::Message;
use trireme_proto::peer::v1 as wire;

use super::types::{Command, LogEntry, log_id};

const KIND_BLANK: u8 = 0;
const KIND_COMMAND: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;
const HEADER_BYTES: usize = 4 + 1 + 8 + 8;

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// It is shorter than a record can be.
    #[error("a record of {0} bytes is too short")]
    Short(usize),
    /// Its checksum does not fit its content.
    #[error("checksum mismatch: {stored:08x} is stored, {computed:08x} is right")]
    Checksum {
        /// The stored one.
        stored: u32,
        /// The right one.
        computed: u32,
    },
    /// Its index is the last there could be, behind which a log cannot go on.
    #[error("index {0} is beyond all logs")]
    Index(u64),
    /// Its kind is not known to this version.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// Its membership cannot be read.
    #[error("membership: {0}")]
    Membership(String),
}

/// Gives the entry its record, if it has none yet, and lets its payload share the record's memory.
pub(crate) fn seal(entry: &mut LogEntry) -> Bytes {
    if let Some(record) = &entry.record {
        return record.clone();
    }
    let (kind, payload) = match &entry.payload {
        EntryPayload::Blank => (KIND_BLANK, Bytes::new()),
        EntryPayload::Normal(command) => (KIND_COMMAND, command.0.clone()),
        EntryPayload::Membership(membership) => (
            KIND_MEMBERSHIP,
            super::wire::membership_to_wire(membership).encode_to_vec().into(),
        ),
    };
    let mut buffer = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    buffer.put_u32(0);
    buffer.put_u8(kind);
    buffer.put_u64(entry.log_id.leader_id.term);
    buffer.put_u64(entry.log_id.index);
    buffer.put_slice(&payload);
    let crc = crc32fast::hash(&buffer[4..]);
    buffer[..4].copy_from_slice(&crc.to_be_bytes());
    let record = buffer.freeze();
    if kind == KIND_COMMAND {
        entry.payload = EntryPayload::Normal(Command(record.slice(HEADER_BYTES..)));
    }
    entry.record = Some(record.clone());
    record
}

/// Reads a record, checking it.
///
/// # Errors
/// [`RecordError`] says what is wrong with it.
pub(crate) fn open(record: Bytes) -> Result<LogEntry, RecordError> {
    if record.len() < HEADER_BYTES {
        return Err(RecordError::Short(record.len()));
    }
    let stored = u32::from_be_bytes(array(&record, 0));
    let computed = crc32fast::hash(&record[4..]);
    if stored != computed {
        return Err(RecordError::Checksum { stored, computed });
    }
    let id = log_id(
        u64::from_be_bytes(array(&record, 5)),
        u64::from_be_bytes(array(&record, 13)),
    );
    if id.index == u64::MAX {
        return Err(RecordError::Index(id.index));
    }
    let payload = match record[4] {
        KIND_BLANK => EntryPayload::Blank,
        KIND_COMMAND => EntryPayload::Normal(Command(record.slice(HEADER_BYTES..))),
        KIND_MEMBERSHIP => {
            let message = wire::Membership::decode(&record[HEADER_BYTES..])
                .map_err(|error| RecordError::Membership(error.to_string()))?;
            let membership = super::wire::membership_from_wire(message)
                .map_err(|error| RecordError::Membership(error.to_string()))?;
            EntryPayload::Membership(membership)
        }
        kind => return Err(RecordError::Kind(kind)),
    };
    Ok(LogEntry {
        log_id: id,
        payload,
        record: Some(record),
    })
}

fn array<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    record[at..at + N].try_into().expect("the slice has the array's length")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::entry::RaftEntry;

    use super::super::types::{MemberNode, Payload, RaftMembership};
    use super::*;

    fn entries() -> Vec<LogEntry> {
        let node = MemberNode {
            name: "a".into(),
            api_address: "h:1".into(),
            peer_address: "h:2".into(),
        };
        let membership = RaftMembership::new(
            vec![BTreeSet::from([1])],
            BTreeMap::from([(1, node.clone()), (7, node)]),
        )
        .expect("valid");
        vec![
            LogEntry::new(log_id(1, 1), Payload::Blank),
            LogEntry::new(log_id(2, 2), Payload::Normal(Command(Bytes::from_static(b"command")))),
            LogEntry::new(log_id(u64::MAX, 3), Payload::Membership(membership)),
        ]
    }

    #[test]
    fn a_record_reads_back_as_it_was() {
        for mut entry in entries() {
            let before = entry.clone();
            let record = seal(&mut entry);
            assert_eq!(entry, before, "sealing changes nothing that can be seen");
            assert_eq!(open(record), Ok(before));
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        for mut entry in entries() {
            let record = seal(&mut entry);
            for bit in 0..record.len() * 8 {
                let mut bad = record.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    matches!(open(bad.into()), Err(RecordError::Checksum { .. })),
                    "bit {bit}"
                );
            }
        }
    }

    #[test]
    fn every_cut_is_found() {
        for mut entry in entries() {
            let record = seal(&mut entry);
            for length in 0..record.len() {
                assert!(open(record.slice(..length)).is_err(), "length {length}");
            }
        }
    }

    #[test]
    fn a_new_log_id_makes_a_new_record() {
        let mut entry = LogEntry::new(log_id(1, 1), Payload::Normal(Command(Bytes::from_static(b"x"))));
        let first = seal(&mut entry);
        entry.set_log_id(log_id(2, 1));
        assert_ne!(seal(&mut entry), first);
    }
}
