//! Who is in the cluster: ids, learners, voters, removals, and handing over the lead.
//!
//! Every server takes a request; the leader carries it out, one after the other. An id is given out
//! once and never again, not even after its server has gone: the log still names it (I1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use trireme_mvcc::command::Command;
use trireme_mvcc::outcome::Outcome;
use trireme_proto::peer::v1 as proto;
use trireme_proto::peer::v1::change_members_request::Change as WireChange;
use trireme_proto::peer::v1::change_members_response::Outcome as WireOutcome;

use super::node::Node;
use super::pool::Purpose;
use super::types::{MemberNode, TypeConfig};
use super::view::Member;
use super::wire;
use crate::faults::{self, Failpoint};
use crate::kv::{Compare, CompareResult, CompareTarget, KeyRange, KvError, Op, RangeRequest, Txn};
use crate::limits;

/// The key under which the last server id that was given out is kept.
pub const SERVER_ID_KEY: &[u8] = b"/trireme/last-server-id";

/// A change of the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Give out an id.
    AllocateId,
    /// Add a learner, or correct the addresses of a member.
    AddLearner(u64, MemberNode),
    /// Make a learner a voter, once it has caught up.
    Promote(u64),
    /// Make a learner a voter if it has caught up.
    PromoteReady(u64),
    /// Remove a member.
    Remove(u64),
    /// Hand the lead to a voter.
    TransferLeadership(u64),
}

/// Why the membership was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// The change makes no sense now; the text says why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// No leader could be reached, or it did not finish in time. The change may still happen; all of
    /// them can be asked for again.
    #[error("the membership could not be changed: {0}")]
    Unavailable(String),
}

