//! The one task that hands commands to the leader, many in a message.
//!
//! It takes whatever is waiting when a message may go, without lingering: while as many messages as
//! allowed are under way, the next one fills up. They then stand together in the leader's log and
//! share one fsync there.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trireme_mvcc::outcome::Outcome;
use trireme_proto::peer::v1 as proto;
use trireme_proto::peer::v1::propose_result::Outcome as Wire;

use super::node::Node;
use super::pool::Purpose;
use super::propose::Attempt;
use crate::limits;

/// A command on its way to the leader.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// The encoded command.
    pub(crate) command: Bytes,
    /// When whoever waits gives up.
    pub(crate) deadline: Instant,
    /// Told what became of it.
    pub(crate) answer: oneshot::Sender<Attempt>,
}

/// The task.
pub(crate) struct Forwarder {
    node: Arc<Node>,
    proposals: mpsc::Receiver<Proposal>,
    in_flight: Arc<Semaphore>,
}

impl Forwarder {
    pub(crate) fn new(node: Arc<Node>, proposals: mpsc::Receiver<Proposal>) -> Self {
        Self {
            node,
            proposals,
            in_flight: Arc::new(Semaphore::new(limits::FORWARD_IN_FLIGHT)),
        }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let next = async {
                let permit = self.in_flight.clone().acquire_owned().await.ok()?;
                let first = self.proposals.recv().await?;
                Some((permit, first))
            };
            let (permit, first) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                next = next => match next {
                    Some(next) => next,
                    None => return,
                },
            };
            let batch = self.fill(first);
            tokio::spawn(send(self.node.clone(), batch, permit));
        }
    }

    fn fill(&mut self, first: Proposal) -> Vec<Proposal> {
        let mut bytes = 0;
        let mut batch = vec![first];
        while batch.len() < limits::FORWARD_BATCH_COMMANDS && bytes < limits::FORWARD_BATCH_BYTES {
            let Ok(proposal) = self.proposals.try_recv() else { break };
            bytes += proposal.command.len();
            batch.push(proposal);
        }
        batch
    }
}

async fn send(node: Arc<Node>, batch: Vec<Proposal>, permit: OwnedSemaphorePermit) {
    let (commands, answers): (Vec<Bytes>, Vec<_>) = batch
        .into_iter()
        .map(|proposal| (proposal.command, (proposal.deadline, proposal.answer)))
        .unzip();
    let deadline = answers
        .iter()
        .map(|(deadline, _)| *deadline)
        .max()
        .unwrap_or_else(Instant::now);
    let attempts = tokio::select! {
        attempts = call(&node, commands, deadline) => attempts,
        () = node.stop_token().cancelled() => Err(Attempt::Unknown("this server is stopping".into())),
    };
    drop(permit);
    match attempts {
        Ok(attempts) if attempts.len() == answers.len() => {
            for (attempt, (_, answer)) in attempts.into_iter().zip(answers) {
                // Whoever waited may have given up.
                let _ = answer.send(attempt);
            }
        }
        Ok(_) => answer_all(answers, || Attempt::Unknown("the leader's answer does not fit".into())),
        Err(Attempt::NotAccepted(why)) => answer_all(answers, || Attempt::NotAccepted(why.clone())),
        Err(Attempt::Unknown(why)) => answer_all(answers, || Attempt::Unknown(why.clone())),
        Err(Attempt::Overloaded | Attempt::Applied { .. }) => answer_all(answers, || Attempt::Overloaded),
    }
}

fn answer_all(answers: Vec<(Instant, oneshot::Sender<Attempt>)>, attempt: impl Fn() -> Attempt) {
    for (_, answer) in answers {
        // Whoever waited may have given up.
        let _ = answer.send(attempt());
    }
}

/// One message to the leader. The error is the fate that all its commands share.
async fn call(node: &Node, commands: Vec<Bytes>, deadline: Instant) -> Result<Vec<Attempt>, Attempt> {
    let Some((leader, address)) = node.leader() else {
        return Err(Attempt::NotAccepted("none is known".into()));
    };
    if leader == node.config.server_id {
        // This server has come to lead since; the proposer tries again and sees it.
        return Err(Attempt::NotAccepted("this server has just become the leader".into()));
    }
    let mut pick = node
        .pool
        .get(leader, &address, Purpose::Forward)
        .map_err(|error| Attempt::NotAccepted(error.to_string()))?;
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    let request = proto::ProposeRequest { commands, timeout_ms };
    match tokio::time::timeout(left, pick.client.propose(request)).await {
        Ok(Ok(response)) => Ok(response.into_inner().results.into_iter().map(attempt).collect()),
        Ok(Err(status)) => {
            node.pool.discard(leader, Purpose::Forward, &pick);
            Err(if never_sent(&status) {
                Attempt::NotAccepted(format!("server {leader} cannot be reached: {}", status.message()))
            } else {
                Attempt::Unknown(format!(
                    "the connection to the leader, server {leader}, failed: {}",
                    status.message()
                ))
            })
        }
        Err(_) => {
            node.pool.discard(leader, Purpose::Forward, &pick);
            Err(Attempt::Unknown(format!("server {leader} did not answer in time")))
        }
    }
}

/// Whether there was no connection to send anything on.
pub(crate) fn never_sent(status: &tonic::Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn attempt(result: proto::ProposeResult) -> Attempt {
    match result.outcome {
        Some(Wire::Applied(proto::Applied { log_index, result })) => match Outcome::decode(result) {
            Ok(outcome) => Attempt::Applied { log_index, outcome },
            Err(error) => Attempt::Unknown(format!("the leader's answer cannot be read: {error}")),
        },
        Some(Wire::NotLeader(proto::NotLeader { leader_id: _, reason })) => Attempt::NotAccepted(reason),
        Some(Wire::Unknown(why)) => Attempt::Unknown(why),
        Some(Wire::Overloaded(proto::Unit {})) => Attempt::Overloaded,
        None => Attempt::Unknown("the leader's answer is empty".into()),
    }
}

/// The other direction, for the leader's side.
pub(crate) fn attempt_to_wire(attempt: Attempt, leader_id: u64) -> proto::ProposeResult {
    let outcome = match attempt {
        Attempt::Applied { log_index, outcome } => Wire::Applied(proto::Applied {
            log_index,
            result: outcome.encode(),
        }),
        Attempt::NotAccepted(reason) => Wire::NotLeader(proto::NotLeader { leader_id, reason }),
        Attempt::Unknown(why) => Wire::Unknown(why),
        Attempt::Overloaded => Wire::Overloaded(proto::Unit {}),
    };
    proto::ProposeResult { outcome: Some(outcome) }
}
