//! The upkeep of a replica: compaction of the history, flushing of the state, cutting of the log.
//!
//! What to compact is decided by a pure policy from (time, revision) samples that every server takes,
//! so that a new leader knows the age of revisions it did not make. Only the leader proposes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use trireme_mvcc::command::Command;
use trireme_mvcc::outcome::Outcome;

use super::node::Node;
use super::outgoing::Standing;
use crate::kv::Revision;
use crate::limits;
use crate::quarantine::{self, Gate};

/// How often the removal of compacted versions and the flush of the state are considered.
const UPKEEP_PERIOD: Duration = Duration::from_secs(1);
/// The state is flushed at least this often while it changes, which bounds the replay after a crash.
const FLUSH_PERIOD: Duration = Duration::from_secs(60);
/// How long the upkeep waits for a snapshot that it has asked for.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(60);

/// Decides up to which revision the history may go.
#[derive(Debug, Default)]
pub(crate) struct CompactionPolicy {
    samples: VecDeque<(Instant, Revision)>,
}

impl CompactionPolicy {
    /// Notes that the store stood at `revision` at `now`, and says what may be compacted now: nothing
    /// younger than the least age, and none of the latest revisions.
    pub(crate) fn observe(&mut self, now: Instant, revision: Revision) -> Option<Revision> {
        self.samples.push_back((now, revision));
        let old_enough = |at: &Instant| now.duration_since(*at) >= limits::HISTORY_MIN_AGE;
        // The newest of the old samples is the one that counts.
        while self.samples.get(1).is_some_and(|(at, _)| old_enough(at)) {
            self.samples.pop_front();
        }
        let (at, old) = self.samples.front()?;
        let target = (*old).min(revision - limits::HISTORY_MIN_REVISIONS);
        (old_enough(at) && target > 0).then_some(target)
    }
}

/// The task.
pub(crate) struct Housekeeper {
    node: Arc<Node>,
    policy: CompactionPolicy,
    flushed_at: Instant,
    bytes_at_snapshot: u64,
}

impl Housekeeper {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            policy: CompactionPolicy::default(),
            flushed_at: Instant::now(),
            bytes_at_snapshot: 0,
        }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut compaction = tokio::time::interval(limits::COMPACTION_PERIOD);
        let mut upkeep = tokio::time::interval(UPKEEP_PERIOD);
        for interval in [&mut compaction, &mut upkeep] {
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut log_size = tokio::time::interval(limits::LOG_SIZE_CHECK_PERIOD);
        log_size.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let engine = self.node.engine.clone();
        let mut failed = std::pin::pin!(engine.failed());
        // Polled no more once it is done.
        let mut broken = false;
        loop {
            let work = async {
                tokio::select! {
                    biased;
                    what = &mut failed, if !broken => {
                        broken = true;
                        storage_failed(&self.node.gate, &what);
                    }
                    _ = compaction.tick() => self.consider_compaction().await,
                    _ = upkeep.tick() => self.tidy_state().await,
                    _ = log_size.tick() => self.consider_cutting_log().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = work => {}
            }
        }
    }

    async fn consider_compaction(&mut self) {
        let revision = self.node.engine.revision();
        let Some(target) = self.policy.observe(Instant::now(), revision) else {
            return;
        };
        let leads = self.node.views.leadership.borrow().is_some();
        if !leads || target <= self.node.engine.compacted_revision() {
            return;
        }
        match self.node.propose(Command::Compact { revision: target }.encode()).await {
            Ok(Outcome::Compacted) => tracing::debug!(revision = target, "compacted the history"),
            Ok(Outcome::Refused(refusal)) => tracing::debug!(%refusal, "the compaction was not needed"),
            Ok(_) => tracing::warn!("a compaction was answered as something else"),
            // The next round tries again.
            Err(error) => tracing::debug!(%error, "the compaction has to wait"),
        }
    }

    async fn tidy_state(&mut self) {
        let engine = self.node.engine.clone();
        let flush = self.flushed_at.elapsed() >= FLUSH_PERIOD && engine.unflushed_bytes() > 0;
        if let Err(error) = engine.remove_compacted().await {
            storage_failed(&self.node.gate, &quarantine::whole(&error));
        }
        let tidied = tokio::task::spawn_blocking(move || if flush { engine.flush() } else { Ok(()) });
        match tidied.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => storage_failed(&self.node.gate, &quarantine::whole(&error)),
            Err(error) => tracing::warn!(%error, "the upkeep of the state was interrupted"),
        }
        if flush {
            self.flushed_at = Instant::now();
        }
    }

    /// A snapshot is due by number of entries; this is for when they are few and large.
    async fn consider_cutting_log(&mut self) {
        let node = &self.node;
        let bytes = node.log.counters().read().bytes;
        if node.holds_log(bytes) || bytes - self.bytes_at_snapshot < node.config.sizes.log_max_bytes {
            return;
        }
        self.bytes_at_snapshot = bytes;
        let index = node.applied_index();
        let reached = async {
            node.raft
                .trigger()
                .snapshot()
                .await
                .map_err(|error| error.to_string())?;
            node.raft
                .wait(Some(SNAPSHOT_WAIT))
                .metrics(
                    |metrics| metrics.snapshot.is_some_and(|id| id.index >= index),
                    "the log is large",
                )
                .await
                .map_err(|error| error.to_string())?;
            node.raft
                .trigger()
                .purge_log(index)
                .await
                .map_err(|error| error.to_string())
        };
        if let Err(error) = reached.await {
            tracing::warn!(error, "the log is large, but could not be cut yet");
        }
    }
}

