//! The history goes by age and number, as it is told to, and a client may compact it sooner.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::{Cluster, PATIENCE, put, revision, write};
use tokio::time::timeout;
use trireme_store::kv::{Consistency, KeyRange, Kv, KvError, RangeRequest, Revision};
use trireme_store::{Retention, Store};

async fn metric(store: &Store, name: &str) -> Revision {
    store.metrics().await.value(name).unwrap() as Revision
}

async fn read_at(store: &Store, revision: Revision) -> Result<(), KvError> {
    let request = RangeRequest {
        revision,
        ..RangeRequest::latest(KeyRange::prefix("/k/"))
    };
    store.range(request, Consistency::Serializable).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn old_revisions_go_the_latest_stay_and_a_client_may_compact_them_too() {
    const KEPT: i64 = 10;
    let mut cluster = Cluster::start(1).await;
    cluster.stop(1).await;
    let short = Retention {
        min_age: Duration::from_secs(1),
        min_revisions: KEPT,
    };
    cluster.restart_as(1, |config| config.retention = short).await.unwrap();
    cluster.wait_for_leader().await;
    let store = cluster.store(1);
    for number in 0..50 {
        write(&store, put(&format!("/k/{}", number % 5), "x")).await;
    }
    let last = revision(&store);
    let gone = async {
        while metric(&store, "trireme_store_compacted_revision").await < last - KEPT {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("what is old goes");
    assert_eq!(metric(&store, "trireme_store_compacted_revision").await, last - KEPT);
    assert_eq!(metric(&store, "trireme_store_history_revisions").await, KEPT);
    read_at(&store, last - KEPT).await.unwrap();
    let refused = read_at(&store, last - KEPT - 1).await;
    assert!(
        matches!(refused, Err(KvError::Compacted { oldest, .. }) if oldest == last - KEPT),
        "{refused:?}"
    );

    store.compact(last).await.unwrap();
    assert_eq!(metric(&store, "trireme_store_history_revisions").await, 0);
    assert_eq!(metric(&store, "trireme_store_history_age_seconds").await, 0);
    assert!(read_at(&store, last - 1).await.is_err());
    read_at(&store, last).await.unwrap();
}
