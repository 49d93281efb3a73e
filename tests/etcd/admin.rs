//! The members and their state: status, alarms, hashes, backups, membership, the leader's end.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tonic::{Code, Request};
use trireme_proto::etcd::server::alarm_request::AlarmAction;
use trireme_proto::etcd::server::{
    AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, HashKvRequest, HashRequest, MemberAddRequest,
    MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, PutRequest,
    RequestOp, SnapshotRequest, StatusRequest, StatusResponse, TxnRequest, WatchCreateRequest, request_op,
};
use trireme_tests::harness::poll_until;

use crate::lease::{attach, grant, keep_alive, time_to_live};
use crate::target::{PATIENCE, Target, Trireme, bytes, end, ensure_refused, one, revision};
use crate::watch::{Stream, on};

pub(crate) async fn check(trireme: &Trireme, target: &Target) -> Result<()> {
    status(trireme, target).await.context("status")?;
    hashes(target).await.context("hashes")?;
    backup(target).await.context("backup")?;
    alarms(target).await.context("alarms")?;
    members(target).await.context("members")?;
    move_leader(target).await.context("moving the lead")
}

async fn status_of(target: &Target, server: usize) -> Result<StatusResponse> {
    Ok(target.maintenance(server).status(StatusRequest {}).await?.into_inner())
}

/// The number of the server that leads, with its status.
async fn leader(target: &Target) -> Result<(usize, StatusResponse)> {
    poll_until("a leader", PATIENCE, || async {
        for server in 0..3 {
            if let Ok(status) = status_of(target, server).await {
                let own = status.header.as_ref().map_or(0, |header| header.member_id);
                if status.leader == own && own != 0 {
                    return Ok(Some((server, status)));
                }
            }
        }
        Ok(None)
    })
    .await
}

async fn status(trireme: &Trireme, target: &Target) -> Result<()> {
    let (_, led) = leader(target).await?;
    for server in 0..3 {
        let status = status_of(target, server).await?;
        // The API server of Kubernetes believes in consistent reads from a cache only of such a version.
        let version: Vec<u32> = status.version.split('.').filter_map(|part| part.parse().ok()).collect();
        ensure!(version >= vec![3, 5, 13], "{status:?}");
        ensure!(status.leader == led.leader && status.raft_term > 0, "{status:?}");
        ensure!(
            status.raft_applied_index > 0 && status.raft_index >= status.raft_applied_index,
            "{status:?}"
        );
        ensure!(
            status.db_size > 0 && status.db_size_quota > status.db_size && status.errors.is_empty(),
            "{status:?}"
        );
        ensure!(!status.is_learner, "{status:?}");
    }
    let endpoints = trireme.endpoints()?;
    let urls: Vec<String> = endpoints.iter().map(|address| format!("http://{address}")).collect();
    let told = poll_until("all servers to tell where they serve", PATIENCE, || async {
        let request = MemberListRequest { linearizable: true };
        let members = target.cluster().member_list(request).await?.into_inner().members;
        let told: Vec<String> = members.iter().flat_map(|member| member.client_urls.clone()).collect();
        Ok((told.len() == 3).then_some(told))
    })
    .await?;
    ensure!(urls.iter().all(|url| told.contains(url)), "{told:?}");
    target.maintenance(0).defragment(DefragmentRequest {}).await?;
    Ok(())
}

async fn hashes(target: &Target) -> Result<()> {
    let at = revision(&target.put("hash", "").await?.header);
    let mut hashes = Vec::new();
    for server in 0..3 {
        // A linearizable read lets the server catch up.
        target.kv_of(server).range(one("hash")).await?;
        let hash = target
            .maintenance(server)
            .hash_kv(HashKvRequest { revision: at })
            .await?
            .into_inner();
        hashes.push((hash.hash, hash.hash_revision, hash.compact_revision));
    }
    ensure!(
        hashes.windows(2).all(|pair| pair[0] == pair[1]) && hashes[0].1 == at,
        "{hashes:?}"
    );
    let other = revision(&target.put("hash", "other").await?.header);
    let hash = target
        .maintenance(0)
        .hash_kv(HashKvRequest { revision: other })
        .await?
        .into_inner();
    ensure!(hash.hash != hashes[0].0, "another content has another hash");
    let future = target
        .maintenance(0)
        .hash_kv(HashKvRequest {
            revision: other + 1_000,
        })
        .await;
    let words = "etcdserver: mvcc: required revision is a future revision";
    ensure_refused(future, Code::OutOfRange, words)?;
    target.maintenance(0).hash(HashRequest {}).await?;
    Ok(())
}

async fn backup(target: &Target) -> Result<()> {
    let mut stream = target.maintenance(1).snapshot(SnapshotRequest {}).await?.into_inner();
    let mut all = Vec::new();
    while let Some(piece) = stream.message().await? {
        ensure!(piece.header.is_some());
        all.extend_from_slice(&piece.blob);
    }
    // What etcd's tools insist on: whole blocks, and a SHA-256.
    ensure!(all.len() % 512 == 32, "{} bytes", all.len());
    Ok(())
}