/// Finishes, while this server leads, what a leader before it has left half done: a change of the voters goes through a
/// configuration that is both the old and the new one, and a leader that dies there leaves it.
pub(crate) async fn finish_changes(node: Arc<Node>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(limits::MEMBERSHIP_CHECK_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let round = async {
            ticks.tick().await;
            let joint = {
                let metrics = node.raft.metrics();
                let metrics = metrics.borrow_watched();
                metrics.membership_config.membership().get_joint_config().len() > 1
            };
            if !joint || node.views.leadership.borrow().is_none() {
                return;
            }
            // A change that is under way here holds the lock, and finishes by itself.
            let _one_at_a_time = node.membership_change.lock().await;
            let none = ChangeMembers::AddVoterIds(BTreeSet::new());
            match node.raft.change_membership(none, false).await {
                Ok(_) => tracing::info!("finished a change of the membership that was left half done"),
                Err(error) => tracing::debug!(%error, "a half done change of the membership has to wait"),
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = round => {}
        }
    }
}

/// Why the leader's side did not carry out a change.
enum LeaderError {
    /// It does not lead, or not now: ask again.
    NotLeader(String),
    /// Asking again cannot help.
    Refused(String),
}

impl Node {
    /// Carries out a change, wherever the leader is. The number is the id that it was about.
    pub(crate) async fn change_members(&self, change: Change) -> Result<u64, MembershipError> {
        let deadline = Instant::now() + limits::MEMBERSHIP_DEADLINE;
        let mut why = "none is known".to_owned();
        while Instant::now() < deadline {
            if let Some(stopped) = self.stopped() {
                return Err(MembershipError::Unavailable(stopped.to_string()));
            }
            let changed = match self.leader() {
                Some((id, _)) if id == self.config.server_id => {
                    tokio::time::timeout_at(deadline, self.change_as_leader(&change))
                        .await
                        .unwrap_or_else(|_| Err(LeaderError::NotLeader("it took too long".into())))
                }
                Some((id, address)) => self.ask_for_change(id, &address, &change, deadline).await,
                None => Err(LeaderError::NotLeader("no leader is known".into())),
            };
            match changed {
                Ok(id) => return Ok(id),
                Err(LeaderError::Refused(reason)) => return Err(MembershipError::Refused(reason)),
                Err(LeaderError::NotLeader(reason)) => why = reason,
            }
            self.pause(limits::LEADER_RETRY_PAUSE).await;
        }
        Err(MembershipError::Unavailable(why))
    }

    async fn ask_for_change(
        &self,
        leader: u64,
        address: &str,
        change: &Change,
        deadline: Instant,
    ) -> Result<u64, LeaderError> {
        let mut pick = self
            .pool
            .get(leader, address, Purpose::Forward)
            .map_err(|error| LeaderError::NotLeader(error.to_string()))?;
        let call = pick.client.change_members(change_to_wire(change));
        match tokio::time::timeout_at(deadline, call).await {
            Ok(Ok(response)) => match response.into_inner().outcome {
                Some(WireOutcome::ServerId(id)) => Ok(id),
                Some(WireOutcome::Refused(reason)) => Err(LeaderError::Refused(reason)),
                Some(WireOutcome::NotLeader(no)) => Err(LeaderError::NotLeader(no.reason)),
                None => Err(LeaderError::NotLeader("the leader's answer is empty".into())),
            },
            Ok(Err(status)) => {
                self.pool.discard(leader, Purpose::Forward, &pick);
                Err(LeaderError::NotLeader(format!("server {leader}: {}", status.message())))
            }
            Err(_) => Err(LeaderError::NotLeader(format!(
                "server {leader} did not answer in time"
            ))),
        }
    }

    /// The leader's side of a request from another server.
    pub(crate) async fn change_for_peer(&self, change: Change) -> proto::ChangeMembersResponse {
        let changed = tokio::time::timeout(limits::MEMBERSHIP_DEADLINE, self.change_as_leader(&change))
            .await
            .unwrap_or_else(|_| Err(LeaderError::NotLeader("it took too long".into())));
        let outcome = match changed {
            Ok(id) => WireOutcome::ServerId(id),
            Err(LeaderError::Refused(reason)) => WireOutcome::Refused(reason),
            Err(LeaderError::NotLeader(reason)) => {
                let leader_id = self.view().leader.unwrap_or(0);
                WireOutcome::NotLeader(proto::NotLeader { leader_id, reason })
            }
        };
        proto::ChangeMembersResponse { outcome: Some(outcome) }
    }

    /// How many members there are beside one, as consensus has it: the view may be a change behind.
    fn members_beside(&self, id: u64) -> usize {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let nodes = metrics.membership_config.membership().nodes();
        nodes.filter(|(other, _)| **other != id).count()
    }

    async fn change_as_leader(&self, change: &Change) -> Result<u64, LeaderError> {
        let _one_at_a_time = self.membership_change.lock().await;
        let view = self.view();
        if view.leader != Some(self.config.server_id) {
            return Err(LeaderError::NotLeader("this server does not lead".into()));
        }
        let refuse = |reason: String| Err(LeaderError::Refused(reason));
        match change {
            Change::AllocateId => self.allocate_id().await,
            Change::AddLearner(id, node) => {
                if let Some(reason) = too_much(self.members_beside(*id), node) {
                    return refuse(reason);
                }
                let nodes = BTreeMap::from([(*id, node.clone())]);
                match view.member(*id) {
                    Some(member) if member.name != node.name => refuse(format!(
                        "server id {id} belongs to `{}`, not to `{}`",
                        member.name, node.name
                    )),
                    Some(_) => self.commit_change(*id, ChangeMembers::SetNodes(nodes)).await,
                    None => {
                        let added = self.commit_change(*id, ChangeMembers::AddNodes(nodes)).await?;
                        faults::point(Failpoint::MembershipLearnerAdded);
                        Ok(added)
                    }
                }
            }
            Change::Promote(id) | Change::PromoteReady(id) => match view.member(*id) {
                None => refuse(format!("server {id} is not a member")),
                Some(member) if member.voter => Ok(*id),
                Some(_) => {
                    let patience = match change {
                        Change::PromoteReady(_) => Duration::ZERO,
                        _ => limits::MEMBERSHIP_DEADLINE,
                    };
                    self.wait_until_caught_up(*id, patience).await?;
                    self.commit_change(*id, ChangeMembers::AddVoterIds(BTreeSet::from([*id])))
                        .await
                }
            },
            Change::Remove(id) => {
                let voters = view.members.iter().filter(|member| member.voter).count();
                let removal = match view.member(*id) {
                    None => return refuse(format!("server {id} is not a member")),
                    Some(member) if member.voter && voters == 1 => {
                        return refuse(format!("server {id} is the only voter; the cluster would be gone"));
                    }
                    Some(member) if member.voter => {
                        self.wait_until_rest_suffices(&view.members, *id).await?;
                        ChangeMembers::RemoveVoters(BTreeSet::from([*id]))
                    }
                    Some(_) => ChangeMembers::RemoveNodes(BTreeSet::from([*id])),
                };
                let removed = self.commit_change(*id, removal).await?;
                faults::point(Failpoint::MembershipRemoved);
                Ok(removed)
            }
            Change::TransferLeadership(to) => match view.member(*to) {
                Some(member) if member.voter => self.hand_over(*to).await,
                Some(_) => refuse(format!("server {to} is a learner; only a voter can lead")),
                None => refuse(format!("server {to} is not a member")),
            },
        }
    }

    /// Refuses a removal that would leave too few voters that answer: the change could begin, but never end.
    async fn wait_until_rest_suffices(&self, members: &[Member], removed: u64) -> Result<(), LeaderError> {
        let rest: Vec<&Member> = members
            .iter()
            .filter(|member| member.voter && member.id != removed)
            .collect();
        let deadline = Instant::now() + limits::VOTER_SILENCE_MAX;
        loop {
            // Asked now: what was heard a moment ago may be of a server that has died since.
            let asked = rest
                .iter()
                .map(async |member| (*member, self.takes_part_now(member).await));
            let answers = futures::future::join_all(asked).await;
            let silent: Vec<&str> = answers
                .iter()
                .filter(|(_, answers)| !answers)
                .map(|(member, _)| member.name.as_str())
                .collect();
            if (rest.len() - silent.len()) * 2 > rest.len() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(LeaderError::Refused(format!(
                    "without server {removed} the cluster would lose its quorum: {} does not answer; \
                     bring that one back or remove it first",
                    silent.join(", ")
                )));
            }
            self.pause(limits::LEADER_RETRY_PAUSE).await;
        }
    }

    async fn takes_part_now(&self, member: &Member) -> bool {
        let own = member.id == self.config.server_id;
        own || self
            .ask_condition(member)
            .await
            .is_some_and(|condition| condition.quarantine.is_empty())
    }

    async fn commit_change(&self, id: u64, change: ChangeMembers<u64, MemberNode>) -> Result<u64, LeaderError> {
        // `retain` false: a removed voter goes altogether, instead of staying on as a learner.
        match self.raft.change_membership(change, false).await {
            Ok(_) => Ok(id),
            Err(RaftError::APIError(error)) => Err(classify(&error)),
            Err(RaftError::Fatal(fatal)) => Err(LeaderError::NotLeader(format!("consensus has ended: {fatal}"))),
        }
    }

    /// Waits until the learner has nearly everything: as a voter that is far behind, it would only be in the way.
    async fn wait_until_caught_up(&self, id: u64, patience: Duration) -> Result<(), LeaderError> {
        let near = move |metrics: &openraft::RaftMetrics<TypeConfig>| {
            let Some(replication) = &metrics.replication else {
                return true;
            };
            // One that has never answered has nothing, however short the log is.
            let matched = replication.get(&id).copied().flatten();
            matched
                .is_some_and(|log_id| metrics.last_log_index.unwrap_or(0) <= log_id.index + limits::PROMOTE_LAG_ENTRIES)
        };
        let waited = self
            .raft
            .wait(Some(patience))
            .metrics(near, "a learner catches up")
            .await;
        match waited {
            Ok(metrics) if metrics.replication.is_none() => Err(LeaderError::NotLeader("the leader changed".into())),
            Ok(_) => Ok(()),
            Err(_) => Err(LeaderError::Refused(format!(
                "server {id} has not caught up with the log; is it running, and can this server reach it?"
            ))),
        }
    }

    async fn hand_over(&self, to: u64) -> Result<u64, LeaderError> {
        if to == self.config.server_id {
            return Ok(to);
        }
        let stopped = |error: String| LeaderError::NotLeader(error);
        self.raft
            .trigger()
            .transfer_leader(to)
            .await
            .map_err(|error| stopped(error.to_string()))?;
        let mut cluster = self.views.cluster.clone();
        let moved = cluster.wait_for(|view| view.leader.is_some_and(|leader| leader != self.config.server_id));
        match tokio::time::timeout(limits::LEADER_WAIT, moved).await {
            Ok(Ok(view)) if view.leader == Some(to) => Ok(to),
            Ok(Ok(view)) => Err(LeaderError::Refused(format!(
                "server {} has become the leader instead",
                view.leader.unwrap_or(0)
            ))),
            Ok(Err(_)) => Err(stopped("this server is stopping".into())),
            Err(_) => Err(LeaderError::Refused(format!(
                "server {to} did not take the lead in time"
            ))),
        }
    }

    /// Counts the last id up by one, in the store itself.
    async fn allocate_id(&self) -> Result<u64, LeaderError> {
        loop {
            let key = KeyRange::key(SERVER_ID_KEY);
            let unavailable = |error: KvError| LeaderError::NotLeader(error.to_string());
            self.linearizable().await.map_err(unavailable)?;
            let found = self
                .engine
                .read_range(RangeRequest::latest(key.clone()))
                .await
                .map_err(unavailable)?;
            let kept = found.kvs.first();
            let last = match kept.map(|kv| std::str::from_utf8(&kv.value).map(str::parse::<u64>)) {
                _ if self.config.faults().reuses_ids() => 0,
                None => 0,
                Some(Ok(Ok(last))) => last,
                Some(_) => return Err(LeaderError::Refused("the counter of server ids is damaged".into())),
            };
            let in_use = self.view().members.iter().map(|member| member.id).max().unwrap_or(0);
            let id = last.max(in_use) + 1;
            let unchanged = Compare {
                range: key,
                result: CompareResult::Equal,
                target: CompareTarget::ModRevision(kept.map_or(0, |kv| kv.mod_revision)),
            };
            let put = Op::put(SERVER_ID_KEY, id.to_string());
            let txn = Txn {
                compares: vec![unchanged],
                success: vec![put],
                failure: vec![],
            };
            match self.propose(Command::Txn { txn, fence_term: None }.encode()).await {
                Ok(Outcome::Txn(response)) if response.succeeded => {
                    faults::point(Failpoint::MembershipIdAllocated);
                    return Ok(id);
                }
                // Someone else has counted up meanwhile.
                Ok(Outcome::Txn(_)) => {}
                Ok(other) => return Err(LeaderError::Refused(format!("the counter of server ids: {other:?}"))),
                // An id that was perhaps taken is not used, and never again.
                Err(error) => return Err(unavailable(error)),
            }
        }
    }
}

