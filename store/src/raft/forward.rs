//! One message with commands from a follower to the leader, and its answer.

use bytes::Bytes;
use tokio::time::Instant;
use trireme_mvcc::outcome::Outcome;
use trireme_proto::peer::v1 as proto;
use trireme_proto::peer::v1::propose_result::Outcome as Wire;

use super::node::Node;
use super::pool::Purpose;
use super::propose::Attempt;
use crate::lanes::Lane;

/// Hands commands to the leader. The error is the fate that all of them share.
pub(super) async fn call(
    node: &Node,
    leader: u64,
    address: &str,
    commands: Vec<(Lane, Bytes)>,
    deadline: Instant,
) -> Result<Vec<Attempt>, Attempt> {
    let mut pick = node
        .pool
        .get(leader, address, Purpose::Forward)
        .map_err(|error| Attempt::NotAccepted(error.to_string()))?;
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    let (lanes, commands) = commands
        .into_iter()
        .map(|(lane, command)| (lane_to_wire(lane), command))
        .unzip();
    let request = proto::ProposeRequest {
        commands,
        timeout_ms,
        lanes,
    };
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

fn lane_to_wire(lane: Lane) -> i32 {
    match lane {
        Lane::System => proto::ProposalLane::System,
        Lane::Users => proto::ProposalLane::Users,
        Lane::Bulk => proto::ProposalLane::Bulk,
    }
    .into()
}

/// The commands of a message with their lanes. One whose lane is not said, or not known here, is a user's.
pub(crate) fn commands_from_wire(request: proto::ProposeRequest) -> Vec<(Lane, Bytes)> {
    let lanes = request
        .lanes
        .into_iter()
        .map(|lane| match proto::ProposalLane::try_from(lane) {
            Ok(proto::ProposalLane::System) => Lane::System,
            Ok(proto::ProposalLane::Bulk) => Lane::Bulk,
            Ok(proto::ProposalLane::Unspecified | proto::ProposalLane::Users) | Err(_) => Lane::Users,
        });
    lanes
        .chain(std::iter::repeat(Lane::Users))
        .zip(request.commands)
        .collect()
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

pub(super) fn attempt(result: proto::ProposeResult) -> Attempt {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_survive_the_wire_and_default_to_the_users() {
        let check = |lanes: Vec<i32>, expected: [Lane; 3]| {
            let request = proto::ProposeRequest {
                commands: ["a", "b", "c"].map(Bytes::from).to_vec(),
                timeout_ms: 1,
                lanes,
            };
            let read = commands_from_wire(request);
            assert_eq!(read.iter().map(|(lane, _)| *lane).collect::<Vec<_>>(), expected);
            assert_eq!(read[2].1, "c");
        };
        check(Lane::ALL.map(lane_to_wire).to_vec(), Lane::ALL);
        check(vec![], [Lane::Users; 3]);
        check(
            vec![lane_to_wire(Lane::Bulk), 99],
            [Lane::Bulk, Lane::Users, Lane::Users],
        );
    }
}
