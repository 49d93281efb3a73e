//! The bugs that can be planted. What each does is where it does it; who must catch it is in `tests/planted/`.

use std::str::FromStr;
use std::time::Duration;

/// How long the log holds entries back that it has reported as durable.
const HELD_BACK: Duration = Duration::from_millis(100);

/// One bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Planted {
    /// The leader counts an entry as taken by a follower when it sends it (I1). Like openraft's issue 1802, which
    /// committed without a real quorum.
    AckBeforeReplication,
    /// The log reports entries as durable before they are written (I1). Like etcd's issue 14370: a single member lost
    /// an acknowledged write in a crash.
    AckBeforeFsync,
    /// A vote is answered and not written down, so that a restart forgets it and may vote again in the same term (I1).
    /// Like etcd's issue 2461, in which a vote was forgotten within its term.
    VoteNotPersisted,
    /// The applied position is stored after the data that it speaks of, in a batch of its own: a restart in between
    /// applies entries again (I2). etcd's issue 13766.
    AppliedIndexOutsideBatch,
    /// A follower answers a linearizable read without asking the leader (I1). etcd's issue 741.
    StaleFollowerRead,
    /// A leader that a majority has confirmed once takes its lease to go on for as long as it has heard of no other,
    /// since the clock that the lease is measured by has jumped back and stands still (I1). Like TiKV's issue 964.
    LeaseReadWithJumpedClock,
    /// The id of a member that has gone is given out again (I1). Like RedisRaft's issue 2.
    IdReuse,
    /// A watch whose next revision is compacted away goes on at the oldest one that is left, without saying so (I3). Like
    /// etcd's issue 18089, in which a watch lost a delete to a compaction.
    WatchSkipsAtCompaction,
    /// A snapshot's metadata are of the last flush, its content is of the moment at which it is sent (I2). Like rqlite's
    /// issue 2759, in which what was restored and its index disagreed.
    SnapshotNewerThanMetadata,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::AckBeforeReplication,
        Self::AckBeforeFsync,
        Self::VoteNotPersisted,
        Self::AppliedIndexOutsideBatch,
        Self::StaleFollowerRead,
        Self::LeaseReadWithJumpedClock,
        Self::IdReuse,
        Self::WatchSkipsAtCompaction,
        Self::SnapshotNewerThanMetadata,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeReplication => "ack-before-replication",
            Self::AckBeforeFsync => "ack-before-fsync",
            Self::VoteNotPersisted => "vote-not-persisted",
            Self::AppliedIndexOutsideBatch => "applied-index-outside-batch",
            Self::StaleFollowerRead => "stale-follower-read",
            Self::LeaseReadWithJumpedClock => "lease-read-with-jumped-clock",
            Self::IdReuse => "id-reuse",
            Self::WatchSkipsAtCompaction => "watch-skips-at-compaction",
            Self::SnapshotNewerThanMetadata => "snapshot-newer-than-metadata",
        }
    }
}

impl FromStr for Planted {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|bug| bug.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no bug is called `{name}`; there are {names}")
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the log's own thread stands still, as it does at a slow disk"
)]
pub(super) fn hold_back() {
    // There, the disk takes its time by itself, and what is not synced is lost with the machine.
    #[cfg(feature = "sim")]
    if crate::sim::is_simulated() {
        return;
    }
    std::thread::sleep(HELD_BACK);
}
