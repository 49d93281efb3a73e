//! What a store is opened with, and how that becomes openraft's configuration.

use std::path::{Path, PathBuf};

use openraft::{Config, ConfigError, SnapshotPolicy};

use super::retention::Retention;
use super::types::MemberNode;
use crate::faults::Faults;
use crate::limits;
use crate::space::SpaceLimits;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Where everything is kept. Made if it is absent. One server's alone.
    pub data_dir: PathBuf,
    /// The cluster's id. A directory of another cluster is refused.
    pub cluster_id: String,
    /// This server's Raft id, as given out by the leader; 1 for the first server.
    pub server_id: u64,
    /// This server's name and addresses.
    pub node: MemberNode,
    /// Timers.
    pub timings: Timings,
    /// Sizes.
    pub sizes: Sizes,
    /// When the disk's space counts as what.
    pub space: SpaceLimits,
    /// How much of the history is kept.
    pub retention: Retention,
    /// A bug for this store to have, if any.
    #[cfg(feature = "faults")]
    pub planted: Option<crate::Planted>,
}

impl StoreConfig {
    /// A configuration with the defaults of [`crate::limits`].
    pub fn new(data_dir: impl Into<PathBuf>, cluster_id: impl Into<String>, server_id: u64, node: MemberNode) -> Self {
        Self {
            data_dir: data_dir.into(),
            cluster_id: cluster_id.into(),
            server_id,
            node,
            timings: Timings::default(),
            sizes: Sizes::default(),
            space: SpaceLimits::default(),
            retention: Retention::default(),
            #[cfg(feature = "faults")]
            planted: None,
        }
    }

    pub(crate) fn faults(&self) -> Faults {
        Faults {
            #[cfg(feature = "faults")]
            planted: self.planted,
        }
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        log_dir(&self.data_dir)
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        state_dir(&self.data_dir)
    }

    pub(crate) fn snapshots_dir(&self) -> PathBuf {
        snapshots_dir(&self.data_dir)
    }

    /// openraft's configuration.
    ///
    /// openraft's followers first sit out the leader's lease, which is as long as its longest election
    /// timeout, and then the election timeout: a silence of `lease + timeout` in all. So that the silence
    /// lies between our two timeouts, its longest timeout is half of ours.
    pub(crate) fn raft_config(&self) -> Result<Config, ConfigError> {
        let Timings {
            heartbeat_period_ms,
            election_timeout_min_ms,
            election_timeout_max_ms,
        } = self.timings;
        let lease_ms = election_timeout_max_ms / 2;
        let timeout_min_ms = election_timeout_min_ms
            .saturating_sub(lease_ms)
            .max(heartbeat_period_ms + heartbeat_period_ms / 2);
        let sizes = &self.sizes;
        Config {
            cluster_name: self.cluster_id.clone(),
            heartbeat_interval: heartbeat_period_ms,
            election_timeout_min: timeout_min_ms,
            election_timeout_max: lease_ms,
            enable_pre_vote: Some(true),
            // A restarted leader must be elected again: its state may be behind its log.
            enable_leader_restore: Some(false),
            allow_log_reversion: Some(false),
            // Without it, an old leader that reaches one server can keep a connected majority from electing.
            quorum_loss_probe_interval: Some(4 * lease_ms),
            install_snapshot_timeout: millis(limits::SNAPSHOT_TIMEOUT),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(sizes.snapshot_log_entries),
            max_in_snapshot_log_to_keep: sizes.log_keep_entries,
            replication_lag_threshold: sizes.snapshot_lag_entries,
            purge_batch_size: sizes.log_purge_batch_entries,
            max_payload_entries: limits::APPEND_BATCH_ENTRIES,
            backoff: "20ms, 50ms, 100ms, 200ms, ...400ms".into(),
            ..Config::default()
        }
        .validate()
    }
}

/// Where the log is.
pub(crate) fn log_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("raft-log")
}

/// Where the state is.
pub(crate) fn state_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("state")
}

/// Where received snapshots are put until they are installed.
pub(crate) fn snapshots_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("snapshots")
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("our durations are short")
}

/// The timers of consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// Period of the leader's heartbeats, in milliseconds.
    pub heartbeat_period_ms: u64,
    /// Shortest silence of the leader after which a server stands for election, in milliseconds.
    pub election_timeout_min_ms: u64,
    /// Longest such silence, in milliseconds. More than three times the heartbeat period.
    pub election_timeout_max_ms: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat_period_ms: limits::HEARTBEAT_PERIOD_MS,
            election_timeout_min_ms: limits::ELECTION_TIMEOUT_MIN_MS,
            election_timeout_max_ms: limits::ELECTION_TIMEOUT_MAX_MS,
        }
    }
}

/// The sizes that tests make small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The newest log entries kept in memory, in bytes.
    pub log_tail_cache_bytes: usize,
    /// A snapshot is made after this many entries.
    pub snapshot_log_entries: u64,
    /// Entries kept behind the snapshot.
    pub log_keep_entries: u64,
    /// A follower further behind than this is sent a snapshot; more than `log_keep_entries`.
    pub snapshot_lag_entries: u64,
    /// Entries purged at once, at least.
    pub log_purge_batch_entries: u64,
    /// The log is cut when it holds this many bytes.
    pub log_max_bytes: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            log_tail_cache_bytes: limits::LOG_TAIL_CACHE_BYTES,
            snapshot_log_entries: limits::SNAPSHOT_LOG_ENTRIES,
            log_keep_entries: limits::LOG_KEEP_ENTRIES,
            snapshot_lag_entries: limits::SNAPSHOT_LAG_ENTRIES,
            log_purge_batch_entries: limits::LOG_PURGE_BATCH_ENTRIES,
            log_max_bytes: limits::LOG_MAX_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_silence_before_an_election_lies_between_the_two_timeouts() {
        let mut config = StoreConfig::new("/nowhere", "c", 1, MemberNode::default());
        for (min, max) in [(500, 1_000), (2_000, 4_000), (1_000, 10_000)] {
            config.timings = Timings {
                heartbeat_period_ms: 100,
                election_timeout_min_ms: min,
                election_timeout_max_ms: max,
            };
            let raft = config.raft_config().unwrap();
            let lease = raft.election_timeout_max;
            assert!(lease + raft.election_timeout_min >= min, "{min}..{max}");
            assert!(lease + raft.election_timeout_max <= max, "{min}..{max}");
            assert_eq!(raft.enable_pre_vote, Some(true));
            assert_eq!(raft.enable_leader_restore, Some(false));
        }
        config.timings.heartbeat_period_ms = 6_000;
        assert!(config.raft_config().is_err());
    }
}
