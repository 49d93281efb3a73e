//! Where things are in the log's database, and how the few that are not entries are encoded.
//!
//! One column family, so that one write-ahead log and one memtable order everything. Entries are at
//! `L | index`, everything else at `M | name`. Each value that is not an entry carries a checksum of
//! its own, as each entry's record does.

use bytes::Bytes;
use prost::Message;
use trireme_proto::peer::v1 as wire;

use super::super::types::{LogId, Vote};
use super::super::wire::{log_id_from_wire, log_id_to_wire, vote_from_wire, vote_to_wire};

const ENTRY: u8 = b'L';
const META: u8 = b'M';

/// Names of the values that are not entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meta {
    /// The vote.
    Vote,
    /// The last log id known to be committed. A hint, and a check.
    Committed,
    /// The last log id that was purged.
    Purged,
}

impl Meta {
    /// Its key.
    pub(super) fn key(self) -> [u8; 2] {
        let name = match self {
            Self::Vote => b'v',
            Self::Committed => b'c',
            Self::Purged => b'p',
        };
        [META, name]
    }

    /// What people call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Vote => "the vote",
            Self::Committed => "the commit position",
            Self::Purged => "the purge position",
        }
    }
}

/// The key of the entry at `index`.
pub(super) fn entry_key(index: u64) -> [u8; 9] {
    let mut key = [0; 9];
    key[0] = ENTRY;
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The index of the entry at `key`; `None` if the key is not an entry's.
pub(super) fn entry_index(key: &[u8]) -> Option<u64> {
    let (first, index) = key.split_first()?;
    (*first == ENTRY).then_some(())?;
    Some(u64::from_be_bytes(index.try_into().ok()?))
}

/// The first key after all entries.
pub(super) fn entries_end() -> [u8; 1] {
    [ENTRY + 1]
}

/// Encodes a vote, with its checksum.
pub(super) fn encode_vote(vote: &Vote) -> Vec<u8> {
    with_checksum(&vote_to_wire(vote).encode_to_vec())
}

/// Decodes a vote.
pub(super) fn decode_vote(bytes: &[u8]) -> Result<Vote, String> {
    let message = wire::BallotVote::decode(checked(bytes)?).map_err(|error| error.to_string())?;
    vote_from_wire(Some(message)).map_err(|error| error.to_string())
}

/// Encodes a log id, with its checksum.
pub(super) fn encode_log_id(id: LogId) -> Vec<u8> {
    with_checksum(&log_id_to_wire(id).encode_to_vec())
}

/// Decodes a log id.
pub(super) fn decode_log_id(bytes: &[u8]) -> Result<LogId, String> {
    let message = wire::LogId::decode(checked(bytes)?).map_err(|error| error.to_string())?;
    Ok(log_id_from_wire(message))
}

fn with_checksum(content: &[u8]) -> Vec<u8> {
    let mut bytes = crc32fast::hash(content).to_be_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes
}

fn checked(bytes: &[u8]) -> Result<Bytes, String> {
    let (stored, content) = bytes.split_first_chunk::<4>().ok_or("it is too short")?;
    if u32::from_be_bytes(*stored) != crc32fast::hash(content) {
        return Err("its checksum does not fit".into());
    }
    Ok(Bytes::copy_from_slice(content))
}

#[cfg(test)]
mod tests {
    use super::super::super::types::log_id;
    use super::*;

    #[test]
    fn entry_keys_sort_as_their_indexes() {
        let indexes = [0, 1, 255, 256, u64::from(u32::MAX), u64::MAX];
        for pair in indexes.windows(2) {
            assert!(entry_key(pair[0]) < entry_key(pair[1]));
        }
        for index in indexes {
            assert_eq!(entry_index(&entry_key(index)), Some(index));
            assert!(entry_key(index)[..] < entries_end()[..]);
        }
        assert_eq!(entry_index(&Meta::Vote.key()), None);
    }

    #[test]
    fn a_changed_bit_of_a_vote_or_position_is_found() {
        let good = [encode_vote(&Vote::new_committed(5, 2)), encode_log_id(log_id(5, 77))];
        for good in good {
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(decode_vote(&bad).is_err() && decode_log_id(&bad).is_err(), "bit {bit}");
            }
        }
    }
}
