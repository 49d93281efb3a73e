//! The state machine: committed entries in, one atomic batch out.
//!
//! It keeps invariants I1 (data, revision, hash and applied position are one batch), I2 (the same entries give
//! the same state, however they are cut into chunks) and I5 (a fenced transaction of another term changes nothing).

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::alarm::{Alarm, AlarmKind, Alarms};
use crate::command::Command;
use crate::execute::{delete_attached, execute};
use crate::hash::{EntryHash, StateHash};
use crate::limits::{KEPT_BYTES, OPAQUE_POSITION_BYTES_MAX};
use crate::meta::{Live, State};
use crate::outcome::{Outcome, Refusal};
use crate::recall::Recall;
use crate::scan::{Overlay, scan};
use crate::storage::{Storage, StorageError, StorageRead, WriteBatch};
use crate::types::{Event, KeyRange, Lease, LeaseChange, Revision, Txn};
use crate::view::View;

pub use crate::meta::AppliedPosition;

/// Ids that the state machine chooses for leases have this bit: people choose small ones.
const LEASE_ID_FIRST: i64 = 1 << 62;

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
    /// What happened to leases, in order.
    pub lease_changes: Vec<LeaseChange>,
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
    recall: Arc<Recall>,
}

impl<S: Storage> StateMachine<S> {
    /// Takes up the state that `storage` holds.
    ///
    /// # Errors
    /// [`StorageError`], fatal.
    pub fn open(storage: Arc<S>) -> Result<Self, StorageError> {
        let recall = Arc::new(Recall::new(KEPT_BYTES));
        let machine = Self::open_with(storage, recall)?;
        let Recall { index, .. } = &*machine.recall;
        index.fill(index.filling(), &machine.storage.snapshot())?;
        Ok(machine)
    }

    /// The same, with a memory that others read, too. What it knows of another state is forgotten. Its index is to be filled
    /// by the caller, when there is time for it.
    ///
    /// # Errors
    /// [`StorageError`], fatal.
    pub fn open_with(storage: Arc<S>, recall: Arc<Recall>) -> Result<Self, StorageError> {
        let mut state = State::load(&storage.snapshot())?;
        if state.live.is_none() {
            state.live = Some(count_live(&storage.snapshot())?);
        }
        recall.begin(state.revision);
        Ok(Self { storage, state, recall })
    }

