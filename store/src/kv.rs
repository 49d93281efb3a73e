//! The one interface of the store to everything above it.
//!
//! The API server, the controllers' shells and, later, the etcd services all speak [`Kv`]. It is
//! implemented by [`Store`](crate::Store), which replicates, and by
//! [`LocalKv`](crate::LocalKv), which keeps one unreplicated state machine in memory for tests;
//! both pass one conformance suite.

use std::sync::Arc;

use async_trait::async_trait;
pub use trireme_mvcc::types::*;

use crate::lanes::{Asker, Lane, Lanes, Refused};
pub use crate::watch::{About, Topics};

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
    /// It names a lease that does not exist, or no longer; nothing was changed.
    #[error("lease {id} does not exist")]
    LeaseNotFound {
        /// The lease.
        id: i64,
    },
    /// It grants a lease that exists already; nothing was changed.
    #[error("lease {id} exists already")]
    LeaseExists {
        /// The lease.
        id: i64,
    },
    /// It keeps the value or the lease of a key that does not exist; nothing was changed.
    #[error("the key does not exist")]
    KeyNotFound,
    /// A server's disk is nearly full: only what makes room is accepted; nothing was changed.
    #[error("a server's disk is nearly full; only what makes room is accepted")]
    NoSpace,
    /// The servers' data differ and no majority agrees: nothing is written any more; nothing was changed.
    #[error("the servers' data differ, and no majority agrees; nothing is written any more")]
    Corrupt,
    /// Too much is in flight; nothing was done.
    #[error(transparent)]
    Overloaded(#[from] Refused),
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
    pub events: Vec<Arc<Event>>,
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
    /// Reads a range. Large ones are read in pages: by `limit` or `bytes_max`, at the revision of the first page.
    ///
    /// # Errors
    /// [`KvError::Compacted`], [`KvError::FutureRevision`], [`KvError::Unavailable`]; [`KvError::Invalid`] if the answer
    /// would go beyond [`RANGE_BYTES_MAX`](trireme_mvcc::limits::RANGE_BYTES_MAX) and no bound was set.
    async fn range(&self, request: RangeRequest, consistency: Consistency) -> Result<RangeResponse, KvError>;

    /// Carries out a transaction. Returning means that it is durable on a majority and applied on this server.
    ///
    /// # Errors
    /// Every variant but the read ones; [`KvError::UnknownOutcome`] after the deadline.
    async fn txn(&self, txn: Txn, fence: Option<Leadership>) -> Result<TxnResponse, KvError>;

    /// The same, for work of a kind: what is proposed waits for its turn by its lane.
    ///
    /// # Errors
    /// As [`txn`](Self::txn).
    async fn txn_in(&self, lane: Lane, txn: Txn, fence: Option<Leadership>) -> Result<TxnResponse, KvError> {
        let _ = lane;
        self.txn(txn, fence).await
    }

    /// Counts the keys of a range at a revision, for somebody, as work that gives way to other work.
    ///
    /// # Errors
    /// As [`range`](Self::range), and [`KvError::Overloaded`].
    async fn count_in(&self, asker: Asker, range: KeyRange, revision: Revision) -> Result<u64, KvError> {
        let _ = asker;
        let request = RangeRequest {
            revision,
            count_only: true,
            ..RangeRequest::latest(range)
        };
        let counted = self.range(request, Consistency::Serializable).await?;
        Ok(counted.count.unwrap_or(0))
    }

    /// Who may work on the store for somebody; `None` if it does not matter.
    fn lanes(&self) -> Option<&Arc<Lanes>> {
        None
    }

    /// Watches a range on this server's own replica.
    ///
    /// # Errors
    /// [`KvError::Compacted`] if `start_revision` is gone from the history.
    async fn watch(&self, request: WatchRequest) -> Result<Box<dyn Watcher>, KvError>;

    /// The same for somebody whom only one topic of the range concerns. All changes that are about it are given; where this is
    /// not looked at, others as well.
    ///
    /// # Errors
    /// As [`watch`](Self::watch).
    async fn watch_about(&self, request: WatchRequest, _about: About) -> Result<Box<dyn Watcher>, KvError> {
        self.watch(request).await
    }

    /// Forgets every version that is superseded at `revision`. The space comes back in the background.
    ///
    /// # Errors
    /// [`KvError::Compacted`] if already done, [`KvError::FutureRevision`].
    async fn compact(&self, revision: Revision) -> Result<(), KvError>;

    /// A hash over everything that this server's own replica can read up to `revision`; 0 for the latest it has. It
    /// reads all of that: a few seconds a gigabyte, on the blocking pool.
    ///
    /// # Errors
    /// [`KvError::Compacted`], [`KvError::FutureRevision`].
    async fn hash_kv(&self, revision: Revision) -> Result<HashKv, KvError>;

    /// The revision that this server's replica has applied.
    fn applied_revision(&self) -> Revision;

    /// Waits until this server's replica has applied `revision`.
    ///
    /// # Errors
    /// [`KvError::Stopped`].
    async fn wait_applied(&self, revision: Revision) -> Result<(), KvError>;
}

