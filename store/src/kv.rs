//! The one interface of the store to everything above it.
//!
//! The API server, the controllers' shells and, later, the etcd services all speak [`Kv`]. It is
//! implemented by [`Store`](crate::Store), which replicates, and by
//! [`LocalKv`](crate::LocalKv), which keeps one unreplicated state machine in memory for tests;
//! both pass one conformance suite.

use std::time::Duration;

use async_trait::async_trait;
pub use trireme_mvcc::types::*;

/// The leadership (Raft term) that a decision was made under.
///
/// A write that carries one is refused, with [`KvError::Deposed`], if it comes to be applied under
/// another term (invariant I5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leadership {
    /// The Raft term.
    pub term: u64,
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write that was acknowledged before the read began, through whichever server.
    Linearizable,
    /// Whatever this server's replica holds.
    Serializable,
    /// Waits until this server's replica has at least this revision.
    AtLeast(Revision),
}

/// Why the store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// The revision has been compacted away. Retrying cannot help: list again.
    #[error("revision {requested} has been compacted; the oldest available is {oldest}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The oldest that can be had.
        oldest: Revision,
    },
    /// The revision lies in the future.
    #[error("revision {requested} is in the future; the store is at {current}")]
    FutureRevision {
        /// What was asked for.
        requested: Revision,
        /// The present one.
        current: Revision,
    },
    /// The request breaks a rule of the store; nothing was changed.
    #[error("{0}")]
    Invalid(String),
    /// The write was decided under a leadership that has ended; nothing was changed.
    #[error("leadership of term {decided} has ended; the term is now {current}")]
    Deposed {
        /// The term of the decision.
        decided: u64,
        /// The term now.
        current: u64,
    },
    /// No leader could be reached, and the request was certainly not carried out. Safe to repeat.
    #[error("no leader: {0}")]
    Unavailable(String),
    /// The request was sent, but its outcome is not known: it may yet be carried out, once. Do not
    /// repeat it without a precondition.
    #[error("the outcome of the write is unknown: {0}")]
    UnknownOutcome(String),
    /// Too much is in flight.
    #[error("the store is overloaded; retry in {retry_after:?}")]
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
    /// The store is shutting down or broken.
    #[error("the store has stopped: {0}")]
    Stopped(String),
}

/// What to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRequest {
    /// Which keys.
    pub range: KeyRange,
    /// First revision whose changes are wanted; 0 for everything after now.
    pub start_revision: Revision,
}

/// A step of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchBatch {
    /// Changes in order; all changes of one revision are always in one batch (invariant I3). May be empty.
    pub events: Vec<std::sync::Arc<Event>>,
    /// Every change of the range up to this revision has now been delivered.
    pub progress: Revision,
}

/// A running watch. Dropping it ends it.
#[async_trait]
pub trait Watcher: Send {
    /// Waits for the next changes. A batch with no events is a progress mark, sent when the watcher has caught
    /// up and other keys changed in between (at most every few hundred milliseconds). A future that is dropped
    /// before it is done loses nothing: the next call goes on where this one began.
    ///
    /// # Errors
    /// [`KvError::Compacted`] if the watcher fell out of the history; [`KvError::Stopped`] at shutdown. Both are final.
    async fn next(&mut self) -> Result<WatchBatch, KvError>;
}

/// A consistent, replicated, revisioned key-value store.
#[async_trait]
pub trait Kv: Send + Sync + 'static {
    /// Reads a range.
    ///
    /// # Errors
    /// [`KvError::Compacted`], [`KvError::FutureRevision`], [`KvError::Unavailable`].
    async fn range(&self, request: RangeRequest, consistency: Consistency) -> Result<RangeResponse, KvError>;

    /// Carries out a transaction. Returning means that it is durable on a majority and applied on this server.
    ///
    /// # Errors
    /// Every variant but the read ones; [`KvError::UnknownOutcome`] after the deadline.
    async fn txn(&self, txn: Txn, fence: Option<Leadership>) -> Result<TxnResponse, KvError>;

    /// Watches a range on this server's own replica.
    ///
    /// # Errors
    /// [`KvError::Compacted`] if `start_revision` is gone from the history.
    async fn watch(&self, request: WatchRequest) -> Result<Box<dyn Watcher>, KvError>;

    /// Forgets every version that is superseded at `revision`.
    ///
    /// # Errors
    /// [`KvError::Compacted`] if already done, [`KvError::FutureRevision`].
    async fn compact(&self, revision: Revision) -> Result<(), KvError>;

    /// The revision that this server's replica has applied.
    fn applied_revision(&self) -> Revision;

    /// Waits until this server's replica has applied `revision`.
    ///
    /// # Errors
    /// [`KvError::Stopped`].
    async fn wait_applied(&self, revision: Revision) -> Result<(), KvError>;
}
