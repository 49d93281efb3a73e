//! The options of ranges and puts, and the hash over the content.

use super::{done, key, prefix, put, read, within, write};
use crate::kv::{
    Compare, CompareResult, CompareTarget, Kv, KvError, Op, OpResponse, Order, RangeRequest, Revision, RevisionFilter,
    SortBy, Txn,
};

pub(super) async fn all(kv: &dyn Kv) {
    orders(kv).await;
    filters(kv).await;
    counts(kv).await;
    pages_by_bytes(kv).await;
    what_a_put_keeps(kv).await;
    compares_over_ranges(kv).await;
    hashes(kv).await;
}

/// The last parts of the keys that a read answers with, and whether there are more.
async fn names(kv: &dyn Kv, request: RangeRequest) -> (String, bool) {
    let answer = read(kv, request).await.unwrap();
    let names = answer.kvs.iter().map(|kv| {
        let key = String::from_utf8_lossy(&kv.key);
        key.rsplit('/').next().unwrap_or_default().to_owned()
    });
    (names.collect::<Vec<_>>().join(" "), answer.more)
}

async fn orders(kv: &dyn Kv) {
    for (name, value) in [("c", "2"), ("a", "3"), ("b", "1")] {
        write(kv, vec![put(&format!("order/{name}"), value)]).await;
    }
    // Versions: b has 2, the others 1. Values: a 3, b 1, c 2.
    write(kv, vec![put("order/b", "1")]).await;
    let cases = [
        (SortBy::Key, "a b c", "c b a"),
        (SortBy::Version, "a c b", "b a c"),
        (SortBy::CreateRevision, "c a b", "b a c"),
        (SortBy::ModRevision, "c a b", "b a c"),
        (SortBy::Value, "b c a", "a c b"),
    ];
    for (by, ascending, descending) in cases {
        for (descending, expected) in [(false, ascending), (true, descending)] {
            let request = RangeRequest {
                order: Order { by, descending },
                ..RangeRequest::latest(prefix("order/"))
            };
            assert_eq!(names(kv, request.clone()).await, (expected.to_owned(), false), "{by:?}");
            let first = RangeRequest {
                limit: 1,
                keys_only: true,
                ..request
            };
            assert_eq!(names(kv, first).await, (expected[..1].to_owned(), true), "{by:?}");
        }
    }
}

async fn filters(kv: &dyn Kv) {
    let mut revisions = Vec::new();
    for name in ["a", "b", "c"] {
        revisions.push(write(kv, vec![put(&format!("filter/{name}"), "1")]).await);
    }
    let [a, b, c] = revisions[..] else {
        panic!("three writes")
    };
    let again = write(kv, vec![put("filter/a", "2")]).await;
    let of = |min_mod: Revision, max_mod: Revision, min_create: Revision, max_create: Revision| RevisionFilter {
        min_mod_revision: min_mod,
        max_mod_revision: max_mod,
        min_create_revision: min_create,
        max_create_revision: max_create,
    };
    let cases = [
        (of(c, 0, 0, 0), "a c"),
        (of(0, c, 0, 0), "b c"),
        (of(0, 0, b, 0), "b c"),
        (of(0, 0, 0, a), "a"),
        (of(b, c, b, b), "b"),
        (of(again + 1, 0, 0, 0), ""),
    ];
    for (filter, expected) in cases {
        let request = RangeRequest {
            filter,
            ..RangeRequest::latest(prefix("filter/"))
        };
        assert_eq!(
            names(kv, request.clone()).await,
            (expected.to_owned(), false),
            "{filter:?}"
        );
        let answer = read(kv, request).await.unwrap();
        assert_eq!(answer.count, Some(3), "the count knows no filter");
    }
    let one = RangeRequest {
        limit: 1,
        filter: of(c, 0, 0, 0),
        ..RangeRequest::latest(prefix("filter/"))
    };
    assert_eq!(
        names(kv, one).await,
        ("a".to_owned(), true),
        "the limit counts what passes"
    );
}

async fn counts(kv: &dyn Kv) {
    let ops = (0..7).map(|n| put(&format!("count/{n}"), "x")).collect();
    let revision = write(kv, ops).await;
    let mut start = bytes::Bytes::from_static(b"count/");
    for left in [7, 4, 1] {
        let mut range = prefix("count/");
        range.start = start.clone();
        let request = RangeRequest {
            limit: 3,
            count_total: true,
            revision,
            ..RangeRequest::latest(range)
        };
        // Twice: what is remembered from one answer must not change another.
        for _ in 0..2 {
            let answer = read(kv, request.clone()).await.unwrap();
            assert_eq!((answer.count, answer.more), (Some(left), left > 3));
            let last = answer.kvs.last().unwrap();
            start = [&last.key[..], &[0]].concat().into();
        }
    }
    write(kv, vec![put("count/more", "x")]).await;
    let request = RangeRequest {
        limit: 3,
        count_total: true,
        ..RangeRequest::latest(prefix("count/"))
    };
    assert_eq!(read(kv, request).await.unwrap().count, Some(8));
}

