//! What the leader does about damage: it asks every server how it stands, and acts on what it hears.
//!
//! A server that is quarantined, or whose disk is nearly full, gets an alarm that all servers know of. A server whose state
//! differs from the majority's is told so and goes into quarantine; if no majority agrees, writes stop. Each round
//! begins anew from what is so at that time, so a leader that dies in the middle leaves nothing that its successor
//! does not mend.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use futures::future::join_all;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use trireme_mvcc::alarm::{Alarm, AlarmKind, WHOLE_CLUSTER};
use trireme_mvcc::command::Command;
use trireme_mvcc::hash::StateHash;
use trireme_mvcc::outcome::Outcome;
use trireme_proto::peer::v1 as proto;

use super::node::Node;
use super::pool::Purpose;
use super::view::Member;
use crate::blocking;
use crate::integrity::{Difference, Verdict, judge};
use crate::kv::KvError;
use crate::limits;
use crate::space::Reserve;

/// How the causes of the alarms of full disks begin that are raised here. Others are not ended here.
const DISK_CAUSE: &str = "its disk has only";

/// Why a server whose state differs is quarantined.
pub(crate) fn difference(index: u64) -> String {
    format!("its state at log index {index} is not the one that the majority has")
}

impl Node {
    /// The hashes of this server's state at the indexes that it remembers.
    pub(crate) fn samples(&self) -> BTreeMap<u64, StateHash> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// How this server stands.
    pub(crate) fn condition(&self) -> proto::ConditionResponse {
        let space = *self.space.borrow();
        let hashes = self.samples().into_iter().map(|(index, hash)| proto::HashSample {
            index,
            hash: hash.to_vec().into(),
        });
        proto::ConditionResponse {
            server_id: self.config.server_id,
            quarantine: self.gate.cause().unwrap_or_default(),
            hashes: hashes.collect(),
            free_bytes: space.free_bytes,
            low_space: space.low,
        }
    }

    /// Puts this server into quarantine.
    pub(crate) fn quarantine(&self, cause: &str) {
        self.gate.close(cause);
    }

    /// Raises an alarm. Returns whether it was not raised yet.
    pub(crate) async fn raise_alarm(&self, alarm: Alarm) -> Result<bool, KvError> {
        self.propose_alarm(&Command::RaiseAlarm(alarm)).await
    }

    /// Clears an alarm. Returns whether it was raised.
    pub(crate) async fn clear_alarm(&self, kind: AlarmKind, member: u64) -> Result<bool, KvError> {
        self.propose_alarm(&Command::ClearAlarm { kind, member }).await
    }

    async fn propose_alarm(&self, command: &Command) -> Result<bool, KvError> {
        match self.propose(command.check_and_encode()?).await? {
            Outcome::Alarm(changed) => Ok(changed),
            other => Err(KvError::UnknownOutcome(format!("an alarm was answered by {other:?}"))),
        }
    }

    /// Asks another server how it stands; `None` if it does not answer soon.
    pub(crate) async fn ask_condition(&self, member: &Member) -> Option<proto::ConditionResponse> {
        let mut pick = self.pool.get(member.id, &member.peer_address, Purpose::Forward).ok()?;
        let asked = pick.client.condition(proto::ConditionRequest {});
        match tokio::time::timeout(limits::CONDITION_TIMEOUT, asked).await {
            Ok(Ok(answer)) => Some(answer.into_inner()).filter(|answer| answer.server_id == member.id),
            // The connection is shared with those that forward, who look after it.
            Ok(Err(_)) | Err(_) => None,
        }
    }

    async fn tell_difference(&self, member: &Member, difference: &Difference) {
        let request = proto::QuarantineRequest {
            index: difference.index,
            expected: difference.expected.to_vec().into(),
        };
        let Ok(mut pick) = self.pool.get(member.id, &member.peer_address, Purpose::Forward) else {
            return;
        };
        // The next round tells it again if it does not hear this.
        let _ = tokio::time::timeout(limits::CONDITION_TIMEOUT, pick.client.quarantine(request)).await;
    }
}

/// The task that keeps an eye on this server's own disk.
pub(crate) async fn watch_space(node: Arc<Node>, stop: CancellationToken) {
    let mut reserve = Reserve::new(&node.config.data_dir, node.config.space);
    let mut ticks = tokio::time::interval(limits::SPACE_CHECK_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let checked = blocking::run(move || {
            let space = reserve.check();
            (reserve, space)
        });
        let Ok((back, space)) = checked.await else { return };
        reserve = back;
        match space {
            Ok(space) => {
                node.space.send_replace(space);
            }
            Err(error) => tracing::warn!(%error, "the space on the disk cannot be looked at"),
        }
    }
}

/// The task that acts while this server leads.
pub(crate) struct Watchman {
    node: Arc<Node>,
}

