//! The state machine's own state, one row of the table `Meta`.
//!
//! It is written in the same batch as the data it speaks of, so that revision, watermark, hash and applied
//! position are always those of the data beside them (invariant I1). A second row marks how far physical
//! compaction has come; background work writes it, apply never does.

use bytes::Bytes;

use crate::alarm::Alarms;
use crate::codec::{DecodeError, Reader, Writer};
use crate::hash::StateHash;
use crate::storage::{StorageError, StorageRead, Table, WriteBatch};
use crate::types::{Event, EventKind, Revision};

/// The first format had no alarms, and did not count what lives.
const FORMAT_WITHOUT_ALARMS: u8 = 1;
const FORMAT: u8 = 2;
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
    /// The alarms that are raised.
    pub alarms: Alarms,
    /// What lives at the revision; `None` in a state of the first format that nobody has counted yet.
    pub live: Option<Live>,
}

/// What a read needs to know of the state: at which revision the store stands, and what is readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revisions {
    /// The store's revision.
    pub revision: Revision,
    /// The compaction watermark: the oldest readable revision; 0 if there was no compaction.
    pub compacted: Revision,
}

impl Revisions {
    /// Reads them off a view, and nothing else of the state.
    ///
    /// # Errors
    /// [`StorageError`], fatal.
    pub fn load(reader: &impl StorageRead) -> Result<Self, StorageError> {
        let Some(bytes) = reader.get(Table::Meta, KEY_STATE)? else {
            return Ok(State::default().revisions());
        };
        let mut reader = Reader::new(bytes);
        read_revisions(&mut reader)
            .map(|(_, revisions)| revisions)
            .map_err(malformed)
    }
}

/// What every format of the state begins with: the format, and the revisions.
fn read_revisions(reader: &mut Reader) -> Result<(u8, Revisions), DecodeError> {
    let format = reader.byte()?;
    if format != FORMAT && format != FORMAT_WITHOUT_ALARMS {
        return Err(DecodeError::UnknownTag {
            what: "state format",
            tag: format,
        });
    }
    let (revision, compacted) = (reader.signed()?, reader.signed()?);
    Ok((format, Revisions { revision, compacted }))
}

fn malformed(error: DecodeError) -> StorageError {
    StorageError::Corrupt(format!("the state record is malformed: {error}"))
}

/// The keys that live at the store's revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Live {
    /// How many.
    pub keys: u64,
    /// Their size with their values, in bytes.
    pub bytes: u64,
}

impl Live {
    /// Takes in a change.
    pub(crate) fn note(&mut self, event: &Event) {
        if let Some(before) = &event.prev_kv {
            self.keys = self.keys.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(size(&before.key, &before.value));
        }
        if event.kind == EventKind::Put {
            self.add(&event.kv.key, &event.kv.value);
        }
    }

    /// Adds a key.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.keys += 1;
        self.bytes += size(key, value);
    }
}

fn size(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

impl Default for State {
    fn default() -> Self {
        Self {
            revision: FIRST_REVISION,
            compacted: 0,
            hash: StateHash::default(),
            position: None,
            alarms: Alarms::default(),
            live: Some(Live::default()),
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
            Some(bytes) => Self::decode(bytes).map_err(malformed),
        }
    }

    /// What a read needs to know.
    pub fn revisions(&self) -> Revisions {
        Revisions {
            revision: self.revision,
            compacted: self.compacted,
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
            alarms,
            live,
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
        alarms.write(&mut writer);
        writer.flag(live.is_some());
        if let Some(Live { keys, bytes }) = live {
            writer.number(*keys);
            writer.number(*bytes);
        }
        writer.out
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (format, Revisions { revision, compacted }) = read_revisions(&mut reader)?;
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
        let (mut alarms, mut live) = (Alarms::default(), None);
        if format != FORMAT_WITHOUT_ALARMS {
            alarms = Alarms::read(&mut reader)?;
            if reader.flag()? {
                live = Some(Live {
                    keys: reader.number()?,
                    bytes: reader.number()?,
                });
            }
        }
        reader.finish()?;
        Ok(Self {
            revision,
            compacted,
            hash,
            position,
            alarms,
            live,
        })
    }
}

/// How far physical compaction has come: the first change whose predecessors may still be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Removed {
    pub(crate) revision: Revision,
    /// Its place within the revision.
    pub(crate) sub: u32,
}

impl Removed {
    pub(crate) fn before(revision: Revision) -> Self {
        Self { revision, sub: 0 }
    }
}

pub(crate) fn load_removed(reader: &impl StorageRead) -> Result<Removed, StorageError> {
    let Some(bytes) = reader.get(Table::Meta, KEY_REMOVED)? else {
        return Ok(Removed::default());
    };
    read_removed(bytes).map_err(|error| StorageError::Corrupt(format!("the compaction mark is malformed: {error}")))
}

fn read_removed(bytes: Bytes) -> Result<Removed, DecodeError> {
    let mut reader = Reader::new(bytes);
    let revision = reader.signed()?;
    // The first release wrote no more than this.
    let sub = if reader.is_empty() { 0 } else { reader.number()? };
    reader.finish()?;
    Ok(Removed {
        revision,
        sub: u32::try_from(sub).map_err(|_| DecodeError::Overflow)?,
    })
}

pub(crate) fn store_removed(batch: &mut WriteBatch, removed: Removed) {
    let mut writer = Writer::default();
    writer.signed(removed.revision);
    writer.number(removed.sub.into());
    batch.put(Table::Meta, KEY_REMOVED.to_vec(), writer.out);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::memory::MemoryStorage;
    use crate::storage::Storage;

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
                alarms: Alarms::default(),
                live: Some(Live { keys: 7, bytes: 300 }),
            };
            assert_eq!(State::decode(state.encode().into()).unwrap(), state);
            let storage = MemoryStorage::new();
            let mut batch = WriteBatch::default();
            state.store(&mut batch);
            storage.write(batch).unwrap();
            assert_eq!(Revisions::load(&storage.snapshot()).unwrap(), state.revisions());
            for cut in 0..state.encode().len() {
                assert!(
                    State::decode(state.encode()[..cut].to_vec().into()).is_err(),
                    "cut at {cut}"
                );
            }
        }
    }
}
