//! The conformance suite of `Kv` on the replicated store, through each of its servers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::Cluster;
use trireme_store::conformance;
use trireme_store::kv::Kv;

/// Every replica holds the same content, wherever its physical compaction has come to.
async fn hashes_are_equal(cluster: &Cluster) {
    let mut hashes = Vec::new();
    for server in cluster.servers.values() {
        hashes.push(server.store.hash_kv(0).await.unwrap());
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    assert!(hashes[0].compact_revision > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_server_conforms() {
    let cluster = Cluster::start(1).await;
    let leader = cluster.wait_for_leader().await;
    let leadership = cluster.store(leader).leadership().borrow().unwrap();
    conformance::run(cluster.store(leader), leadership).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_conforms() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let leadership = cluster.store(leader).leadership().borrow().unwrap();
    conformance::run_leases(&*cluster.store(leader)).await;
    conformance::run(cluster.store(leader), leadership).await;
    cluster.wait_until_equal().await;
    hashes_are_equal(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_conforms() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let leadership = cluster.store(leader).leadership().borrow().unwrap();
    let follower = cluster.store(cluster.follower(leader));
    conformance::run_leases(&*follower).await;
    conformance::run(follower, leadership).await;
    cluster.wait_until_equal().await;
    hashes_are_equal(&cluster).await;
}
