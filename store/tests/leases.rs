//! Leases on three servers, while leaders come and go.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::{Cluster, PATIENCE, get, write};
use trireme_store::Store;
use trireme_store::kv::{Leases, Op, Txn};

fn attached(key: &'static str, lease: i64) -> Txn {
    let op = Op::Put {
        key: key.into(),
        value: "leased".into(),
        lease,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    };
    Txn {
        success: vec![op],
        ..Txn::default()
    }
}

async fn remaining(store: &Store, id: i64) -> Option<i64> {
    let status = store.time_to_live(id, false).await.unwrap();
    status.map(|status| status.remaining_ttl_s)
}

/// Waits until a lease has no more than this left.
async fn wait_until_left(store: &Store, id: i64, seconds: i64) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while remaining(store, id).await.unwrap() > seconds {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Makes another server lead.
async fn change_leader(cluster: &Cluster) -> u64 {
    let leader = cluster.wait_for_leader().await;
    let next = cluster.follower(leader);
    cluster.store(leader).transfer_leadership(next).await.unwrap();
    cluster
        .wait("another leader", |cluster| {
            cluster.store(next).leadership().borrow().is_some()
        })
        .await;
    next
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_lease_survives_a_change_of_the_leader() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let follower = cluster.store(cluster.follower(leader));
    // Noted when half of it is over, and again at a quarter.
    let (aging, renewed) = (
        follower.grant(0, 8).await.unwrap().id,
        follower.grant(0, 8).await.unwrap().id,
    );
    write(&follower, attached("/aging", aging)).await;
    write(&follower, attached("/renewed", renewed)).await;
    wait_until_left(&follower, aging, 3).await;
    assert_eq!(follower.keep_alive(renewed).await, Ok(Some(8)));

    let next = change_leader(&cluster).await;
    let store = cluster.store(next);
    let left = remaining(&store, aging).await.unwrap();
    assert!(left <= 4, "it has no more than what was noted: {left}");
    let left = remaining(&store, renewed).await.unwrap();
    assert!(left > 4, "the note about it was cleared when it was renewed: {left}");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while get(&store, "/aging").await.is_some() {
        assert!(tokio::time::Instant::now() < deadline, "the lease never expires");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(get(&store, "/renewed").await.as_deref(), Some("leased"));
    cluster.wait_until_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_ends_what_the_last_one_granted() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let store = cluster.store(leader);
    let id = store.grant(0, 2).await.unwrap().id;
    write(&store, attached("/k", id)).await;
    drop(store);
    cluster.kill(leader);
    let next = cluster.wait_for_leader().await;
    let store = cluster.store(next);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while get(&store, "/k").await.is_some() {
        assert!(tokio::time::Instant::now() < deadline, "the lease never expires");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.leases().await, Ok(vec![]));
    assert_eq!(cluster.store(cluster.follower(next)).keep_alive(id).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_no_lease_is_renewed_or_ended() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let id = cluster.store(leader).grant(0, 2).await.unwrap().id;
    for other in [cluster.follower(leader), 6 - leader - cluster.follower(leader)] {
        cluster.kill(other);
    }
    let store = cluster.store(leader);
    let revision = store.status().applied_revision;
    let refused = store.keep_alive(id).await;
    assert!(
        matches!(refused, Err(trireme_store::kv::KvError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(store.status().applied_revision, revision);
}
