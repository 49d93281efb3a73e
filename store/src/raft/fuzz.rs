//! What the fuzz targets drive of consensus: the messages of the peer service, and the membership as it is stored.
//!
//! A message is read as its receiver reads it; what it is taken for is then written by the sender's side, and must be the
//! message again.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use trireme_mvcc::hash::StateHash;
use trireme_mvcc::outcome::{Outcome, Refusal};
use trireme_proto::peer::v1 as proto;
use trireme_proto::peer::v1::append_response::Outcome as Appended;
use trireme_proto::peer::v1::change_members_request::Change as WireChange;
use trireme_proto::peer::v1::install_snapshot_request::Part;
use trireme_proto::peer::v1::lease_response::Outcome as Lease;
use trireme_proto::peer::v1::propose_result::Outcome as Proposed;

use super::state_machine::{decode_membership, encode_membership};
use super::types::StoredMembership;
use super::{forward, lease, log, membership, network, propose, record, serve, snapshot, watchman, wire};
use crate::integrity::judge;

pub use super::log::fuzz::{
    log_frame, log_frame_seeds, log_record, log_record_seeds, log_recovery, log_recovery_seeds,
};

/// A stored membership: what is read and written again reads the same.
pub fn stored_membership(input: &[u8]) -> bool {
    let Ok(stored) = decode_membership(input) else {
        return false;
    };
    let again = decode_membership(&encode_membership(&stored)).expect("what was written can be read");
    assert_eq!(again, stored);
    true
}

/// Memberships of each form.
pub fn stored_membership_seeds() -> Vec<Vec<u8>> {
    let entries = log::fuzz::entries();
    let of = |entry: &super::types::LogEntry| match &entry.payload {
        openraft::EntryPayload::Membership(membership) => {
            Some(StoredMembership::new(Some(entry.log_id), membership.clone()))
        }
        openraft::EntryPayload::Blank | openraft::EntryPayload::Normal(_) => None,
    };
    let mut all: Vec<StoredMembership> = entries.iter().filter_map(of).collect();
    all.push(StoredMembership::default());
    all.iter().map(|stored| encode_membership(stored).to_vec()).collect()
}

/// A message of the peer service; its first byte says which.
pub fn peer_message(input: &[u8]) -> bool {
    let Some((which, message)) = input.split_first() else {
        return false;
    };
    READERS[usize::from(*which) % READERS.len()](message).is_some()
}

/// Reads a message; `None` if it is refused.
type Reader = fn(&[u8]) -> Option<()>;

/// One a message.
const READERS: [Reader; 19] = [
    append_request,
    append_response,
    vote_request,
    vote_response,
    install_snapshot,
    propose_request,
    propose_response,
    change_members,
    again::<proto::QuarantineRequest>,
    again::<proto::QuarantineResponse>,
    condition,
    transfer_leader,
    again::<proto::TransferLeaderResponse>,
    lease_response,
    again::<proto::LeaseRequest>,
    again::<proto::ReadIndexResponse>,
    again::<proto::ChangeMembersResponse>,
    again::<proto::InstallSnapshotResponse>,
    again::<proto::SnapshotProgressResponse>,
];

fn append_request(message: &[u8]) -> Option<()> {
    let message = proto::AppendRequest::decode(message).ok()?;
    let rpc = serve::append_request(message.clone()).ok()?;
    assert_eq!(rpc.entries.len(), message.entries.len());
    assert_eq!(network::append_request(rpc), message, "it is sent on as it came");
    Some(())
}

fn append_response(message: &[u8]) -> Option<()> {
    let message = proto::AppendResponse::decode(message).ok()?;
    network::append_response(message).ok().map(drop)
}

fn vote_request(message: &[u8]) -> Option<()> {
    let message = proto::VoteRequest::decode(message).ok()?;
    let rpc = serve::vote_request(message).ok()?;
    assert_eq!(network::vote_request(&rpc), message);
    Some(())
}

