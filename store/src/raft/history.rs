//! The upkeep of a replica: compaction of the history, flushing of the state, cutting of the log.
//!
//! What to compact is decided in `retention`. Every server takes part in that, but only the leader proposes.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use trireme_mvcc::command::Command;
use trireme_mvcc::outcome::Outcome;

use super::node::Node;
use super::outgoing::Standing;
use crate::blocking;
use crate::limits;
use crate::quarantine::{self, Gate};

/// How often the removal of compacted versions and the flush of the state are considered.
const UPKEEP_PERIOD: Duration = Duration::from_secs(1);
/// The state is flushed at least this often while it changes, which bounds the replay after a crash.
const FLUSH_PERIOD: Duration = Duration::from_secs(60);
/// How long the upkeep waits for a snapshot that it has asked for.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(60);

/// The task.
pub(crate) struct Housekeeper {
    node: Arc<Node>,
    flushed_at: Instant,
    bytes_at_snapshot: u64,
}

impl Housekeeper {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            flushed_at: Instant::now(),
            bytes_at_snapshot: 0,
        }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut compaction = tokio::time::interval(self.node.config.retention.look_period());
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
        let node = &self.node;
        let (revision, compacted) = (node.engine.revision(), node.engine.compacted_revision());
        let expendable = {
            let mut clock = node.history.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            clock.note(now, revision, compacted);
            clock.expendable(now, revision, node.config.retention)
        };
        let leads = node.views.leadership.borrow().is_some();
        let Some(target) = expendable.filter(|target| leads && *target > compacted) else {
            return;
        };
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
        let tidied = blocking::run(move || if flush { engine.flush() } else { Ok(()) });
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
    /// The age of the oldest change in the history, as far as this server has seen it.
    pub(crate) fn history_age(&self, now: Instant) -> Duration {
        let clock = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        clock.age(now, self.engine.revision(), self.engine.compacted_revision())
    }

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
