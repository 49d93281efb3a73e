//! What happened since a revision: the replay that a watch needs when it has fallen behind the window in memory.
//!
//! It comes in chunks of bounded size and work. A chunk never splits a revision (invariant I3).

use std::sync::Arc;

use crate::keys;
use crate::limits::{HISTORY_CHUNK_BYTES, HISTORY_CHUNK_EVENTS, HISTORY_CHUNK_SCANNED};
use crate::machine::Change;
use crate::meta::Revisions;
use crate::range::ReadError;
use crate::record::Record;
use crate::storage::{Access, Cursor, StorageError, StorageRead, Table};
use crate::types::{Event, EventKind, KeyRange, KeyValue, Revision};
use crate::view::split_event;

/// How much one chunk may hold; it ends at the first revision at which one of these is reached.
#[derive(Debug, Clone, Copy)]
pub struct HistoryBudget {
    /// Events.
    pub events: usize,
    /// Bytes of keys and values.
    pub bytes: usize,
    /// Index records looked at, wanted or not.
    pub scanned: usize,
}

impl Default for HistoryBudget {
    fn default() -> Self {
        Self {
            events: HISTORY_CHUNK_EVENTS,
            bytes: HISTORY_CHUNK_BYTES,
            scanned: HISTORY_CHUNK_SCANNED,
        }
    }
}

/// A piece of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryChunk {
    /// The changes in the range, by ascending revision.
    pub changes: Vec<Change>,
    /// The first revision that was not looked at: where the next chunk begins. Above the store's revision if all
    /// was looked at.
    pub next_revision: Revision,
}

/// The changes of `range` from `start` on, up to and with `end` (bounded by the store's revision).
///
/// # Errors
/// [`ReadError::Compacted`] if `start` is below the watermark; [`ReadError::Storage`], fatal.
pub fn history<R: StorageRead>(
    reader: &R,
    range: &KeyRange,
    start: Revision,
    end: Revision,
    budget: HistoryBudget,
) -> Result<HistoryChunk, ReadError> {
    let state = Revisions::load(reader)?;
    if start < state.compacted {
        return Err(ReadError::Compacted {
            requested: start,
            oldest: state.compacted,
        });
    }
    let end = end.min(state.revision);
    let mut replay = Replay {
        range,
        versions: reader.cursor(Table::Data, Access::OneKey),
        changes: Vec::new(),
    };
    let mut left = Left {
        budget,
        scanned: 0,
        events: 0,
        bytes: 0,
    };
    let upper = Some(keys::event_key(end.saturating_add(1), 0));
    let mut index = reader.cursor(Table::Events, Access::Ordered { upper });
    index.seek(&keys::event_key(start, 0))?;
    let mut at = start;
    while let Some((key, value)) = index.entry() {
        let revision = keys::event_revision(key)?;
        if revision != at && left.is_spent() {
            return Ok(HistoryChunk {
                changes: replay.changes,
                next_revision: revision,
            });
        }
        at = revision;
        left.scanned += 1;
        let (kind, user_key) = split_event(value)?;
        if range.contains(user_key) {
            left.events += 1;
            left.bytes += replay.push(revision, kind, user_key)?;
        }
        index.next()?;
    }
    Ok(HistoryChunk {
        changes: replay.changes,
        next_revision: start.max(end.saturating_add(1)),
    })
}

/// What has been used of a budget.
struct Left {
    budget: HistoryBudget,
    scanned: usize,
    events: usize,
    bytes: usize,
}

impl Left {
    fn is_spent(&self) -> bool {
        self.events >= self.budget.events || self.bytes >= self.budget.bytes || self.scanned >= self.budget.scanned
    }
}

struct Replay<'a, C> {
    range: &'a KeyRange,
    versions: C,
    changes: Vec<Change>,
}

impl<C: Cursor> Replay<'_, C> {
    /// Adds one event; answers its size in bytes.
    fn push(&mut self, revision: Revision, kind: EventKind, key: &[u8]) -> Result<usize, StorageError> {
        debug_assert!(self.range.contains(key));
        let event = self.event(revision, kind, key)?;
        let bytes = event_bytes(&event);
        match self.changes.last_mut() {
            Some(change) if change.revision == revision => change.events.push(Arc::new(event)),
            _ => self.changes.push(Change {
                revision,
                events: vec![Arc::new(event)],
            }),
        }
        Ok(bytes)
    }

    fn event(&mut self, revision: Revision, kind: EventKind, key: &[u8]) -> Result<Event, StorageError> {
        let target = keys::data_key(key, revision);
        self.versions.seek(&target)?;
        let kv = match self.versions.entry() {
            Some((found, value)) if found == target => match kind {
                EventKind::Put => Record::decode(value)?.to_key_value(key, revision, true),
                EventKind::Delete => KeyValue {
                    key: keys::owned(key),
                    mod_revision: revision,
                    ..KeyValue::default()
                },
            },
            _ => {
                return Err(StorageError::Corrupt(format!(
                    "the version of revision {revision} is missing"
                )));
            }
        };
        self.versions.next()?;
        let escaped = target.len() - size_of::<Revision>();
        let prev_kv = match self.versions.entry() {
            Some((found, value)) if found.starts_with(&target[..escaped]) => {
                let (_, before) = keys::split_data_key(found)?;
                let record = Record::decode(value)?;
                (!record.tombstone).then(|| record.to_key_value(key, before, true))
            }
            _ => None,
        };
        Ok(Event { kind, kv, prev_kv })
    }
}

/// The size of an event's keys and values, in bytes.
pub fn event_bytes(event: &Event) -> usize {
    let of = |kv: &KeyValue| kv.key.len() + kv.value.len();
    of(&event.kv) + event.prev_kv.as_ref().map_or(0, of)
}