fn vote_response(message: &[u8]) -> Option<()> {
    let message = proto::VoteResponse::decode(message).ok()?;
    let response = network::vote_response(message).ok()?;
    assert_eq!(serve::vote_response(&response), message);
    Some(())
}

fn install_snapshot(message: &[u8]) -> Option<()> {
    let Part::Header(header) = proto::InstallSnapshotRequest::decode(message).ok()?.part? else {
        return Some(());
    };
    // The id names a file, and may lead nowhere else than into the folder.
    let folder = std::path::Path::new("/nowhere");
    if let Ok(path) = snapshot::partial(folder, &header.transfer_id) {
        assert_eq!(path.parent(), Some(folder));
        assert_eq!(path.components().count(), folder.components().count() + 1);
    }
    wire::vote_from_wire(header.vote).ok()?;
    let stored = wire::stored_membership_from_wire(header.membership?).ok()?;
    let again = wire::stored_membership_from_wire(wire::stored_membership_to_wire(&stored));
    assert_eq!(again, Ok(stored));
    Some(())
}

fn propose_request(message: &[u8]) -> Option<()> {
    let message = proto::ProposeRequest::decode(message).ok()?;
    let accepted = message.commands.iter().all(|command| propose::check(command).is_ok());
    accepted.then_some(())
}

fn propose_response(message: &[u8]) -> Option<()> {
    let message = proto::ProposeResponse::decode(message).ok()?;
    for result in message.results {
        let attempt = forward::attempt(result);
        let shown = format!("{attempt:?}");
        let again = forward::attempt(forward::attempt_to_wire(attempt, 1));
        assert_eq!(format!("{again:?}"), shown);
    }
    Some(())
}

fn change_members(message: &[u8]) -> Option<()> {
    let message = proto::ChangeMembersRequest::decode(message).ok()?;
    let change = membership::change_from_wire(message.clone()).ok()?;
    assert_eq!(membership::change_to_wire(&change), message);
    Some(())
}

/// Whatever one server says of itself, the two that agree are not blamed for it.
fn condition(message: &[u8]) -> Option<()> {
    let told = proto::ConditionResponse::decode(message).ok()?;
    let told = watchman::remembered(&told);
    let others: BTreeMap<u64, StateHash> = told.keys().map(|index| (*index, StateHash::default())).collect();
    let differs = told.values().any(|hash| *hash != StateHash::default());
    let servers = BTreeMap::from([(1, others.clone()), (2, others), (3, told)]);
    let verdict = judge(&BTreeSet::from([1, 2, 3]), &servers);
    assert_eq!(verdict.odd.contains_key(&3), differs);
    assert!(verdict.odd.keys().all(|server| *server == 3) && verdict.split.is_none());
    Some(())
}

fn transfer_leader(message: &[u8]) -> Option<()> {
    let message = proto::TransferLeaderRequest::decode(message).ok()?;
    serve::transfer_request(message).ok().map(drop)
}

fn lease_response(message: &[u8]) -> Option<()> {
    let message = proto::LeaseResponse::decode(message).ok()?;
    lease::from_wire(message).ok().map(drop)
}

/// What needs no more than to be read: written again it reads the same.
fn again<M: Message + Default + PartialEq + std::fmt::Debug>(message: &[u8]) -> Option<()> {
    let message = M::decode(message).ok()?;
    assert_eq!(M::decode(&message.encode_to_vec()[..]).as_ref(), Ok(&message));
    Some(())
}

