//! What every [`Kv`] must do, and every store with [`Leases`](crate::kv::Leases): one suite, run on each
//! implementation.
//!
//! It may share its store with others: each test has keys of its own and takes revisions as they come. It assumes that
//! nobody else compacts meanwhile.

#![allow(clippy::unwrap_used, reason = "a suite of tests: failing is its way to report")]

mod leases;
mod options;

use std::sync::Arc;
use std::time::Duration;

pub use self::leases::run_leases;
use crate::kv::{
    Compare, CompareResult, CompareTarget, Consistency, Event, EventKind, KeyRange, Kv, KvError, Leadership, Op,
    OpResponse, RangeRequest, Revision, Txn, TxnResponse, WatchBatch, WatchRequest, Watcher,
};

/// Nothing in the suite takes longer than this on a store that works.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs the whole suite on `kv`, whose present leadership is `leadership`.
///
/// # Panics
/// If `kv` does not do what it must.
pub async fn run(kv: Arc<dyn Kv>, leadership: Leadership) {
    let kv = &*kv;
    versions_and_revisions(kv).await;
    compare_and_set(kv).await;
    a_transaction_is_one_revision(kv).await;
    bad_transactions_change_nothing(kv).await;
    ranges(kv).await;
    options::all(kv).await;
    reads_are_fresh(kv).await;
    fences(kv, leadership).await;
    watch_from_now(kv).await;
    watch_resumes_anywhere(kv).await;
    watch_keeps_revisions_whole(kv).await;
    watch_of_the_future(kv).await;
    watch_tells_progress(kv).await;
    // Last: it forgets the history of the others.
    compaction(kv).await;
}

fn put(key: &str, value: &str) -> Op {
    Op::Put {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        lease: 0,
        prev_kv: true,
        ignore_value: false,
        ignore_lease: false,
    }
}

fn delete(range: KeyRange) -> Op {
    Op::Delete { range, prev_kv: true }
}

fn prefix(prefix: &str) -> KeyRange {
    KeyRange::prefix(prefix.to_owned())
}

fn key(key: &str) -> KeyRange {
    KeyRange::key(key.to_owned())
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: nothing happened within {DEADLINE:?}"),
    }
}

async fn done(kv: &dyn Kv, success: Vec<Op>) -> TxnResponse {
    within(
        "a transaction",
        kv.txn(
            Txn {
                success,
                ..Txn::default()
            },
            None,
        ),
    )
    .await
    .unwrap()
}

/// Writes and answers the revision.
async fn write(kv: &dyn Kv, success: Vec<Op>) -> Revision {
    done(kv, success).await.revision
}

async fn read(kv: &dyn Kv, request: RangeRequest) -> Result<crate::kv::RangeResponse, KvError> {
    within("a read", kv.range(request, Consistency::Linearizable)).await
}

async fn keys(kv: &dyn Kv, range: KeyRange, revision: Revision) -> Vec<String> {
    let response = read(
        kv,
        RangeRequest {
            revision,
            ..RangeRequest::latest(range)
        },
    )
    .await
    .unwrap();
    response
        .kvs
        .iter()
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned())
        .collect()
}

async fn versions_and_revisions(kv: &dyn Kv) {
    let first = write(kv, vec![put("versions/a", "1")]).await;
    let second = done(kv, vec![put("versions/a", "2")]).await;
    assert!(second.revision > first);
    let OpResponse::Put(Some(before)) = &second.responses[0] else {
        panic!("{second:?}")
    };
    assert_eq!(
        (&before.value[..], before.version, before.mod_revision),
        (&b"1"[..], 1, first)
    );
    let now = read(kv, RangeRequest::latest(key("versions/a"))).await.unwrap();
    let found = &now.kvs[0];
    assert_eq!(
        (found.create_revision, found.mod_revision, found.version),
        (first, second.revision, 2)
    );
    assert_eq!((now.count, now.more), (Some(1), false));

    let gone = done(kv, vec![delete(key("versions/a"))]).await;
    assert!(matches!(&gone.responses[0], OpResponse::Delete { deleted: 1, prev_kvs } if prev_kvs[0] == *found));
    let nothing = done(kv, vec![delete(key("versions/a"))]).await;
    assert!(matches!(&nothing.responses[0], OpResponse::Delete { deleted: 0, .. }));
    let third = write(kv, vec![put("versions/a", "3")]).await;
    assert_eq!(third, gone.revision + 1, "deleting what is not there makes no revision");
    let again = read(kv, RangeRequest::latest(key("versions/a"))).await.unwrap();
    assert_eq!((again.kvs[0].create_revision, again.kvs[0].version), (third, 1));
}

