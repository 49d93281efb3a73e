//! [`Store`]: the handle to this server's replica, and its implementation of [`Kv`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tonic::service::Routes;
use trireme_mvcc::alarm::{Alarm, AlarmKind};
use trireme_mvcc::command::Command;
use trireme_mvcc::outcome::Outcome;

use crate::backup::{self, Backup, BackupHeader, BackupMember};
use crate::engine::sliced::encode_nothing;
use crate::engine::{EngineError, StateUse};
use crate::kv::{
    About, Consistency, HashKv, KeyRange, Kv, KvError, Leadership, LeaseGranted, LeaseStatus, Leases, RangeRequest,
    RangeResponse, Revision, Txn, TxnResponse, WatchRequest, Watcher,
};
use crate::lanes::{Asker, Lane, Lanes, LanesUse, in_turns};
use crate::metrics::Page;
use crate::raft::PinnedExport;
use crate::raft::{
    self, Change, LeaseQuestion, LeaseTime, Member, MemberNode, MembershipError, Node, OpenError, PeerConnector, Role,
    StoreConfig,
};
use crate::server::etcd::DirectKv;
use crate::space::Space;
use crate::{limits, server};

/// This server's replica of the store.
///
/// Consensus runs on a runtime of its own, which the handle owns: [`peer_service`](Self::peer_service)
/// must be hosted on [`consensus_runtime`](Self::consensus_runtime). Everything else may be called from
/// any tokio runtime. Call [`shutdown`](Self::shutdown) to end it; a dropped store just stops, as if its
/// process had been killed, and loses nothing. It must not be dropped on the consensus runtime, whose end it waits for.
pub struct Store {
    node: Arc<Node>,
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("server_id", &self.node.config.server_id)
            .finish_non_exhaustive()
    }
}

/// How a replica stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// This server's Raft id.
    pub id: u64,
    /// What it is.
    pub role: Role,
    /// The term it is in.
    pub term: u64,
    /// Who leads, if that is known.
    pub leader_id: Option<u64>,
    /// The index of the first log entry that it still has.
    pub first_log_index: u64,
    /// The index of the last log entry it has.
    pub last_log_index: u64,
    /// The index of the last log entry it has applied.
    pub applied_index: u64,
    /// The revision it has applied.
    pub applied_revision: Revision,
    /// The index that `state_hash` is of. It may differ from `applied_index`, which moves on.
    pub state_hash_index: u64,
    /// A hash over everything applied up to `state_hash_index`, in hexadecimal; the same on every server at the
    /// same index (I2).
    pub state_hash: String,
    /// How long ago it last made progress: applied an entry, or received a part of a snapshot.
    pub idle: Duration,
    /// How full the lanes are in which it works for others.
    pub lanes: LanesUse,
}

/// What the log has cost so far, since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogUse {
    /// Syncs of the disk.
    pub syncs: u64,
    /// Entries appended.
    pub entries: u64,
    /// Bytes of entries appended.
    pub bytes: u64,
}

impl Store {
    /// Opens the replica in `config.data_dir` and lets it take part: a server that is a member goes on, one that
    /// has been added as a learner waits for the leader.
    ///
    /// # Errors
    /// [`OpenError`]: the directory is not this server's, damaged, or in use.
    pub async fn open(config: StoreConfig, connector: Arc<dyn PeerConnector>) -> Result<Self, OpenError> {
        let runtime = raft::runtime()?;
        let handle = runtime.handle().clone();
        match raft::on(&handle, Node::start(config, connector))
            .await
            .and_then(|started| started)
        {
            Ok(node) => Ok(Self::of(node, handle, Some(runtime))),
            Err(error) => {
                end_threads(runtime).await;
                Err(error)
            }
        }
    }

    /// A handle to `node`, which runs on `handle`'s runtime: on `runtime`, if that is the handle's own.
    pub(crate) fn of(node: Arc<Node>, handle: Handle, runtime: Option<Runtime>) -> Self {
        Self {
            node,
            handle,
            runtime: Mutex::new(runtime),
        }
    }

