//! Removes what compaction has made unreadable, in small steps beside reads and writes.
//!
//! Applying the compaction command only moves the watermark, at once and everywhere alike. The removal walks the
//! index of changes from where it stopped last: each change below the watermark made older versions of its key
//! unreadable. Progress is written with the removals, so a crash repeats at most one step, which is harmless. The
//! watermark's own revision keeps its events and what they replaced, so that it can still be watched from.

use crate::keys;
use crate::limits::COMPACT_STEP_EVENTS;
use crate::meta::{Removed, Revisions, load_removed, store_removed};
use crate::storage::{Access, Cursor, Storage, StorageError, StorageRead, Table, WriteBatch};
use crate::types::{EventKind, Revision};
use crate::view::split_event;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactStep {
    /// Rows of the table `Data` that it removed.
    pub removed_rows: usize,
    /// The size of what it wrote, in bytes.
    pub written_bytes: usize,
    /// Whether more is left to do.
    pub more: bool,
}

/// Does one step of bounded size. Only one task may call it at a time.
///
/// # Errors
/// [`StorageError`], fatal.
pub fn compact_step<S: Storage>(storage: &S) -> Result<CompactStep, StorageError> {
    compact_step_of(storage, COMPACT_STEP_EVENTS)
}

/// Does one step over at most `events` changes.
///
/// # Errors
/// [`StorageError`], fatal.
pub fn compact_step_of<S: Storage>(storage: &S, events: usize) -> Result<CompactStep, StorageError> {
    let snapshot = storage.snapshot();
    let watermark = Revisions::load(&snapshot)?.compacted;
    let removed = load_removed(&snapshot)?;
    if removed.revision >= watermark {
        return Ok(CompactStep {
            removed_rows: 0,
            written_bytes: 0,
            more: false,
        });
    }
    let mut batch = WriteBatch::default();
    let upper = Some(keys::event_key(watermark, 0));
    let mut index = snapshot.cursor(Table::Events, Access::Ordered { upper });
    let mut versions = snapshot.cursor(Table::Data, Access::OneKey);
    index.seek(&keys::event_key(removed.revision, removed.sub))?;
    let mut done = Removed::before(watermark);
    let mut seen = 0;
    while let Some((key, value)) = index.entry() {
        let (revision, sub) = keys::split_event_key(key)?;
        if seen == events {
            done = Removed { revision, sub };
            break;
        }
        seen += 1;
        let (kind, user_key) = split_event(value)?;
        remove_before(&mut versions, user_key, revision, &mut batch)?;
        if kind == EventKind::Delete {
            batch.delete(Table::Data, keys::data_key(user_key, revision));
        }
        index.next()?;
    }
    let removed_rows = batch.len();
    let more = done.revision < watermark;
    if !more {
        // Nobody reads the index below the watermark any more, so all of it goes at once, at the price of one row.
        batch.delete_range(Table::Events, Vec::new(), keys::event_key(watermark, 0));
    }
    store_removed(&mut batch, done);
    drop((index, versions));
    let written_bytes = batch.bytes();
    storage.write(batch)?;
    Ok(CompactStep {
        removed_rows,
        written_bytes,
        more,
    })
}

/// How many revisions are compacted away, but still take space.
///
/// # Errors
/// [`StorageError`], fatal.
pub fn backlog<R: StorageRead>(reader: &R) -> Result<u64, StorageError> {
    let watermark = Revisions::load(reader)?.compacted;
    let removed = load_removed(reader)?;
    Ok(u64::try_from(watermark - removed.revision).unwrap_or(0))
}

/// Removes all versions of a key that are older than `revision`.
fn remove_before<C: Cursor>(
    versions: &mut C,
    user_key: &[u8],
    revision: Revision,
    batch: &mut WriteBatch,
) -> Result<(), StorageError> {
    let mut target = keys::escape(user_key);
    let escaped = target.len();
    keys::push_version(&mut target, revision - 1);
    versions.seek(&target)?;
    while let Some((found, _)) = versions
        .entry()
        .filter(|(found, _)| found.starts_with(&target[..escaped]))
    {
        batch.delete(Table::Data, found.to_vec());
        versions.next()?;
    }
    Ok(())
}