/// Why a cluster of `others` cannot take up `node`: the membership goes into every batch that is applied, and one that is
/// too large could not be applied at all.
fn too_much(others: usize, node: &MemberNode) -> Option<String> {
    let MemberNode {
        name,
        api_address,
        peer_address,
    } = node;
    let most = limits::MEMBER_TEXT_BYTES_MAX;
    let texts = [
        ("name", name),
        ("API address", api_address),
        ("peer address", peer_address),
    ];
    if let Some((what, text)) = texts.into_iter().find(|(_, text)| text.len() > most) {
        let bytes = text.len();
        return Some(format!(
            "the server's {what} has {bytes} bytes; at most {most} are allowed"
        ));
    }
    let most = limits::MEMBERS_MAX;
    (others >= most).then(|| format!("the cluster has {others} servers; more than {most} are not allowed"))
}

fn classify(error: &ClientWriteError<TypeConfig>) -> LeaderError {
    match error {
        ClientWriteError::ForwardToLeader(_) | ClientWriteError::LogEntryDiscarded(_) => {
            LeaderError::NotLeader(error.to_string())
        }
        // Another change is under way, such as the founding of the cluster or a server that joins at the same time:
        // this one takes its turn.
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => {
            LeaderError::NotLeader(error.to_string())
        }
        ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_) => {
            LeaderError::Refused(error.to_string())
        }
    }
}

