//! What every store with [`Leases`] must do.

use std::time::Duration;

use super::{delete, key, keys, prefix, put, read, watch, within, write};
use crate::kv::{EventKind, Kv, KvError, LeaseStatus, Leases, Op, RangeRequest, Revision, Txn, WatchBatch};
use crate::limits::LEASE_TTL_MIN_S;

/// How long a lease lives that is not meant to expire here, in seconds.
const LONG_S: i64 = 3_600;

/// Runs the whole suite on `store`.
///
/// # Panics
/// If `store` does not do what it must.
pub async fn run_leases<S: Kv + Leases>(store: &S) {
    grants(store).await;
    keys_follow_their_lease(store).await;
    a_lease_that_is_not_there(store).await;
    a_revocation_is_one_revision(store).await;
    an_expired_lease_goes_with_its_keys_at_once(store).await;
    a_renewed_lease_stays(store).await;
}

async fn granted<S: Leases>(store: &S, ttl_s: i64) -> i64 {
    within("a grant", store.grant(0, ttl_s)).await.unwrap().id
}

async fn status<S: Leases>(store: &S, id: i64) -> Option<LeaseStatus> {
    within("a question", store.time_to_live(id, true)).await.unwrap()
}

fn attached(name: &str, lease: i64) -> Op {
    Op::Put {
        key: name.to_owned().into(),
        value: "leased".into(),
        lease,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    }
}

async fn grants<S: Kv + Leases>(store: &S) {
    let before = write(store, vec![put("lease/before", "")]).await;
    let chosen = within("a grant", store.grant(4_711, LONG_S)).await.unwrap();
    assert_eq!((chosen.id, chosen.ttl_s), (4_711, LONG_S));
    assert!(chosen.revision >= before);
    assert_eq!(
        store.grant(4_711, LONG_S).await,
        Err(KvError::LeaseExists { id: 4_711 })
    );
    let short = within("a grant", store.grant(0, 0)).await.unwrap();
    assert_eq!(short.ttl_s, LEASE_TTL_MIN_S, "it is raised");
    assert!(short.id != 0 && short.id != 4_711);
    let endless = store.grant(0, trireme_mvcc::limits::LEASE_TTL_MAX_S + 1).await;
    assert!(matches!(endless, Err(KvError::Invalid(_))), "{endless:?}");
    let all = within("a list", store.leases()).await.unwrap();
    assert!(all.contains(&4_711) && all.is_sorted(), "{all:?}");
    within("a revocation", store.revoke(4_711)).await.unwrap();
    assert!(!within("a list", store.leases()).await.unwrap().contains(&4_711));
}