    /// Opens the replica of the first server, and makes it a cluster of one if it is new.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn bootstrap_cluster(config: StoreConfig, connector: Arc<dyn PeerConnector>) -> Result<Self, OpenError> {
        let store = Self::open(config, connector).await?;
        let node = store.node.clone();
        raft::on(&store.handle, async move { node.bootstrap().await })
            .await
            .and_then(|done| done)?;
        Ok(store)
    }

    /// The service that the other servers call. Host it on [`consensus_runtime`](Self::consensus_runtime), for
    /// servers of this cluster only.
    pub fn peer_service(&self) -> Routes {
        server::routes(self.node.clone())
    }

    /// etcd's API over this replica, and the same for its most frequent calls without the detours of a general service: ask
    /// that first. Host both for administrators only, on the tokio runtime that this is called on.
    pub fn etcd_service(self: &Arc<Self>) -> (Routes, DirectKv) {
        server::etcd::routes(self.clone())
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The runtime that consensus runs on.
    pub fn consensus_runtime(&self) -> Handle {
        self.handle.clone()
    }

    /// This server's Raft id.
    pub fn server_id(&self) -> u64 {
        self.node.config.server_id
    }

    /// How this replica stands.
    pub fn status(&self) -> StoreStatus {
        let view = self.node.view();
        let (state_hash_index, hash) = self.node.engine.state_hash();
        StoreStatus {
            id: self.server_id(),
            role: view.role,
            term: view.term,
            leader_id: view.leader,
            first_log_index: self.node.log.first_index(),
            last_log_index: self.node.log.last_index(),
            applied_index: self.node.applied_index(),
            applied_revision: self.node.engine.revision(),
            state_hash_index,
            state_hash: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            idle: self.node.progress.idle(),
            lanes: self.lanes_use(),
        }
    }

    /// What the state takes, and for what.
    ///
    /// # Errors
    /// [`KvError::Stopped`] if the storage failed.
    pub fn state_use(&self) -> Result<StateUse, KvError> {
        let found = self.node.engine.state_use();
        found.map_err(|error| KvError::Stopped(error.to_string()))
    }

    /// Removes what is compacted away from this server's disk, now instead of bit by bit. It still pauses for others.
    ///
    /// # Errors
    /// [`KvError::Stopped`] if the storage failed.
    pub async fn remove_compacted(&self) -> Result<(), KvError> {
        let failed = |error: EngineError| KvError::Stopped(error.to_string());
        while self.node.engine.remove_compacted().await.map_err(failed)? {}
        Ok(())
    }

    /// How full the lanes are in which this server works for others.
    pub fn lanes_use(&self) -> LanesUse {
        self.node.engine.lanes().usage()
    }

    /// What the log has cost.
    pub fn log_use(&self) -> LogUse {
        self.node.log.counters().read()
    }

    /// What all metrics of this replica stand at, and those of the process. To be called within a tokio runtime.
    pub async fn metrics(&self) -> Page {
        let node = self.node.clone();
        let made = tokio::task::spawn_blocking(move || node.metrics.page()).await;
        // It ends early only with the runtime, and then nobody reads it.
        made.unwrap_or_default()
    }

    /// The members, ordered by id, as this server knows them.
    pub fn members(&self) -> Vec<Member> {
        self.node.view().members.to_vec()
    }

    /// The members, now and whenever they change.
    pub fn members_watch(&self) -> watch::Receiver<Arc<Vec<Member>>> {
        self.node.views.members.clone()
    }

    /// The member that leads, if it is known.
    pub fn leader(&self) -> Option<Member> {
        let view = self.node.view();
        view.member(view.leader?).cloned()
    }

    /// Waits until some server leads, at most for [`limits::LEADER_WAIT`].
    ///
    /// # Errors
    /// [`KvError::Unavailable`], [`KvError::Stopped`].
    pub async fn wait_for_leader(&self) -> Result<Member, KvError> {
        let mut cluster = self.node.views.cluster.clone();
        let found = cluster
            .wait_for(|view| view.stopped.is_some() || view.leader.is_some_and(|leader| view.member(leader).is_some()));
        match tokio::time::timeout(limits::LEADER_WAIT, found).await {
            Ok(Ok(view)) => view
                .leader
                .and_then(|leader| view.member(leader).cloned())
                .ok_or_else(|| KvError::Stopped(view.stopped.clone().unwrap_or_default())),
            Ok(Err(_)) => Err(KvError::Stopped("the store has been shut down".into())),
            Err(_) => Err(KvError::Unavailable("no server has become the leader in time".into())),
        }
    }

    /// Waits until consensus has ended on this server, whatever the cause, and says why. If nobody has shut it
    /// down, the process should end with that, and be started again: it can do nothing any more.
    pub async fn stopped(&self) -> String {
        let mut cluster = self.node.views.cluster.clone();
        match cluster.wait_for(|view| view.stopped.is_some()).await {
            Ok(view) => view.stopped.clone().unwrap_or_default(),
            Err(_) => "consensus has ended".into(),
        }
    }

    /// Why this server is quarantined, if it is. It then takes no part any more, now or after a restart: see
    /// [`quarantined_peer_service`](crate::quarantined_peer_service).
    pub fn quarantined(&self) -> Option<String> {
        self.node.gate.cause()
    }

    /// The alarms that are raised, as far as this server knows.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.node.engine.alarms()
    }

    /// Raises an alarm. Returns whether it was not raised yet.
    ///
    /// # Errors
    /// [`KvError`], as any write.
    pub async fn set_alarm(&self, alarm: Alarm) -> Result<bool, KvError> {
        self.node.raise_alarm(alarm).await
    }

    /// Clears an alarm. Returns whether it was raised. One whose cause goes on is raised again.
    ///
    /// # Errors
    /// [`KvError`], as any write.
    pub async fn clear_alarm(&self, kind: AlarmKind, member: u64) -> Result<bool, KvError> {
        self.node.clear_alarm(kind, member).await
    }

    /// Gives a backup of this server's replica as it is now. Writes go on meanwhile. A replica that is behind gives an older
    /// state: wait with [`Kv::range`], linearizably, for the latest.
    ///
    /// # Errors
    /// [`KvError::Stopped`].
    pub async fn backup(&self) -> Result<Backup, KvError> {
        if let Some(cause) = self.quarantined() {
            return Err(KvError::Stopped(format!("it is quarantined: {cause}")));
        }
        let failed = |error: String| KvError::Stopped(format!("the backup could not be made: {error}"));
        let engine = self.node.engine.clone();
        let estimated_bytes = engine.estimated_bytes();
        let export = raft::on(&self.handle, PinnedExport::start(engine))
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))?;
        let pieces = export.read_from(0).map_err(|error| failed(error.to_string()))?;
        let members = self.members().into_iter().map(|member| BackupMember {
            id: member.id,
            name: member.name,
        });
        let at = export.header();
        let index = at.position.as_ref().map_or(0, |position| position.index);
        let header = BackupHeader::new(&self.node.config.cluster_id, at.revision, index, members.collect());
        Ok(Backup {
            stream: in_turns(self.node.engine.lanes(), backup::stream(&header, pieces)),
            header,
            estimated_bytes,
        })
    }

    /// How this server's disk stands.
    pub fn space(&self) -> Space {
        *self.node.space.borrow()
    }

    /// This server's leadership: `Some` once it leads and has applied an entry of its own term, and so everything
    /// that was acknowledged before. Loops that decide run while it is `Some`, and put it into their writes.
    pub fn leadership(&self) -> watch::Receiver<Option<Leadership>> {
        self.node.views.leadership.clone()
    }

    /// Gives out a server id that was never used before.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn allocate_server_id(&self) -> Result<u64, MembershipError> {
        self.change(Change::AllocateId).await
    }

    /// Adds server `id` as a learner, or corrects the addresses of a member of that name.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn add_learner(&self, id: u64, node: MemberNode) -> Result<(), MembershipError> {
        self.change(Change::AddLearner(id, node)).await.map(drop)
    }

    /// Makes the learner `id` a voter, once it has caught up. Does nothing if it is one.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn promote(&self, id: u64) -> Result<(), MembershipError> {
        self.change(Change::Promote(id)).await.map(drop)
    }

    /// Makes the learner `id` a voter if it has caught up; does not wait for it. Does nothing if it is one.
    ///
    /// # Errors
    /// [`MembershipError::Refused`] if it has not.
    pub async fn promote_ready(&self, id: u64) -> Result<(), MembershipError> {
        self.change(Change::PromoteReady(id)).await.map(drop)
    }

    /// Removes the member `id` for good. It must not come back under this id.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn remove(&self, id: u64) -> Result<(), MembershipError> {
        self.change(Change::Remove(id)).await.map(drop)
    }

    /// Hands the lead to the voter `to`.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn transfer_leadership(&self, to: u64) -> Result<(), MembershipError> {
        self.change(Change::TransferLeadership(to)).await.map(drop)
    }

    /// Ends the replica: no request is taken any more, the state is flushed, the log is closed. What was
    /// acknowledged is kept whether or not this is called.
    pub async fn shutdown(&self) {
        let node = self.node.clone();
        if raft::on(&self.handle, async move { node.shutdown().await })
            .await
            .is_err()
        {
            // The runtime is gone already: an earlier call has ended everything.
            return;
        }
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            end_threads(runtime).await;
        }
    }

    /// Cancels all that a dropped future must not cancel: changes run on the consensus runtime to their end.
    async fn change(&self, change: Change) -> Result<u64, MembershipError> {
        let node = self.node.clone();
        raft::on(&self.handle, async move { node.change_members(change).await })
            .await
            .unwrap_or_else(|error| Err(MembershipError::Unavailable(error.to_string())))
    }

    /// Carries out a transaction that only reads: on this replica, without an entry of the log.
    pub(crate) async fn look(&self, txn: Txn, consistency: Consistency) -> Result<TxnResponse, KvError> {
        self.fresh(consistency).await?;
        self.node.engine.read_txn(txn).await
    }

    /// Waits for what `consistency` asks for.
    pub(crate) async fn fresh(&self, consistency: Consistency) -> Result<(), KvError> {
        // Not even what needs no other server may be read from a replica that cannot be trusted.
        if let Some(cause) = self.quarantined() {
            return Err(KvError::Stopped(format!("it is quarantined: {cause}")));
        }
        match consistency {
            Consistency::Linearizable => self.node.linearizable().await,
            Consistency::Serializable => Ok(()),
            Consistency::AtLeast(revision) => {
                let waited = self.node.hub.wait_applied(revision);
                tokio::time::timeout(limits::READ_DEADLINE, waited)
                    .await
                    .unwrap_or_else(|_| {
                        Err(KvError::FutureRevision {
                            requested: revision,
                            current: self.applied_revision(),
                        })
                    })
            }
        }
    }
}

