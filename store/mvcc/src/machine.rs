//! The state machine: committed entries in, one atomic batch out.
//!
//! It keeps invariants I1 (data, revision, hash and applied position are one batch), I2 (the same entries give
//! the same state, however they are cut into chunks) and I5 (a fenced transaction of another term changes nothing).

use std::sync::Arc;

use crate::command::Command;
use crate::execute::execute;
use crate::hash::{EntryHash, StateHash};
use crate::limits::OPAQUE_POSITION_BYTES_MAX;
use crate::meta::State;
use crate::outcome::{Outcome, Refusal};
use crate::storage::{Storage, StorageError, StorageRead};
use crate::types::{Event, Revision, Txn};
use crate::view::View;

pub use crate::meta::AppliedPosition;

/// A committed entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it is in the log.
    pub position: AppliedPosition,
    /// What it tells to do; `None` for an entry that only the Raft layer understands.
    pub command: Option<Command>,
}

/// The changes of one revision, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The revision.
    pub revision: Revision,
    /// Its events; never empty.
    pub events: Vec<Arc<Event>>,
}

/// What came of a chunk of entries.
#[derive(Debug, Clone)]
pub struct Applied {
    /// One an entry, in their order.
    pub outcomes: Vec<Outcome>,
    /// All changes, by ascending revision.
    pub changes: Vec<Change>,
    /// The store's revision afterwards.
    pub revision: Revision,
    /// The compaction watermark afterwards.
    pub compacted: Revision,
    /// The size of the batch that was written, in bytes.
    pub written_bytes: usize,
}

/// Why a chunk was not applied. Always fatal to the server; nothing of the chunk was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The entry does not follow the one applied before it.
    #[error("entry {index} does not follow entry {after}, the last that was applied")]
    OutOfOrder {
        /// The entry.
        index: u64,
        /// The last applied.
        after: u64,
    },
    /// The Raft layer's own part of a position is unreasonably large.
    #[error("the opaque position of entry {index} has {bytes} bytes; at most {OPAQUE_POSITION_BYTES_MAX} are allowed")]
    PositionTooLarge {
        /// The entry.
        index: u64,
        /// The size.
        bytes: usize,
    },
    /// The storage failed.
    #[error("the chunk could not be applied")]
    Storage(#[from] StorageError),
}

/// The state machine over a storage. One task applies; any number reads the storage's views at the same time.
#[derive(Debug)]
pub struct StateMachine<S> {
    storage: Arc<S>,
    state: State,
}

impl<S: Storage> StateMachine<S> {
    /// Takes up the state that `storage` holds.
    ///
    /// # Errors
    /// [`StorageError`], fatal.
    pub fn open(storage: Arc<S>) -> Result<Self, StorageError> {
        let state = State::load(&storage.snapshot())?;
        Ok(Self { storage, state })
    }

    /// What it stands on.
    pub fn storage(&self) -> &Arc<S> {
        &self.storage
    }

    /// The present state, apart from the keys.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The hash over all that was applied, and the index of the last entry it covers.
    pub fn hash(&self) -> (u64, StateHash) {
        (
            self.state.position.as_ref().map_or(0, |position| position.index),
            self.state.hash,
        )
    }

    /// Applies entries in order, as one batch.
    ///
    /// # Errors
    /// [`ApplyError`], fatal; then nothing of the chunk was applied.
    pub fn apply(&mut self, entries: impl IntoIterator<Item = Entry>) -> Result<Applied, ApplyError> {
        let storage = Arc::clone(&self.storage);
        let snapshot = storage.snapshot();
        let mut step = Step {
            view: View::new(&snapshot),
            state: self.state.clone(),
            changes: Vec::new(),
        };
        let mut outcomes = Vec::new();
        for entry in entries {
            outcomes.push(step.apply(entry)?);
        }
        let Step { view, state, changes } = step;
        let (revision, compacted) = (state.revision, state.compacted);
        let mut written_bytes = 0;
        if !outcomes.is_empty() {
            let mut batch = view.into_batch();
            state.store(&mut batch);
            written_bytes = batch.bytes();
            storage.write(batch)?;
            self.state = state;
        }
        Ok(Applied {
            outcomes,
            changes,
            revision,
            compacted,
            written_bytes,
        })
    }
}

/// A chunk being applied.
struct Step<'s, R: StorageRead> {
    view: View<'s, R>,
    state: State,
    changes: Vec<Change>,
}

impl<R: StorageRead> Step<'_, R> {
    fn apply(&mut self, entry: Entry) -> Result<Outcome, ApplyError> {
        let Entry { position, command } = entry;
        self.check_position(&position)?;
        let mut hash = EntryHash::new(&self.state.hash, position.term, position.index);
        let outcome = match command {
            None => Outcome::Blank,
            Some(Command::Txn { txn, fence_term }) => self.txn(&txn, fence_term, position.term, &mut hash)?,
            Some(Command::Compact { revision }) => self.compact(revision, &mut hash),
        };
        self.state.hash = hash.finish();
        self.state.position = Some(position);
        Ok(outcome)
    }

    fn check_position(&self, position: &AppliedPosition) -> Result<(), ApplyError> {
        let AppliedPosition { term: _, index, opaque } = position;
        if opaque.len() > OPAQUE_POSITION_BYTES_MAX {
            return Err(ApplyError::PositionTooLarge {
                index: *index,
                bytes: opaque.len(),
            });
        }
        match &self.state.position {
            Some(last) if last.index + 1 != *index => Err(ApplyError::OutOfOrder {
                index: *index,
                after: last.index,
            }),
            _ => Ok(()),
        }
    }

    fn txn(
        &mut self,
        txn: &Txn,
        fence_term: Option<u64>,
        term: u64,
        hash: &mut EntryHash,
    ) -> Result<Outcome, StorageError> {
        if let Some(decided) = fence_term.filter(|decided| *decided != term) {
            return Ok(Outcome::Refused(Refusal::Deposed { decided, current: term }));
        }
        match execute(&mut self.view, &self.state, txn)? {
            Err(refusal) => Ok(Outcome::Refused(refusal)),
            Ok(done) => {
                for event in &done.events {
                    hash.event(event);
                }
                self.state.revision = done.response.revision;
                if !done.events.is_empty() {
                    self.changes.push(Change {
                        revision: done.response.revision,
                        events: done.events,
                    });
                }
                Ok(Outcome::Txn(done.response))
            }
        }
    }

    fn compact(&mut self, requested: Revision, hash: &mut EntryHash) -> Outcome {
        let State {
            revision: current,
            compacted: oldest,
            ..
        } = self.state;
        if requested <= oldest {
            Outcome::Refused(Refusal::Compacted { requested, oldest })
        } else if requested > current {
            Outcome::Refused(Refusal::FutureRevision { requested, current })
        } else {
            hash.compaction(requested);
            self.state.compacted = requested;
            Outcome::Compacted
        }
    }
}
