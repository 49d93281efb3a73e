//! Locks and elections, as the servers keep them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tonic::Code;
use trireme_proto::etcd::election::election_client::ElectionClient;
use trireme_proto::etcd::election::{CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest};
use trireme_proto::etcd::lock::lock_client::LockClient;
use trireme_proto::etcd::lock::{LockRequest, UnlockRequest};
use trireme_proto::etcd::server::LeaseRevokeRequest;
use trireme_tests::harness::poll_until;

use crate::lease::grant;
use crate::target::{PATIENCE, Peer, Target, bytes, ensure_refused, prefix};

/// So many that some of them leave while their key is being written.
const WAITERS_LEAVING: usize = 40;

pub(crate) async fn check(target: &Target) -> Result<()> {
    locks(target).await.context("locks")?;
    waiters_that_leave(target).await.context("waiters that leave")?;
    elections(target).await.context("elections")
}

fn lock_of(name: &str, lease: i64) -> LockRequest {
    LockRequest {
        name: bytes(name),
        lease,
    }
}

/// How many stand in line for a lock.
async fn in_line(target: &Target, name: &str, count: usize) -> Result<()> {
    poll_until("waiters to stand in line", PATIENCE, || async {
        let waiting = target.range(prefix(&format!("{name}/"))).await?.kvs.len();
        Ok((waiting == count).then_some(()))
    })
    .await
}

async fn locks(target: &Target) -> Result<()> {
    let client = |server| LockClient::new(target.channel(server));
    let (one, two) = (grant(target, 0, 600).await?, grant(target, 0, 600).await?);
    let held = client(0).lock(lock_of("lock", one)).await?.into_inner();
    ensure!(held.key == format!("lock/{one:x}"), "{held:?}");
    let again = client(1).lock(lock_of("lock", one)).await?.into_inner();
    ensure!(again.key == held.key, "a lease holds a lock once");

    let mut second = client(1);
    let waiting = tokio::spawn(async move { second.lock(lock_of("lock", two)).await });
    in_line(target, "lock", 2).await?;
    ensure!(!waiting.is_finished());
    client(2).unlock(UnlockRequest { key: held.key }).await?;
    let next = waiting.await??.into_inner();
    ensure!(next.key == format!("lock/{two:x}"), "{next:?}");

    // The end of the lease lets the next one in, too.
    let three = grant(target, 0, 600).await?;
    let mut third = client(0);
    let waiting = tokio::spawn(async move { third.lock(lock_of("lock", three)).await });
    in_line(target, "lock", 2).await?;
    target.leases().lease_revoke(LeaseRevokeRequest { id: two }).await?;
    let next = waiting.await??.into_inner();
    client(0).unlock(UnlockRequest { key: next.key }).await?;

    let unknown = client(0).lock(lock_of("lock", 4_711)).await;
    // etcd's own lock service loses the code on the way.
    let code = match target.peer {
        Peer::Etcd => Code::Unknown,
        Peer::Trireme => Code::NotFound,
    };
    ensure_refused(unknown, code, "etcdserver: requested lease not found")?;
    let alone = client(0).lock(lock_of("lock", 0)).await?.into_inner();
    ensure!(
        alone.key.len() > "lock/".len(),
        "without a lease there is one for the lock: {alone:?}"
    );
    client(0).unlock(UnlockRequest { key: alone.key }).await?;
    Ok(())
}

async fn waiters_that_leave(target: &Target) -> Result<()> {
    let client = |server| LockClient::new(target.channel(server));
    let (one, two) = (grant(target, 0, 600).await?, grant(target, 0, 600).await?);
    let held = client(0).lock(lock_of("leave", one)).await?.into_inner();
    // The key may be seen before its waiter's server knows that it is written. etcd forgets a waiter that leaves then.
    let leaving = match target.peer {
        Peer::Etcd => 1,
        Peer::Trireme => WAITERS_LEAVING,
    };
    for _ in 0..leaving {
        let mut second = client(1);
        let waiting = tokio::spawn(async move { second.lock(lock_of("leave", two)).await });
        in_line(target, "leave", 2).await?;
        waiting.abort();
        in_line(target, "leave", 1).await?;
    }
    client(0).unlock(UnlockRequest { key: held.key }).await?;
    Ok(())
}

async fn elections(target: &Target) -> Result<()> {
    let client = |server| ElectionClient::new(target.channel(server));
    let name = || LeaderRequest { name: bytes("vote") };
    ensure_refused(client(0).leader(name()).await, Code::Unknown, "election: no leader")?;
    // etcd does not accept a stream before it has something to say on it.
    let (mut observer, request) = (client(2), name());
    let observing = tokio::spawn(async move { observer.observe(request).await });

    let (one, two) = (grant(target, 0, 600).await?, grant(target, 0, 600).await?);
    let campaign = |lease, value: &str| CampaignRequest {
        name: bytes("vote"),
        lease,
        value: bytes(value),
    };
    let won = client(0).campaign(campaign(one, "first")).await?.into_inner();
    let lead: LeaderKey = won.leader.context("a lead")?;
    ensure!(
        lead.key == format!("vote/{one:x}") && lead.lease == one && lead.rev > 0,
        "{lead:?}"
    );
    let shown = client(1).leader(name()).await?.into_inner().kv.context("a leader")?;
    ensure!(shown.value == "first" && shown.create_revision == lead.rev, "{shown:?}");

    let mut second = client(1);
    let other = campaign(two, "second");
    let waiting = tokio::spawn(async move { second.campaign(other).await });
    in_line(target, "vote", 2).await?;
    ensure!(!waiting.is_finished());
    let proclaim = |leader: LeaderKey| ProclaimRequest {
        leader: Some(leader),
        value: bytes("still first"),
    };
    client(0).proclaim(proclaim(lead.clone())).await?;
    client(0)
        .resign(ResignRequest {
            leader: Some(lead.clone()),
        })
        .await?;
    let next = waiting.await??.into_inner().leader.context("a lead")?;
    ensure_refused(
        client(0).proclaim(proclaim(lead)).await,
        Code::Unknown,
        "election: not leader",
    )?;

    let mut observed = observing.await??.into_inner();
    let mut values = Vec::new();
    while values.last().is_none_or(|value| value != "second") {
        let told = tokio::time::timeout(Duration::from_secs(30), observed.message()).await??;
        let kv = told.context("observing ended")?.kv.context("a leader")?;
        values.push(String::from_utf8(kv.value.to_vec())?);
    }
    ensure!(values.contains(&"still first".to_owned()), "{values:?}");
    client(0).resign(ResignRequest { leader: Some(next) }).await?;
    let nobody = client(0).resign(ResignRequest { leader: None }).await;
    ensure_refused(nobody, Code::Unknown, "\"leader\" field must be provided")
}
