//! What must pass, and one of each kind of broken promise. The search and the rules of watches have tests of their own.

use bytes::Bytes;
use trireme_store::{Role, sim::Content};

use super::*;
use crate::{
    linear::{
        history::{Call, Outcome},
        model::{Answer, KeyAnswer, KeyOp, Op},
    },
    sim::objects::{Asked, Change, ObjectCall, ObjectWatchRecord, Told},
};

/// A server as it is seen: its id is its machine's number.
fn seen(machine: MachineId, term: u64, index: u64) -> Seen {
    Seen {
        machine,
        start: 1,
        status: StoreStatus {
            id: machine as u64,
            role: Role::Follower,
            term,
            leader_id: None,
            first_log_index: 0,
            last_log_index: index,
            applied_index: index,
            applied_revision: 10 + i64::try_from(index).unwrap(),
            state_hash_index: index,
            state_hash: format!("hash of {index}"),
            idle: std::time::Duration::ZERO,
            lanes: trireme_store::lanes::LanesUse::default(),
        },
        quarantined: None,
        committed: vec![entry(index, term, Content::Command)],
    }
}

fn entry(index: u64, term: u64, content: Content) -> Committed {
    Committed {
        index,
        term,
        checksum: 7,
        content,
    }
}

/// The names of the promises that are found broken when these are looked at in turn.
fn broken(all: &[Seen]) -> Vec<&'static str> {
    let mut invariants = running();
    let mut found = Vec::new();
    for seen in all {
        for invariant in &mut invariants {
            if invariant.look(0, seen).is_err() {
                found.push(invariant.name());
            }
        }
    }
    found
}

fn with(mut seen: Seen, change: impl FnOnce(&mut Seen)) -> Seen {
    change(&mut seen);
    seen
}

#[test]
fn servers_that_agree_break_nothing() {
    let leader = |machine, term, index| with(seen(machine, term, index), |seen| seen.status.role = Role::Leader);
    assert_eq!(
        broken(&[leader(1, 2, 5), seen(2, 2, 5), leader(1, 2, 6), leader(2, 3, 7)]),
        [""; 0]
    );
    // One that was started again may be behind.
    let again = with(seen(1, 2, 5), |seen| seen.start = 2);
    assert_eq!(broken(&[seen(1, 2, 9), again]), [""; 0]);
}

#[test]
fn what_servers_do_wrong_is_found_by_the_promise_that_it_breaks() {
    let leader = |machine| with(seen(machine, 2, 5), |seen| seen.status.role = Role::Leader);
    assert_eq!(broken(&[leader(1), leader(2)]), ["one leader a term"]);
    let rewritten = with(seen(2, 2, 5), |seen| seen.committed[0].checksum = 8);
    assert_eq!(broken(&[seen(1, 2, 5), rewritten]), ["log agreement"]);
    let older = with(seen(2, 3, 6), |seen| seen.committed[0].term = 1);
    assert_eq!(broken(&[seen(1, 2, 5), older]), ["log agreement"]);
    let other = with(seen(2, 2, 5), |seen| seen.status.state_hash = "another".to_owned());
    assert_eq!(broken(&[seen(1, 2, 5), other]), ["state hashes"]);
    assert_eq!(broken(&[seen(1, 2, 9), seen(1, 2, 5)]), ["revisions grow"]);
    let further = with(seen(2, 2, 5), |seen| seen.status.applied_revision += 1);
    assert_eq!(broken(&[seen(1, 2, 5), further]), ["revisions grow"]);
    let quarantined = with(seen(1, 2, 5), |seen| seen.quarantined = Some("damage".to_owned()));
    assert_eq!(broken(&[quarantined]), ["nobody quarantined"]);
    let member = |index, name: &str| {
        let members = Content::Members(vec![(4, name.to_owned())]);
        with(seen(1, 2, index), |seen| {
            seen.committed = vec![entry(index, 2, members)];
        })
    };
    assert_eq!(broken(&[member(5, "four"), member(6, "four")]), [""; 0]);
    assert_eq!(broken(&[member(5, "four"), member(6, "five")]), ["server ids"]);
}

#[test]
fn an_id_that_is_given_twice_is_found() {
    let record = |given: &[(u64, MachineId)]| Record {
        changes: Changes { given: given.to_vec() },
        ..Record::default()
    };
    assert_eq!(server_ids::judge(&record(&[(4, 4), (5, 5)])).len(), 0);
    assert_eq!(server_ids::judge(&record(&[(4, 4), (4, 5)])).len(), 1);
}

fn put(value: &str, revision: i64) -> Call {
    Call {
        client: 0,
        op: Op::One(KeyOp::Put {
            key: "k".to_owned(),
            value: value.to_owned(),
            lease: 0,
        }),
        invoked: 0,
        returned: 1,
        outcome: Outcome::Done {
            revision,
            answer: Answer::One(KeyAnswer::Put { previous: None }),
        },
    }
}

