//! What the state takes, and the work that gives back what it does not need.
//!
//! Compacted versions are removed in short steps with pauses, beside reads and writes, and what the files still hold of
//! them goes when RocksDB merges those: nobody has to ask for it, and nothing stops meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use trireme_mvcc::compact;
use trireme_mvcc::storage::Storage;

use super::error::EngineError;
use super::limits::{EVENTS_MERGE_REVISIONS, REMOVAL_PAUSE_MIN, REMOVAL_TURN};
use super::replica::Engine;
use crate::blocking;
use crate::faults::{self, Failpoint};

/// What a state takes, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateUse {
    /// Keys that live at the present revision.
    pub live_keys: u64,
    /// Their size, with their values, in bytes.
    pub live_bytes: u64,
    /// Revisions that can be read and watched from: the history.
    pub history_revisions: u64,
    /// Revisions that are compacted away, but have not been removed yet.
    pub unremoved_revisions: u64,
    /// What the database takes, in bytes: files and memory. 0 in memory.
    pub database_bytes: u64,
    /// What of it is content, history and index, in bytes, estimated; the rest goes with the next merges of files. 0 in
    /// memory.
    pub content_bytes: u64,
}

impl Engine {
    /// What the state takes.
    ///
    /// # Errors
    /// [`EngineError::Storage`], fatal.
    pub fn state_use(&self) -> Result<StateUse, EngineError> {
        let state = self.state();
        let live = state.live.unwrap_or_default();
        let storage = self.storage();
        Ok(StateUse {
            live_keys: live.keys,
            live_bytes: live.bytes,
            history_revisions: u64::try_from(state.revision - state.compacted).unwrap_or(0),
            unremoved_revisions: compact::backlog(&storage.snapshot())?,
            database_bytes: storage.database_bytes(),
            content_bytes: storage.estimated_bytes(),
        })
    }

    /// Does a bounded step of the removal of what is compacted away; false if nothing is left to do. Blocking.
    ///
    /// # Errors
    /// [`EngineError::Storage`], fatal.
    pub fn compact_step(&self) -> Result<bool, EngineError> {
        let _one_at_a_time = self.lock_compaction();
        let step = compact::compact_step(&*self.storage())?;
        if step.removed_rows > 0 {
            faults::point(Failpoint::CompactionRemoving);
        }
        // What is removed is written, too, and must come to the disk some time.
        self.unflushed_bytes.fetch_add(step.written_bytes, Ordering::Relaxed);
        Ok(step.more)
    }

    /// Removes what is compacted away, for a turn: short steps on the blocking pool, and pauses as long as they took. To be
    /// called again and again; true if there is more to do.
    ///
    /// # Errors
    /// [`EngineError::Storage`], fatal.
    pub async fn remove_compacted(self: &Arc<Self>) -> Result<bool, EngineError> {
        let turn = Instant::now();
        while turn.elapsed() < REMOVAL_TURN {
            let step = Instant::now();
            let engine = Arc::clone(self);
            let done = blocking::run(move || engine.compact_step()).await;
            // It ends early only with the runtime: whoever calls again must not find more to do for ever.
            let Ok(more) = done else { return Ok(false) };
            if !more? {
                self.merge_events().await;
                return Ok(false);
            }
            tokio::time::sleep(step.elapsed().max(REMOVAL_PAUSE_MIN)).await;
        }
        Ok(true)
    }

    /// Lets the files of the index of changes go whose content was removed, once that is much. Nothing else would, if
    /// nothing is written any more.
    async fn merge_events(self: &Arc<Self>) {
        let compacted = self.compacted_revision();
        let merged = self.events_merged.load(Ordering::Relaxed);
        if compacted - merged < EVENTS_MERGE_REVISIONS {
            return;
        }
        self.events_merged.store(compacted, Ordering::Relaxed);
        let storage = self.storage();
        let merging = blocking::run(move || storage.merge_events(compacted));
        // It ends early only with the runtime.
        let _ = merging.await;
    }
}

const _: () = assert!(REMOVAL_TURN.as_millis() > 10 * REMOVAL_PAUSE_MIN.as_millis());
const _: () = assert!(Duration::from_secs(1).as_millis() > REMOVAL_TURN.as_millis());
