//! Metrics: each one that is registered is described in `docs/METRICS.md`, and moves when what it is about happens.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use support::{Cluster, PATIENCE, get, put, revision, write};
use tokio::task::JoinSet;
use tokio::time::timeout;
use trireme_store::kv::{KeyRange, Kv, KvError, Leases, WatchRequest};
use trireme_store::metrics::Page;
use trireme_store::{Alarm, AlarmKind, Sizes, Store};

/// Those that move elsewhere: in `watchers.rs`, `snapshots.rs` and `damage.rs`, and under the flood of `tests/etcd/`.
const ELSEWHERE: [&str; 11] = [
    "trireme_store_watch_events_encoded_total",
    "trireme_store_watch_history_reads_total",
    "trireme_store_watch_queued_bytes",
    "trireme_store_watchers_behind",
    "trireme_store_snapshots_resumed_total",
    "trireme_store_quarantined",
    "trireme_store_lane_seats_in_use",
    "trireme_store_lane_waiting",
    "trireme_store_lane_answer_bytes",
    "trireme_store_lane_admitted_total",
    "trireme_store_lane_refused_total",
];

fn table(page: &Page) -> String {
    let rows = page.families().iter().map(|family| {
        let (name, kind, help) = (family.name, family.kind.name(), family.help);
        format!("| `{name}` | {kind} | {help} |\n")
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_metrics_lists_what_is_registered() {
    let cluster = Cluster::start(1).await;
    let page = cluster.store(1).metrics().await;
    let told = include_str!("../../docs/METRICS.md");
    let told: String = told
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| format!("{line}\n"))
        .collect();
    let registered = table(&page);
    assert_eq!(
        told, registered,
        "docs/METRICS.md should have this table:\n{registered}"
    );
    for family in page.families() {
        assert!(family.help.ends_with('.'), "{family:?}");
        let total = family.name.ends_with("_total");
        assert_eq!(total, family.kind.name() == "counter", "{family:?}");
    }
}

/// The most that each metric ever stood at.
#[derive(Default)]
struct Seen(BTreeMap<&'static str, f64>);

impl Seen {
    async fn look(&mut self, store: &Store) {
        for family in store.metrics().await.families() {
            let sum = family.samples.iter().map(|(_, value)| value.abs()).sum();
            let most = self.0.entry(family.name).or_default();
            *most = most.max(sum);
        }
    }

    fn moved(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|most| *most > 0.0)
    }
}

/// Does it again until the metric is seen to move, while it is done or after it.
async fn until_moved<F: Future<Output = ()>>(seen: &mut Seen, store: &Arc<Store>, name: &str, work: impl Fn() -> F) {
    let moving = async {
        while !seen.moved(name) {
            let mut working = std::pin::pin!(work());
            loop {
                tokio::select! {
                    () = &mut working => break,
                    () = seen.look(store) => {}
                }
            }
            seen.look(store).await;
        }
    };
    timeout(PATIENCE, moving)
        .await
        .unwrap_or_else(|_| panic!("{name} does not move"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_moves() {
    let sizes = Sizes {
        log_tail_cache_bytes: 16 << 10,
        snapshot_log_entries: 100,
        log_keep_entries: 10,
        snapshot_lag_entries: 50,
        log_purge_batch_entries: 1,
        ..Sizes::default()
    };
    let mut cluster = Cluster::start_with(3, sizes).await;
    let mut seen = Seen::default();
    let leader = cluster.wait_for_leader().await;
    let store = cluster.store(leader);
    let request = WatchRequest {
        range: KeyRange::prefix("/k/"),
        start_revision: 0,
    };
    let mut watcher = store.watch(request).await.unwrap();
    write(&store, put("/k/1", "x")).await;
    watcher.next().await.unwrap();
    store.grant(7, 60).await.unwrap();
    store
        .set_alarm(Alarm {
            kind: AlarmKind::NoSpace,
            member: 99,
            cause: "to be seen".into(),
        })
        .await
        .unwrap();
    seen.look(&store).await;
    store.clear_alarm(AlarmKind::NoSpace, 99).await.unwrap();

    // What is seen only while many are at it.
    until_moved(&mut seen, &store, "trireme_store_read_index_waiting", || async {
        let mut readers = JoinSet::new();
        for _ in 0..64 {
            let store = store.clone();
            readers.spawn(async move { get(&store, "/k/1").await });
        }
        readers.join_all().await;
    })
    .await;
    until_moved(&mut seen, &store, "trireme_store_unremoved_revisions", || async {
        write(&store, put("/k/2", "x")).await;
        store.compact(revision(&store)).await.unwrap();
    })
    .await;
    let mut flood = JoinSet::new();
    for number in 0..96 {
        let store = store.clone();
        let value = "v".repeat(1_400_000);
        flood.spawn(async move { store.txn(put(&format!("/flood/{number}"), value), None).await.map(drop) });
    }
    // They take a while; each look does not.
    until_moved(&mut seen, &store, "trireme_store_proposals_in_flight_bytes", || async {
    })
    .await;
    let refused = flood.join_all().await;
    let refused = refused
        .iter()
        .filter(|done| matches!(done, Err(KvError::Overloaded { .. })))
        .count();
    assert!(refused > 0, "96 times 1.4 MB is more than may be under way");

    // A server that falls behind is sent a snapshot.
    let leader = cluster.wait_for_leader().await;
    let behind = cluster.follower(leader);
    cluster.stop(behind).await;
    let store = cluster.store(leader);
    until_moved(&mut seen, &store, "trireme_store_snapshot_sending_index", || async {
        write(&store, put("/k/3", "x")).await;
    })
    .await;
    cluster.restart(behind).await;
    cluster.wait_until_equal().await;
    for id in 1..=3 {
        seen.look(&cluster.store(id)).await;
    }

    let registered: Vec<&str> = seen.0.keys().copied().collect();
    for name in &registered {
        assert!(seen.moved(name) || ELSEWHERE.contains(name), "{name} has not moved");
    }
    assert!(ELSEWHERE.iter().all(|name| registered.contains(name)));
}
