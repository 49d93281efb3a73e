//! The state of all servers: each is asked at the same time, and has little time to answer.

use std::collections::BTreeMap;

use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use trireme_proto::v1::{self, ServerStatusResponse, StatusResponse};
use trireme_store::{
    Member, StoreStatus,
    lanes::{Lane, LaneUse},
};

use super::{
    ApiError, ClusterService, alarms,
    health::{Answer, Health, furthest, is_suspect, judge},
};
use crate::{VERSION, limits};

/// Asks other servers for their own state.
#[async_trait::async_trait]
pub trait StatusSource: Send + Sync + 'static {
    /// The state of a server, as it tells itself.
    ///
    /// # Errors
    /// Why it does not answer.
    async fn status_of(&self, member: &Member) -> Result<ServerStatusResponse, ApiError>;
}

/// This server's own state, as it tells it to others.
#[must_use]
pub fn local_status(status: StoreStatus, name: &str) -> ServerStatusResponse {
    ServerStatusResponse {
        id: status.id,
        name: name.to_owned(),
        process_id: i64::from(std::process::id()),
        role: status.role.to_string(),
        applied_revision: status.applied_revision,
        applied_index: status.state_hash_index,
        state_hash: status.state_hash,
        version: VERSION.to_owned(),
        term: status.term,
        quarantine: String::new(),
        idle_ms: u64::try_from(status.idle.as_millis()).unwrap_or(u64::MAX),
        lanes: status.lanes.by_lane().map(lane_to_wire).to_vec(),
    }
}

fn lane_to_wire((lane, used): (Lane, LaneUse)) -> v1::LaneUse {
    v1::LaneUse {
        lane: lane.name().to_owned(),
        seats_in_use: used.seats_in_use,
        seats: used.seats,
        waiting: used.waiting,
        answer_bytes: used.answer_bytes,
        admitted: used.admitted,
        refused: used.refused,
    }
}

impl ClusterService {
    pub(super) async fn members_status(&self) -> StatusResponse {
        let own = self.control.status();
        let members = self.control.members();
        let mut answers: BTreeMap<u64, Answer> = BTreeMap::new();
        let mut asked: FuturesUnordered<_> = members
            .iter()
            .filter(|member| member.id != own.id)
            .map(|member| self.ask(member))
            .collect();
        while let Some((id, answer)) = asked.next().await {
            answers.insert(id, answer);
        }
        let own_name = members
            .iter()
            .find(|member| member.id == own.id)
            .map_or("", |member| member.name.as_str());
        answers.insert(own.id, Ok(local_status(self.control.status(), own_name)));
        let quarantined: BTreeMap<u64, String> = answers
            .iter()
            .filter_map(|(id, answer)| Some((*id, answer.as_ref().ok()?.quarantine.clone())))
            .filter(|(_, cause)| !cause.is_empty())
            .collect();
        let furthest = furthest(&answers);
        let again = self.look_again(&members, &answers, furthest).await;
        let describe = |member: &Member| {
            let answer = answers.get(&member.id);
            let health = judge(member, answer, again.get(&member.id), furthest);
            describe(member, answer, &health)
        };
        StatusResponse {
            cluster_id: self.cluster_id.clone(),
            members: members.iter().map(describe).collect(),
            leader_id: own.leader_id.unwrap_or(0),
            term: own.term,
            alarms: alarms::describe(&self.control.alarms(), &members, &quarantined),
        }
    }

    /// Asks those again who may have stalled, after a pause in which a server that works would have moved.
    async fn look_again(
        &self,
        members: &[Member],
        answers: &BTreeMap<u64, Answer>,
        furthest: u64,
    ) -> BTreeMap<u64, Answer> {
        let suspects: Vec<&Member> = members
            .iter()
            .filter(|member| {
                let answer = answers.get(&member.id).and_then(|answer| answer.as_ref().ok());
                answer.is_some_and(|answer| is_suspect(answer, furthest))
            })
            .collect();
        if suspects.is_empty() {
            return BTreeMap::new();
        }
        tokio::time::sleep(limits::STALLED_LOOK_PAUSE).await;
        let asked = suspects.into_iter().map(|member| self.ask_any(member));
        join_all(asked).await.into_iter().collect()
    }

    /// Asks a server, which may be this one.
    async fn ask_any(&self, member: &Member) -> (u64, Answer) {
        let own = self.control.status();
        if member.id == own.id {
            (own.id, Ok(local_status(own, &member.name)))
        } else {
            self.ask(member).await
        }
    }

    pub(super) async fn ask(&self, member: &Member) -> (u64, Answer) {
        let answer = tokio::time::timeout(limits::SERVER_STATUS_TIMEOUT, self.peers.status_of(member)).await;
        let answer = match answer {
            Ok(Ok(answer)) if answer.id == member.id => Ok(answer),
            Ok(Ok(answer)) => Err(format!("server {} answers at {}", answer.id, member.api_address)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!(
                "no answer within {} ms",
                limits::SERVER_STATUS_TIMEOUT.as_millis()
            )),
        };
        (member.id, answer)
    }
}

fn describe(member: &Member, answer: Option<&Answer>, health: &Health) -> v1::Member {
    let mut described = v1::Member {
        id: member.id,
        name: member.name.clone(),
        api_address: member.api_address.clone(),
        peer_address: member.peer_address.clone(),
        role: "Unknown".to_owned(),
        health: health.word().to_owned(),
        health_message: health.message(),
        ..v1::Member::default()
    };
    if let Some(Ok(answer)) = answer {
        described.process_id = answer.process_id;
        described.version.clone_from(&answer.version);
        // What a damaged server says of its state is not to be relied on.
        if !matches!(health, Health::Quarantined { .. }) {
            described.role.clone_from(&answer.role);
            described.applied_revision = answer.applied_revision;
            described.applied_index = answer.applied_index;
            described.state_hash.clone_from(&answer.state_hash);
            described.lanes.clone_from(&answer.lanes);
        }
    }
    described
}
