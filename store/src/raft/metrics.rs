//! What is counted of consensus and of what goes through it, and what the replica stands at when somebody asks.

use std::sync::Weak;

use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use trireme_mvcc::alarm::AlarmKind;

use super::node::Node;
use super::view::Role;
use crate::lanes::LaneUse;
use crate::limits;
use crate::metrics::{Collect, Counter, Histogram, Level, Page};

/// Bounds of the sizes of batches, in commands.
const BATCH_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// Of writes on their way to the log.
#[derive(Debug)]
pub(crate) struct ProposalMetrics {
    /// Commands under way.
    pub(crate) in_flight: Level,
    /// Commands that were refused because too much was under way.
    pub(crate) refused: Counter,
    /// Commands in each batch.
    pub(crate) batches: Histogram,
}

impl Default for ProposalMetrics {
    fn default() -> Self {
        Self {
            in_flight: Level::default(),
            refused: Counter::default(),
            batches: Histogram::of_numbers(BATCH_BOUNDS),
        }
    }
}

impl Collect for ProposalMetrics {
    fn collect(&self, page: &mut Page) {
        page.level(
            "trireme_store_proposals_in_flight",
            "Writes that this server has accepted and not answered yet.",
            &self.in_flight,
        );
        page.counter(
            "trireme_store_proposals_refused_total",
            "Writes that were refused because too much was under way.",
            &self.refused,
        );
        page.histogram(
            "trireme_store_proposal_batch_size",
            "Writes in each batch that went to the leader.",
            &self.batches,
        );
    }
}

/// Of linearizable reads.
#[derive(Debug, Default)]
pub(crate) struct ReadMetrics {
    /// Rounds that found a read index.
    pub(crate) rounds: Counter,
    /// Reads that shared them.
    pub(crate) reads: Counter,
    /// Reads that wait for a round.
    pub(crate) waiting: Level,
}

impl Collect for ReadMetrics {
    fn collect(&self, page: &mut Page) {
        page.counter(
            "trireme_store_read_index_rounds_total",
            "Rounds in which this server asked how far it must have applied for linearizable reads.",
            &self.rounds,
        );
        page.counter(
            "trireme_store_read_index_reads_total",
            "Linearizable reads that shared these rounds.",
            &self.reads,
        );
        page.level(
            "trireme_store_read_index_waiting",
            "Linearizable reads that wait for a round.",
            &self.waiting,
        );
    }
}

/// Of snapshots between servers.
#[derive(Debug, Default)]
pub(crate) struct SnapshotMetrics {
    /// Transfers that came over.
    pub(crate) sent: Counter,
    /// Transfers that went on where they had broken off.
    pub(crate) resumed: Counter,
    /// Bytes given to the network.
    pub(crate) sent_bytes: Counter,
    /// Snapshots that were received and installed.
    pub(crate) received: Counter,
    /// Bytes received.
    pub(crate) received_bytes: Counter,
}

impl Collect for SnapshotMetrics {
    fn collect(&self, page: &mut Page) {
        page.counter(
            "trireme_store_snapshots_sent_total",
            "Snapshots that this server has brought over to another.",
            &self.sent,
        );
        page.counter(
            "trireme_store_snapshots_resumed_total",
            "Transfers of snapshots that broke off and went on where they were.",
            &self.resumed,
        );
        page.counter(
            "trireme_store_snapshot_sent_bytes_total",
            "Bytes of snapshots that this server has sent.",
            &self.sent_bytes,
        );
        page.counter(
            "trireme_store_snapshots_received_total",
            "Snapshots that this server has received and installed.",
            &self.received,
        );
        page.counter(
            "trireme_store_snapshot_received_bytes_total",
            "Bytes of snapshots that this server has received.",
            &self.received_bytes,
        );
    }
}

/// What the replica stands at. It counts nothing itself.
pub(crate) struct ReplicaMetrics(pub(crate) Weak<Node>);

impl Collect for ReplicaMetrics {
    fn collect(&self, page: &mut Page) {
        // The node owns the page's registry, so it is there, or going.
        let Some(node) = self.0.upgrade() else { return };
        consensus(&node, page);
        state(&node, page);
        log(&node, page);
        lanes(&node, page);
        trouble(&node, page);
    }
}

fn consensus(node: &Node, page: &mut Page) {
    let view = node.view();
    let metrics = node.raft.metrics();
    let (committed, last) = {
        let metrics = metrics.borrow_watched();
        (
            metrics.local_committed.map_or(0, |id| id.index),
            metrics.last_log_index.unwrap_or(0),
        )
    };
    let is = |yes: bool| f64::from(u8::from(yes));
    page.gauge("trireme_store_raft_term", "The term of consensus.", view.term as f64);
    page.gauge(
        "trireme_store_raft_is_leader",
        "Whether this server leads.",
        is(view.role == Role::Leader),
    );
    page.gauge(
        "trireme_store_raft_has_leader",
        "Whether this server knows of a leader.",
        is(view.leader.is_some()),
    );
    page.counter(
        "trireme_store_raft_leader_changes_total",
        "How often this server saw another server lead than before, the first one included.",
        &node.views.leader_changes,
    );
    page.gauge(
        "trireme_store_raft_members",
        "Servers of the cluster, learners included.",
        view.members.len() as f64,
    );
    page.gauge(
        "trireme_store_raft_last_index",
        "The last entry of the log here.",
        last as f64,
    );
    page.gauge(
        "trireme_store_raft_committed_index",
        "The last entry that this server knows to be committed.",
        committed as f64,
    );
    page.gauge(
        "trireme_store_raft_applied_index",
        "The last entry that is applied here.",
        node.applied_index() as f64,
    );
    page.gauge(
        "trireme_store_leases",
        "Leases whose time this server keeps; 0 unless it leads.",
        node.engine.leases().count() as f64,
    );
    let free: usize = node.proposals.iter().map(Semaphore::available_permits).sum();
    let taken = limits::PROPOSALS_IN_FLIGHT_BYTES / limits::PROPOSAL_MIN_BYTES - free;
    page.gauge(
        "trireme_store_proposals_in_flight_bytes",
        "What the writes under way count for against the bound on them.",
        (taken * limits::PROPOSAL_MIN_BYTES) as f64,
    );
}