async fn compare_and_set(kv: &dyn Kv) {
    let create = |value: &str| Txn {
        compares: vec![Compare {
            range: key("cas/a"),
            result: CompareResult::Equal,
            target: CompareTarget::ModRevision(0),
        }],
        success: vec![put("cas/a", value)],
        failure: vec![Op::Range(RangeRequest::latest(key("cas/a")))],
    };
    let first = within("a create", kv.txn(create("one"), None)).await.unwrap();
    assert!(first.succeeded);
    let second = within("a create", kv.txn(create("two"), None)).await.unwrap();
    assert!(!second.succeeded);
    let OpResponse::Range(found) = &second.responses[0] else {
        panic!("{second:?}")
    };
    assert_eq!(
        (&found.kvs[0].value[..], found.kvs[0].mod_revision),
        (&b"one"[..], first.revision)
    );
}

async fn a_transaction_is_one_revision(kv: &dyn Kv) {
    let nested = Txn {
        success: vec![put("txn/c", "3")],
        ..Txn::default()
    };
    let ops = vec![
        put("txn/a", "1"),
        put("txn/b", "2"),
        Op::Txn(Box::new(nested)),
        Op::Range(RangeRequest::latest(prefix("txn/"))),
    ];
    let response = done(kv, ops).await;
    let OpResponse::Range(inside) = &response.responses[3] else {
        panic!("{response:?}")
    };
    assert_eq!(inside.kvs.len(), 3, "a read sees the writes before it");
    assert!(inside.kvs.iter().all(|kv| kv.mod_revision == response.revision));
}

async fn bad_transactions_change_nothing(kv: &dyn Kv) {
    let twice = Txn {
        success: vec![put("bad/a", "1"), put("bad/a", "2")],
        ..Txn::default()
    };
    let empty = Txn {
        success: vec![put("bad/b", "1"), put("", "2")],
        ..Txn::default()
    };
    for txn in [twice, empty] {
        let refused = within("a bad transaction", kv.txn(txn, None)).await;
        assert!(matches!(refused, Err(KvError::Invalid(_))), "{refused:?}");
    }
    let future = Op::Range(RangeRequest {
        revision: Revision::MAX,
        ..RangeRequest::latest(key("bad/a"))
    });
    let txn = Txn {
        success: vec![put("bad/c", "1"), future],
        ..Txn::default()
    };
    let refused = within("a bad transaction", kv.txn(txn, None)).await;
    assert!(matches!(refused, Err(KvError::FutureRevision { .. })), "{refused:?}");
    assert_eq!(keys(kv, prefix("bad/"), 0).await, Vec::<String>::new());
}

async fn ranges(kv: &dyn Kv) {
    for name in ["b", "a", "d", "c"] {
        write(kv, vec![put(&format!("range/{name}"), name)]).await;
    }
    let before = write(kv, vec![put("range/e", "e")]).await;
    write(kv, vec![delete(prefix("range/b"))]).await;
    assert_eq!(
        keys(kv, prefix("range/"), 0).await,
        ["range/a", "range/c", "range/d", "range/e"]
    );
    assert_eq!(
        keys(kv, prefix("range/"), before).await,
        ["range/a", "range/b", "range/c", "range/d", "range/e"]
    );
    let between = KeyRange {
        start: "range/b".into(),
        end: Some("range/d".into()),
    };
    assert_eq!(keys(kv, between, before).await, ["range/b", "range/c"]);

    let request = RangeRequest {
        limit: 2,
        revision: before,
        ..RangeRequest::latest(prefix("range/"))
    };
    let page = read(kv, request.clone()).await.unwrap();
    assert_eq!((page.kvs.len(), page.more, page.count), (2, true, None));
    let exact = read(
        kv,
        RangeRequest {
            limit: 5,
            ..request.clone()
        },
    )
    .await
    .unwrap();
    assert_eq!((exact.kvs.len(), exact.more, exact.count), (5, false, Some(5)));
    let count = read(
        kv,
        RangeRequest {
            count_only: true,
            ..request.clone()
        },
    )
    .await
    .unwrap();
    assert_eq!((count.kvs.len(), count.count), (0, Some(5)));
    let names = read(
        kv,
        RangeRequest {
            keys_only: true,
            ..request
        },
    )
    .await
    .unwrap();
    assert!(names.kvs.iter().all(|kv| kv.value.is_empty() && kv.mod_revision > 0));
}

