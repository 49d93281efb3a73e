//! A peer that sends what no peer should: refused in words, nothing is changed, and all servers go on.
//!
//! It has a server's certificate, so it is one of ours: of another version, or with a bug. What it could do to the log is what
//! counts: an entry that cannot be applied would stop every server, and again after each restart.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bytes::Bytes;
use support::{Cluster, get, put, write};
use tonic::Code;
use tonic::transport::Channel;
use trireme_mvcc::command::Command;
use trireme_mvcc::outcome::Outcome;
use trireme_mvcc::types::Txn;
use trireme_proto::peer::v1 as proto;
use trireme_proto::peer::v1::append_response::Outcome as Appended;
use trireme_proto::peer::v1::install_snapshot_request::Part;
use trireme_proto::peer::v1::peer_client::PeerClient;
use trireme_proto::peer::v1::propose_result::Outcome as Proposed;
use trireme_store::{MemberNode, MembershipError, limits};

/// Of a proposal, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;

async fn client(cluster: &Cluster, id: u64) -> PeerClient<Channel> {
    let address = cluster.config(id).node.peer_address;
    PeerClient::connect(format!("http://{address}")).await.unwrap()
}

/// Every server still takes writes, and all hold the same.
async fn go_on(cluster: &Cluster, value: &str) {
    for id in cluster.servers.keys() {
        write(&cluster.store(*id), put("key", value)).await;
        assert_eq!(get(&cluster.store(*id), "key").await.as_deref(), Some(value));
    }
    cluster.wait_until_equal().await;
}

