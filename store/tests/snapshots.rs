//! Snapshots on their way to a server that fell behind, over connections that break, while writes go on: each transfer goes
//! on from where it was, and one transfer is enough.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use support::proxy::{Proxies, Route, Rule};
use support::{Cluster, count, put, revision, write};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trireme_store::{Sizes, Store};

const VALUE_BYTES: usize = 256 << 10;
const VALUES: usize = 128;
/// What a snapshot carries, in bytes, without the small change.
const SNAPSHOT_BYTES: u64 = (VALUES * VALUE_BYTES) as u64;
/// What a cut may cost, in bytes: a piece of the snapshot that had not come over whole, and what lay in the buffers between.
const LOST_BYTES_A_CUT: u64 = 2 << 20;
/// What else goes to a server meanwhile, in bytes: heartbeats, and the log behind the snapshot.
const OTHER_BYTES: u64 = 2 << 20;

/// Sizes with which the log is cut after a few entries, long before a snapshot has come over.
fn sizes() -> Sizes {
    Sizes {
        log_tail_cache_bytes: 16 << 10,
        snapshot_log_entries: 100,
        log_keep_entries: 10,
        snapshot_lag_entries: 50,
        log_purge_batch_entries: 1,
        ..Sizes::default()
    }
}

/// Three servers, one of which is down and can only be caught up by a snapshot, and the way to it.
struct Scene {
    cluster: Cluster,
    leader: u64,
    behind: u64,
    route: Arc<Route>,
}

impl Scene {
    async fn set() -> Self {
        let mut cluster = Cluster::start_with(3, sizes()).await;
        let proxies = Proxies::new();
        cluster.connector = proxies.clone();
        for id in 1..=3 {
            cluster.stop(id).await;
            cluster.restart(id).await;
        }
        let leader = cluster.wait_for_leader().await;
        cluster.wait_until_equal().await;
        let behind = cluster.follower(leader);
        let fell_at = cluster.store(behind).status().last_log_index;
        cluster.stop(behind).await;
        let store = cluster.store(leader);
        let value = "v".repeat(VALUE_BYTES);
        for number in 0..VALUES {
            write(&store, put(&format!("/big/{number}"), value.clone())).await;
        }
        for number in 0..150 {
            write(&store, put(&format!("/small/{number}"), "x")).await;
        }
        cluster
            .wait("the log was cut", |cluster| {
                cluster.store(leader).status().first_log_index > fell_at + 1
            })
            .await;
        let route = proxies.route(behind);
        route.take_sent();
        Self {
            cluster,
            leader,
            behind,
            route,
        }
    }

    /// Lets the server start, and waits until half of the snapshot has come over: the rest has to wait.
    async fn begin(&mut self) {
        self.route.set(Rule::HoldAfter {
            bytes: SNAPSHOT_BYTES / 2,
        });
        self.cluster.restart(self.behind).await;
        self.route.wait_until_held().await;
    }

    /// Waits until the server has everything, and all hold the same. Nobody may write meanwhile.
    async fn wait_until_caught_up(&self) {
        self.cluster
            .wait("it catches up", |cluster| {
                let leader = revision(&cluster.store(self.leader));
                revision(&cluster.store(self.behind)) == leader
            })
            .await;
        let small = count(&self.cluster.store(self.leader), "/small/").await;
        assert_eq!(count(&self.cluster.store(self.behind), "/big/").await, VALUES as u64);
        assert_eq!(count(&self.cluster.store(self.behind), "/small/").await, small);
        self.cluster.wait_until_equal().await;
        let left = self.cluster.config(self.behind).data_dir.join("snapshots");
        assert_eq!(
            std::fs::read_dir(left).unwrap().count(),
            0,
            "nothing of a transfer stays behind"
        );
    }
}

/// Writes small values one after the other until it is stopped; tells how many so far.
fn keep_writing(store: Arc<Store>) -> (CancellationToken, watch::Receiver<u64>, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let (progress, written) = watch::channel(0);
    let writing = tokio::spawn(async move {
        while !stopped.is_cancelled() {
            let number = *progress.borrow();
            write(&store, put(&format!("/more/{}", number % 100), number.to_string())).await;
            progress.send_replace(number + 1);
        }
    });
    (stop, written, writing)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_cut_again_and_again_goes_on_where_it_was_while_writes_go_on() {
    const CUTS: u64 = 4;
    let mut scene = Scene::set().await;
    let (stop, mut written, writing) = keep_writing(scene.cluster.store(scene.leader));
    scene.begin().await;
    // Many more entries than the log would keep, if nobody needed them.
    let enough = *written.borrow() + 500;
    written.wait_for(|written| *written >= enough).await.unwrap();
    scene.route.set(Rule::CutAfter {
        bytes: SNAPSHOT_BYTES / 10,
        times: CUTS,
    });
    let more = *written.borrow() + 100;
    written.wait_for(|written| *written >= more).await.unwrap();
    scene
        .cluster
        .wait("it has the snapshot", |cluster| {
            revision(&cluster.store(scene.behind)) >= i64::try_from(enough).unwrap()
        })
        .await;
    stop.cancel();
    writing.await.unwrap();
    scene.wait_until_caught_up().await;
    assert_eq!(scene.route.cuts(), CUTS);
    let metrics = scene.cluster.store(scene.leader).metrics().await;
    let resumed = metrics.value("trireme_store_snapshots_resumed_total").unwrap();
    assert!(resumed >= CUTS as f64, "{resumed}");
    let sent = scene.route.take_sent();
    assert!(sent > SNAPSHOT_BYTES, "it came by a snapshot");
    let most = SNAPSHOT_BYTES + CUTS * LOST_BYTES_A_CUT + OTHER_BYTES;
    assert!(sent < most, "{sent} bytes went to it, instead of less than {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_while_it_receives_keeps_what_it_has() {
    let mut scene = Scene::set().await;
    scene.begin().await;
    scene.cluster.stop(scene.behind).await;
    scene.route.set(Rule::Pass);
    scene.cluster.restart(scene.behind).await;
    scene.wait_until_caught_up().await;
    let sent = scene.route.take_sent();
    assert!(sent > SNAPSHOT_BYTES, "it came by a snapshot");
    let most = SNAPSHOT_BYTES + 2 * LOST_BYTES_A_CUT + OTHER_BYTES;
    assert!(sent < most, "{sent} bytes went to it, instead of less than {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_goes_while_it_sends_is_followed_by_one_that_sends_its_own() {
    let mut scene = Scene::set().await;
    scene.begin().await;
    let old = scene.leader;
    let new = (1..=3).find(|id| *id != old && *id != scene.behind).unwrap();
    scene.cluster.store(old).transfer_leadership(new).await.unwrap();
    // The connection of the old leader stays silent, without an end: the new one's must not have to wait for it.
    scene.route.set(Rule::LeaveHeld);
    scene.leader = scene.cluster.wait_for_leader().await;
    write(&scene.cluster.store(scene.leader), put("/after", "x")).await;
    scene.wait_until_caught_up().await;
    scene.route.set(Rule::Pass);
    let sent = scene.route.take_sent();
    assert!(
        sent > SNAPSHOT_BYTES + SNAPSHOT_BYTES / 2,
        "the new leader's is another one"
    );
    let most = SNAPSHOT_BYTES / 2 + SNAPSHOT_BYTES + 2 * LOST_BYTES_A_CUT + OTHER_BYTES;
    assert!(sent < most, "{sent} bytes went to it, instead of less than {most}");
}
