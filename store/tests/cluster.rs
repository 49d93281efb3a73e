//! Three stores together: writes, reads, elections, restarts, snapshots, membership, fences.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use support::{Cluster, count, create, get, put, read, revision, write, write_fenced};
use trireme_store::kv::{
    Compare, CompareResult, CompareTarget, Consistency, KeyRange, Kv, KvError, Op, OpResponse, RangeRequest, Txn,
    WatchRequest,
};
use trireme_store::{MembershipError, OpenError, PlainConnector, Role, Sizes, Store};

/// Sizes with which a few hundred entries are a long log.
fn small() -> Sizes {
    Sizes {
        log_tail_cache_bytes: 16 << 10,
        snapshot_log_entries: 200,
        log_keep_entries: 20,
        snapshot_lag_entries: 50,
        log_purge_batch_entries: 1,
        ..Sizes::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_takes_writes_and_reads_what_any_other_wrote() {
    let cluster = Cluster::start(3).await;
    let mut last = 0;
    for writer in 1..=3 {
        let response = write(&cluster.store(writer), put("key", writer.to_string())).await;
        assert!(response.revision > last, "revisions only grow");
        last = response.revision;
        assert!(
            revision(&cluster.store(writer)) >= last,
            "the writer's server has applied it"
        );
        for reader in 1..=3 {
            assert_eq!(get(&cluster.store(reader), "key").await, Some(writer.to_string()));
            let at_least = read(&cluster.store(reader), "key", Consistency::AtLeast(last)).await;
            assert_eq!(at_least, Some(writer.to_string()));
        }
    }
    cluster.wait_until_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_only_reads_leaves_the_log_alone_and_sees_what_was_acknowledged() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let look = || Txn {
        compares: vec![Compare {
            range: KeyRange::key("/look/a"),
            target: CompareTarget::Version(1),
            result: CompareResult::Equal,
        }],
        success: vec![Op::Range(RangeRequest::latest(KeyRange::prefix("/look/")))],
        failure: vec![Op::Range(RangeRequest::latest(KeyRange::key("/look/a")))],
    };
    for round in 1..=9 {
        write(&cluster.store(1 + round % 3), put("/look/a", round.to_string())).await;
        let before = cluster.store(leader).log_use().entries;
        let reader = cluster.store(1 + (round + 1) % 3);
        let seen = write(&reader, look()).await;
        let [OpResponse::Range(range)] = &seen.responses[..] else {
            panic!("{seen:?}");
        };
        assert_eq!(range.kvs.len(), 1);
        assert_eq!(range.kvs[0].value, round.to_string());
        assert_eq!((seen.succeeded, seen.revision), (round == 1, range.revision));
        assert_eq!(cluster.store(leader).log_use().entries, before);
    }
    let many = Txn {
        success: vec![Op::Range(RangeRequest::latest(KeyRange::key("/look/a"))); 1_001],
        ..Txn::default()
    };
    let refused = write_fenced(&cluster.store(leader), many, None).await;
    assert!(
        matches!(refused, Err(KvError::Invalid(_))),
        "it has too many operations"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_share_syncs_and_each_happens_once() {
    const WRITERS: u64 = 64;
    const EACH: u64 = 10;
    let cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let before = cluster.store(leader).log_use();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            // Two thirds go through followers.
            let store = cluster.store(1 + writer % 3);
            tokio::spawn(async move {
                for number in 0..EACH {
                    let response = write(&store, create(&format!("/w/{writer}/{number}"), "x")).await;
                    assert!(response.succeeded, "nobody else has created it");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for id in 1..=3 {
        assert_eq!(count(&cluster.store(id), "/w/").await, WRITERS * EACH);
    }
    let after = cluster.store(leader).log_use();
    let (entries, syncs) = (after.entries - before.entries, after.syncs - before.syncs);
    assert!(entries >= WRITERS * EACH);
    assert!(syncs * 4 < entries, "{entries} entries took {syncs} syncs");
    cluster.wait_until_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_after_the_leader_has_gone_and_it_catches_up_when_it_is_back() {
    let mut cluster = Cluster::start(3).await;
    for round in 0..2 {
        let leader = cluster.wait_for_leader().await;
        let follower = cluster.follower(leader);
        write(&cluster.store(follower), put(&format!("/before/{round}"), "x")).await;
        cluster.stop(leader).await;
        write(&cluster.store(follower), put(&format!("/after/{round}"), "x")).await;
        assert_ne!(cluster.wait_for_leader().await, leader);
        cluster.restart(leader).await;
        assert_eq!(
            get(&cluster.store(leader), &format!("/after/{round}")).await,
            Some("x".into())
        );
        cluster.wait_until_equal().await;
    }
    for id in 1..=3 {
        assert_eq!(count(&cluster.store(id), "/before/").await, 2);
        assert_eq!(count(&cluster.store(id), "/after/").await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_under_way_while_the_leader_goes_are_kept() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let writers: Vec<_> = (0..16_u64)
        .map(|writer| {
            let store = cluster.store(cluster.follower(leader));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                let mut unknown = 0;
                while acknowledged.len() < 40 {
                    let key = format!("/k/{writer}/{}", acknowledged.len() + unknown);
                    match write_fenced(&store, create(&key, "x"), None).await {
                        Ok(response) => {
                            assert!(response.succeeded, "{key} was created once");
                            acknowledged.push(key);
                        }
                        // It may or may not have happened: that key is not tried again.
                        Err(KvError::UnknownOutcome(_)) => unknown += 1,
                        Err(error) => panic!("{key}: {error}"),
                    }
                }
                acknowledged
            })
        })
        .collect();
    cluster
        .wait("some writes", |cluster| cluster.store(leader).applied_revision() > 50)
        .await;
    cluster.stop(leader).await;
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    cluster.restart(leader).await;
    for id in 1..=3 {
        for key in &acknowledged {
            assert_eq!(
                get(&cluster.store(id), key).await,
                Some("x".into()),
                "server {id}: {key}"
            );
        }
    }
    cluster.wait_until_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_fell_behind_is_caught_up_by_a_snapshot() {
    let mut cluster = Cluster::start_with(3, small()).await;
    let leader = cluster.wait_for_leader().await;
    let follower = cluster.follower(leader);
    let fell_at = cluster.store(follower).status().last_log_index;
    cluster.stop(follower).await;
    let store = cluster.store(leader);
    // Large enough for several chunks.
    let value = "v".repeat(4 << 10);
    for number in 0..600 {
        write(&store, put(&format!("/big/{number}"), value.clone())).await;
    }
    cluster
        .wait("the leader has cut its log", |cluster| {
            cluster.store(leader).status().first_log_index > fell_at + 1
        })
        .await;
    cluster.restart(follower).await;
    assert_eq!(count(&cluster.store(follower), "/big/").await, 600);
    assert!(
        cluster.store(follower).status().first_log_index > fell_at + 1,
        "it cannot have come by the log"
    );
    cluster.wait_until_equal().await;

    // It takes part as before, and stands again after a restart.
    write(&cluster.store(follower), put("/after", "x")).await;
    cluster.stop(follower).await;
    cluster.restart(follower).await;
    assert_eq!(count(&cluster.store(follower), "/big/").await, 600);
    cluster.wait_until_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_all_from_disk_keeps_everything() {
    let mut cluster = Cluster::start_with(3, small()).await;
    let leader = cluster.wait_for_leader().await;
    for number in 0..500 {
        write(&cluster.store(leader), put(&format!("/n/{number}"), number.to_string())).await;
    }
    let before = cluster.store(leader).status();
    let ids: Vec<u64> = cluster.servers.keys().copied().collect();
    for id in &ids {
        cluster.stop(*id).await;
    }
    for id in &ids {
        cluster.restart(*id).await;
    }
    cluster.wait_for_leader().await;
    for id in ids {
        let store = cluster.store(id);
        assert_eq!(count(&store, "/n/").await, 500);
        assert_eq!(get(&store, "/n/499").await, Some("499".into()));
        assert!(store.status().term > before.term, "a restarted leader is elected anew");
        assert_eq!(store.members().len(), 3);
    }
    cluster.wait_until_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_join_as_learners_are_promoted_and_removed_and_ids_are_never_used_again() {
    let mut cluster = Cluster::start(3).await;
    write(&cluster.store(1), put("/old", "x")).await;
    let learner = cluster.join().await;
    assert_eq!(learner, 4);
    cluster
        .wait("it is a learner", |cluster| {
            cluster.store(4).status().role == Role::Learner
        })
        .await;
    assert_eq!(
        get(&cluster.store(4), "/old").await,
        Some("x".into()),
        "a learner serves reads"
    );
    write(&cluster.store(4), put("/from-learner", "x")).await;

    let refused = cluster.store(2).transfer_leadership(4).await.unwrap_err();
    assert!(refused.to_string().contains("learner"), "{refused}");
    // Any server takes the request, and asking twice does no harm.
    cluster.store(4).promote(4).await.unwrap();
    cluster.store(2).promote(4).await.unwrap();
    cluster
        .wait("it votes", |cluster| cluster.store(4).status().role != Role::Learner)
        .await;

    cluster.store(2).remove(4).await.unwrap();
    cluster
        .wait("the others know", |cluster| {
            (1..=3).all(|id| cluster.store(id).members().len() == 3)
        })
        .await;
    cluster.stop(4).await;
    assert_eq!(cluster.store(3).allocate_server_id().await, Ok(5));
    assert!(matches!(
        cluster.store(3).remove(4).await,
        Err(MembershipError::Refused(_))
    ));
    assert!(matches!(
        cluster.store(3).promote(9).await,
        Err(MembershipError::Refused(_))
    ));
    write(&cluster.store(1), put("/without-4", "x")).await;
    cluster.wait_until_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_can_be_removed_and_the_last_voter_cannot() {
    let mut cluster = Cluster::start(2).await;
    let leader = cluster.wait_for_leader().await;
    let other = cluster.follower(leader);
    cluster.store(other).remove(leader).await.unwrap();
    cluster.stop(leader).await;
    assert_eq!(cluster.wait_for_leader().await, other);
    write(&cluster.store(other), put("/alone", "x")).await;
    let refused = cluster.store(other).remove(other).await.unwrap_err();
    assert!(refused.to_string().contains("the only voter"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_decided_under_an_ended_leadership_is_refused() {
    let cluster = Cluster::start(3).await;
    let old_leader = cluster.wait_for_leader().await;
    let leadership = cluster.store(old_leader).leadership().borrow().unwrap();
    write_fenced(&cluster.store(old_leader), put("/fenced", "1"), Some(leadership))
        .await
        .unwrap();
    let new_leader = cluster.follower(old_leader);
    cluster.store(old_leader).transfer_leadership(new_leader).await.unwrap();
    assert_eq!(
        cluster.store(old_leader).leader().map(|member| member.id),
        Some(new_leader)
    );
    cluster
        .wait("the old leader knows", |cluster| {
            cluster.store(old_leader).leadership().borrow().is_none()
        })
        .await;
    for id in 1..=3 {
        let refused = write_fenced(&cluster.store(id), put("/fenced", "2"), Some(leadership)).await;
        assert!(
            matches!(refused, Err(KvError::Deposed { decided, .. }) if decided == leadership.term),
            "{refused:?}"
        );
    }
    assert_eq!(get(&cluster.store(1), "/fenced").await, Some("1".into()));
    let now = cluster.wait_for_leader().await;
    let leadership = cluster.store(now).leadership().borrow().unwrap();
    write_fenced(&cluster.store(old_leader), put("/fenced", "3"), Some(leadership))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_is_acknowledged_and_no_read_is_linearizable() {
    let mut cluster = Cluster::start(3).await;
    write(&cluster.store(1), put("/here", "x")).await;
    cluster.wait_until_equal().await;
    cluster.stop(2).await;
    cluster.stop(3).await;
    let store = cluster.store(1);
    let write = store.txn(put("/lost", "x"), None).await;
    assert!(
        matches!(write, Err(KvError::UnknownOutcome(_) | KvError::Unavailable(_))),
        "{write:?}"
    );
    let request = RangeRequest::latest(KeyRange::key("/here"));
    let linearizable = store.range(request, Consistency::Linearizable).await;
    assert!(matches!(linearizable, Err(KvError::Unavailable(_))), "{linearizable:?}");
    assert_eq!(read(&store, "/here", Consistency::Serializable).await, Some("x".into()));

    cluster.restart(2).await;
    cluster.wait_for_leader().await;
    assert_eq!(get(&store, "/here").await, Some("x".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_on_a_follower_sees_each_change_once_and_in_order() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let follower = cluster.store(cluster.follower(leader));
    let request = WatchRequest {
        range: KeyRange::prefix("/watched/"),
        start_revision: revision(&follower) + 1,
    };
    let mut watcher = follower.watch(request).await.unwrap();
    let store = cluster.store(leader);
    let mut want = Vec::new();
    for number in 0..100 {
        let response = write(&store, put(&format!("/watched/{}", number % 7), number.to_string())).await;
        write(&store, put("/elsewhere", "x")).await;
        want.push((response.revision, number.to_string()));
    }
    let mut got = Vec::new();
    while got.len() < want.len() {
        for event in watcher.next().await.unwrap().events {
            got.push((
                event.kv.mod_revision,
                String::from_utf8(event.kv.value.to_vec()).unwrap(),
            ));
        }
    }
    assert_eq!(got, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clusters_directory_is_refused() {
    let mut cluster = Cluster::start(1).await;
    let mut config = cluster.config(1);
    cluster.stop(1).await;
    config.cluster_id = "another".into();
    let refused = Store::open(config.clone(), Arc::new(PlainConnector)).await.unwrap_err();
    assert!(matches!(refused, OpenError::Identity(_)));
    assert!(
        refused
            .to_string()
            .contains("belongs to cluster test-cluster, not to another"),
        "{refused}"
    );
    config.cluster_id = "test-cluster".into();
    config.server_id = 2;
    assert!(matches!(
        Store::open(config, Arc::new(PlainConnector)).await,
        Err(OpenError::Identity(_))
    ));
    cluster.restart(1).await;
    cluster.wait_for_leader().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_has_been_shut_down_says_so() {
    let mut cluster = Cluster::start(1).await;
    let store = cluster.store(1);
    cluster.stop(1).await;
    assert!(matches!(
        store.txn(put("k", "v"), None).await,
        Err(KvError::Stopped(_) | KvError::Unavailable(_))
    ));
    let request = RangeRequest::latest(KeyRange::key("k"));
    let read = store.range(request, Consistency::Linearizable).await;
    assert!(matches!(read, Err(KvError::Stopped(_))), "{read:?}");
    store.shutdown().await;
}
