//! A command's way to an outcome: it joins a batch, which is proposed here if this server leads, else handed to
//! the leader.
//!
//! A command that may have been accepted is never sent again (lessons: hidden retries lose and
//! duplicate writes). Only what certainly was not accepted, because nobody led or nobody was reached,
//! is tried again, until a leader has been waited for long enough.

use bytes::Bytes;
use futures::StreamExt;
use openraft::errors::ClientWriteError;
use tokio::sync::oneshot;
use tokio::time::Instant;
use trireme_mvcc::command::Command;
use trireme_mvcc::outcome::Outcome;

use super::batch::Proposal;
use super::node::Node;
use super::types::{Command as Proposed, TypeConfig};
use crate::kv::KvError;
use crate::lanes::{Full, Lane};
use crate::limits;

/// What became of a command at one server.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// It was applied there.
    Applied {
        /// The index of its entry.
        log_index: u64,
        /// What the state machine answered.
        outcome: Outcome,
    },
    /// It was certainly not accepted.
    NotAccepted(String),
    /// It was accepted, and more is not known.
    Unknown(String),
    /// It was certainly not accepted, since too much is under way there.
    Overloaded,
}

impl Node {
    /// Proposes an encoded command of the cluster itself and waits until it is applied on this server.
    pub(crate) async fn propose(&self, command: Bytes) -> Result<Outcome, KvError> {
        self.propose_in(Lane::System, command).await
    }

    /// Proposes an encoded command in a lane and waits until it is applied on this server.
    pub(crate) async fn propose_in(&self, lane: Lane, command: Bytes) -> Result<Outcome, KvError> {
        let _counted = self.proposal_metrics.in_flight.hold();
        let overloaded = || {
            self.proposal_metrics.refused.add(1);
            KvError::Overloaded(self.engine.lanes().refuse(lane, Full::Proposals))
        };
        let Ok(_permit) = self.proposals[lane.index()].try_acquire_many(units([&command])) else {
            return Err(overloaded());
        };
        let start = Instant::now();
        let deadline = start + limits::PROPOSAL_DEADLINE;
        let mut why = "none is known".to_owned();
        while start.elapsed() < limits::LEADER_WAIT {
            if let Some(stopped) = self.stopped() {
                return Err(stopped);
            }
            let attempt = self.attempt(lane, command.clone(), deadline).await;
            match attempt {
                Attempt::Applied { outcome, .. } => return Ok(outcome),
                Attempt::Unknown(what) => return Err(KvError::UnknownOutcome(what)),
                Attempt::Overloaded => return Err(overloaded()),
                Attempt::NotAccepted(reason) => why = reason,
            }
            self.pause(limits::LEADER_RETRY_PAUSE).await;
        }
        Err(KvError::Unavailable(why))
    }

    /// Lets one command join the next batch.
    async fn attempt(&self, lane: Lane, command: Bytes, deadline: Instant) -> Attempt {
        let (answer, answered) = oneshot::channel();
        let proposal = Proposal {
            command,
            deadline,
            answer,
        };
        if self.batches[lane.index()].send(proposal).await.is_err() {
            return Attempt::NotAccepted("this server is stopping".into());
        }
        answered
            .await
            .unwrap_or_else(|_| Attempt::Unknown("this server stopped while the write was under way".into()))
    }

    /// Proposes commands as the leader, in one message to consensus: those that can be applied, of lanes that have room for
    /// them here.
    pub(crate) async fn propose_forwarded(&self, commands: Vec<(Lane, Bytes)>, deadline: Instant) -> Vec<Attempt> {
        let room = Lane::ALL.map(|lane| {
            let of_lane = commands.iter().filter(|(of, _)| *of == lane);
            let units = units(of_lane.map(|(_, command)| command));
            self.proposals[lane.index()].try_acquire_many(units).ok()
        });
        let refuse = |(lane, command): &(Lane, Bytes)| match &room[lane.index()] {
            None => Some(Attempt::Overloaded),
            Some(_) => check(command).err().map(Attempt::NotAccepted),
        };
        let mut refusals: Vec<Option<Attempt>> = commands.iter().map(refuse).collect();
        let accepted = commands
            .into_iter()
            .zip(&refusals)
            .filter(|(_, refusal)| refusal.is_none());
        let accepted: Vec<Bytes> = accepted.map(|((_, command), _)| command).collect();
        let mut answers = Vec::new();
        if !accepted.is_empty() {
            answers = self.propose_all(accepted, deadline).await;
        }
        let mut answers = answers.into_iter();
        let answer = |refusal: &mut Option<Attempt>| {
            refusal
                .take()
                .or_else(|| answers.next())
                .unwrap_or_else(|| Attempt::Unknown("consensus gave no answer".into()))
        };
        refusals.iter_mut().map(answer).collect()
    }