async fn pages_by_bytes(kv: &dyn Kv) {
    let value = "x".repeat(1_000);
    let ops = (0..20).map(|n| put(&format!("page/{n:02}"), &value)).collect();
    let revision = write(kv, ops).await;
    let (mut range, mut seen, mut pages) = (prefix("page/"), Vec::new(), 0);
    loop {
        let request = RangeRequest {
            bytes_max: 3_500,
            revision,
            ..RangeRequest::latest(range.clone())
        };
        let answer = read(kv, request).await.unwrap();
        assert!((1..=3).contains(&answer.kvs.len()), "{}", answer.kvs.len());
        let last = answer.kvs.last().unwrap().key.clone();
        seen.extend(answer.kvs.into_iter().map(|kv| kv.key));
        pages += 1;
        if !answer.more {
            break;
        }
        range.start = [&last[..], &[0]].concat().into();
        // What happens meanwhile is not seen.
        write(kv, vec![put("page/99", "later")]).await;
    }
    assert_eq!((seen.len(), pages), (20, 7));
    assert!(seen.is_sorted());
    let tight = RangeRequest {
        bytes_max: 1,
        ..RangeRequest::latest(key("page/00"))
    };
    assert_eq!(read(kv, tight).await.unwrap().kvs.len(), 1, "one key always fits");
}

fn put_with(key: &str, value: &str, ignore_value: bool, ignore_lease: bool) -> Op {
    Op::Put {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        lease: 0,
        prev_kv: false,
        ignore_value,
        ignore_lease,
    }
}

async fn what_a_put_keeps(kv: &dyn Kv) {
    for (ignore_value, ignore_lease) in [(true, false), (false, true), (true, true)] {
        let txn = Txn {
            success: vec![put("keep/b", "x"), put_with("keep/a", "", ignore_value, ignore_lease)],
            ..Txn::default()
        };
        let refused = within("a put that keeps nothing", kv.txn(txn, None)).await;
        assert_eq!(refused, Err(KvError::KeyNotFound));
    }
    assert_eq!(read(kv, RangeRequest::latest(prefix("keep/"))).await.unwrap().kvs, []);
    write(kv, vec![put("keep/a", "kept")]).await;
    let revision = write(kv, vec![put_with("keep/a", "not this", true, false)]).await;
    let found = read(kv, RangeRequest::latest(key("keep/a"))).await.unwrap();
    let found = &found.kvs[0];
    assert_eq!(
        (&found.value[..], found.mod_revision, found.version),
        (&b"kept"[..], revision, 2)
    );
}

async fn compares_over_ranges(kv: &dyn Kv) {
    write(kv, vec![put("compare/a", "1"), put("compare/b", "1")]).await;
    let last = write(kv, vec![put("compare/b", "2")]).await;
    let cases = [
        (CompareResult::Greater, CompareTarget::Version(0), true),
        (CompareResult::Equal, CompareTarget::Version(1), false),
        (CompareResult::Less, CompareTarget::ModRevision(last + 1), true),
        (CompareResult::NotEqual, CompareTarget::Value("3".into()), true),
        (CompareResult::Equal, CompareTarget::Value("1".into()), false),
        (CompareResult::Equal, CompareTarget::Lease(0), true),
    ];
    for (result, target, expected) in cases {
        let compare = Compare {
            range: prefix("compare/"),
            result,
            target,
        };
        let inner = Txn {
            compares: vec![compare.clone()],
            ..Txn::default()
        };
        // Nested ones are decided like the outer one, on the state before.
        let outer = done(kv, vec![Op::Txn(Box::new(inner))]).await;
        let OpResponse::Txn(inner) = &outer.responses[0] else {
            panic!("{outer:?}")
        };
        assert_eq!(inner.succeeded, expected, "{compare:?}");
    }
}

async fn hashes(kv: &dyn Kv) {
    let revision = write(kv, vec![put("hash/a", "1")]).await;
    let hash = |revision| async move { within("a hash", kv.hash_kv(revision)).await };
    let first = hash(revision).await.unwrap();
    assert_eq!(first.hash_revision, revision);
    write(kv, vec![put("hash/a", "2")]).await;
    assert_eq!(hash(revision).await.unwrap(), first, "the past does not change");
    let latest = hash(0).await.unwrap();
    assert!(latest.hash_revision > revision && latest.hash != first.hash);
    let future = hash(latest.hash_revision + 1_000_000).await;
    assert!(matches!(future, Err(KvError::FutureRevision { .. })), "{future:?}");
}