#[test]
fn an_acknowledged_write_that_is_gone_is_found() {
    let history = History {
        calls: vec![put("one", 3)],
        ..History::default()
    };
    let write = acknowledged(&history).remove(0);
    assert_eq!((write.value.as_str(), write.revision), ("one", 3));
    let kv = |value: &'static str| KeyValue {
        value: Bytes::from_static(value.as_bytes()),
        mod_revision: 3,
        ..KeyValue::default()
    };
    for (there, lost) in [(Some(kv("one")), 0), (Some(kv("two")), 1), (None, 1)] {
        let record = Record {
            kept: BTreeMap::from([(1, vec![(write.clone(), there)])]),
            ..Record::default()
        };
        assert_eq!(acknowledged_writes::judge(&record).len(), lost);
    }
}

#[test]
fn a_fenced_write_of_another_term_must_not_be_seen() {
    let record = |decided: u64, committed: u64, shown: &str| {
        let puts = vec![(Bytes::from_static(b"k"), Bytes::from_static(b"one"))];
        let content = Content::Fenced { term: decided, puts };
        let mut read = put("two", 4);
        read.outcome = Outcome::Done {
            revision: 4,
            answer: Answer::One(KeyAnswer::Put {
                previous: Some(crate::linear::model::KeyValue {
                    value: shown.to_owned(),
                    ..Default::default()
                }),
            }),
        };
        Record {
            committed: BTreeMap::from([(5, entry(5, committed, content))]),
            history: History {
                calls: vec![read],
                ..History::default()
            },
            ..Record::default()
        }
    };
    assert_eq!(fenced_writes::judge(&record(2, 2, "one")).len(), 0);
    assert_eq!(fenced_writes::judge(&record(2, 3, "nothing of it")).len(), 0);
    assert_eq!(fenced_writes::judge(&record(2, 3, "one")).len(), 1);
}

fn call(asked: Asked, token: &str, invoked: u64, told: Told) -> ObjectCall {
    ObjectCall {
        name: "a".to_owned(),
        asked,
        token: token.to_owned(),
        invoked,
        returned: invoked + 5,
        told,
    }
}

fn objects_found(calls: Vec<ObjectCall>, watches: Vec<ObjectWatchRecord>) -> usize {
    let record = Record {
        objects: vec![ObjectRecord { calls, watches }],
        ..Record::default()
    };
    objects::judge(&record).len()
}

#[test]
fn lost_updates_and_stale_reads_of_objects_are_found() {
    let done = |revision: i64, token: &str| Told::Done(revision, token.to_owned());
    let create = || call(Asked::Create, "1", 0, done(5, "1"));
    let update = |from: i64, token: &str, to: i64| call(Asked::Update(from), token, 10, done(to, token));
    let read = |invoked: u64, revision: i64, token: &str| call(Asked::Get, "", invoked, done(revision, token));
    let sound = vec![create(), update(5, "2", 8), read(12, 5, "1"), read(30, 8, "2")];
    assert_eq!(objects_found(sound, Vec::new()), 0);
    assert_eq!(
        objects_found(vec![create(), update(5, "2", 8), update(5, "3", 9)], Vec::new()),
        1
    );
    assert_eq!(
        objects_found(vec![create(), update(5, "2", 8), read(30, 5, "1")], Vec::new()),
        1
    );
    assert_eq!(objects_found(vec![create(), read(30, 5, "another")], Vec::new()), 1);
}

#[test]
fn a_watch_of_objects_that_skips_repeats_or_goes_back_is_found() {
    let done = |revision: i64, token: &str| Told::Done(revision, token.to_owned());
    let calls = || {
        vec![
            call(Asked::Create, "1", 0, done(5, "1")),
            call(Asked::Update(5), "2", 10, done(8, "2")),
        ]
    };
    let told = |change: Change, revision: i64, token: &str| (change, "a".to_owned(), revision, token.to_owned());
    let watch = |changes: Vec<_>| ObjectWatchRecord {
        start: 4,
        changes,
        bookmarked: 9,
        initial: 0,
    };
    let (added, modified) = (told(Change::Added, 5, "1"), told(Change::Modified, 8, "2"));
    let found = |changes: Vec<_>| objects_found(calls(), vec![watch(changes)]);
    assert_eq!(found(vec![added.clone(), modified.clone()]), 0);
    assert_eq!(found(vec![added.clone()]), 1, "one is missing");
    assert!(
        found(vec![added.clone(), added.clone(), modified.clone()]) > 0,
        "one was told twice"
    );
    assert!(found(vec![modified.clone(), added.clone()]) > 0, "it went back");
    assert_eq!(
        found(vec![added, told(Change::Modified, 8, "3")]),
        1,
        "nobody wrote that"
    );
    assert_eq!(
        found(vec![told(Change::Added, 5, "1"), told(Change::Added, 8, "2")]),
        1,
        "it was there already"
    );
}