    /// Proposes commands as the leader, in one message to consensus.
    pub(crate) async fn propose_all(&self, commands: Vec<Bytes>, deadline: Instant) -> Vec<Attempt> {
        let count = commands.len();
        let mut answers = match self.raft.client_write_many(commands.into_iter().map(Proposed)).await {
            Ok(answers) => answers,
            Err(fatal) => return (0..count).map(|_| Attempt::Unknown(fatal.to_string())).collect(),
        };
        let mut attempts = Vec::with_capacity(count);
        let all = async {
            while attempts.len() < count {
                attempts.push(match answers.next().await {
                    Some(Ok(Ok(response))) => applied(response.log_id.index, response.response.outcome),
                    Some(Ok(Err(error))) => refused(&error),
                    Some(Err(fatal)) => Attempt::Unknown(format!("consensus has ended: {fatal}")),
                    None => Attempt::Unknown("consensus gave no answer".into()),
                });
            }
        };
        if let Err(what) = self.settle(all, deadline).await {
            attempts.resize_with(count, || Attempt::Unknown(what.clone()));
        }
        attempts
    }
}

/// Whether a command of another server may go into the log. What does not decode there can never be applied: every server
/// would stop at it, and again after each restart (I9).
pub(super) fn check(command: &Bytes) -> Result<(), String> {
    let refused = |why: &dyn std::fmt::Display| format!("the leader refuses the command: {why}");
    let command = Command::decode(command.clone()).map_err(|error| refused(&error))?;
    command.check().map_err(|error| refused(&error))
}

/// What commands count for, in units of [`limits::PROPOSAL_MIN_BYTES`].
fn units<'a>(commands: impl IntoIterator<Item = &'a Bytes>) -> u32 {
    let units: usize = commands
        .into_iter()
        .map(|command| command.len() / limits::PROPOSAL_MIN_BYTES + 1)
        .sum();
    u32::try_from(units).unwrap_or(u32::MAX)
}

fn applied(log_index: u64, outcome: Option<Outcome>) -> Attempt {
    match outcome {
        Some(outcome) => Attempt::Applied { log_index, outcome },
        None => Attempt::Unknown("the state machine gave no answer".into()),
    }
}

/// openraft tells the two apart: refused before it was appended, or appended and then discarded here,
/// while another leader may still commit it.
fn refused(error: &ClientWriteError<TypeConfig>) -> Attempt {
    match error {
        ClientWriteError::ForwardToLeader(forward) => {
            Attempt::NotAccepted(format!("this server cannot take writes: {:?}", forward.reason))
        }
        ClientWriteError::LogEntryDiscarded(_) => Attempt::Unknown("the leader changed".into()),
        ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_) => {
            Attempt::NotAccepted(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_count_by_their_size_but_never_for_nothing() {
        let sized = |length: usize| Bytes::from(vec![0; length]);
        let unit = limits::PROPOSAL_MIN_BYTES;
        assert_eq!(units([&sized(0)]), 1);
        assert_eq!(units(&[sized(1), sized(unit - 1)]), 2);
        assert_eq!(units([&sized(10 * unit)]), 11);
        // The largest message that a follower makes fits into an idle leader.
        let most = units([&sized(limits::PROPOSAL_BATCH_BYTES + limits::COMMAND_BYTES)]);
        for bytes in limits::PROPOSALS_IN_FLIGHT_BYTES_BY_LANE {
            assert!((most as usize) < bytes / unit);
        }
    }
}