/// A lease that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseGranted {
    /// Its id.
    pub id: i64,
    /// The time to live that it was granted, in seconds. It may be longer than what was asked for.
    pub ttl_s: i64,
    /// The store's revision, which a grant does not change.
    pub revision: Revision,
}

/// How a lease stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseStatus {
    /// The time to live that it was granted, in seconds.
    pub granted_ttl_s: i64,
    /// What is left of it by the leader's clock, in seconds, rounded up; 0 if it has expired and is about to go.
    pub remaining_ttl_s: i64,
    /// The keys attached to it, in order; empty if they were not asked for.
    pub keys: Vec<bytes::Bytes>,
}

/// Leases: promises to delete keys unless they are renewed in time.
///
/// A lease is state, like keys are; only the time that it has left runs on the leader's clock. It may live longer
/// than it was told to, when the leader changes, but never shorter. It is no mutex: whoever holds one may have lost it
/// without having heard of that yet (fence with revisions).
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Makes a lease. An `id` of 0 lets the store choose; a `ttl_s` below
    /// [`LEASE_TTL_MIN_S`](crate::limits::LEASE_TTL_MIN_S) is raised to it.
    ///
    /// # Errors
    /// [`KvError::LeaseExists`]; [`KvError::Invalid`] if the time is beyond
    /// [`LEASE_TTL_MAX_S`](trireme_mvcc::limits::LEASE_TTL_MAX_S); those of [`Kv::txn`].
    async fn grant(&self, id: i64, ttl_s: i64) -> Result<LeaseGranted, KvError>;

    /// Ends a lease, and deletes the keys attached to it in one revision, which it answers with (or the present one, if
    /// there were none).
    ///
    /// # Errors
    /// [`KvError::LeaseNotFound`]; those of [`Kv::txn`].
    async fn revoke(&self, id: i64) -> Result<Revision, KvError>;

    /// Gives a lease its whole time again, from now; answers the time in seconds, or `None` if there is no such lease.
    ///
    /// # Errors
    /// [`KvError::Unavailable`] if no leader could be reached: the lease may or may not have been renewed.
    async fn keep_alive(&self, id: i64) -> Result<Option<i64>, KvError>;

    /// How a lease stands, or `None` if there is no such lease.
    ///
    /// # Errors
    /// [`KvError::Unavailable`].
    async fn time_to_live(&self, id: i64, keys: bool) -> Result<Option<LeaseStatus>, KvError>;

    /// The ids of all leases, ascending. Linearizable.
    ///
    /// # Errors
    /// [`KvError::Unavailable`].
    async fn leases(&self) -> Result<Vec<i64>, KvError>;
}