/// Waits for the threads of consensus to end, at most for [`limits::SHUTDOWN_DEADLINE`].
async fn end_threads(runtime: Runtime) {
    // A runtime must not be dropped where blocking is not allowed.
    let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(limits::SHUTDOWN_DEADLINE));
    if let Err(error) = ended.await {
        tracing::warn!(%error, "the threads of consensus did not end cleanly");
    }
}

impl Drop for Store {
    /// Ends consensus at once and waits for its threads, at most for [`limits::SHUTDOWN_DEADLINE`].
    ///
    /// A thread that is still in the database when the process exits would find the database's own globals destroyed,
    /// and abort the process.
    fn drop(&mut self) {
        self.node.stop_token().cancel();
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(runtime) = runtime else { return };
        // A runtime must not be waited for on a thread that runs tasks, which this one may be.
        let ended = std::thread::spawn(move || runtime.shutdown_timeout(limits::SHUTDOWN_DEADLINE)).join();
        if ended.is_err() {
            tracing::warn!("the threads of consensus did not end cleanly");
        }
    }
}

#[async_trait]
impl Kv for Store {
    async fn range(&self, request: RangeRequest, consistency: Consistency) -> Result<RangeResponse, KvError> {
        self.fresh(consistency).await?;
        self.node.engine.read_range(request).await
    }

