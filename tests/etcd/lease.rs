//! Leases: their time, their keys, their end.

use anyhow::{Context, Result, ensure};
use futures::stream;
use tonic::Code;
use trireme_proto::etcd::server::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest,
};
use trireme_tests::harness::poll_until;

use crate::target::{PATIENCE, Target, bytes, ensure_refused, prefix, revision};

pub(crate) async fn check(target: &Target) -> Result<()> {
    lives_and_ends(target).await.context("life")?;
    expires(target).await.context("expiry")?;
    moves_between_leases(target).await.context("moving keys")?;
    refused(target).await.context("refused")
}

pub(crate) async fn grant(target: &Target, id: i64, ttl: i64) -> Result<i64> {
    let granted = target
        .leases()
        .lease_grant(LeaseGrantRequest { ttl, id })
        .await?
        .into_inner();
    ensure!(granted.id != 0 && granted.ttl >= ttl, "{granted:?}");
    Ok(granted.id)
}

pub(crate) async fn attach(target: &Target, key: &str, lease: i64) -> Result<i64, tonic::Status> {
    let request = PutRequest {
        key: bytes(key),
        value: bytes("leased"),
        lease,
        ..PutRequest::default()
    };
    Ok(revision(&target.kv().put(request).await?.into_inner().header))
}

pub(crate) async fn keep_alive(target: &Target, ids: &[i64]) -> Result<Vec<LeaseKeepAliveResponse>> {
    let requests: Vec<_> = ids.iter().map(|id| LeaseKeepAliveRequest { id: *id }).collect();
    let mut answers = target
        .leases()
        .lease_keep_alive(stream::iter(requests))
        .await?
        .into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await? {
        all.push(answer);
    }
    Ok(all)
}

pub(crate) async fn time_to_live(target: &Target, id: i64) -> Result<LeaseTimeToLiveResponse> {
    let request = LeaseTimeToLiveRequest { id, keys: true };
    let mut state = target.leases().lease_time_to_live(request).await?.into_inner();
    // etcd tells them in no order.
    state.keys.sort();
    Ok(state)
}

async fn revoke(target: &Target, id: i64) -> Result<i64, tonic::Status> {
    let revoked = target.leases().lease_revoke(LeaseRevokeRequest { id }).await?;
    Ok(revision(&revoked.into_inner().header))
}

async fn lives_and_ends(target: &Target) -> Result<()> {
    let id = grant(target, 0, 600).await?;
    let own = grant(target, 7_587_855, 700).await?;
    ensure!(own == 7_587_855);
    for key in ["lease/a", "lease/b", "lease/c"] {
        attach(target, key, id).await?;
    }
    let state = time_to_live(target, id).await?;
    ensure!(
        state.granted_ttl == 600 && (500..=600).contains(&state.ttl),
        "{state:?}"
    );
    ensure!(state.keys == ["lease/a", "lease/b", "lease/c"], "{state:?}");
    let kept = keep_alive(target, &[id, 12_345, own]).await?;
    let times: Vec<(i64, i64)> = kept.iter().map(|kept| (kept.id, kept.ttl)).collect();
    ensure!(times == [(id, 600), (12_345, 0), (own, 700)], "{times:?}");
    let leases = target
        .leases()
        .lease_leases(LeaseLeasesRequest {})
        .await?
        .into_inner()
        .leases;
    for id in [id, own] {
        ensure!(leases.iter().any(|lease| lease.id == id), "{id} is in {leases:?}");
    }
    let before = revision(&target.range(prefix("lease/")).await?.header);
    ensure!(
        revoke(target, id).await? == before + 1,
        "all its keys go in one revision"
    );
    ensure!(target.range(prefix("lease/")).await?.kvs.is_empty());
    let gone = time_to_live(target, id).await?;
    ensure!(gone.ttl == -1 && gone.granted_ttl == 0, "{gone:?}");
    ensure!(
        revoke(target, own).await? == before + 1,
        "a lease without keys takes no revision"
    );
    Ok(())
}

async fn expires(target: &Target) -> Result<()> {
    let id = grant(target, 0, 1).await?;
    let kept = grant(target, 0, 600).await?;
    attach(target, "lease-end/a", id).await?;
    attach(target, "lease-end/kept", kept).await?;
    poll_until("a lease to expire", PATIENCE, || async {
        Ok(target.get("lease-end/a").await?.is_none().then_some(()))
    })
    .await?;
    ensure!(time_to_live(target, id).await?.ttl == -1);
    ensure!(target.get("lease-end/kept").await?.is_some());
    revoke(target, kept).await?;
    Ok(())
}

async fn moves_between_leases(target: &Target) -> Result<()> {
    let (first, second) = (grant(target, 0, 600).await?, grant(target, 0, 600).await?);
    attach(target, "lease-move/a", first).await?;
    attach(target, "lease-move/a", second).await?;
    ensure!(time_to_live(target, first).await?.keys.is_empty());
    revoke(target, first).await?;
    ensure!(target.get("lease-move/a").await?.is_some_and(|kv| kv.lease == second));
    let keep = PutRequest {
        key: bytes("lease-move/a"),
        value: bytes("changed"),
        ignore_lease: true,
        ..PutRequest::default()
    };
    target.kv().put(keep).await?;
    ensure!(
        target
            .get("lease-move/a")
            .await?
            .is_some_and(|kv| kv.lease == second && kv.value == "changed")
    );
    target.put("lease-move/a", "free").await?;
    revoke(target, second).await?;
    ensure!(target.get("lease-move/a").await?.is_some_and(|kv| kv.lease == 0));
    Ok(())
}

async fn refused(target: &Target) -> Result<()> {
    let before = revision(&target.range(prefix("lease-no/")).await?.header);
    let unknown = "etcdserver: requested lease not found";
    ensure_refused(attach(target, "lease-no/a", 987_654).await, Code::NotFound, unknown)?;
    ensure_refused(revoke(target, 987_654).await, Code::NotFound, unknown)?;
    let id = grant(target, 0, 600).await?;
    let again = target.leases().lease_grant(LeaseGrantRequest { ttl: 600, id }).await;
    ensure_refused(again, Code::FailedPrecondition, "etcdserver: lease already exists")?;
    let too_long = LeaseGrantRequest {
        ttl: 9_000_000_001,
        id: 0,
    };
    let too_long = target.leases().lease_grant(too_long).await;
    ensure_refused(too_long, Code::OutOfRange, "etcdserver: too large lease TTL")?;
    let after = target.range(prefix("lease-no/")).await?;
    ensure!(
        after.kvs.is_empty() && revision(&after.header) == before,
        "nothing was changed"
    );
    revoke(target, id).await?;
    Ok(())
}