    /// What it keeps in memory.
    pub fn recall(&self) -> &Arc<Recall> {
        &self.recall
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

    /// Takes the state over into another log, as of `position` there, `revisions` later: whatever was read or watched
    /// up to there is compacted away, so that whoever knows the former revisions begins anew. Alarms are forgotten, since
    /// they concern servers of the former log. For a state that is restored or recovered, before anything is applied.
    ///
    /// # Errors
    /// [`StorageError`], fatal.
    pub fn move_to(&mut self, position: AppliedPosition, revisions: Revision) -> Result<(), StorageError> {
        let mut state = self.state.clone();
        state.revision = state.revision.saturating_add(revisions);
        state.compacted = state.revision;
        state.alarms = Alarms::default();
        state.position = Some(position);
        let mut batch = WriteBatch::default();
        state.store(&mut batch);
        self.recall.will_store(state.revision);
        self.storage.write(batch)?;
        self.recall.index.note(&Overlay::new(), state.revision);
        self.state = state;
        Ok(())
    }

    /// Applies entries in order, as one batch.
    ///
    /// # Errors
    /// [`ApplyError`], fatal; then nothing of the chunk was applied.
    pub fn apply(&mut self, entries: impl IntoIterator<Item = Entry>) -> Result<Applied, ApplyError> {
        let storage = Arc::clone(&self.storage);
        let snapshot = storage.snapshot();
        let mut step = Step {
            view: View::new(&snapshot, &self.recall),
            state: self.state.clone(),
            changes: Vec::new(),
            lease_changes: Vec::new(),
        };
        let mut outcomes = Vec::new();
        for entry in entries {
            outcomes.push(step.apply(entry)?);
        }
        let Step {
            view,
            state,
            changes,
            lease_changes,
        } = step;
        let (revision, compacted) = (state.revision, state.compacted);
        let mut written_bytes = 0;
        if !outcomes.is_empty() {
            let (mut batch, overlay) = view.into_parts();
            state.store(&mut batch);
            written_bytes = batch.bytes();
            self.recall.will_store(revision);
            storage.write(batch)?;
            self.state = state;
            self.recall.index.note(&overlay, revision);
        }
        Ok(Applied {
            outcomes,
            changes,
            lease_changes,
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
    lease_changes: Vec<LeaseChange>,
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
            Some(Command::LeaseGrant { id, ttl_s }) => self.grant(id, ttl_s, position.index, &mut hash)?,
            Some(Command::LeaseRevoke { id, fence_term }) => self.revoke(id, fence_term, position.term, &mut hash)?,
            Some(Command::LeaseCheckpoint { entries, fence_term }) => {
                self.checkpoint(entries, fence_term, position.term, &mut hash)?
            }
            Some(Command::RaiseAlarm(alarm)) => self.raise_alarm(alarm, &mut hash),
            Some(Command::ClearAlarm { kind, member }) => self.clear_alarm(kind, member, &mut hash),
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
        if let Some(refusal) = deposed(fence_term, term) {
            return Ok(Outcome::Refused(refusal));
        }
        if let Some(refusal) = self.state.alarms.refuse(txn) {
            return Ok(Outcome::Refused(refusal));
        }
        match execute(&mut self.view, &self.state, txn)? {
            Err(refusal) => Ok(Outcome::Refused(refusal)),
            Ok(done) => {
                self.record(done.events, hash);
                debug_assert_eq!(self.state.revision, done.response.revision);
                Ok(Outcome::Txn(done.response))
            }
        }
    }

    /// Makes the changes of an entry, if there are any, those of the next revision.
    fn record(&mut self, events: Vec<Arc<Event>>, hash: &mut EntryHash) {
        if events.is_empty() {
            return;
        }
        for event in &events {
            hash.event(event);
            if let Some(live) = &mut self.state.live {
                live.note(event);
            }
        }
        self.state.revision += 1;
        self.changes.push(Change {
            revision: self.state.revision,
            events,
        });
    }

    fn grant(&mut self, id: i64, ttl_s: i64, index: u64, hash: &mut EntryHash) -> Result<Outcome, StorageError> {
        if let Some(refusal) = self.state.alarms.refuse_growth() {
            return Ok(Outcome::Refused(refusal));
        }
        let id = if id == 0 { self.free_lease(index)? } else { id };
        if self.view.lease(id)?.is_some() {
            return Ok(Outcome::Refused(Refusal::LeaseExists { id }));
        }
        let lease = Lease {
            granted_ttl_s: ttl_s,
            remaining_ttl_s: 0,
        };
        self.set_lease(id, lease, true, hash);
        Ok(Outcome::LeaseGranted {
            id,
            ttl_s,
            revision: self.state.revision,
        })
    }

    /// An id that no lease has, different for each entry: an id that was in use is not given out again soon.
    fn free_lease(&self, index: u64) -> Result<i64, StorageError> {
        let mut id = LEASE_ID_FIRST | (index.cast_signed() & (LEASE_ID_FIRST - 1));
        while self.view.lease(id)?.is_some() {
            id = LEASE_ID_FIRST | (id.wrapping_add(1) & (LEASE_ID_FIRST - 1));
        }
        Ok(id)
    }

    fn set_lease(&mut self, id: i64, lease: Lease, granted: bool, hash: &mut EntryHash) {
        hash.lease(id, Some(lease));
        self.view.set_lease(id, Some(lease));
        self.lease_changes.push(LeaseChange::Set { id, lease, granted });
    }

    fn revoke(
        &mut self,
        id: i64,
        fence_term: Option<u64>,
        term: u64,
        hash: &mut EntryHash,
    ) -> Result<Outcome, StorageError> {
        if let Some(refusal) = deposed(fence_term, term) {
            return Ok(Outcome::Refused(refusal));
        }
        if self.view.lease(id)?.is_none() {
            return Ok(Outcome::Refused(Refusal::LeaseNotFound { id }));
        }
        let events = delete_attached(&mut self.view, &self.state, id)?;
        self.record(events, hash);
        hash.lease(id, None);
        self.view.set_lease(id, None);
        self.lease_changes.push(LeaseChange::Revoked { id });
        Ok(Outcome::LeaseRevoked {
            revision: self.state.revision,
        })
    }

    fn checkpoint(
        &mut self,
        entries: Vec<(i64, i64)>,
        fence_term: Option<u64>,
        term: u64,
        hash: &mut EntryHash,
    ) -> Result<Outcome, StorageError> {
        if let Some(refusal) = deposed(fence_term, term) {
            return Ok(Outcome::Refused(refusal));
        }
        for (id, remaining_ttl_s) in entries {
            if let Some(lease) = self.view.lease(id)? {
                let lease = Lease {
                    remaining_ttl_s: remaining_ttl_s.clamp(0, lease.granted_ttl_s.max(0)),
                    ..lease
                };
                self.set_lease(id, lease, false, hash);
            }
        }
        Ok(Outcome::LeaseCheckpointed)
    }

    fn raise_alarm(&mut self, alarm: Alarm, hash: &mut EntryHash) -> Outcome {
        let (kind, member) = (alarm.kind, alarm.member);
        let changed = self.state.alarms.raise(alarm);
        if changed {
            hash.alarm(true, kind, member);
        }
        Outcome::Alarm(changed)
    }

    fn clear_alarm(&mut self, kind: AlarmKind, member: u64, hash: &mut EntryHash) -> Outcome {
        let changed = self.state.alarms.clear(kind, member);
        if changed {
            hash.alarm(false, kind, member);
        }
        Outcome::Alarm(changed)
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

/// The refusal of what was decided under another term than this one.
fn deposed(fence_term: Option<u64>, term: u64) -> Option<Refusal> {
    let decided = fence_term.filter(|decided| *decided != term)?;
    Some(Refusal::Deposed { decided, current: term })
}

/// Counts what lives, for a state whose writer did not.
fn count_live<R: StorageRead>(reader: &R) -> Result<Live, StorageError> {
    let mut live = Live::default();
    let everything = KeyRange::prefix("");
    scan(reader, &Overlay::new(), &everything, Revision::MAX, &mut |found| {
        found.with(|key, value| live.add(key, value));
        ControlFlow::Continue(())
    })?;
    Ok(live)
}