impl Watchman {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(limits::CONDITION_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let round = async {
                ticks.tick().await;
                if self.node.views.leadership.borrow().is_some()
                    && let Err(error) = self.round().await
                {
                    // The next round tries again.
                    tracing::debug!(%error, "an alarm has to wait");
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = round => {}
            }
        }
    }

    async fn round(&self) -> Result<(), KvError> {
        let members = self.node.view().members;
        let own = self.node.config.server_id;
        let others = members.iter().filter(|member| member.id != own);
        let asked = others.map(async |member| (member.id, self.node.ask_condition(member).await));
        let mut conditions: BTreeMap<u64, proto::ConditionResponse> = join_all(asked)
            .await
            .into_iter()
            .filter_map(|(id, condition)| Some((id, condition?)))
            .collect();
        conditions.insert(own, self.node.condition());
        self.forget_strangers(&members).await?;
        self.mind_conditions(&conditions).await?;
        self.mind_differences(&members, &conditions).await
    }

    /// Alarms of servers that are no members any more.
    async fn forget_strangers(&self, members: &[Member]) -> Result<(), KvError> {
        for alarm in self.node.engine.alarms() {
            let known = alarm.member == WHOLE_CLUSTER || members.iter().any(|member| member.id == alarm.member);
            if !known {
                self.node.clear_alarm(alarm.kind, alarm.member).await?;
            }
        }
        Ok(())
    }

    async fn mind_conditions(&self, conditions: &BTreeMap<u64, proto::ConditionResponse>) -> Result<(), KvError> {
        for (member, condition) in conditions {
            if !condition.quarantine.is_empty() {
                self.set(AlarmKind::Corrupt, *member, Some(condition.quarantine.clone()))
                    .await?;
            }
            // The disk of a quarantined server does not matter.
            let low = condition.low_space && condition.quarantine.is_empty();
            let cause = low.then(|| format!("{DISK_CAUSE} {} MiB left", condition.free_bytes >> 20));
            let ours = |alarm: &Alarm| alarm.member == *member && alarm.cause.starts_with(DISK_CAUSE);
            if cause.is_some() || self.node.engine.alarms().iter().any(ours) {
                self.set(AlarmKind::NoSpace, *member, cause).await?;
            }
        }
        Ok(())
    }

    async fn mind_differences(
        &self,
        members: &[Member],
        conditions: &BTreeMap<u64, proto::ConditionResponse>,
    ) -> Result<(), KvError> {
        let voters: BTreeSet<u64> = members
            .iter()
            .filter(|member| member.voter)
            .map(|member| member.id)
            .collect();
        let trusted = conditions
            .iter()
            .filter(|(_, condition)| condition.quarantine.is_empty());
        let hashes = trusted.map(|(id, condition)| (*id, remembered(condition))).collect();
        let Verdict { odd, split } = judge(&voters, &hashes);
        for (id, found) in &odd {
            tracing::error!(
                server = id,
                index = found.index,
                "its state differs from the majority's"
            );
            if *id == self.node.config.server_id {
                self.node.quarantine(&difference(found.index));
                return Ok(());
            }
            if let Some(member) = members.iter().find(|member| member.id == *id) {
                self.node.tell_difference(member, found).await;
            }
        }
        match split {
            Some(index) => {
                let cause = format!("the servers' states differ at log index {index}, and none is a majority's");
                self.set(AlarmKind::Corrupt, WHOLE_CLUSTER, Some(cause)).await
            }
            // The wrong one is found, and goes: the others agree.
            None if !odd.is_empty() => self.set(AlarmKind::Corrupt, WHOLE_CLUSTER, None).await,
            None => Ok(()),
        }
    }

    /// Raises an alarm, if there is a cause, or clears it.
    async fn set(&self, kind: AlarmKind, member: u64, cause: Option<String>) -> Result<(), KvError> {
        let raised = self
            .node
            .engine
            .alarms()
            .iter()
            .any(|alarm| alarm.kind == kind && alarm.member == member);
        match cause {
            Some(cause) if !raised => {
                tracing::error!(?kind, member, cause, "an alarm is raised");
                self.node.raise_alarm(Alarm { kind, member, cause }).await?;
            }
            None if raised => {
                tracing::info!(?kind, member, "an alarm ends");
                self.node.clear_alarm(kind, member).await?;
            }
            Some(_) | None => {}
        }
        Ok(())
    }
}

/// The hashes that a server told; what is none is left out.
pub(super) fn remembered(condition: &proto::ConditionResponse) -> BTreeMap<u64, StateHash> {
    let hashes = condition.hashes.iter();
    hashes
        .filter_map(|sample| Some((sample.index, StateHash::try_from(&sample.hash[..]).ok()?)))
        .collect()
}