async fn alarm(target: &Target, action: AlarmAction, kind: AlarmType) -> Result<AlarmResponse> {
    let request = AlarmRequest {
        action: action.into(),
        member_id: if action == AlarmAction::Get { 0 } else { 1 },
        alarm: kind.into(),
    };
    Ok(target.maintenance(0).alarm(request).await?.into_inner())
}

async fn alarms(target: &Target) -> Result<()> {
    ensure!(
        alarm(target, AlarmAction::Get, AlarmType::None)
            .await?
            .alarms
            .is_empty()
    );
    target.put("alarm/there", "").await?;
    let raised = alarm(target, AlarmAction::Activate, AlarmType::Nospace).await?;
    ensure!(raised.alarms.len() == 1, "{raised:?}");
    let listed = alarm(target, AlarmAction::Get, AlarmType::None).await?;
    ensure!(
        listed
            .alarms
            .iter()
            .any(|alarm| alarm.alarm == i32::from(AlarmType::Nospace)),
        "{listed:?}"
    );
    let put = PutRequest {
        key: bytes("alarm/new"),
        ..PutRequest::default()
    };
    let words = "etcdserver: mvcc: database space exceeded";
    ensure_refused(target.kv().put(put).await, Code::ResourceExhausted, words)?;
    target.delete("alarm/there").await?;
    target.get("alarm/there").await?;
    let complaints = status_of(target, 0).await?.errors;
    ensure!(
        complaints.iter().any(|complaint| complaint.contains("alarm:NOSPACE")),
        "{complaints:?}"
    );
    let cleared = alarm(target, AlarmAction::Deactivate, AlarmType::Nospace).await?;
    ensure!(cleared.alarms.len() == 1, "{cleared:?}");
    target.put("alarm/new", "").await?;
    Ok(())
}

async fn members(target: &Target) -> Result<()> {
    let list = async || -> Result<_> {
        let request = MemberListRequest { linearizable: true };
        Ok(target.cluster().member_list(request).await?.into_inner().members)
    };
    let before = list().await?;
    ensure!(
        before.len() == 3 && before.iter().all(|member| !member.is_learner),
        "{before:?}"
    );
    ensure!(
        before
            .iter()
            .all(|member| member.peer_urls.len() == 1 && !member.name.is_empty()),
        "{before:?}"
    );

    let add = |urls: &[&str]| MemberAddRequest {
        peer_urls: urls.iter().map(ToString::to_string).collect(),
        is_learner: true,
    };
    let bad = "etcdserver: given member URLs are invalid";
    for urls in [&[][..], &["127.0.0.1:9"], &["http://127.0.0.1"]] {
        ensure_refused(target.cluster().member_add(add(urls)).await, Code::InvalidArgument, bad)?;
    }
    let taken = before[0].peer_urls[0].clone();
    let taken = target.cluster().member_add(add(&[&taken])).await;
    ensure_refused(taken, Code::FailedPrecondition, "etcdserver: Peer URLs already exists")?;

    // Nobody listens there: it cannot catch up, so it stays a learner.
    let added = target
        .cluster()
        .member_add(add(&["http://127.0.0.1:9"]))
        .await?
        .into_inner();
    let new = added.member.context("the new member")?;
    ensure!(
        new.is_learner && added.members.len() == 4,
        "{new:?} {:?}",
        added.members
    );
    ensure!(before.iter().all(|member| member.id != new.id), "an id of its own");
    let not_ready = "etcdserver: can only promote a learner member which is in sync with leader";
    let promoted = target
        .cluster()
        .member_promote(MemberPromoteRequest { id: new.id })
        .await;
    ensure_refused(promoted, Code::FailedPrecondition, not_ready)?;
    let voter = MemberPromoteRequest { id: before[0].id };
    let voter = target.cluster().member_promote(voter).await;
    ensure_refused(
        voter,
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member",
    )?;
    let update = MemberUpdateRequest {
        id: new.id,
        peer_urls: vec!["https://127.0.0.1:10".to_owned()],
    };
    let updated = target.cluster().member_update(update).await?.into_inner().members;
    let moved = updated
        .iter()
        .find(|member| member.id == new.id)
        .context("it is there")?;
    ensure!(moved.peer_urls == ["https://127.0.0.1:10"], "{moved:?}");
    let removed = target
        .cluster()
        .member_remove(MemberRemoveRequest { id: new.id })
        .await?
        .into_inner();
    ensure!(removed.members.len() == 3, "{:?}", removed.members);
    let gone = target.cluster().member_remove(MemberRemoveRequest { id: new.id }).await;
    ensure_refused(gone, Code::NotFound, "etcdserver: member not found")
}

