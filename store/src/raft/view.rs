//! What this server knows of the cluster, as one small value that others wait on.
//!
//! One task condenses openraft's metrics, which change with every batch, into this, which changes
//! only when something has happened. It decides nothing.

use std::sync::Arc;

use openraft::RaftMetrics;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::Fatal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::history::storage_failed;
use super::types::{LogId, MemberNode, StoredMembership, TypeConfig};
use crate::kv::Leadership;
use crate::metrics::Counter;
use crate::quarantine::Gate;

/// What a server is in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It leads.
    Leader,
    /// It votes, and follows or is standing for election.
    Follower,
    /// It has a replica but no vote.
    Learner,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Leader => "Leader",
            Self::Follower => "Follower",
            Self::Learner => "Learner",
        })
    }
}

/// One server of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its Raft id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where clients reach it, `host:port`.
    pub api_address: String,
    /// Where the other servers reach it, `host:port`.
    pub peer_address: String,
    /// Whether it votes; if not, it is a learner.
    pub voter: bool,
}

/// What is known of the cluster here and now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterView {
    /// The term.
    pub(crate) term: u64,
    /// What this server is.
    pub(crate) role: Role,
    /// Who leads, if that is known.
    pub(crate) leader: Option<u64>,
    /// All members, ordered by id.
    pub(crate) members: Arc<Vec<Member>>,
    /// Why consensus has ended on this server, if it has.
    pub(crate) stopped: Option<String>,
}

impl ClusterView {
    fn of(metrics: &RaftMetrics<TypeConfig>, members: Arc<Vec<Member>>) -> Self {
        let role = if metrics.state.is_leader() {
            Role::Leader
        } else if members.iter().any(|member| member.id == metrics.id && member.voter) {
            Role::Follower
        } else {
            Role::Learner
        };
        Self {
            term: metrics.current_term,
            role,
            leader: metrics.current_leader,
            members,
            stopped: metrics.running_state.as_ref().err().map(ToString::to_string),
        }
    }

    /// The member `id`.
    pub(crate) fn member(&self, id: u64) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }
}

fn members(stored: &StoredMembership) -> Vec<Member> {
    let voters: std::collections::BTreeSet<u64> = stored.voter_ids().collect();
    stored
        .nodes()
        .map(
            |(
                id,
                MemberNode {
                    name,
                    api_address,
                    peer_address,
                },
            )| Member {
                id: *id,
                name: name.clone(),
                api_address: api_address.clone(),
                peer_address: peer_address.clone(),
                voter: voters.contains(id),
            },
        )
        .collect()
}

/// The ends that others read.
#[derive(Debug, Clone)]
pub(crate) struct Views {
    /// Everything.
    pub(crate) cluster: watch::Receiver<ClusterView>,
    /// This server's leadership, once it may act on it.
    pub(crate) leadership: watch::Receiver<Option<Leadership>>,
    /// The members alone.
    pub(crate) members: watch::Receiver<Arc<Vec<Member>>>,
    /// How often another server led than before.
    pub(crate) leader_changes: Arc<Counter>,
}

type Metrics = WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>;

/// Keeps the views up to date.
pub(crate) struct Observer {
    gate: Arc<Gate>,
    metrics: Metrics,
    applied: watch::Receiver<Option<LogId>>,
    membership: Arc<StoredMembership>,
    cluster: watch::Sender<ClusterView>,
    leadership: watch::Sender<Option<Leadership>>,
    members: watch::Sender<Arc<Vec<Member>>>,
    leader_changes: Arc<Counter>,
    last_leader: Option<u64>,
}

impl Observer {
    /// An observer, and the views it will keep.
    pub(crate) fn new(gate: Arc<Gate>, metrics: Metrics, applied: watch::Receiver<Option<LogId>>) -> (Self, Views) {
        let (membership, now) = {
            let metrics = metrics.borrow_watched();
            let list = Arc::new(members(&metrics.membership_config));
            (metrics.membership_config.clone(), ClusterView::of(&metrics, list))
        };
        let (member_sender, member_receiver) = watch::channel(now.members.clone());
        let (cluster, cluster_receiver) = watch::channel(now);
        let (leadership, leadership_receiver) = watch::channel(None);
        let leader_changes: Arc<Counter> = Arc::default();
        let views = Views {
            leader_changes: leader_changes.clone(),
            cluster: cluster_receiver,
            leadership: leadership_receiver,
            members: member_receiver,
        };
        (
            Self {
                gate,
                metrics,
                applied,
                membership,
                cluster,
                leadership,
                members: member_sender,
                leader_changes,
                last_leader: None,
            },
            views,
        )
    }

    /// Runs until `stop`, or until consensus is gone or this server is quarantined.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let gate = self.gate.clone();
        let mut quarantined = std::pin::pin!(gate.closed());
        loop {
            let waits_for_own_entry = self.observe();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = &mut quarantined => break,
                changed = self.metrics.changed() => if changed.is_err() { break },
                changed = self.applied.changed(), if waits_for_own_entry => if changed.is_err() { break },
            }
        }
        self.leadership.send_replace(None);
        self.cluster.send_modify(|view| {
            view.leader = None;
            view.stopped = match (gate.cause(), view.stopped.take()) {
                (Some(cause), _) => Some(format!("this server is quarantined: {cause}")),
                (None, Some(why)) => Some(why),
                (None, None) if stop.is_cancelled() => Some("the store has been shut down".into()),
                (None, None) => Some("consensus has ended".into()),
            };
        });
    }

    /// Brings the views up to date. True if this server leads, but has not applied an entry of its term.
    fn observe(&mut self) -> bool {
        let view = {
            let metrics = self.metrics.borrow_watched();
            if let Err(Fatal::StorageError(error)) = &metrics.running_state {
                storage_failed(&self.gate, &error.to_string());
            }
            let mut list = self.cluster.borrow().members.clone();
            if self.membership != metrics.membership_config {
                self.membership = metrics.membership_config.clone();
                list = Arc::new(members(&self.membership));
            }
            ClusterView::of(&metrics, list)
        };
        if view.leader.is_some() && view.leader != self.last_leader {
            self.last_leader = view.leader;
            self.leader_changes.add(1);
        }
        let applied_term = self.applied.borrow_and_update().map(|id| id.leader_id.term);
        let leads = view.role == Role::Leader && view.stopped.is_none();
        let ready = leads && applied_term == Some(view.term);
        let leadership = ready.then_some(Leadership { term: view.term });
        replace(&self.members, view.members.clone());
        replace(&self.cluster, view);
        replace(&self.leadership, leadership);
        leads && !ready
    }
}

/// Sends `new` if it is another value.
fn replace<T: PartialEq>(sender: &watch::Sender<T>, new: T) {
    sender.send_if_modified(|old| {
        let changed = *old != new;
        *old = new;
        changed
    });
}