async fn keys_follow_their_lease<S: Kv + Leases>(store: &S) {
    let (first, second) = (granted(store, LONG_S).await, granted(store, LONG_S).await);
    let names = |lease| async move {
        let status = status(store, lease).await.unwrap();
        assert_eq!(status.granted_ttl_s, LONG_S);
        assert!((LONG_S - 60..=LONG_S).contains(&status.remaining_ttl_s), "{status:?}");
        let names = status.keys.iter().map(|key| String::from_utf8_lossy(key).into_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    write(
        store,
        vec![
            attached("lk/a", first),
            attached("lk/b", first),
            attached("lk/c", first),
        ],
    )
    .await;
    assert_eq!(names(first).await, "lk/a lk/b lk/c");
    write(
        store,
        vec![attached("lk/a", second), put("lk/b", "free"), delete(key("lk/c"))],
    )
    .await;
    assert_eq!(
        (names(first).await, names(second).await),
        (String::new(), "lk/a".to_owned())
    );
    // Kept, and seen in the key.
    let kept = Op::Put {
        key: "lk/a".into(),
        value: "new".into(),
        lease: 0,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: true,
    };
    write(store, vec![kept]).await;
    let found = read(store, RangeRequest::latest(key("lk/a"))).await.unwrap();
    assert_eq!((&found.kvs[0].value[..], found.kvs[0].lease), (&b"new"[..], second));
    let revision = write(store, vec![put("lk/x", "")]).await;
    assert_eq!(
        within("a revocation", store.revoke(first)).await,
        Ok(revision),
        "it had no keys"
    );
    within("a revocation", store.revoke(second)).await.unwrap();
    assert_eq!(keys(store, prefix("lk/"), 0).await, ["lk/b", "lk/x"]);
}

async fn a_lease_that_is_not_there<S: Kv + Leases>(store: &S) {
    let id = granted(store, LONG_S).await;
    within("a revocation", store.revoke(id)).await.unwrap();
    let txn = Txn {
        success: vec![put("nl/a", ""), attached("nl/b", id)],
        ..Txn::default()
    };
    let refused = within("a put", store.txn(txn, None)).await;
    assert_eq!(refused, Err(KvError::LeaseNotFound { id }));
    assert_eq!(keys(store, prefix("nl/"), 0).await, Vec::<String>::new());
    for id in [id, 0] {
        assert_eq!(
            within("a revocation", store.revoke(id)).await,
            Err(KvError::LeaseNotFound { id })
        );
        assert_eq!(within("a renewal", store.keep_alive(id)).await, Ok(None));
        assert_eq!(status(store, id).await, None);
    }
}

async fn a_revocation_is_one_revision<S: Kv + Leases>(store: &S) {
    let id = granted(store, LONG_S).await;
    let mut watcher = watch(store, prefix("one/"), 0).await;
    let names: Vec<String> = (0..30).map(|n| format!("one/{n:02}")).collect();
    for name in &names {
        write(store, vec![attached(name, id)]).await;
    }
    let revision = within("a revocation", store.revoke(id)).await.unwrap();
    assert_eq!(deleted(&mut *watcher, names.len()).await, (names, revision));
    assert_eq!(keys(store, prefix("one/"), 0).await, Vec::<String>::new());
}

/// Waits for so many deletions, which must be all of one revision.
async fn deleted(watcher: &mut dyn crate::kv::Watcher, count: usize) -> (Vec<String>, Revision) {
    let (mut names, mut revisions) = (Vec::new(), Vec::new());
    while names.len() < count {
        let batch: WatchBatch = within("a batch", watcher.next()).await.unwrap();
        for event in batch.events.iter().filter(|event| event.kind == EventKind::Delete) {
            names.push(String::from_utf8_lossy(&event.kv.key).into_owned());
            revisions.push(event.kv.mod_revision);
        }
    }
    revisions.dedup();
    assert_eq!(revisions.len(), 1, "{names:?} at {revisions:?}");
    (names, revisions[0])
}

async fn an_expired_lease_goes_with_its_keys_at_once<S: Kv + Leases>(store: &S) {
    let id = granted(store, 1).await;
    let mut watcher = watch(store, prefix("expire/"), 0).await;
    write(store, vec![attached("expire/a", id), attached("expire/b", id)]).await;
    write(store, vec![attached("expire/c", id), put("expire/stays", "")]).await;
    let (names, _) = deleted(&mut *watcher, 3).await;
    assert_eq!(names, ["expire/a", "expire/b", "expire/c"]);
    assert_eq!(within("a renewal", store.keep_alive(id)).await, Ok(None));
    assert_eq!(status(store, id).await, None);
    assert_eq!(keys(store, prefix("expire/"), 0).await, ["expire/stays"]);
}

async fn a_renewed_lease_stays<S: Kv + Leases>(store: &S) {
    let (renewed, other) = (granted(store, 1).await, granted(store, 1).await);
    write(store, vec![attached("renew/a", renewed), attached("renew/b", other)]).await;
    // The other one, as old, shows that the time is over.
    let renewals = async {
        loop {
            assert_eq!(store.keep_alive(renewed).await, Ok(Some(LEASE_TTL_MIN_S)));
            if status(store, other).await.is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("the other lease's end", renewals).await;
    assert_eq!(keys(store, prefix("renew/"), 0).await, ["renew/a"]);
    let status = status(store, renewed).await.unwrap();
    assert_eq!(
        (status.granted_ttl_s, &status.keys[..]),
        (LEASE_TTL_MIN_S, &["renew/a".into()][..])
    );
    within("a revocation", store.revoke(renewed)).await.unwrap();
}
