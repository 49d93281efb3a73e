//! Watching: each change once and in order, resumed, selected, or clearly gone (invariant I3).

use trireme_store::kv::Kv;

use super::*;
use crate::registry::{ObjectWatch, Selection, WatchChange, WatchRequest};

fn from(start: i64) -> WatchRequest {
    WatchRequest {
        namespace: "default".to_owned(),
        name: String::new(),
        selection: Selection::everything(),
        start,
        bookmarks: false,
    }
}

fn selecting(start: i64, labels: &str, fields: &str) -> WatchRequest {
    let selection = Selection::parse(ops_of("", "pods").info(), labels, fields).expect("a selector");
    WatchRequest {
        selection,
        ..from(start)
    }
}

async fn watch(harness: &Harness, request: WatchRequest) -> Result<ObjectWatch, ApiError> {
    harness.registry.watch(&system(), ops_of("", "pods"), request).await
}

async fn next(watch: &mut ObjectWatch) -> WatchChange {
    let change = tokio::time::timeout(DEADLINE, watch.next())
        .await
        .expect("something happens");
    change.expect("the watch goes on")
}

/// `+name`, `~name`, `-name`, or `!` for a bookmark.
fn short(change: &WatchChange) -> String {
    match change {
        WatchChange::Added(stored) => format!("+{}", stored.key().name),
        WatchChange::Modified(stored) => format!("~{}", stored.key().name),
        WatchChange::Deleted(stored) => format!("-{}", stored.key().name),
        WatchChange::Bookmark {
            initial_events_end: true,
            ..
        } => "!!".to_owned(),
        WatchChange::Bookmark {
            initial_events_end: false,
            ..
        } => "!".to_owned(),
    }
}

async fn take(watch: &mut ObjectWatch, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(short(&next(watch).await));
    }
    seen
}

async fn relabel(harness: &Harness, name: &str, tier: &str) {
    let mut pod = harness.get_pod(name).await.expect("there");
    pod.metadata
        .as_mut()
        .expect("present")
        .labels
        .insert("tier".to_owned(), tier.to_owned());
    harness
        .registry
        .update(&system(), Decoded::internal(Box::new(pod)), false)
        .await
        .expect("updated");
}

async fn remove(harness: &Harness, name: &str) {
    let (ops, key) = (ops_of("", "pods"), in_default(name));
    harness
        .registry
        .delete(&system(), ops, &key, &Default::default())
        .await
        .expect("deleted");
}

#[tokio::test]
async fn the_present_comes_first_and_then_the_changes() {
    let harness = Harness::new().await;
    harness.create(mk_pod("a")).await.expect("created");
    harness.create(mk_pod("b")).await.expect("created");
    let mut watch = watch(&harness, from(0)).await.expect("watching");
    assert_eq!(take(&mut watch, 3).await, ["+a", "+b", "!!"]);
    harness.create(mk_pod("c")).await.expect("created");
    relabel(&harness, "a", "front").await;
    remove(&harness, "b").await;
    assert_eq!(take(&mut watch, 3).await, ["+c", "~a", "-b"]);
}

#[tokio::test]
async fn a_watch_resumes_after_any_revision() {
    let harness = Harness::new().await;
    let mut revisions = vec![harness.revision()];
    for name in ["a", "b", "c", "d"] {
        revisions.push(harness.create(mk_pod(name)).await.expect("created").revision());
    }
    for (index, start) in revisions.iter().enumerate().take(4) {
        let mut watch = watch(&harness, from(*start)).await.expect("watching");
        let expected: Vec<String> = ["+a", "+b", "+c", "+d"][index..]
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(take(&mut watch, 4 - index).await, expected, "after {start}");
    }
}

#[tokio::test]
async fn a_deletion_carries_the_last_state_at_its_own_revision() {
    let harness = Harness::new().await;
    let created = harness.create(mk_pod("a")).await.expect("created").revision();
    let mut watch = watch(&harness, from(created)).await.expect("watching");
    remove(&harness, "a").await;
    let WatchChange::Deleted(stored) = next(&mut watch).await else {
        panic!("it was deleted")
    };
    let pod: Pod = typed(&stored);
    assert_eq!(pod.spec.expect("the last state").containers.len(), 1);
    assert_eq!(stored.revision(), harness.revision());
    assert_eq!(
        pod.metadata.expect("present").resource_version,
        harness.revision().to_string()
    );
}

