//! What leads a server to each point, and what is done after it has died there.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tokio::time::timeout;
use trireme_proto::etcd::server::{MemberRemoveRequest, cluster_client::ClusterClient};
use trireme_store::Failpoint;
use trireme_tests::harness::PATIENCE;

use crate::stage::Stage;

/// Values of this size fill a segment of the log after a dozen or so.
const LARGE_BYTES: usize = 1_400_000;
const LARGE_VALUES: usize = 13;
/// How often a point that only the leader passes is armed, if it has lost the lead before it got there.
const LEADERS_MAX: usize = 5;

/// How a point is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// By the load, on the leader, at the passage of this number.
    LoadedLeader(u32),
    /// By the load, on a follower.
    LoadedFollower(u32),
    /// By so much that a follower's log goes over to another segment.
    FullSegment,
    /// By an election: a follower votes after the leader was killed.
    Election,
    /// By a follower that comes back after so long that it needs a snapshot: on the leader, which sends it.
    SnapshotSent,
    /// The same, on the follower, which receives it.
    SnapshotReceived,
    /// By a follower that comes back to its watchers, who go on in the past.
    WatchersResume,
    /// By a new server that takes a follower's place: on the leader.
    Replacement,
    /// By a follower's removal: on the leader.
    Removal,
    /// By a follower whose log is damaged.
    Damage,
}

impl Scenario {
    /// What leads to a point.
    pub(crate) fn of(point: Failpoint) -> Self {
        match point {
            Failpoint::LogBeforeWrite | Failpoint::LogAfterSync | Failpoint::ApplyAfter => Self::LoadedLeader(20),
            Failpoint::LogAfterWrite | Failpoint::ApplyBefore | Failpoint::WatchBeforeSend => Self::LoadedFollower(20),
            Failpoint::CompactionMarked | Failpoint::LeaseRevoking => Self::LoadedLeader(1),
            Failpoint::LogPurged | Failpoint::FlushBefore | Failpoint::FlushAfter | Failpoint::CompactionRemoving => {
                Self::LoadedFollower(1)
            }
            Failpoint::LogSegmentChange => Self::FullSegment,
            Failpoint::VoteBeforePersist | Failpoint::VoteAfterPersist => Self::Election,
            Failpoint::SnapshotPinned | Failpoint::SnapshotSending => Self::SnapshotSent,
            Failpoint::SnapshotReceived | Failpoint::SnapshotInstalling | Failpoint::SnapshotInstalled => {
                Self::SnapshotReceived
            }
            Failpoint::WatchCatchingUp => Self::WatchersResume,
            Failpoint::MembershipIdAllocated | Failpoint::MembershipLearnerAdded | Failpoint::MembershipJointAdding => {
                Self::Replacement
            }
            Failpoint::MembershipJointRemoving | Failpoint::MembershipRemoved => Self::Removal,
            Failpoint::QuarantineMarking => Self::Damage,
        }
    }

    /// Leads a server there, sees it crash, and makes the three whole again.
    pub(crate) async fn play(self, stage: &mut Stage, point: Failpoint) -> Result<()> {
        match self {
            Self::LoadedLeader(passages) => loaded_leader(stage, point, passages).await,
            Self::LoadedFollower(passages) => loaded_follower(stage, point, passages).await,
            Self::FullSegment => full_segment(stage, point).await,
            Self::Election => election(stage, point).await,
            Self::SnapshotSent => snapshot_sent(stage, point).await,
            Self::SnapshotReceived => snapshot_received(stage, point).await,
            Self::WatchersResume => watchers_resume(stage, point).await,
            Self::Replacement => replacement(stage, point).await,
            Self::Removal => removal(stage, point).await,
            Self::Damage => damage(stage, point).await,
        }?;
        stage.must_be_whole().await
    }
}

async fn loaded_leader(stage: &mut Stage, point: Failpoint, passages: u32) -> Result<()> {
    for _ in 0..LEADERS_MAX {
        let (leader, _) = stage.roles().await?;
        stage.arm(leader, point, passages)?;
        if stage.crashed(leader, point, || false).await? {
            return stage.cluster.restart(leader);
        }
    }
    bail!("{LEADERS_MAX} leaders did not reach it")
}

async fn loaded_follower(stage: &mut Stage, point: Failpoint, passages: u32) -> Result<()> {
    let (_, [follower, _]) = stage.roles().await?;
    stage.arm(follower, point, passages)?;
    stage.must_crash(follower, point).await?;
    stage.cluster.restart(follower)
}