pub(super) fn change_to_wire(change: &Change) -> proto::ChangeMembersRequest {
    let change = match change {
        Change::AllocateId => WireChange::AllocateId(proto::Unit {}),
        Change::AddLearner(id, node) => WireChange::AddLearner(wire::node_to_wire(*id, node)),
        Change::Promote(id) => WireChange::Promote(*id),
        Change::PromoteReady(id) => WireChange::PromoteReady(*id),
        Change::Remove(id) => WireChange::Remove(*id),
        Change::TransferLeadership(to) => WireChange::TransferLeadership(*to),
    };
    proto::ChangeMembersRequest { change: Some(change) }
}

/// Reads a request.
pub(crate) fn change_from_wire(request: proto::ChangeMembersRequest) -> Result<Change, wire::WireError> {
    Ok(match request.change.ok_or(wire::WireError::Missing("change"))? {
        WireChange::AllocateId(proto::Unit {}) => Change::AllocateId,
        WireChange::AddLearner(node) => {
            let (id, node) = wire::node_from_wire(node);
            Change::AddLearner(id, node)
        }
        WireChange::Promote(id) => Change::Promote(id),
        WireChange::PromoteReady(id) => Change::PromoteReady(id),
        WireChange::Remove(id) => Change::Remove(id),
        WireChange::TransferLeadership(to) => Change::TransferLeadership(to),
    })
}