    async fn txn(&self, txn: Txn, fence: Option<Leadership>) -> Result<TxnResponse, KvError> {
        // Only loops of the cluster itself decide under a leadership.
        let lane = if fence.is_some() { Lane::System } else { Lane::Users };
        self.txn_in(lane, txn, fence).await
    }

    async fn txn_in(&self, lane: Lane, txn: Txn, fence: Option<Leadership>) -> Result<TxnResponse, KvError> {
        // Whether a leadership still stands only the log can tell.
        if fence.is_none() && txn.is_read_only() {
            return self.look(txn, Consistency::Linearizable).await;
        }
        let command = Command::Txn {
            txn,
            fence_term: fence.map(|leadership| leadership.term),
        };
        match self.node.propose_in(lane, command.check_and_encode()?).await? {
            Outcome::Txn(response) => Ok(response),
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(wrong_answer()),
        }
    }

    async fn count_in(&self, asker: Asker, range: KeyRange, revision: Revision) -> Result<u64, KvError> {
        self.fresh(Consistency::Serializable).await?;
        let request = RangeRequest {
            revision,
            count_only: true,
            ..RangeRequest::latest(range)
        };
        let (counted, _) = self.node.engine.read_sliced(asker, request, encode_nothing).await?;
        Ok(counted.count.unwrap_or(0))
    }

