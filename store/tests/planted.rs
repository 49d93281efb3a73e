//! With the planted bug, a leader that dies takes acknowledged writes with it. This is what the chaos test
//! must be able to see; without the feature, `cluster.rs` shows the opposite.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{Cluster, create, get, write};

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_die_with_the_leader() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let store = cluster.store(leader);
    for number in 0..100 {
        assert!(write(&store, create(&format!("/k/{number}"), "x")).await.succeeded);
    }
    drop(store);
    cluster.kill(leader);
    let survivor = cluster.wait_for_leader().await;
    let store = cluster.store(survivor);
    let mut lost = 0;
    for number in 0..100 {
        lost += u32::from(get(&store, &format!("/k/{number}")).await.is_none());
    }
    assert!(lost > 0, "the bug that was planted does not show");
}