/// Messages of each kind.
pub fn peer_message_seeds() -> Vec<Vec<u8>> {
    let ballot = proto::BallotVote {
        term: 3,
        server_id: 2,
        committed: true,
    };
    let vote = Some(ballot);
    let id = Some(proto::LogId { term: 3, index: 9 });
    let seed = |which: u8, message: Vec<u8>| [vec![which], message].concat();
    let entries = log::fuzz::entries().iter_mut().map(record::seal).collect();
    let mut seeds = vec![
        seed(0, {
            let (previous, leader_commit) = (id, id);
            proto::AppendRequest {
                vote,
                previous,
                leader_commit,
                entries,
            }
            .encode_to_vec()
        }),
        seed(
            2,
            proto::VoteRequest {
                vote,
                last_log_id: id,
                leadership_transfer: true,
            }
            .encode_to_vec(),
        ),
        seed(
            3,
            proto::VoteResponse {
                vote,
                granted: true,
                last_log_id: id,
            }
            .encode_to_vec(),
        ),
        seed(5, {
            let commands = vec![trireme_mvcc::command::Command::Compact { revision: 7 }.encode()];
            proto::ProposeRequest {
                commands,
                timeout_ms: 10_000,
                lanes: vec![proto::ProposalLane::Bulk.into()],
            }
            .encode_to_vec()
        }),
        seed(6, propose_response_seed()),
        seed(
            8,
            proto::QuarantineRequest {
                index: 1_024,
                expected: Bytes::from_static(&[7; 32]),
            }
            .encode_to_vec(),
        ),
    ];
    let outcomes = [
        Appended::Success(proto::Unit {}),
        Appended::PartialSuccess(proto::PartialSuccess { matching: id }),
        Appended::HigherVote(ballot),
    ];
    let append = |outcome| proto::AppendResponse { outcome: Some(outcome) }.encode_to_vec();
    seeds.extend(outcomes.into_iter().map(|outcome| seed(1, append(outcome))));
    let membership = stored_membership_seeds();
    let header = proto::SnapshotHeader {
        vote,
        last_log_id: id,
        membership: membership
            .first()
            .and_then(|bytes| proto::StoredMembership::decode(&bytes[..]).ok()),
        transfer_id: "00c0ffee00c0ffee-0".into(),
        offset: 0,
    };
    let parts = [
        Part::Header(header),
        Part::Chunk(Bytes::from_static(b"bytes")),
        Part::Trailer(proto::SnapshotTrailer { length: 5, crc32: 7 }),
    ];
    let part = |part| proto::InstallSnapshotRequest { part: Some(part) }.encode_to_vec();
    seeds.extend(parts.into_iter().map(|one| seed(4, part(one))));
    let node = proto::MemberNode {
        id: 4,
        name: "d".into(),
        api_address: "h:1".into(),
        peer_address: "h:2".into(),
    };
    let changes = [
        WireChange::AddLearner(node),
        WireChange::Remove(3),
        WireChange::AllocateId(proto::Unit {}),
    ];
    let change = |change| proto::ChangeMembersRequest { change: Some(change) }.encode_to_vec();
    seeds.extend(changes.into_iter().map(|one| seed(7, change(one))));
    let sample = |index, byte| proto::HashSample {
        index,
        hash: vec![byte; 16].into(),
    };
    let condition = proto::ConditionResponse {
        server_id: 2,
        quarantine: "its log is damaged".into(),
        hashes: vec![sample(1_024, 0), sample(2_048, 7)],
        free_bytes: 1 << 30,
        low_space: true,
    };
    let transfer = proto::TransferLeaderRequest {
        from_leader: vote,
        to: 2,
        last_log_id: id,
    };
    let time = proto::LeaseTime {
        granted_ttl_s: 60,
        remaining_ttl_s: 7,
    };
    let time = proto::LeaseResponse {
        outcome: Some(Lease::Time(time)),
    };
    seeds.extend([
        seed(10, condition.encode_to_vec()),
        seed(11, transfer.encode_to_vec()),
        seed(13, time.encode_to_vec()),
    ]);
    seeds
}

fn propose_response_seed() -> Vec<u8> {
    let applied = |outcome: &Outcome| {
        Proposed::Applied(proto::Applied {
            log_index: 9,
            result: outcome.encode(),
        })
    };
    let outcomes = [
        applied(&Outcome::Compacted),
        applied(&Outcome::Refused(Refusal::LeaseNotFound { id: 7 })),
        Proposed::Unknown("why".into()),
        Proposed::Overloaded(proto::Unit {}),
    ];
    let results = outcomes.map(|outcome| proto::ProposeResult { outcome: Some(outcome) });
    proto::ProposeResponse {
        results: results.into(),
    }
    .encode_to_vec()
}