#[tokio::test]
async fn watches_of_one_place_share_what_they_tell() {
    let harness = Harness::new().await;
    let start = harness.revision();
    let mut watches = Vec::new();
    for request in [
        from(start),
        selecting(start, "tier", ""),
        selecting(start, "", "spec.nodeName="),
    ] {
        watches.push(watch(&harness, request).await.expect("watching"));
    }
    harness.create(mk_pod("a")).await.expect("created");
    relabel(&harness, "a", "front").await;
    let WatchChange::Added(created) = next(&mut watches[0]).await else {
        panic!("it is new")
    };
    let WatchChange::Modified(everything) = next(&mut watches[0]).await else {
        panic!("it was there")
    };
    // To the second it is new, which sees only what has a tier.
    let WatchChange::Added(labelled) = next(&mut watches[1]).await else {
        panic!("it came into the selection")
    };
    let WatchChange::Added(unbound) = next(&mut watches[2]).await else {
        panic!("it is new")
    };
    assert!(Arc::ptr_eq(&everything, &labelled) && Arc::ptr_eq(&created, &unbound));
    // A watch that comes later and reads the same history is told the same.
    let mut late = watch(&harness, from(start)).await.expect("watching");
    let WatchChange::Added(again) = next(&mut late).await else {
        panic!("it is new")
    };
    assert_eq!(again.to_json().expect("JSON"), created.to_json().expect("JSON"));
}

#[tokio::test]
async fn objects_come_into_and_leave_a_selection() {
    let harness = Harness::new().await;
    let mut front = watch(&harness, selecting(0, "tier=front", "")).await.expect("watching");
    let mut bound = watch(&harness, selecting(0, "", "spec.nodeName=n1"))
        .await
        .expect("watching");
    // The pods of a node, and those of none, in all namespaces: these are woken for nothing else.
    let anywhere = |selector| WatchRequest {
        namespace: String::new(),
        ..selecting(0, "", selector)
    };
    let mut on_node = watch(&harness, anywhere("spec.nodeName=n1")).await.expect("watching");
    let mut on_none = watch(&harness, anywhere("spec.nodeName=")).await.expect("watching");
    for watch in [&mut front, &mut bound, &mut on_node, &mut on_none] {
        assert_eq!(take(watch, 1).await, ["!!"]);
    }
    harness.create(mk_pod("a")).await.expect("created");
    relabel(&harness, "a", "front").await;
    harness
        .registry
        .bind(&system(), &in_default("a"), "", "n1")
        .await
        .expect("bound");
    relabel(&harness, "a", "back").await;
    assert_eq!(take(&mut front, 3).await, ["+a", "~a", "-a"]);
    assert_eq!(take(&mut bound, 2).await, ["+a", "~a"]);
    assert_eq!(take(&mut on_none, 3).await, ["+a", "~a", "-a"]);
    // Its node ends it; until then it is only marked.
    remove(&harness, "a").await;
    assert_eq!(take(&mut on_node, 3).await, ["+a", "~a", "~a"]);
}

#[tokio::test]
async fn one_object_is_watched_alone() {
    let harness = Harness::new().await;
    for name in ["a", "b", "ab"] {
        harness.create(mk_pod(name)).await.expect("created");
    }
    for request in [
        WatchRequest {
            name: "a".to_owned(),
            ..from(0)
        },
        selecting(0, "", "metadata.name=a"),
    ] {
        let mut watch = watch(&harness, request).await.expect("watching");
        assert_eq!(take(&mut watch, 2).await, ["+a", "!!"]);
        relabel(&harness, "b", "x").await;
        relabel(&harness, "a", &harness.revision().to_string()).await;
        assert_eq!(take(&mut watch, 1).await, ["~a"]);
    }
}

#[tokio::test]
async fn what_is_compacted_is_gone() {
    let harness = Harness::new().await;
    let old = harness.create(mk_pod("a")).await.expect("created").revision();
    for name in ["b", "c", "d"] {
        harness.create(mk_pod(name)).await.expect("created");
    }
    harness.kv.compact(harness.revision()).await.expect("compacted");
    let outcome = match watch(&harness, from(old)).await {
        Ok(mut watch) => tokio::time::timeout(DEADLINE, watch.next())
            .await
            .expect("an answer")
            .map(|_| ()),
        Err(error) => Err(error),
    };
    let error = outcome.expect_err("gone");
    assert_eq!(error.reason(), Reason::Expired);
    assert!(error.message().contains("too old resource version"), "{error}");
}

#[tokio::test]
async fn bookmarks_move_on_while_other_things_change() {
    let harness = Harness::new().await;
    let start = harness.revision();
    let mut watch = watch(
        &harness,
        WatchRequest {
            bookmarks: true,
            ..from(start)
        },
    )
    .await
    .expect("watching");
    let stop = tokio_util::sync::CancellationToken::new();
    let writer = {
        let (registry, stop) = (harness.registry.clone(), stop.clone());
        tokio::spawn(async move {
            let mut index = 0;
            while !stop.is_cancelled() {
                let settings = Decoded::internal(Box::new(mk_config_map(&format!("c-{index}"))));
                registry.create(&system(), settings, false).await.expect("created");
                index += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    };
    let change = next(&mut watch).await;
    stop.cancel();
    writer.await.expect("no panic");
    let WatchChange::Bookmark {
        revision,
        initial_events_end: false,
    } = change
    else {
        panic!("{change:?}")
    };
    assert!(revision > start);
}
