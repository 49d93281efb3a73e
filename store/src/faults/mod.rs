//! Faults on purpose, behind the feature `faults`: bugs that are planted, and points at which a server crashes.
//!
//! They show that the tests can see what they look for, and that no moment is a bad one to die at. Without the feature
//! every question here is answered by `false` at compile time, and every point is nothing. With it each is off until it is
//! chosen: a bug when a store is opened, for that store; a point at any time, for the process.

mod failpoint;
#[cfg(feature = "faults")]
mod planted;

#[cfg_attr(
    not(feature = "faults"),
    expect(unreachable_pub, reason = "it is the feature's to show")
)]
pub use failpoint::Failpoint;
#[cfg(feature = "faults")]
pub use failpoint::follow as follow_failpoints;
pub(crate) use failpoint::point;
#[cfg(feature = "faults")]
pub use planted::Planted;

/// What is chosen for one store. Of no size without the feature.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// The one bug, if any.
    #[cfg(feature = "faults")]
    pub(crate) planted: Option<Planted>,
}

/// Whether a bug is planted: known to be false without the feature.
macro_rules! is_planted {
    ($faults:expr, $bug:ident) => {{
        #[cfg(feature = "faults")]
        {
            matches!($faults.planted, Some(Planted::$bug))
        }
        #[cfg(not(feature = "faults"))]
        {
            let Self {} = $faults;
            false
        }
    }};
}

impl Faults {
    /// Acknowledges a write that no other server has yet.
    #[cfg(feature = "faults")]
    pub(crate) const fn acknowledges_before_replication(self) -> bool {
        is_planted!(self, AckBeforeReplication)
    }

    /// Reports entries as durable before it writes them.
    pub(crate) const fn reports_before_writing(self) -> bool {
        is_planted!(self, AckBeforeFsync)
    }

    /// Does not write votes down.
    pub(crate) const fn forgets_votes(self) -> bool {
        is_planted!(self, VoteNotPersisted)
    }

    /// Stores the position of what is applied apart from it, and later.
    pub(crate) const fn stores_position_apart(self) -> bool {
        is_planted!(self, AppliedIndexOutsideBatch)
    }

    /// Follows, and reads its own replica as it is when the latest is asked for.
    pub(crate) const fn reads_own_replica(self) -> bool {
        is_planted!(self, StaleFollowerRead)
    }

    /// Leads, and answers reads by a lease whose clock stands still.
    pub(crate) const fn trusts_its_lease(self) -> bool {
        is_planted!(self, LeaseReadWithJumpedClock)
    }

    /// Gives out ids that a former member had.
    pub(crate) const fn reuses_ids(self) -> bool {
        is_planted!(self, IdReuse)
    }

    /// Lets a watch go on behind what was compacted away, without a word.
    pub(crate) const fn skips_what_is_compacted(self) -> bool {
        is_planted!(self, WatchSkipsAtCompaction)
    }

    /// Announces a snapshot as older than its content.
    pub(crate) const fn announces_older_snapshot(self) -> bool {
        is_planted!(self, SnapshotNewerThanMetadata)
    }
}

/// Holds a write back for so long that a kill finds it unwritten. Never called without the feature.
pub(crate) fn hold_back() {
    #[cfg(feature = "faults")]
    planted::hold_back();
}
