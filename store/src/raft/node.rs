//! One replica: consensus, log, state and connections, put together, and the tasks that keep them going.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use openraft::Raft;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::batch::{self, Batcher, Proposal};
use super::config::StoreConfig;
use super::history::Housekeeper;
use super::identity::{Identity, IdentityError};
use super::lease;
use super::log::{LogOpenError, LogStore};
use super::metrics::{ProposalMetrics, ReadMetrics, ReplicaMetrics, SnapshotMetrics};
use super::network::NetworkFactory;
use super::outgoing::Outgoing;
use super::pool::{PeerConnector, PeerPool};
use super::progress::ProgressClock;
use super::read_index::{ReadIndexer, ReadWaiter};
use super::retention::HistoryClock;
use super::snapshot;
use super::state_machine::StateMachine;
use super::turn::Turns;
use super::types::{LogId, MemberNode, TypeConfig};
use super::verify;
use super::view::{ClusterView, Observer, Views};
use super::watchman::{self, Watchman};
use super::{announce, membership, progress};
use crate::blocking;
use crate::engine::{Engine, EngineOptions};
use crate::integrity::Samples;
use crate::kv::KvError;
use crate::limits;
use crate::metrics::{ProcessMetrics, Registry};
use crate::quarantine::{self, Gate};
use crate::space::Space;
use crate::watch::Hub;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory is not this server's.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogOpenError),
    /// The state cannot be used.
    #[error("cannot open the state in {path}")]
    State {
        /// Where.
        path: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The timers or sizes contradict each other.
    #[error("the timers or sizes of the store contradict each other")]
    Config(#[source] Box<openraft::ConfigError>),
    /// Threads or directories could not be made.
    #[error("cannot {doing}")]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The server is quarantined, now or since an earlier run: it must not vote or serve. See
    /// [`quarantined_peer_service`](crate::quarantined_peer_service) for what it still can do.
    #[error("this server is quarantined: {cause}")]
    Quarantined {
        /// Why.
        cause: String,
    },
    /// Consensus did not start.
    #[error("consensus did not start: {0}")]
    Start(String),
}

pub(crate) type RaftHandle = Raft<TypeConfig, StateMachine>;

/// A running replica. All its tasks are on the consensus runtime.
pub(crate) struct Node {
    pub(crate) config: StoreConfig,
    pub(crate) raft: RaftHandle,
    pub(crate) log: LogStore,
    pub(crate) engine: Arc<Engine>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) pool: Arc<PeerPool>,
    pub(crate) views: Views,
    pub(crate) applied: watch::Receiver<Option<LogId>>,
    /// By lane.
    pub(crate) batches: [mpsc::Sender<Proposal>; 3],
    pub(crate) reads: mpsc::UnboundedSender<ReadWaiter>,
    /// By lane, a permit for each unit of [`limits::PROPOSAL_MIN_BYTES`] of the commands under way.
    pub(crate) proposals: [Semaphore; 3],
    /// Changes of the membership are made one after the other.
    pub(crate) membership_change: tokio::sync::Mutex<()>,
    /// One snapshot is received at a time.
    pub(crate) snapshot_turns: Turns,
    /// The snapshots that are being sent.
    pub(crate) outgoing: Weak<Outgoing>,
    /// Closed once this server is quarantined.
    pub(crate) gate: Arc<Gate>,
    /// The hashes of the state that are remembered.
    pub(crate) samples: Arc<Mutex<Samples>>,
    /// How the disk stands.
    pub(crate) space: watch::Sender<Space>,
    /// The age of the history.
    pub(crate) history: Mutex<HistoryClock>,
    /// When this replica last made progress.
    pub(crate) progress: ProgressClock,
    pub(crate) proposal_metrics: Arc<ProposalMetrics>,
    pub(crate) read_metrics: Arc<ReadMetrics>,
    pub(crate) snapshot_metrics: Arc<SnapshotMetrics>,
    /// All metrics of this server's replica.
    pub(crate) metrics: Registry,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What is open before consensus starts.
struct Disk {
    log: LogStore,
    engine: Arc<Engine>,
    /// Whether it can become full.
    is_finite: bool,
}

/// Makes sure that the directory is this server's, and not quarantined.
fn claim(config: &StoreConfig) -> Result<(), OpenError> {
    Identity::new(&config.cluster_id, config.server_id).claim(&config.data_dir, &config.log_dir())?;
    let marked = quarantine::read(&config.data_dir).map_err(|source| OpenError::Io {
        doing: "look for the mark of a quarantine",
        source,
    })?;
    match marked {
        Some(cause) => Err(OpenError::Quarantined { cause }),
        None => Ok(()),
    }
}

fn open_disk(config: &StoreConfig) -> Result<Disk, OpenError> {
    claim(config)?;
    let log = LogStore::open(&config.log_dir(), config.sizes.log_tail_cache_bytes)?.with_faults(config.faults());
    // The open log is the lock on the directory: only now is it certain that no other process uses it.
    prepare_snapshots(config)?;
    let state_dir = config.state_dir();
    let engine = Engine::open(&state_dir, EngineOptions::default()).map_err(|error| OpenError::State {
        path: state_dir.display().to_string(),
        source: error.into(),
    })?;
    Ok(Disk {
        log,
        engine: Arc::new(engine.with_faults(config.faults())),
        is_finite: true,
    })
}

fn raft_config(config: &StoreConfig) -> Result<openraft::Config, OpenError> {
    config.raft_config().map_err(|error| OpenError::Config(Box::new(error)))
}

fn prepare_snapshots(config: &StoreConfig) -> Result<(), OpenError> {
    snapshot::prepare(&config.snapshots_dir()).map_err(|source| OpenError::Io {
        doing: "prepare the directory of received snapshots",
        source,
    })
}

/// Log and state are the simulated machine's; what is written once and synced is in the real directory.
#[cfg(feature = "sim")]
fn open_simulated(config: &StoreConfig, machine: &crate::sim::Machine) -> Result<Disk, OpenError> {
    claim(config)?;
    prepare_snapshots(config)?;
    let engine = Engine::open_kept(machine.state()).map_err(|error| OpenError::State {
        path: "the simulated machine".into(),
        source: error.into(),
    })?;
    let log = machine.open_log(config.sizes.log_tail_cache_bytes)?;
    Ok(Disk {
        log: log.with_faults(config.faults()),
        engine: Arc::new(engine.with_faults(config.faults())),
        is_finite: false,
    })
}

impl Node {
    /// Opens the replica of `config` and starts it. Must run on the consensus runtime.
    pub(crate) async fn start(config: StoreConfig, connector: Arc<dyn PeerConnector>) -> Result<Arc<Self>, OpenError> {
        let raft_config = raft_config(&config)?;
        let for_disk = config.clone();
        let opened = blocking::run(move || open_disk(&for_disk))
            .await
            .map_err(|error| OpenError::Start(error.to_string()))?;
        let disk = opened.map_err(|error| quarantine_if_damaged(&config, error))?;
        Self::start_on(disk, raft_config, config, connector).await
    }

    /// Starts the replica of `config` on a simulated machine, on the present runtime.
    #[cfg(feature = "sim")]
    pub(crate) async fn start_simulated(
        machine: &crate::sim::Machine,
        config: StoreConfig,
        connector: Arc<dyn PeerConnector>,
    ) -> Result<Arc<Self>, OpenError> {
        let raft_config = raft_config(&config)?;
        let disk = open_simulated(&config, machine).map_err(|error| quarantine_if_damaged(&config, error))?;
        Self::start_on(disk, raft_config, config, connector).await
    }

    async fn start_on(
        disk: Disk,
        raft_config: openraft::Config,
        config: StoreConfig,
        connector: Arc<dyn PeerConnector>,
    ) -> Result<Arc<Self>, OpenError> {
        let Disk {
            mut log,
            engine,
            is_finite,
        } = disk;
        verify::agree(&mut log, engine.applied_position().as_ref())
            .await
            .map_err(|cause| quarantined(&config, cause))?;
        let gate = Arc::new(Gate::new(config.data_dir.clone()));
        let samples: Arc<Mutex<Samples>> = Arc::default();
        let hub = Hub::new(engine.clone());
        let pool = Arc::new(PeerPool::new(connector));
        let snapshot_metrics: Arc<SnapshotMetrics> = Arc::default();
        let factory = NetworkFactory {
            own_id: config.server_id,
            pool: pool.clone(),
            snapshot_metrics: snapshot_metrics.clone(),
            faults: config.faults(),
        };
        let (machine, applied) =
            StateMachine::new(engine.clone(), hub.clone(), samples.clone()).map_err(|source| OpenError::Io {
                doing: "read the position of the state",
                source,
            })?;
        let outgoing = machine.outgoing();
        let raft = RaftHandle::new(config.server_id, Arc::new(raft_config), factory, log.clone(), machine)
            .await
            .map_err(|error| OpenError::Start(error.to_string()))?;

        let (observer, views) = Observer::new(gate.clone(), raft.metrics(), applied.clone());
        let (batches, proposals) = batch::queues();
        let (reads, read_waiters) = mpsc::unbounded_channel();
        let node = Arc::new(Self {
            config,
            raft,
            log,
            engine,
            hub,
            pool,
            views,
            applied,
            batches,
            reads,
            proposals: limits::PROPOSALS_IN_FLIGHT_BYTES_BY_LANE
                .map(|bytes| Semaphore::new(bytes / limits::PROPOSAL_MIN_BYTES)),
            membership_change: tokio::sync::Mutex::default(),
            snapshot_turns: Turns::default(),
            outgoing,
            gate,
            samples,
            space: watch::Sender::default(),
            history: Mutex::default(),
            progress: ProgressClock::default(),
            proposal_metrics: Arc::default(),
            read_metrics: Arc::default(),
            snapshot_metrics,
            metrics: Registry::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        node.register_metrics();
        node.spawn(observer.run(node.stop.clone()));
        node.spawn(Batcher::new(node.clone(), proposals).run(node.stop.clone()));
        node.spawn(ReadIndexer::new(node.clone(), read_waiters).run(node.stop.clone()));
        node.spawn(Housekeeper::new(node.clone()).run(node.stop.clone()));
        node.spawn(lease::run(node.clone(), node.stop.clone()));
        node.spawn(Watchman::new(node.clone()).run(node.stop.clone()));
        if is_finite {
            node.spawn(watchman::watch_space(node.clone(), node.stop.clone()));
        }
        node.spawn(leave_when_quarantined(node.clone(), node.stop.clone()));
        node.spawn(membership::finish_changes(node.clone(), node.stop.clone()));
        node.spawn(progress::run(node.clone(), node.stop.clone()));
        node.spawn(announce::run(node.clone(), node.stop.clone()));
        node.spawn(announce::follow_members(node.clone(), node.stop.clone()));
        Ok(node)
    }

    /// Makes this server the only member of a new cluster. Does nothing if it is in one already.
    pub(crate) async fn bootstrap(&self) -> Result<(), OpenError> {
        let failed = |error: String| OpenError::Start(error);
        if self
            .raft
            .is_initialized()
            .await
            .map_err(|error| failed(error.to_string()))?
        {
            return Ok(());
        }
        let members: BTreeMap<u64, MemberNode> = BTreeMap::from([(self.config.server_id, self.config.node.clone())]);
        self.raft
            .initialize(members)
            .await
            .map_err(|error| failed(error.to_string()))
    }

    fn register_metrics(self: &Arc<Self>) {
        self.metrics.register(Arc::new(ReplicaMetrics(Arc::downgrade(self))));
        self.metrics.register(self.proposal_metrics.clone());
        self.metrics.register(self.read_metrics.clone());
        self.metrics.register(self.hub.clone());
        self.metrics.register(self.snapshot_metrics.clone());
        self.metrics.register(Arc::new(ProcessMetrics));
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// What is known of the cluster.
    pub(crate) fn view(&self) -> ClusterView {
        self.views.cluster.borrow().clone()
    }

    /// The leader's id and peer address, if known.
    pub(crate) fn leader(&self) -> Option<(u64, String)> {
        let view = self.views.cluster.borrow();
        let member = view.member(view.leader?)?;
        Some((member.id, member.peer_address.clone()))
    }

    /// The index this replica has applied.
    pub(crate) fn applied_index(&self) -> u64 {
        self.applied.borrow().map_or(0, |id| id.index)
    }

    /// Waits until this replica has applied the log up to `index`.
    pub(crate) async fn wait_applied_index(&self, index: u64, deadline: Instant) -> Result<(), WaitError> {
        if self.applied_index() >= index {
            return Ok(());
        }
        let mut applied = self.applied.clone();
        let reached = applied.wait_for(|id| id.is_some_and(|id| id.index >= index));
        tokio::select! {
            biased;
            reached = reached => reached.map(|_| ()).map_err(|_| WaitError::Stopped),
            () = self.stop.cancelled() => Err(WaitError::Stopped),
            () = tokio::time::sleep_until(deadline) => Err(WaitError::Deadline),
        }
    }

    /// Waits a moment for the view of the cluster to change, at most for `pause`.
    pub(crate) async fn pause(&self, pause: Duration) {
        let mut cluster = self.views.cluster.clone();
        cluster.mark_unchanged();
        tokio::select! {
            _ = cluster.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// The error for "consensus has ended", if it has.
    pub(crate) fn stopped(&self) -> Option<KvError> {
        self.views.cluster.borrow().stopped.clone().map(KvError::Stopped)
    }

    /// Ends everything in order: tasks, consensus, state, log. A second call does nothing.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        let stopping = async {
            self.tasks.wait().await;
            self.raft.shutdown().await
        };
        match tokio::time::timeout(limits::SHUTDOWN_DEADLINE, stopping).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "consensus ended with an error"),
            Err(_) => tracing::warn!("consensus did not end in time"),
        }
        let engine = self.engine.clone();
        let flushed = blocking::run(move || {
            if let Err(error) = engine.flush() {
                // Nothing is lost: what is not flushed is in the log.
                tracing::warn!(%error, "could not flush the state at shutdown");
            }
        });
        if let Err(error) = flushed.await {
            tracing::warn!(%error, "the state was not flushed at shutdown");
        }
        self.log.end().await;
    }

    /// The runtime this runs on.
    pub(crate) fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs `work` to its end, unless `deadline` comes or the leader has changed and a grace is over: then
    /// nobody will answer any more.
    pub(crate) async fn settle<T>(&self, work: impl Future<Output = T>, deadline: Instant) -> Result<T, String> {
        let mut cluster = self.views.cluster.clone();
        let (term, leader) = {
            let view = cluster.borrow_and_update();
            (view.term, view.leader)
        };
        let leader_changed = async {
            let changed = |view: &ClusterView| view.stopped.is_some() || view.term != term || view.leader != leader;
            // An error means that the view is gone, with the store.
            let _ = cluster.wait_for(changed).await;
            tokio::time::sleep(limits::LEADER_CHANGE_GRACE).await;
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = leader_changed => Err("the leader changed while the write was under way".into()),
            () = tokio::time::sleep_until(deadline) => Err("no answer came in time".into()),
        }
    }
}

/// Turns the failure to open damaged data into a quarantine.
fn quarantine_if_damaged(config: &StoreConfig, error: OpenError) -> OpenError {
    let cause = match &error {
        OpenError::Log(LogOpenError::Quarantined { what, .. }) => format!("its log is damaged: {what}"),
        OpenError::State { .. } if quarantine::is_damage(&quarantine::whole(&error)) => quarantine::whole(&error),
        _ => return error,
    };
    quarantined(config, cause)
}

fn quarantined(config: &StoreConfig, cause: String) -> OpenError {
    tracing::error!(cause, "this server is quarantined: it takes no part");
    if let Err(error) = quarantine::mark(&config.data_dir, &cause) {
        // It is damaged all the same, and will be found so again.
        tracing::error!(%error, "the mark of the quarantine could not be written");
    }
    OpenError::Quarantined { cause }
}

/// Once this server is quarantined, consensus ends on it, and with it every watch.
async fn leave_when_quarantined(node: Arc<Node>, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        _ = node.gate.closed() => {}
    }
    node.hub.close();
    if let Err(error) = node.raft.shutdown().await {
        tracing::warn!(%error, "consensus ended with an error");
    }
}

/// Why a wait for an index ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitError {
    /// The deadline came.
    Deadline,
    /// The store stopped.
    Stopped,
}

/// The consensus runtime: its own few threads, so that no list of objects delays a heartbeat (D8).
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, OpenError> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads((processors / 2).clamp(1, limits::CONSENSUS_THREADS_MAX))
        .thread_name("raft-worker")
        .enable_all()
        .build()
        .map_err(|source| OpenError::Io {
            doing: "start the threads of consensus",
            source,
        })
}

/// Runs `future` on the consensus runtime from anywhere.
pub(crate) async fn on<T: Send + 'static>(
    handle: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, OpenError> {
    handle
        .spawn(future)
        .await
        .map_err(|error| OpenError::Start(error.to_string()))
}
