//! The one task that gathers commands into batches and sees each batch through.
//!
//! It takes whatever is waiting when a batch may go. One command, or a few, go at once; after a batch of more the next one
//! waits a little, and while as many batches as allowed are under way it waits, too. Meanwhile it fills up: with the system's
//! commands before the users' before the bulk's, each with a share that the ones before leave to it. The commands of a batch
//! stand together in the leader's log, share one sync there, one message on the way, and one wait for this server's own replica.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::forward;
use super::node::{Node, WaitError};
use super::pace::Pace;
use super::propose::Attempt;
use crate::lanes::Lane;
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
    queues: [mpsc::Receiver<Proposal>; 3],
    in_flight: Arc<Semaphore>,
}

/// The ends of the queues, by lane.
pub(crate) fn queues() -> ([mpsc::Sender<Proposal>; 3], [mpsc::Receiver<Proposal>; 3]) {
    let [system, users, bulk] = Lane::ALL.map(|_| mpsc::channel(limits::PROPOSAL_QUEUE_COMMANDS));
    ([system.0, users.0, bulk.0], [system.1, users.1, bulk.1])
}

impl Batcher {
    pub(crate) fn new(node: Arc<Node>, queues: [mpsc::Receiver<Proposal>; 3]) -> Self {
        Self {
            node,
            queues,
            in_flight: Arc::new(Semaphore::new(limits::PROPOSAL_BATCHES_IN_FLIGHT)),
        }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut earliest = Instant::now();
        loop {
            let next = async {
                tokio::time::sleep_until(earliest).await;
                let permit = self.in_flight.clone().acquire_owned().await.ok()?;
                let [system, users, bulk] = &mut self.queues;
                let first = tokio::select! {
                    biased;
                    first = system.recv() => (Lane::System, first?),
                    first = users.recv() => (Lane::Users, first?),
                    first = bulk.recv() => (Lane::Bulk, first?),
                };
                Some((permit, first))
            };
            let (permit, (lane, first)) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                next = next => match next {
                    Some(next) => next,
                    None => return,
                },
            };
            let queues = &mut self.queues;
            let take = |lane: Lane| queues[lane.index()].try_recv().ok();
            let batch = fill((lane, first), |proposal| proposal.command.len(), take);
            earliest = Instant::now() + Pace::PROPOSALS.after(batch.len());
            self.node.proposal_metrics.batches.observe(batch.len() as u64);
            tokio::spawn(see_through(self.node.clone(), batch, permit));
        }
    }
}

/// What goes into a batch, with the lane of each: first each lane's share, then whatever is left in the order of the lanes.
/// Its first one is there already.
fn fill<P>(
    first: (Lane, P),
    bytes_of: impl Fn(&P) -> usize,
    mut take: impl FnMut(Lane) -> Option<P>,
) -> Vec<(Lane, P)> {
    const WHOLE: usize = limits::PROPOSAL_BATCH_COMMANDS;
    let shares = Lane::ALL.into_iter().zip(limits::PROPOSAL_BATCH_SHARES);
    let rest = Lane::ALL.into_iter().map(|lane| (lane, WHOLE));
    let mut bytes = 0;
    let mut batch = vec![first];
    for (lane, commands) in shares.chain(rest) {
        // A share is one of commands and the same one of bytes.
        let bytes_max = limits::PROPOSAL_BATCH_BYTES / WHOLE * commands;
        while batch.len() < commands && bytes < bytes_max {
            let Some(proposal) = take(lane) else { break };
            bytes += bytes_of(&proposal);
            batch.push((lane, proposal));
        }
    }
    batch
}

async fn see_through(node: Arc<Node>, batch: Vec<(Lane, Proposal)>, permit: OwnedSemaphorePermit) {
    let mut deadline = Instant::now();
    let mut commands = Vec::with_capacity(batch.len());
    let mut answers = Vec::with_capacity(batch.len());
    for (lane, proposal) in batch {
        deadline = deadline.max(proposal.deadline);
        commands.push((lane, proposal.command));
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
    commands: Vec<(Lane, Bytes)>,
    deadline: Instant,
    permit: OwnedSemaphorePermit,
) -> Result<Vec<Attempt>, Attempt> {
    let mut attempts = match node.leader() {
        None => return Err(Attempt::NotAccepted("none is known".into())),
        Some((id, _)) if id == node.config.server_id => {
            let commands = commands.into_iter().map(|(_, command)| command).collect();
            node.propose_all(commands, deadline).await
        }
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Fills a batch from queues of so many commands of a length; how many of each lane are in it.
    fn check(waiting: [usize; 3], bytes: usize, expected: [usize; 3]) {
        let mut queues = waiting.map(|count| VecDeque::from(vec![bytes; count]));
        let first = Lane::ALL
            .into_iter()
            .find_map(|lane| Some((lane, queues[lane.index()].pop_front()?)));
        let batch = fill(first.unwrap(), |bytes| *bytes, |lane| queues[lane.index()].pop_front());
        let count = |lane| batch.iter().filter(|(of, _)| *of == lane).count();
        assert_eq!(Lane::ALL.map(count), expected, "{waiting:?} of {bytes} bytes");
        assert!(batch.is_sorted_by_key(|(lane, _)| *lane) || batch.len() == limits::PROPOSAL_BATCH_COMMANDS);
    }

    #[test]
    fn every_lane_has_a_share_of_a_batch_that_others_leave_to_it() {
        const MANY: usize = 5_000;
        // Nobody else wants anything: a batch is whole whoever fills it.
        check([3, 0, 0], 10, [3, 0, 0]);
        check([MANY, 0, 0], 10, [1_024, 0, 0]);
        check([0, MANY, 0], 10, [0, 1_024, 0]);
        check([0, 0, MANY], 10, [0, 0, 1_024]);
        // Everybody does: nobody is left out.
        check([MANY, MANY, MANY], 10, [512, 384, 128]);
        check([1, MANY, MANY], 10, [1, 895, 128]);
        check([MANY, 0, MANY], 10, [512, 0, 512]);
        check([MANY, 5, 0], 10, [1_019, 5, 0]);
        // The same for bytes. The first command of a batch is free, as is what begins below a bound.
        check([MANY, MANY, MANY], 64 << 10, [9, 6, 2]);
    }
}