async fn reads_are_fresh(kv: &dyn Kv) {
    for round in 0..20 {
        let value = round.to_string();
        let revision = write(kv, vec![put("fresh/a", &value)]).await;
        assert!(
            kv.applied_revision() >= revision,
            "a write is applied here when it returns"
        );
        let request = RangeRequest::latest(key("fresh/a"));
        for consistency in [
            Consistency::Linearizable,
            Consistency::AtLeast(revision),
            Consistency::Serializable,
        ] {
            let found = within("a read", kv.range(request.clone(), consistency)).await.unwrap();
            assert_eq!(found.kvs[0].value, value.as_bytes(), "{consistency:?}");
            assert!(found.revision >= revision);
        }
    }
    let future = RangeRequest {
        revision: kv.applied_revision() + 1_000_000,
        ..RangeRequest::latest(key("fresh/a"))
    };
    assert!(matches!(read(kv, future).await, Err(KvError::FutureRevision { .. })));
    within("waiting for what is there", kv.wait_applied(kv.applied_revision()))
        .await
        .unwrap();
}

async fn fences(kv: &dyn Kv, leadership: Leadership) {
    let txn = |value: &str| Txn {
        success: vec![put("fence/a", value)],
        ..Txn::default()
    };
    within("a fenced write", kv.txn(txn("now"), Some(leadership)))
        .await
        .unwrap();
    let earlier = Leadership {
        term: leadership.term - 1,
    };
    let refused = within("a write of a deposed leader", kv.txn(txn("then"), Some(earlier))).await;
    match refused {
        Err(KvError::Deposed { decided, .. }) => assert_eq!(decided, earlier.term),
        other => panic!("{other:?}"),
    }
    let found = read(kv, RangeRequest::latest(key("fence/a"))).await.unwrap();
    assert_eq!(&found.kvs[0].value[..], b"now");
}

async fn watch(kv: &dyn Kv, range: KeyRange, start_revision: Revision) -> Box<dyn Watcher> {
    within("a watch", kv.watch(WatchRequest { range, start_revision }))
        .await
        .unwrap()
}

/// One line an event: what, which key, at which revision, and whether there was one before.
fn line(event: &Event) -> String {
    let what = match event.kind {
        EventKind::Put => "put",
        EventKind::Delete => "delete",
    };
    let before = event
        .prev_kv
        .as_ref()
        .map(|kv| format!(" after {}", kv.mod_revision))
        .unwrap_or_default();
    format!(
        "{what} {} at {}{before}",
        String::from_utf8_lossy(&event.kv.key),
        event.kv.mod_revision
    )
}

/// Reads batches up to `revision`, checking what holds for all; answers the events.
async fn until(watcher: &mut dyn Watcher, revision: Revision) -> Vec<String> {
    let (mut lines, mut progress) = (Vec::new(), 0);
    while progress < revision {
        let batch: WatchBatch = within("a batch", watcher.next()).await.unwrap();
        assert!(batch.progress > progress, "progress grows");
        for event in &batch.events {
            assert!(
                (progress + 1..=batch.progress).contains(&event.kv.mod_revision),
                "{event:?} in {batch:?}"
            );
            lines.push(line(event));
        }
        assert!(batch.events.is_sorted_by_key(|event| event.kv.mod_revision));
        progress = batch.progress;
    }
    lines
}

async fn watch_from_now(kv: &dyn Kv) {
    write(kv, vec![put("now/before", "")]).await;
    let mut watcher = watch(kv, prefix("now/"), 0).await;
    let first = write(kv, vec![put("now/a", "1")]).await;
    write(kv, vec![put("elsewhere", "")]).await;
    let second = write(kv, vec![put("now/a", "2")]).await;
    let third = write(kv, vec![delete(key("now/a"))]).await;
    let expected = [
        format!("put now/a at {first}"),
        format!("put now/a at {second} after {first}"),
        format!("delete now/a at {third} after {second}"),
    ];
    assert_eq!(until(&mut *watcher, third).await, expected);
}

