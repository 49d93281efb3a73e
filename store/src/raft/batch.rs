//! The one task that gathers commands into batches and sees each batch through.
//!
//! It takes whatever is waiting when a batch may go, without lingering: while as many batches as allowed are under way, the
//! next one fills up. The commands of a batch stand together in the leader's log, share one sync there, one message on
//! the way, and one wait for this server's own replica.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::forward;
use super::node::{Node, WaitError};
use super::propose::Attempt;
use crate::limits;

/// A command that waits for its batch.
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
pub(crate) struct Batcher {
    node: Arc<Node>,
    proposals: mpsc::Receiver<Proposal>,
    in_flight: Arc<Semaphore>,
}

impl Batcher {
    pub(crate) fn new(node: Arc<Node>, proposals: mpsc::Receiver<Proposal>) -> Self {
        Self {
            node,
            proposals,
            in_flight: Arc::new(Semaphore::new(limits::PROPOSAL_BATCHES_IN_FLIGHT)),
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
            self.node.proposal_metrics.batches.observe(batch.len() as u64);
            tokio::spawn(see_through(self.node.clone(), batch, permit));
        }
    }

    fn fill(&mut self, first: Proposal) -> Vec<Proposal> {
        let mut bytes = 0;
        let mut batch = vec![first];
        while batch.len() < limits::PROPOSAL_BATCH_COMMANDS && bytes < limits::PROPOSAL_BATCH_BYTES {
            let Ok(proposal) = self.proposals.try_recv() else { break };
            bytes += proposal.command.len();
            batch.push(proposal);
        }
        batch
    }
}

async fn see_through(node: Arc<Node>, batch: Vec<Proposal>, permit: OwnedSemaphorePermit) {
    let mut deadline = Instant::now();
    let mut commands = Vec::with_capacity(batch.len());
    let mut answers = Vec::with_capacity(batch.len());
    for proposal in batch {
        deadline = deadline.max(proposal.deadline);
        commands.push(proposal.command);
        answers.push(proposal.answer);
    }
    let stop = node.stop_token().clone();
    let attempts = tokio::select! {
        attempts = attempts(&node, commands, deadline, permit) => attempts,
        () = stop.cancelled() => Err(Attempt::Unknown("this server is stopping".into())),
    };
    match attempts {
        Ok(attempts) if attempts.len() == answers.len() => {
            for (attempt, answer) in attempts.into_iter().zip(answers) {
                // Whoever waited may have given up.
                let _ = answer.send(attempt);
            }
        }
        Ok(_) => share(answers, &Attempt::Unknown("the leader's answer does not fit".into())),
        Err(fate) => share(answers, &fate),
    }
}

/// Lets all commands of a batch have the same fate.
fn share(answers: Vec<oneshot::Sender<Attempt>>, fate: &Attempt) {
    for answer in answers {
        let _ = answer.send(match fate {
            Attempt::NotAccepted(why) => Attempt::NotAccepted(why.clone()),
            Attempt::Unknown(why) => Attempt::Unknown(why.clone()),
            Attempt::Overloaded | Attempt::Applied { .. } => Attempt::Overloaded,
        });
    }
}

/// Takes a batch to the leader, and waits until this server has applied what became of it: whoever has an answer
/// may read here what it wrote.
async fn attempts(
    node: &Node,
    commands: Vec<Bytes>,
    deadline: Instant,
    permit: OwnedSemaphorePermit,
) -> Result<Vec<Attempt>, Attempt> {
    let mut attempts = match node.leader() {
        None => return Err(Attempt::NotAccepted("none is known".into())),
        Some((id, _)) if id == node.config.server_id => node.propose_all(commands, deadline).await,
        Some((id, address)) => {
            let called = forward::call(node, id, &address, commands, deadline);
            node.settle(called, deadline)
                .await
                .unwrap_or_else(|what| Err(Attempt::Unknown(what)))?
        }
    };
    // Consensus is done with it; the next batch may go while this one waits for the replica.
    drop(permit);
    let reached = attempts.iter().filter_map(|attempt| match attempt {
        Attempt::Applied { log_index, .. } => Some(*log_index),
        Attempt::NotAccepted(_) | Attempt::Unknown(_) | Attempt::Overloaded => None,
    });
    let Some(last) = reached.max() else {
        return Ok(attempts);
    };
    if let Err(error) = node.wait_applied_index(last, deadline).await {
        let what = match error {
            WaitError::Deadline => {
                format!("it was carried out up to log index {last}, but this server has not caught up")
            }
            WaitError::Stopped => "this server stopped while the write was under way".into(),
        };
        for attempt in &mut attempts {
            if matches!(attempt, Attempt::Applied { .. }) {
                *attempt = Attempt::Unknown(what.clone());
            }
        }
    }
    Ok(attempts)
}