    fn lanes(&self) -> Option<&Arc<Lanes>> {
        Some(self.node.engine.lanes())
    }

    async fn watch(&self, request: WatchRequest) -> Result<Box<dyn Watcher>, KvError> {
        self.node.hub.watch(request)
    }

    async fn watch_about(&self, request: WatchRequest, about: About) -> Result<Box<dyn Watcher>, KvError> {
        self.node.hub.watch_about(request, about)
    }

    async fn compact(&self, revision: Revision) -> Result<(), KvError> {
        match self
            .node
            .propose(Command::Compact { revision }.check_and_encode()?)
            .await?
        {
            Outcome::Compacted => Ok(()),
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(wrong_answer()),
        }
    }

    async fn hash_kv(&self, revision: Revision) -> Result<HashKv, KvError> {
        self.node.engine.read_hash_kv(revision).await
    }

    fn applied_revision(&self) -> Revision {
        self.node.engine.revision()
    }

    async fn wait_applied(&self, revision: Revision) -> Result<(), KvError> {
        self.node.hub.wait_applied(revision).await
    }
}

#[async_trait]
impl Leases for Store {
    async fn grant(&self, id: i64, ttl_s: i64) -> Result<LeaseGranted, KvError> {
        let ttl_s = ttl_s.max(limits::LEASE_TTL_MIN_S);
        let command = Command::LeaseGrant { id, ttl_s };
        match self.node.propose_in(Lane::Users, command.check_and_encode()?).await? {
            Outcome::LeaseGranted { id, ttl_s, revision } => Ok(LeaseGranted { id, ttl_s, revision }),
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(wrong_answer()),
        }
    }

    async fn revoke(&self, id: i64) -> Result<Revision, KvError> {
        if id == 0 {
            return Err(KvError::LeaseNotFound { id });
        }
        let command = Command::LeaseRevoke { id, fence_term: None };
        match self.node.propose_in(Lane::Users, command.check_and_encode()?).await? {
            Outcome::LeaseRevoked { revision } => Ok(revision),
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(wrong_answer()),
        }
    }

    async fn keep_alive(&self, id: i64) -> Result<Option<i64>, KvError> {
        let time = self.ask_about_lease(id, LeaseQuestion::KeepAlive).await?;
        Ok(time.map(|time| time.granted_ttl_s))
    }

    async fn time_to_live(&self, id: i64, keys: bool) -> Result<Option<LeaseStatus>, KvError> {
        let Some(time) = self.ask_about_lease(id, LeaseQuestion::TimeToLive).await? else {
            return Ok(None);
        };
        let keys = if keys {
            self.fresh(Consistency::Linearizable).await?;
            self.node.engine.read_attached_keys(id).await?
        } else {
            Vec::new()
        };
        Ok(Some(LeaseStatus {
            granted_ttl_s: time.granted_ttl_s,
            remaining_ttl_s: time.remaining_ttl_s,
            keys,
        }))
    }

    async fn leases(&self) -> Result<Vec<i64>, KvError> {
        self.fresh(Consistency::Linearizable).await?;
        let leases = self.node.engine.read_leases().await?;
        Ok(leases.into_iter().map(|(id, _)| id).collect())
    }
}

impl Store {
    async fn ask_about_lease(&self, id: i64, question: LeaseQuestion) -> Result<Option<LeaseTime>, KvError> {
        let node = self.node.clone();
        raft::on(&self.handle, async move { node.ask_about_lease(id, question).await })
            .await
            .unwrap_or_else(|error| Err(KvError::Stopped(error.to_string())))
    }
}

/// The leader answered, but with something else than what was asked for. That is a bug or another version.
fn wrong_answer() -> KvError {
    KvError::UnknownOutcome("the state machine's answer does not fit the command".into())
}