fn state(node: &Node, page: &mut Page) {
    let (revision, compacted) = (node.engine.revision(), node.engine.compacted_revision());
    page.gauge(
        "trireme_store_revision",
        "The revision that this server stands at.",
        revision as f64,
    );
    page.gauge(
        "trireme_store_compacted_revision",
        "The oldest revision that can be read; 0 before the first compaction.",
        compacted as f64,
    );
    page.gauge(
        "trireme_store_history_age_seconds",
        "The age of the oldest change in the history, as far as this server has seen it.",
        node.history_age(Instant::now()).as_secs_f64(),
    );
    let used = match node.engine.state_use() {
        Ok(used) => used,
        Err(error) => {
            // A failure of the storage is dealt with elsewhere; a number that is not known is not told.
            tracing::warn!(%error, "what the state takes cannot be told");
            return;
        }
    };
    page.gauge(
        "trireme_store_live_keys",
        "Keys that live at the present revision.",
        used.live_keys as f64,
    );
    page.gauge(
        "trireme_store_live_bytes",
        "Their size with their values.",
        used.live_bytes as f64,
    );
    page.gauge(
        "trireme_store_history_revisions",
        "Revisions that can be read and watched from.",
        used.history_revisions as f64,
    );
    page.gauge(
        "trireme_store_history_bytes",
        "What the history and the index take beside what is live, estimated.",
        used.content_bytes.saturating_sub(used.live_bytes) as f64,
    );
    page.gauge(
        "trireme_store_unremoved_revisions",
        "Revisions that are compacted away but not removed from the disk yet.",
        used.unremoved_revisions as f64,
    );
    page.gauge(
        "trireme_store_database_bytes",
        "What the state's database takes on disk and in memory.",
        used.database_bytes as f64,
    );
}

fn log(node: &Node, page: &mut Page) {
    let counters = node.log.counters();
    let used = counters.read();
    page.gauge(
        "trireme_store_log_first_index",
        "The first entry that the log still has.",
        node.log.first_index() as f64,
    );
    let sending = node.outgoing.upgrade().and_then(|outgoing| outgoing.sending_index());
    page.gauge(
        "trireme_store_snapshot_sending_index",
        "The last entry in the snapshot that this server sends, or will as soon as a server is back; 0 if none. The log is not cut meanwhile.",
        sending.unwrap_or(0) as f64,
    );
    page.count(
        "trireme_store_log_written_bytes_total",
        "Bytes of entries that were appended to the log.",
        used.bytes,
    );
    page.count(
        "trireme_store_log_entries_total",
        "Entries that were appended to the log.",
        used.entries,
    );
    page.histogram(
        "trireme_store_log_sync_seconds",
        "How long each write of the log and its sync took.",
        &counters.sync_times,
    );
}

fn lanes(node: &Node, page: &mut Page) {
    let lanes = node.engine.lanes().usage().by_lane();
    let each = |of: fn(LaneUse) -> u64| lanes.map(|(lane, usage)| (lane.name(), of(usage)));
    let gauge = |of| each(of).map(|(lane, value)| (lane, value as f64));
    page.gauges(
        "trireme_store_lane_seats_in_use",
        "Requests that are worked on, by lane.",
        "lane",
        gauge(|usage| usage.seats_in_use),
    );
    page.gauges(
        "trireme_store_lane_waiting",
        "Requests that wait for a seat, by lane.",
        "lane",
        gauge(|usage| usage.waiting),
    );
    page.gauges(
        "trireme_store_lane_answer_bytes",
        "Answers that clients have not taken yet, by lane.",
        "lane",
        gauge(|usage| usage.answer_bytes),
    );
    page.counts(
        "trireme_store_lane_admitted_total",
        "How often a request was given a seat, by lane; large ones once a slice.",
        "lane",
        each(|usage| usage.admitted),
    );
    page.counts(
        "trireme_store_lane_refused_total",
        "Requests that were refused because their lane was full, by lane.",
        "lane",
        each(|usage| usage.refused),
    );
}

fn trouble(node: &Node, page: &mut Page) {
    let alarms = node.engine.alarms();
    let raised = |kind: AlarmKind| alarms.iter().filter(|alarm| alarm.kind == kind).count() as f64;
    page.gauges(
        "trireme_store_alarms",
        "Alarms that are raised in the cluster, by kind.",
        "kind",
        [
            ("NoSpace", raised(AlarmKind::NoSpace)),
            ("Corrupt", raised(AlarmKind::Corrupt)),
        ],
    );
    page.gauge(
        "trireme_store_quarantined",
        "Whether this server is quarantined because its data is damaged.",
        f64::from(u8::from(node.gate.cause().is_some())),
    );
    page.gauge(
        "trireme_store_space_left_bytes",
        "What this server's disk has left.",
        node.space.borrow().free_bytes as f64,
    );
}
