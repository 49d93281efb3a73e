//! Translation between openraft's types and the messages of `peer.proto`. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use trireme_proto::peer::v1 as wire;

use super::types::{LogId, MemberNode, RaftMembership, StoredMembership, Vote, log_id};

/// What is wrong with a peer's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// A field that every such message has is absent.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// An answer to an append that no follower can give.
    #[error("an append was answered with {0}")]
    Answer(&'static str),
    /// A membership breaks a rule.
    #[error("invalid membership: {0}")]
    Membership(String),
    /// An entry's record is bad.
    #[error("bad log entry: {0}")]
    Record(#[from] super::record::RecordError),
}

impl From<WireError> for tonic::Status {
    fn from(error: WireError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

pub(crate) fn log_id_to_wire(id: LogId) -> wire::LogId {
    wire::LogId {
        term: id.leader_id.term,
        index: id.index,
    }
}

pub(crate) fn log_id_from_wire(id: wire::LogId) -> LogId {
    log_id(id.term, id.index)
}

pub(crate) fn vote_to_wire(vote: &Vote) -> wire::BallotVote {
    wire::BallotVote {
        term: vote.leader_id.term,
        server_id: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

pub(crate) fn vote_from_wire(vote: Option<wire::BallotVote>) -> Result<Vote, WireError> {
    let vote = vote.ok_or(WireError::Missing("vote"))?;
    Ok(if vote.committed {
        Vote::new_committed(vote.term, vote.server_id)
    } else {
        Vote::new(vote.term, vote.server_id)
    })
}

pub(crate) fn node_to_wire(id: u64, node: &MemberNode) -> wire::MemberNode {
    wire::MemberNode {
        id,
        name: node.name.clone(),
        api_address: node.api_address.clone(),
        peer_address: node.peer_address.clone(),
    }
}

pub(crate) fn node_from_wire(node: wire::MemberNode) -> (u64, MemberNode) {
    let wire::MemberNode {
        id,
        name,
        api_address,
        peer_address,
    } = node;
    (
        id,
        MemberNode {
            name,
            api_address,
            peer_address,
        },
    )
}

pub(crate) fn membership_to_wire(membership: &RaftMembership) -> wire::Membership {
    wire::Membership {
        configs: membership
            .get_joint_config()
            .iter()
            .map(|set| wire::VoterSet {
                server_ids: set.iter().copied().collect(),
            })
            .collect(),
        nodes: membership.nodes().map(|(id, node)| node_to_wire(*id, node)).collect(),
    }
}

pub(crate) fn membership_from_wire(message: wire::Membership) -> Result<RaftMembership, WireError> {
    let configs: Vec<BTreeSet<u64>> = message
        .configs
        .into_iter()
        .map(|set| set.server_ids.into_iter().collect())
        .collect();
    let nodes: BTreeMap<u64, MemberNode> = message.nodes.into_iter().map(node_from_wire).collect();
    RaftMembership::new(configs, nodes).map_err(|error| WireError::Membership(error.to_string()))
}

pub(crate) fn stored_membership_to_wire(stored: &StoredMembership) -> wire::StoredMembership {
    wire::StoredMembership {
        log_id: stored.log_id().map(log_id_to_wire),
        membership: Some(membership_to_wire(stored.membership())),
    }
}

pub(crate) fn stored_membership_from_wire(message: wire::StoredMembership) -> Result<StoredMembership, WireError> {
    let membership = message.membership.ok_or(WireError::Missing("membership"))?;
    Ok(StoredMembership::new(
        message.log_id.map(log_id_from_wire),
        membership_from_wire(membership)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_survives_the_wire() {
        for vote in [Vote::new(3, 7), Vote::new_committed(u64::MAX, 1)] {
            assert_eq!(vote_from_wire(Some(vote_to_wire(&vote))), Ok(vote));
        }
        assert_eq!(vote_from_wire(None), Err(WireError::Missing("vote")));
    }

    #[test]
    fn a_voter_without_an_address_is_refused() {
        let message = wire::Membership {
            configs: vec![wire::VoterSet { server_ids: vec![1] }],
            nodes: vec![],
        };
        assert!(matches!(membership_from_wire(message), Err(WireError::Membership(_))));
    }
}