fn txn(txn: Txn) -> Bytes {
    Command::Txn { txn, fence_term: None }.encode()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_applied_never_gets_into_the_log() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let good = Command::LeaseGrant { id: 7, ttl_s: 60 }.encode();
    let cut = good.slice(..good.len() - 1);
    let too_many = Txn {
        success: [put("key", "").success, put("key", "").success].concat(),
        ..Txn::default()
    };
    let bad = [
        (Bytes::new(), "end too early"),
        (Bytes::from_static(&[0xff; 64]), "unknown command format 255"),
        (cut, "end too early"),
        (Bytes::from(vec![1; limits::COMMAND_BYTES]), "too many"),
        (txn(too_many), "key"),
        (
            Command::LeaseGrant { id: 8, ttl_s: i64::MAX }.encode(),
            "cannot live for",
        ),
    ];
    let mut commands: Vec<Bytes> = bad.iter().map(|(command, _)| command.clone()).collect();
    commands.push(good);
    let request = proto::ProposeRequest {
        commands,
        timeout_ms: TIMEOUT_MS,
        lanes: Vec::new(),
    };
    let mut peer = client(&cluster, leader).await.max_encoding_message_size(usize::MAX);
    let mut results = peer.propose(request).await.unwrap().into_inner().results;
    match results.pop().unwrap().outcome.unwrap() {
        Proposed::Applied(proto::Applied { result, .. }) => assert!(
            matches!(Outcome::decode(result), Ok(Outcome::LeaseGranted { id: 7, .. })),
            "what is sound is done"
        ),
        other => panic!("{other:?}"),
    }
    for ((_, words), result) in bad.iter().zip(results) {
        match result.outcome.unwrap() {
            Proposed::NotLeader(proto::NotLeader { reason, .. }) => {
                assert!(
                    reason.contains("refuses") && reason.contains(words),
                    "{words}: {reason}"
                );
            }
            other => panic!("{words}: {other:?}"),
        }
    }
    go_on(&cluster, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_messages_are_refused_and_change_nothing() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    write(&cluster.store(leader), put("key", "before")).await;
    cluster.wait_until_equal().await;
    let before: Vec<_> = cluster
        .servers
        .values()
        .map(|server| server.store.status().state_hash)
        .collect();
    let victim = cluster.follower(leader);
    let mut peer = client(&cluster, victim).await;
    let term = cluster.store(leader).status().term;
    let ruling = proto::BallotVote {
        term,
        server_id: leader,
        committed: true,
    };
    let vote = Some(ruling);
    let append = |vote, entries: Vec<Bytes>| proto::AppendRequest {
        vote,
        entries,
        ..proto::AppendRequest::default()
    };
    for (request, words) in [
        (append(None, vec![]), "`vote` is missing"),
        (append(vote, vec![Bytes::new()]), "0 bytes is too short"),
        (append(vote, vec![Bytes::from_static(&[7; 40])]), "checksum mismatch"),
    ] {
        let status = peer.append(request.clone()).await.unwrap_err();
        assert!(
            status.code() == Code::InvalidArgument && status.message().contains(words),
            "{words}: {status}"
        );
        // On a stream, too, once what came before it is answered; and it ends there.
        let messages = [append(vote, vec![]), request, append(vote, vec![])];
        let answers = peer.appends(futures::stream::iter(messages)).await.unwrap();
        let mut answers = answers.into_inner();
        let first = answers.message().await.unwrap().unwrap().outcome.unwrap();
        assert_eq!(first, Appended::Success(proto::Unit {}), "{words}");
        let status = answers.message().await.unwrap_err();
        assert!(
            status.code() == Code::InvalidArgument && status.message().contains(words),
            "{words}: {status}"
        );
    }
    // Whoever has led before is told so, once.
    let deposed = Some(proto::BallotVote {
        term: 0,
        server_id: victim,
        committed: true,
    });
    let messages = [append(vote, vec![]), append(deposed, vec![]), append(vote, vec![])];
    let answers = peer.appends(futures::stream::iter(messages)).await.unwrap();
    let mut answers = answers.into_inner();
    let first = answers.message().await.unwrap().unwrap().outcome.unwrap();
    assert_eq!(first, Appended::Success(proto::Unit {}));
    let second = answers.message().await.unwrap().unwrap().outcome.unwrap();
    assert_eq!(second, Appended::HigherVote(ruling));
    assert_eq!(answers.message().await.unwrap(), None);
    let status = peer.vote(proto::VoteRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = peer
        .change_members(proto::ChangeMembersRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    for (parts, code) in snapshots(vote) {
        let parts = parts.into_iter().map(|part| proto::InstallSnapshotRequest { part });
        let shown = format!("{:?}", parts.clone().collect::<Vec<_>>());
        let status = peer.install_snapshot(futures::stream::iter(parts)).await.unwrap_err();
        assert_eq!(status.code(), code, "{shown}: {status}");
    }
    cluster.wait_until_equal().await;
    let after: Vec<_> = cluster
        .servers
        .values()
        .map(|server| server.store.status().state_hash)
        .collect();
    assert_eq!(after, before);
    assert_eq!(get(&cluster.store(victim), "key").await.as_deref(), Some("before"));
    go_on(&cluster, "after").await;
}

/// Snapshots that are none, and what is said about them.
fn snapshots(vote: Option<proto::BallotVote>) -> Vec<(Vec<Option<Part>>, Code)> {
    let header = |transfer_id: &str| proto::SnapshotHeader {
        vote,
        last_log_id: Some(proto::LogId { term: 1, index: 1 }),
        membership: Some(proto::StoredMembership {
            log_id: None,
            membership: Some(proto::Membership::default()),
        }),
        transfer_id: transfer_id.into(),
        offset: 0,
    };
    let begun = || Some(Part::Header(header("c0ffee-1")));
    let with = |change: fn(&mut proto::SnapshotHeader)| {
        let mut header = header("c0ffee-2");
        change(&mut header);
        Some(Part::Header(header))
    };
    let chunk = || Some(Part::Chunk(Bytes::from_static(b"no snapshot")));
    let trailer = |length, crc32| Some(Part::Trailer(proto::SnapshotTrailer { length, crc32 }));
    vec![
        (vec![], Code::DataLoss),
        (vec![None], Code::InvalidArgument),
        (vec![chunk()], Code::InvalidArgument),
        (vec![trailer(0, 0)], Code::InvalidArgument),
        (vec![with(|header| header.vote = None)], Code::InvalidArgument),
        (vec![with(|header| header.membership = None)], Code::InvalidArgument),
        (
            vec![with(|header| header.transfer_id = "../../raft-log/x".into())],
            Code::FailedPrecondition,
        ),
        (
            vec![with(|header| header.transfer_id = String::new())],
            Code::FailedPrecondition,
        ),
        (vec![with(|header| header.offset = 1 << 40)], Code::Internal),
        (vec![begun(), begun()], Code::InvalidArgument),
        (vec![begun(), chunk()], Code::DataLoss),
        (vec![begun(), chunk(), trailer(11, 0)], Code::Internal),
        (vec![begun(), chunk(), trailer(u64::MAX, 0)], Code::Internal),
        // Whole, with the right checksum, and no snapshot at all.
        (
            vec![begun(), chunk(), trailer(11, crc32fast::hash(b"no snapshot"))],
            Code::Internal,
        ),
    ]
}

/// The membership goes into every batch that is applied: one that is too large could not be applied.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_an_endless_name_is_not_taken_up() {
    let cluster = Cluster::start(1).await;
    let store = cluster.store(1);
    let members = store.members();
    let node = |name: usize, address: usize| MemberNode {
        name: "n".repeat(name),
        api_address: String::new(),
        peer_address: "p".repeat(address),
    };
    let most = limits::MEMBER_TEXT_BYTES_MAX;
    for node in [node(most + 1, 1), node(1, most + 1), node(1, 2 << 20)] {
        let refused = store.add_learner(77, node).await.unwrap_err();
        assert!(
            matches!(&refused, MembershipError::Refused(why) if why.contains("are allowed")),
            "{refused}"
        );
    }
    assert_eq!(store.members(), members);
    let last = limits::MEMBERS_MAX as u64 - members.len() as u64;
    for id in 0..last {
        store.add_learner(100 + id, node(most, 1)).await.unwrap();
    }
    let refused = store.add_learner(100 + last, node(1, 1)).await.unwrap_err();
    assert!(
        matches!(&refused, MembershipError::Refused(why) if why.contains("not allowed")),
        "{refused}"
    );
    // One that is there already may still move.
    store.add_learner(100, node(most, most)).await.unwrap();
    go_on(&cluster, "after").await;
}