async fn full_segment(stage: &mut Stage, point: Failpoint) -> Result<()> {
    let (leader, [follower, _]) = stage.roles().await?;
    stage.arm(follower, point, 1)?;
    for _ in 0..LARGE_VALUES {
        stage.put_large(leader, LARGE_BYTES).await?;
    }
    stage.must_crash(follower, point).await?;
    stage.cluster.restart(follower)
}

async fn election(stage: &mut Stage, point: Failpoint) -> Result<()> {
    let (leader, [voter, _]) = stage.roles().await?;
    stage.arm(voter, point, 1)?;
    stage.cluster.kill(leader)?;
    stage.must_crash(voter, point).await?;
    stage.cluster.restart(voter)?;
    stage.cluster.restart(leader)
}

/// Kills a follower and lets the others go on until it needs a snapshot. The follower.
async fn fall_behind(stage: &mut Stage) -> Result<usize> {
    let (leader, [follower, _]) = stage.roles().await?;
    stage.cluster.kill(follower)?;
    stage.sends_snapshot(leader, None).await?;
    Ok(follower)
}

async fn snapshot_sent(stage: &mut Stage, point: Failpoint) -> Result<()> {
    let (leader, [follower, _]) = stage.roles().await?;
    // The view is pinned as soon as the log was cut, even while the follower is away.
    stage.arm(leader, point, 1)?;
    stage.cluster.kill(follower)?;
    stage.sends_snapshot(leader, Some(point)).await?;
    stage.cluster.restart(follower)?;
    stage.must_crash(leader, point).await?;
    stage.cluster.restart(leader)
}

async fn snapshot_received(stage: &mut Stage, point: Failpoint) -> Result<()> {
    let follower = fall_behind(stage).await?;
    stage.arm(follower, point, 1)?;
    stage.cluster.restart(follower)?;
    stage.must_crash(follower, point).await?;
    stage.cluster.restart(follower)
}

async fn watchers_resume(stage: &mut Stage, point: Failpoint) -> Result<()> {
    // What it only gets from its log it has in memory; what comes by a snapshot is history.
    let follower = fall_behind(stage).await?;
    stage.arm(follower, point, 1)?;
    stage.cluster.restart(follower)?;
    stage.must_crash(follower, point).await?;
    stage.cluster.restart(follower)
}

async fn replacement(stage: &mut Stage, point: Failpoint) -> Result<()> {
    let (leader, [replaced, helper]) = stage.roles().await?;
    stage.arm(leader, point, 1)?;
    stage.cluster.replace(replaced, helper).await?;
    stage.must_crash(leader, point).await?;
    stage.cluster.restart(leader)
}

async fn removal(stage: &mut Stage, point: Failpoint) -> Result<()> {
    for _ in 0..LEADERS_MAX {
        let (leader, [removed, helper]) = stage.roles().await?;
        let id = stage.cluster.member_id(removed, helper).await?;
        stage.arm(leader, point, 1)?;
        let mut client = ClusterClient::new(stage.cluster.connect(helper).await?);
        let asked = tokio::spawn(async move {
            // It is carried out or not: the leader dies over it.
            let _ = timeout(PATIENCE, client.member_remove(MemberRemoveRequest { id })).await;
        });
        let crashed = stage.crashed(leader, point, || asked.is_finished()).await?;
        if crashed {
            stage.cluster.restart(leader)?;
        }
        asked.await?;
        // What was begun is finished by whoever leads next; the rest is done as always.
        stage.cluster.replace(removed, helper).await?;
        if crashed {
            return Ok(());
        }
        // A removal right behind an addition that was left half done takes that back, and is done.
        stage.must_be_whole().await?;
    }
    bail!("{LEADERS_MAX} removals did not reach it")
}

async fn damage(stage: &mut Stage, point: Failpoint) -> Result<()> {
    let (_, [damaged, helper]) = stage.roles().await?;
    stage.cluster.kill(damaged)?;
    damage_log(&stage.cluster.data_dir(damaged).join("store/raft-log"))?;
    stage.arm(damaged, point, 1)?;
    stage.cluster.restart(damaged)?;
    stage.must_crash(damaged, point).await?;
    // Without the mark, the damage is still found.
    stage.cluster.restart(damaged)?;
    stage.cluster.replace(damaged, helper).await
}

/// Flips one bit in the middle of what was written last.
fn damage_log(directory: &Path) -> Result<()> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            segments.push(path);
        }
    }
    let last = segments.into_iter().max().context("a log has a segment")?;
    let mut bytes = std::fs::read(&last)?;
    let written = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .context("a segment has a beginning")?;
    bytes[written / 2] ^= 0x10;
    Ok(std::fs::write(last, bytes)?)
}
