//! The conformance suite of `Kv` on the replicated store, through each of its servers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::Cluster;
use trireme_store::conformance;

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
    conformance::run(cluster.store(leader), leadership).await;
    cluster.wait_until_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_conforms() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let leadership = cluster.store(leader).leadership().borrow().unwrap();
    conformance::run(cluster.store(cluster.follower(leader)), leadership).await;
    cluster.wait_until_equal().await;
}
