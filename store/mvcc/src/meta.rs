//! The state machine's own state, one row of the table `Meta`.
//!
//! It is written in the same batch as the data it speaks of, so that revision, watermark, hash and applied
//! position are always those of the data beside them (invariant I1). A second row marks how far physical
//! compaction has come; background work writes it, apply never does.

use bytes::Bytes;

use crate::codec::{DecodeError, Reader, Writer};
use crate::hash::StateHash;
use crate::storage::{StorageError, StorageRead, Table, WriteBatch};
use crate::types::Revision;

const FORMAT: u8 = 1;
const KEY_STATE: &[u8] = b"state";
const KEY_REMOVED: &[u8] = b"removed";

/// The revision of an empty store.
pub const FIRST_REVISION: Revision = 1;

/// Which entry was applied last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedPosition {
    /// Its Raft term.
    pub term: u64,
    /// Its Raft index.
    pub index: u64,
    /// Whatever the Raft layer keeps with it, such as the whole log id and the membership.
    pub opaque: Bytes,
}

/// The state that applied entries have led to, apart from the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The store's revision.
    pub revision: Revision,
    /// The compaction watermark: the oldest readable revision; 0 if there was no compaction.
    pub compacted: Revision,
    /// Hash over everything that was applied.
    pub hash: StateHash,
    /// The last entry applied; `None` before the first.
    pub position: Option<AppliedPosition>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            revision: FIRST_REVISION,
            compacted: 0,
            hash: StateHash::default(),
            position: None,
        }
    }
}

impl State {
    /// Reads the state of a view; the default one if nothing was ever written.
    ///
    /// # Errors
    /// [`StorageError`], fatal.
    pub fn load(reader: &impl StorageRead) -> Result<Self, StorageError> {
        match reader.get(Table::Meta, KEY_STATE)? {
            None => Ok(Self::default()),
            Some(bytes) => Self::decode(bytes)
                .map_err(|error| StorageError::Corrupt(format!("the state record is malformed: {error}"))),
        }
    }

    /// Adds the state to a batch.
    pub fn store(&self, batch: &mut WriteBatch) {
        batch.put(Table::Meta, KEY_STATE.to_vec(), self.encode());
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self {
            revision,
            compacted,
            hash,
            position,
        } = self;
        let mut writer = Writer::default();
        writer.byte(FORMAT);
        writer.signed(*revision);
        writer.signed(*compacted);
        writer.slice(hash);
        writer.flag(position.is_some());
        if let Some(AppliedPosition { term, index, opaque }) = position {
            writer.number(*term);
            writer.number(*index);
            writer.slice(opaque);
        }
        writer.out
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.byte()? {
            FORMAT => {}
            tag => {
                return Err(DecodeError::UnknownTag {
                    what: "state format",
                    tag,
                });
            }
        }
        let revision = reader.signed()?;
        let compacted = reader.signed()?;
        let hash = StateHash::try_from(&reader.slice()?[..]).map_err(|_| DecodeError::Truncated)?;
        let position = if reader.flag()? {
            let (term, index) = (reader.number()?, reader.number()?);
            // Copied, so that a long-lived position does not hold the storage's buffer.
            Some(AppliedPosition {
                term,
                index,
                opaque: Bytes::copy_from_slice(&reader.slice()?),
            })
        } else {
            None
        };
        reader.finish()?;
        Ok(Self {
            revision,
            compacted,
            hash,
            position,
        })
    }
}

/// Up to which revision, exclusive, superseded versions are physically gone.
pub(crate) fn load_removed(reader: &impl StorageRead) -> Result<Revision, StorageError> {
    let Some(bytes) = reader.get(Table::Meta, KEY_REMOVED)? else {
        return Ok(0);
    };
    let mut numbers = Reader::new(bytes);
    let read = numbers
        .signed()
        .and_then(|revision| numbers.finish().map(|()| revision));
    read.map_err(|error| StorageError::Corrupt(format!("the compaction mark is malformed: {error}")))
}

pub(crate) fn store_removed(batch: &mut WriteBatch, revision: Revision) {
    let mut writer = Writer::default();
    writer.signed(revision);
    batch.put(Table::Meta, KEY_REMOVED.to_vec(), writer.out);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn state_comes_back() {
        let position = AppliedPosition {
            term: 3,
            index: 900,
            opaque: "membership".into(),
        };
        for position in [None, Some(position)] {
            let state = State {
                revision: 77,
                compacted: 12,
                hash: [9; 16],
                position,
            };
            assert_eq!(State::decode(state.encode().into()).unwrap(), state);
            for cut in 0..state.encode().len() {
                assert!(
                    State::decode(state.encode()[..cut].to_vec().into()).is_err(),
                    "cut at {cut}"
                );
            }
        }
    }
}