async fn move_leader(target: &Target) -> Result<()> {
    let (from, status) = leader(target).await?;
    let to = (from + 1) % 3;
    let target_id = status_of(target, to).await?.header.context("a header")?.member_id;
    let elsewhere = target
        .maintenance(to)
        .move_leader(MoveLeaderRequest { target_id })
        .await;
    ensure_refused(elsewhere, Code::FailedPrecondition, "etcdserver: not leader")?;
    let nobody = target
        .maintenance(from)
        .move_leader(MoveLeaderRequest { target_id: 4_711 })
        .await;
    ensure_refused(nobody, Code::FailedPrecondition, "etcdserver: bad leader transferee")?;
    target
        .maintenance(from)
        .move_leader(MoveLeaderRequest { target_id })
        .await?;
    let (now, after) = leader(target).await?;
    ensure!(
        now == to && after.raft_term > status.raft_term,
        "{now} leads: {after:?}"
    );
    Ok(())
}

/// The leader is killed: leases keep the time they have left and their keys, watches lose nothing, and whoever wants
/// a leader is told when there is none.
pub(crate) async fn leader_changes(trireme: &Trireme, target: &Target) -> Result<()> {
    let (led, before) = leader(target).await?;
    let (survivor, other) = ((led + 1) % 3, (led + 2) % 3);
    let channel = |server| target.only(server);
    let long = grant(&channel(survivor), 0, 600).await?;
    attach(&channel(survivor), "failover/a", long).await?;
    let mut stream = Stream::open(target, survivor);
    stream.create(on("failover/", end("failover/"))).await?;

    kill(Pid::from_raw(trireme.process(led)?), Signal::SIGKILL)?;
    let mut written = Vec::new();
    for n in 0..5 {
        written.push(put_until_done(&channel(other), &format!("failover/{n}")).await?);
    }
    // A write that is repeated may happen twice: what was acknowledged must be among what is told.
    let mut told = Vec::new();
    while written.iter().any(|revision| !told.contains(revision)) {
        told.extend(stream.events(1).await?.into_iter().map(|(revision, _, _)| revision));
    }
    ensure!(
        told.is_sorted() && told.windows(2).all(|pair| pair[0] < pair[1]),
        "{told:?}"
    );
    let lease = time_to_live(&channel(other), long).await?;
    ensure!(lease.ttl > 0 && lease.keys == ["failover/a"], "{lease:?}");
    ensure!(keep_alive(&channel(survivor), &[long]).await?[0].ttl == 600);
    let status = status_of(target, survivor).await?;
    ensure!(
        status.leader != before.leader && status.raft_term > before.raft_term,
        "{status:?}"
    );

    no_leader(trireme, target, survivor, other).await?;
    trireme.up().await
}

async fn put_until_done(target: &Target, key: &str) -> Result<i64> {
    poll_until("a put to be acknowledged", PATIENCE, || async {
        Ok(Some(revision(&target.put(key, "").await?.header)))
    })
    .await
}

/// With two of three gone nobody leads.
async fn no_leader(trireme: &Trireme, target: &Target, survivor: usize, other: usize) -> Result<()> {
    let watch = WatchCreateRequest {
        key: bytes("failover/quiet"),
        ..WatchCreateRequest::default()
    };
    let first = trireme_proto::etcd::server::WatchRequest {
        request_union: Some(trireme_proto::etcd::server::watch_request::RequestUnion::CreateRequest(
            watch,
        )),
    };
    let requests = futures::StreamExt::chain(futures::stream::iter([first]), futures::stream::pending());
    let mut request = Request::new(requests);
    request.metadata_mut().insert("hasleader", "true".parse()?);
    let mut watched = target.watches(survivor).watch(request).await?.into_inner();
    watched.message().await?.context("it is made")?;

    kill(Pid::from_raw(trireme.process(other)?), Signal::SIGKILL)?;
    let ended = tokio::time::timeout(PATIENCE, watched.message())
        .await
        .context("the watch goes on without a leader")?;
    match ended {
        Err(status) => {
            let fits = status.code() == Code::Unavailable && status.message() == "etcdserver: no leader";
            ensure!(fits, "{status:?}");
        }
        Ok(answer) => bail!("{answer:?}"),
    }
    let mut read = Request::new(one("failover/a"));
    read.metadata_mut().insert("hasleader", "true".parse()?);
    let refused = target.kv_of(survivor).range(read).await;
    ensure_refused(refused, Code::Unavailable, "etcdserver: no leader")?;
    let mut local = one("failover/a");
    local.serializable = true;
    let txn = TxnRequest {
        success: vec![RequestOp {
            request: Some(request_op::Request::RequestRange(local.clone())),
        }],
        ..TxnRequest::default()
    };
    let local = tokio::time::timeout(Duration::from_secs(5), target.kv_of(survivor).range(local)).await??;
    ensure!(local.into_inner().kvs.len() == 1, "what is here can still be read");
    let local = tokio::time::timeout(Duration::from_secs(5), target.kv_of(survivor).txn(txn)).await??;
    ensure!(
        local.into_inner().succeeded,
        "by a transaction that asks for no more, too"
    );
    Ok(())
}
