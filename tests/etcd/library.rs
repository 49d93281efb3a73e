//! The `etcd-client` crate, which others write their programs with.

use anyhow::{Context, Result, ensure};
use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, DeleteOptions, EventType, GetOptions, LockOptions, PutOptions,
    SortOrder, SortTarget, Txn, TxnOp, WatchOptions,
};

use crate::target::Trireme;

pub(crate) async fn check(trireme: &Trireme) -> Result<()> {
    let options = ConnectOptions::new().with_require_leader(true);
    let mut client = Client::connect(trireme.endpoints()?, Some(options)).await?;
    keys(&mut client).await.context("keys")?;
    watches(&mut client).await.context("watches")?;
    leases(&mut client).await.context("leases")?;
    coordination(&mut client).await.context("locks and elections")?;
    admin(&mut client).await.context("administration")
}

async fn keys(client: &mut Client) -> Result<()> {
    for (key, value) in [("user/alice", "15"), ("user/bob", "20"), ("user/chris", "16")] {
        client.put(key, value, None).await?;
    }
    let options = PutOptions::new().with_prev_key();
    let put = client.put("user/bob", "21", Some(options)).await?;
    ensure!(put.prev_key().context("the version before")?.value() == b"20");
    let options = GetOptions::new()
        .with_prefix()
        .with_sort(SortTarget::Value, SortOrder::Descend);
    let sorted = client.get("user/", Some(options)).await?;
    let values: Vec<&[u8]> = sorted.kvs().iter().map(etcd_client::KeyValue::value).collect();
    ensure!(values == [b"21", b"16", b"15"] && sorted.count() == 3, "{sorted:?}");
    let txn = Txn::new()
        .when(vec![Compare::value("user/bob", CompareOp::Equal, "21")])
        .and_then(vec![TxnOp::put("user/bob", "22", None), TxnOp::get("user/bob", None)])
        .or_else(vec![TxnOp::delete("user/bob", None)]);
    let done = client.txn(txn).await?;
    ensure!(done.succeeded() && done.op_responses().len() == 2, "{done:?}");
    let deleted = client
        .delete("user/", Some(DeleteOptions::new().with_prefix().with_prev_key()))
        .await?;
    ensure!(deleted.deleted() == 3 && deleted.prev_kvs().len() == 3, "{deleted:?}");
    let revision = deleted.header().context("a header")?.revision();
    client.compact(revision, None).await?;
    Ok(())
}

async fn watches(client: &mut Client) -> Result<()> {
    let options = WatchOptions::new().with_prefix().with_prev_key();
    let mut stream = client.watch("seen/", Some(options)).await?;
    let created = stream.message().await?.context("an answer")?;
    ensure!(created.created());
    client.put("seen/a", "1", None).await?;
    client.delete("seen/a", None).await?;
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        let answer = stream.message().await?.context("an answer")?;
        kinds.extend(
            answer
                .events()
                .iter()
                .map(|event| (event.event_type(), event.prev_kv().is_some())),
        );
    }
    ensure!(
        kinds == [(EventType::Put, false), (EventType::Delete, true)],
        "{kinds:?}"
    );
    stream.request_progress().await?;
    let mark = stream.message().await?.context("an answer")?;
    ensure!(mark.watch_id() == -1 && mark.events().is_empty(), "{mark:?}");
    stream.cancel(created.watch_id()).await?;
    ensure!(stream.message().await?.context("an answer")?.canceled());
    Ok(())
}

async fn leases(client: &mut Client) -> Result<()> {
    let id = client.lease_grant(60, None).await?.id();
    client.put("leased", "", Some(PutOptions::new().with_lease(id))).await?;
    let (mut keeper, mut kept) = client.lease_keep_alive(id).await?;
    keeper.keep_alive().await?;
    ensure!(kept.message().await?.context("an answer")?.ttl() == 60);
    let state = client.lease_time_to_live(id, None).await?;
    ensure!(state.granted_ttl() == 60 && state.ttl() > 0, "{state:?}");
    ensure!(client.leases().await?.leases().iter().any(|lease| lease.id() == id));
    client.lease_revoke(id).await?;
    ensure!(client.get("leased", None).await?.kvs().is_empty());
    Ok(())
}

async fn coordination(client: &mut Client) -> Result<()> {
    let lease = client.lease_grant(60, None).await?.id();
    let held = client
        .lock("crate-lock", Some(LockOptions::new().with_lease(lease)))
        .await?;
    client.unlock(held.key()).await?;
    let won = client.campaign("crate-vote", "me", lease).await?;
    ensure!(won.leader().is_some());
    let leader = client.leader("crate-vote").await?;
    ensure!(leader.kv().context("a leader")?.value() == b"me");
    client.lease_revoke(lease).await?;
    Ok(())
}

async fn admin(client: &mut Client) -> Result<()> {
    let status = client.status().await?;
    ensure!(status.leader() != 0 && !status.version().is_empty());
    ensure!(client.member_list().await?.members().len() == 3);
    client.hash_kv(0).await?;
    client.defragment().await?;
    let mut snapshot = client.snapshot().await?;
    let mut bytes = 0;
    while let Some(piece) = snapshot.message().await? {
        bytes += piece.blob().len();
    }
    ensure!(bytes > 32, "{bytes}");
    let refused = client.user_list().await;
    ensure!(refused.is_err(), "{refused:?}");
    Ok(())
}
