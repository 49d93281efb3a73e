//! A command's way to an outcome: proposed here if this server leads, else handed to the leader.
//!
//! A command that may have been accepted is never sent again (lessons: hidden retries lose and
//! duplicate writes). Only what certainly was not accepted, because nobody led or nobody was reached,
//! is tried again, until a leader has been waited for long enough.

use bytes::Bytes;
use futures::StreamExt;
use openraft::errors::{ClientWriteError, RaftError};
use tokio::sync::oneshot;
use tokio::time::Instant;
use trireme_mvcc::outcome::Outcome;

use super::forward::Proposal;
use super::node::{Node, WaitError};
use super::types::{Command, TypeConfig};
use crate::kv::KvError;
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
    /// Proposes an encoded command and waits until it is applied on this server.
    pub(crate) async fn propose(&self, command: Bytes) -> Result<Outcome, KvError> {
        let Ok(_permit) = self.proposals.try_acquire_many(units([&command])) else {
            return Err(KvError::Overloaded {
                retry_after: limits::OVERLOAD_RETRY,
            });
        };
        let start = Instant::now();
        let deadline = start + limits::PROPOSAL_DEADLINE;
        let mut why = "none is known".to_owned();
        while start.elapsed() < limits::LEADER_WAIT {
            if let Some(stopped) = self.stopped() {
                return Err(stopped);
            }
            let attempt = match self.leader() {
                Some((id, _)) if id == self.config.server_id => self.propose_here(command.clone(), deadline).await,
                Some(_) => self.propose_there(command.clone(), deadline).await,
                None => Attempt::NotAccepted("none is known".into()),
            };
            match attempt {
                Attempt::Applied { log_index, outcome } => return self.caught_up(log_index, outcome, deadline).await,
                Attempt::Unknown(what) => return Err(KvError::UnknownOutcome(what)),
                Attempt::Overloaded => {
                    return Err(KvError::Overloaded {
                        retry_after: limits::OVERLOAD_RETRY,
                    });
                }
                Attempt::NotAccepted(reason) => why = reason,
            }
            self.pause(limits::LEADER_RETRY_PAUSE).await;
        }
        Err(KvError::Unavailable(why))
    }

    /// Whoever has an answer may read here what it wrote.
    async fn caught_up(&self, log_index: u64, outcome: Outcome, deadline: Instant) -> Result<Outcome, KvError> {
        match self.wait_applied_index(log_index, deadline).await {
            Ok(()) => Ok(outcome),
            Err(WaitError::Deadline) => Err(KvError::UnknownOutcome(format!(
                "it was carried out at log index {log_index}, but this server has not caught up"
            ))),
            Err(WaitError::Stopped) => Err(KvError::UnknownOutcome(
                "this server stopped while the write was under way".into(),
            )),
        }
    }

    /// Proposes one command as the leader.
    async fn propose_here(&self, command: Bytes, deadline: Instant) -> Attempt {
        match self.settle(self.raft.client_write(Command(command)), deadline).await {
            Ok(Ok(response)) => applied(response.log_id.index, response.data.outcome),
            Ok(Err(RaftError::APIError(error))) => refused(&error),
            Ok(Err(RaftError::Fatal(fatal))) => Attempt::Unknown(format!("consensus has ended: {fatal}")),
            Err(what) => Attempt::Unknown(what),
        }
    }

    /// Hands one command to the task that forwards.
    async fn propose_there(&self, command: Bytes, deadline: Instant) -> Attempt {
        let (answer, answered) = oneshot::channel();
        if self
            .forward
            .send(Proposal {
                command,
                deadline,
                answer,
            })
            .await
            .is_err()
        {
            return Attempt::NotAccepted("this server is stopping".into());
        }
        match self.settle(answered, deadline).await {
            Ok(Ok(attempt)) => attempt,
            Ok(Err(_)) => Attempt::Unknown("this server stopped while the write was under way".into()),
            Err(what) => Attempt::Unknown(what),
        }
    }

    /// Proposes commands that another server has handed over, in one message to consensus.
    pub(crate) async fn propose_all(&self, commands: Vec<Bytes>, deadline: Instant) -> Vec<Attempt> {
        let count = commands.len();
        let Ok(_permits) = self.proposals.try_acquire_many(units(&commands)) else {
            return (0..count).map(|_| Attempt::Overloaded).collect();
        };
        let mut answers = match self.raft.client_write_many(commands.into_iter().map(Command)).await {
            Ok(answers) => answers,
            Err(fatal) => return (0..count).map(|_| Attempt::Unknown(fatal.to_string())).collect(),
        };
        let mut attempts = Vec::with_capacity(count);
        while attempts.len() < count {
            let attempt = match self.settle(answers.next(), deadline).await {
                Ok(Some(Ok(Ok(response)))) => applied(response.log_id.index, response.response.outcome),
                Ok(Some(Ok(Err(error)))) => refused(&error),
                Ok(Some(Err(fatal))) => Attempt::Unknown(format!("consensus has ended: {fatal}")),
                Ok(None) => Attempt::Unknown("consensus gave no answer".into()),
                Err(what) => {
                    // The rest waits on the same cause.
                    attempts.resize_with(count, || Attempt::Unknown(what.clone()));
                    break;
                }
            };
            attempts.push(attempt);
        }
        attempts
    }
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
        let most = units([&sized(limits::FORWARD_BATCH_BYTES + limits::COMMAND_BYTES)]);
        assert!((most as usize) < limits::PROPOSALS_IN_FLIGHT_BYTES / unit);
    }
}
