//! Every bug that can be planted is caught, by the check that guards the real code against it, and what that check looks
//! at is sound without the bug.
//!
//! | bug | what happens | the check |
//! |---|---|---|
//! | ack-before-replication | the leader is killed under load | one order of all answers |
//! | ack-before-fsync | a lone member is killed after each write | etcd's issue 14370, repeated |
//! | vote-not-persisted | a server is stopped and started | the recovery, which compares vote, log and state |
//! | applied-index-outside-batch | a server is stopped and started | the servers' comparison of their states' hashes |
//! | stale-follower-read | nothing but load | one order of all answers |
//! | lease-read-with-jumped-clock | the leader is cut off under load | one order of all answers |
//! | id-reuse | a member goes and another comes | what must be true of the members |
//! | watch-skips-at-compaction | compactions under load | the rules of watches |
//! | snapshot-newer-than-metadata | a follower falls behind under load | the installation, which compares the two |
//!
//! Where no process has to die, the servers are stores in this process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cuts;
mod observed;
mod processes;
mod replicas;
#[path = "../../store/tests/support/mod.rs"]
mod support;

use anyhow::Result;
use trireme_store::Planted;

/// Runs within which a bug must be caught.
const RUNS_MAX: u64 = 100;

/// What is wrong: the check, and what it found.
type Findings = Vec<(String, String)>;

/// One run of what a bug must be caught in, with or without it.
async fn run(bug: Planted, planted: Option<Planted>, seed: u64) -> Result<Findings> {
    match bug {
        Planted::AckBeforeReplication => processes::leader_killed(planted, seed).await,
        Planted::AckBeforeFsync => processes::lone_member_killed(planted).await,
        Planted::VoteNotPersisted => replicas::restarted_alone(planted).await,
        Planted::AppliedIndexOutsideBatch => replicas::restarted_among_three(planted).await,
        Planted::StaleFollowerRead => observed::loaded(planted, seed).await,
        Planted::LeaseReadWithJumpedClock => observed::leader_cut_off(planted, seed).await,
        Planted::IdReuse => replicas::member_replaced(planted).await,
        Planted::WatchSkipsAtCompaction => observed::compacted(planted, seed).await,
        Planted::SnapshotNewerThanMetadata => processes::follower_caught_up(planted, seed).await,
    }
}

/// The check that is meant for a bug, and what its findings hold.
fn meant_for(bug: Planted) -> (&'static str, &'static str) {
    match bug {
        Planted::AckBeforeReplication | Planted::StaleFollowerRead | Planted::LeaseReadWithJumpedClock => {
            ("linearizable", "")
        }
        Planted::AckBeforeFsync => ("regression", "was acknowledged"),
        Planted::VoteNotPersisted => ("recovery", "vote"),
        Planted::AppliedIndexOutsideBatch => ("state hash", "not the one that the majority has"),
        Planted::IdReuse => ("members", "id 2"),
        Planted::WatchSkipsAtCompaction => ("watch: resumable", "skipped"),
        Planted::SnapshotNewerThanMetadata => ("installation", "was announced as of"),
    }
}

/// Without the bug nothing is found; with it the check that is meant for it finds something.
async fn check(bug: Planted) {
    let sound = run(bug, None, 1)
        .await
        .unwrap_or_else(|error| panic!("without {bug:?}: {error:#}"));
    assert_eq!(sound, [], "without {bug:?}");
    let (check, words) = meant_for(bug);
    for seed in 1..=RUNS_MAX {
        let found = match run(bug, Some(bug), seed).await {
            Ok(found) => found,
            // With a bug, members may not even get as far as to be judged.
            Err(error) => vec![("none".to_owned(), format!("{error:#}"))],
        };
        if let Some((_, what)) = found.iter().find(|(rule, what)| rule == check && what.contains(words)) {
            eprintln!("{}: caught in run {seed} by {check}: {what:.200}", bug.name());
            return;
        }
        eprintln!("{}: not caught in run {seed}: {found:?}", bug.name());
    }
    panic!("{bug:?} was not caught in {RUNS_MAX} runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn ack_before_replication() {
    check(Planted::AckBeforeReplication).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ack_before_fsync() {
    check(Planted::AckBeforeFsync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vote_not_persisted() {
    check(Planted::VoteNotPersisted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applied_index_outside_batch() {
    check(Planted::AppliedIndexOutsideBatch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_follower_read() {
    check(Planted::StaleFollowerRead).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_read_with_jumped_clock() {
    check(Planted::LeaseReadWithJumpedClock).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn id_reuse() {
    check(Planted::IdReuse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_skips_at_compaction() {
    check(Planted::WatchSkipsAtCompaction).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_newer_than_metadata() {
    check(Planted::SnapshotNewerThanMetadata).await;
}

#[test]
fn every_bug_is_known_by_its_name_and_has_a_test_of_it() {
    let tests = include_str!("main.rs");
    for bug in Planted::ALL {
        let test = format!("async fn {}()", bug.name().replace('-', "_"));
        assert!(tests.contains(&test), "{bug:?}");
        assert_eq!(bug.name().parse(), Ok(bug));
    }
    assert!("none".parse::<Planted>().unwrap_err().contains("id-reuse"));
}