async fn watch_resumes_anywhere(kv: &dyn Kv) {
    let mut expected = Vec::new();
    let mut revisions = Vec::new();
    for round in 0..30 {
        let name = format!("resume/{}", round % 3);
        let ops = if round % 7 == 6 {
            vec![delete(prefix("resume/"))]
        } else {
            vec![put(&name, "x")]
        };
        revisions.push(write(kv, ops).await);
        write(kv, vec![put("elsewhere", "")]).await;
    }
    let (first, last) = (revisions[0], revisions[29]);
    let mut whole = watch(kv, prefix("resume/"), first).await;
    for line in until(&mut *whole, last).await {
        expected.push(line);
    }
    assert!(expected.len() >= 30);
    for start in revisions {
        let mut resumed = watch(kv, prefix("resume/"), start).await;
        let lines = until(&mut *resumed, last).await;
        assert!(expected.ends_with(&lines), "from {start}: {lines:?}");
        assert!(
            lines[0].contains(&format!("at {start}")),
            "the start is included: {lines:?}"
        );
    }
    let mut one = watch(kv, key("resume/1"), first).await;
    let only: Vec<_> = expected
        .iter()
        .filter(|line| line.contains("resume/1 "))
        .cloned()
        .collect();
    // The last change of the key ends the reading; a mark may come first.
    let mut lines = Vec::new();
    while lines.len() < only.len() {
        let batch = within("a batch", one.next()).await.unwrap();
        lines.extend(batch.events.iter().map(|event| line(event)));
    }
    assert_eq!(lines, only);
}

async fn watch_keeps_revisions_whole(kv: &dyn Kv) {
    let mut live = watch(kv, prefix("whole/"), 0).await;
    let mut revisions = Vec::new();
    for round in 0..10 {
        let ops = (0..50)
            .map(|n| put(&format!("whole/{n}"), &round.to_string()))
            .collect();
        revisions.push(write(kv, ops).await);
    }
    let mut replay = watch(kv, prefix("whole/"), revisions[0]).await;
    for watcher in [&mut live, &mut replay] {
        let mut seen = Vec::new();
        while seen.len() < revisions.len() {
            let batch = within("a batch", watcher.next()).await.unwrap();
            for of_one in batch.events.chunk_by(|a, b| a.kv.mod_revision == b.kv.mod_revision) {
                assert_eq!(of_one.len(), 50, "all changes of a revision are in one batch");
                seen.push(of_one[0].kv.mod_revision);
            }
        }
        assert_eq!(seen, revisions);
    }
}

async fn watch_of_the_future(kv: &dyn Kv) {
    let now = write(kv, vec![put("future/a", "0")]).await;
    let mut watcher = watch(kv, prefix("future/"), now + 3).await;
    for value in ["1", "2", "3", "4"] {
        write(kv, vec![put("future/a", value)]).await;
    }
    let lines = until(&mut *watcher, now + 4).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains(&format!("at {}", now + 3)), "{lines:?}");
}

async fn watch_tells_progress(kv: &dyn Kv) {
    let mut watcher = watch(kv, prefix("quiet/"), 0).await;
    let mut last = 0;
    for _ in 0..5 {
        last = write(kv, vec![put("elsewhere", "x")]).await;
    }
    assert_eq!(until(&mut *watcher, last).await, Vec::<String>::new());
    // Also if it begins behind, and nothing happens any more.
    let mut behind = watch(kv, prefix("quiet/"), last - 4).await;
    assert_eq!(until(&mut *behind, last).await, Vec::<String>::new());
}

async fn compaction(kv: &dyn Kv) {
    let first = write(kv, vec![put("compact/a", "1"), put("compact/gone", "1")]).await;
    let second = write(kv, vec![delete(key("compact/gone"))]).await;
    let third = write(kv, vec![put("compact/a", "2")]).await;
    let last = write(kv, vec![put("compact/b", "1")]).await;
    within("compaction", kv.compact(third)).await.unwrap();

    assert!(matches!(kv.compact(third).await, Err(KvError::Compacted { .. })));
    assert!(matches!(
        kv.compact(last + 1_000_000).await,
        Err(KvError::FutureRevision { .. })
    ));
    for revision in [first, second] {
        let request = RangeRequest {
            revision,
            ..RangeRequest::latest(prefix("compact/"))
        };
        let gone = read(kv, request).await;
        assert_eq!(
            gone,
            Err(KvError::Compacted {
                requested: revision,
                oldest: third
            })
        );
        let request = WatchRequest {
            range: prefix("compact/"),
            start_revision: revision,
        };
        let gone = match within("a watch", kv.watch(request)).await {
            Ok(mut watcher) => within("a batch", watcher.next()).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert_eq!(
            gone,
            Err(KvError::Compacted {
                requested: revision,
                oldest: third
            })
        );
    }
    assert_eq!(keys(kv, prefix("compact/"), third).await, ["compact/a"]);
    assert_eq!(keys(kv, prefix("compact/"), 0).await, ["compact/a", "compact/b"]);
    let mut watcher = watch(kv, prefix("compact/"), third).await;
    let expected = [
        format!("put compact/a at {third} after {first}"),
        format!("put compact/b at {last}"),
    ];
    assert_eq!(until(&mut *watcher, last).await, expected);
}