impl Node {
    /// Whether the log must not be cut, because a snapshot is on its way to a server that will need the log behind it.
    fn holds_log(&self, log_bytes: u64) -> bool {
        let Some(outgoing) = self.outgoing.upgrade() else {
            return false;
        };
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref().map(|replication| {
            let matched = replication.iter();
            matched.map(|(id, log_id)| (*id, log_id.map_or(0, |log_id| log_id.index)))
        });
        let matched: Option<BTreeMap<u64, u64>> = matched.map(Iterator::collect);
        let standing = Standing {
            matched: matched.as_ref(),
            last_index: metrics.last_log_index.unwrap_or(0),
            log_bytes,
            log_bytes_max: self.config.sizes.log_max_bytes,
        };
        outgoing.review(standing, Instant::now());
        outgoing.holds_log()
    }
}

/// Damage puts this server into quarantine. Any other failure ends the process: what the disk holds is not known any
/// more, and nothing that it says may be tried again (D4).
pub(crate) fn storage_failed(gate: &Gate, error: &str) {
    if quarantine::is_damage(error) {
        gate.close(error);
        return;
    }
    tracing::error!(
        error,
        "the state's storage failed; the server ends, since its disk cannot be trusted"
    );
    eprintln!("trireme: the state's storage failed: {error}; the server ends, since its disk cannot be trusted");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds (minute, revision) samples and collects what may be compacted after each.
    fn check(samples: &[(u64, Revision)], want: &[Option<Revision>]) {
        let start = Instant::now();
        let mut policy = CompactionPolicy::default();
        let got: Vec<_> = samples
            .iter()
            .map(|(minute, revision)| policy.observe(start + Duration::from_secs(minute * 60), *revision))
            .collect();
        assert_eq!(got, want, "{samples:?}");
    }

    #[test]
    fn nothing_young_is_compacted() {
        check(&[(0, 1_000_000), (4, 2_000_000)], &[None, None]);
        check(
            &[(0, 1_000_000), (5, 2_000_000), (9, 3_000_000)],
            &[None, Some(1_000_000), Some(1_000_000)],
        );
        check(
            &[(0, 1_000_000), (5, 2_000_000), (10, 3_000_000)],
            &[None, Some(1_000_000), Some(2_000_000)],
        );
    }

    #[test]
    fn the_latest_revisions_are_kept_however_old() {
        check(&[(0, 50_000), (600, 50_000)], &[None, None]);
        check(&[(0, 150_000), (600, 150_000)], &[None, Some(50_000)]);
    }
}
