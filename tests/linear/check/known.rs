//! Histories whose verdict is known: what must pass, and one of each kind of broken promise.

use super::{Evidence, Verdict, check};
use crate::linear::{
    history::{Call, Outcome},
    model::{Answer, Compare, KeyAnswer, KeyOp, KeyRange, KeyValue, Op, Ordering, Refusal, State, Target, Txn},
};

/// A history in the making. Times are in the order of the arguments.
#[derive(Default)]
struct Story(Vec<Call>);

fn kv(key: &str, value: &str, create: i64, revision: i64, version: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: value.to_owned(),
        create_revision: create,
        mod_revision: revision,
        version,
        lease: 0,
    }
}

fn put(key: &str, value: &str) -> KeyOp {
    KeyOp::Put {
        key: key.to_owned(),
        value: value.to_owned(),
        lease: 0,
    }
}

fn was(previous: Option<KeyValue>) -> KeyAnswer {
    KeyAnswer::Put { previous }
}

fn saw(kvs: &[KeyValue]) -> KeyAnswer {
    KeyAnswer::Range {
        count: i64::try_from(kvs.len()).unwrap(),
        kvs: kvs.to_vec(),
        more: false,
    }
}

impl Story {
    fn call(mut self, invoked: u64, returned: u64, op: Op, outcome: Outcome) -> Self {
        self.0.push(Call {
            client: self.0.len(),
            op,
            invoked,
            returned,
            outcome,
        });
        self
    }

    fn done(self, invoked: u64, returned: u64, op: KeyOp, revision: i64, answer: KeyAnswer) -> Self {
        let answer = Answer::One(answer);
        self.call(invoked, returned, Op::One(op), Outcome::Done { revision, answer })
    }

    fn unknown(self, invoked: u64, op: KeyOp) -> Self {
        self.call(invoked, invoked, Op::One(op), Outcome::Unknown)
    }

    fn read(self, invoked: u64, returned: u64, key: &str, revision: i64, kvs: &[KeyValue]) -> Self {
        let range = KeyRange::one(key);
        self.done(invoked, returned, KeyOp::Range { range, limit: 0 }, revision, saw(kvs))
    }

    fn verdict(mut self) -> Verdict {
        self.0.sort_by_key(|call| call.invoked);
        let evidence = Evidence::of(&self.0);
        check(&self.0, &State::default(), &evidence, &|| true)
    }

    fn passes(self) {
        let verdict = self.verdict();
        assert!(matches!(verdict, Verdict::Linearizable { .. }), "{verdict:?}");
    }

    fn breaks(self, because: &str) {
        match self.verdict() {
            Verdict::Broken(broken) => assert!(broken.found.contains(because), "{}", broken.found),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn nothing_is_in_order() {
    Story::default().passes();
}

#[test]
fn concurrent_requests_may_take_effect_in_either_order() {
    for (first, second) in [(2, 3), (3, 2)] {
        let (one, two) = (kv("a", "1", 2, 2, 1), kv("a", "2", 2, 2, 1));
        let previous = |own: i64, other: KeyValue| was((own == 3).then_some(other));
        Story::default()
            .done(0, 10, put("a", "1"), first, previous(first, two.clone()))
            .done(5, 15, put("a", "2"), second, previous(second, one.clone()))
            .passes();
    }
}

#[test]
fn a_stale_read_is_found() {
    let old = kv("a", "1", 2, 2, 1);
    Story::default()
        .done(0, 10, put("a", "1"), 2, was(None))
        .done(20, 30, put("a", "2"), 3, was(Some(old.clone())))
        .read(25, 50, "a", 2, std::slice::from_ref(&old))
        .passes();
    Story::default()
        .done(0, 10, put("a", "1"), 2, was(None))
        .done(20, 30, put("a", "2"), 3, was(Some(old.clone())))
        .read(40, 50, "a", 2, &[old])
        .breaks("its revision is 2, and revision 3 had been made");
}

#[test]
fn a_stale_read_of_another_key_is_found() {
    // Key by key this would pass: the key that is read was not changed.
    Story::default()
        .done(0, 10, put("a", "1"), 2, was(None))
        .done(20, 30, put("b", "2"), 3, was(None))
        .read(40, 50, "a", 2, &[kv("a", "1", 2, 2, 1)])
        .breaks("its revision is 2");
}

#[test]
fn a_lost_write_is_found() {
    Story::default()
        .done(0, 10, put("a", "1"), 2, was(None))
        .read(20, 30, "a", 2, &[])
        .breaks("at revision 2 the answer must be");
    Story::default()
        .done(0, 10, put("a", "1"), 2, was(None))
        .done(20, 30, put("a", "2"), 2, was(None))
        .breaks("revision 2 was also made by");
}

#[test]
fn a_lost_update_is_found() {
    let unchanged = |value: &str| {
        Op::Txn(Txn {
            compares: vec![Compare {
                key: "a".to_owned(),
                target: Target::Mod(2),
                ordering: Ordering::Equal,
            }],
            success: vec![put("a", value)],
            failure: vec![],
        })
    };
    let succeeded = |revision: i64, previous: KeyValue| Outcome::Done {
        revision,
        answer: Answer::Txn {
            succeeded: true,
            answers: vec![was(Some(previous))],
        },
    };
    let story = Story::default().done(0, 10, put("a", "0"), 2, was(None)).call(
        20,
        30,
        unchanged("1"),
        succeeded(3, kv("a", "0", 2, 2, 1)),
    );
    story
        .call(25, 35, unchanged("2"), succeeded(4, kv("a", "1", 2, 3, 2)))
        .breaks("for revision 4 the answer must be");
}

#[test]
fn a_duplicate_application_is_found() {
    Story::default()
        .done(0, 10, put("a", "1"), 2, was(None))
        .read(20, 30, "a", 3, &[kv("a", "1", 2, 3, 2)])
        .breaks("it was seen to take effect at {3}");
    // A request of unknown outcome, carried out twice.
    Story::default()
        .unknown(0, put("a", "1"))
        .read(20, 30, "a", 2, &[kv("a", "1", 2, 2, 1)])
        .read(40, 50, "a", 3, &[kv("a", "1", 2, 3, 2)])
        .breaks("it was seen to take effect at {2, 3}");
}

#[test]
fn a_phantom_is_found() {
    Story::default()
        .read(0, 10, "a", 1, &[kv("a", "ghost", 1, 1, 1)])
        .breaks("at revision 1 the answer must be");
    Story::default()
        .read(0, 10, "a", 2, &[kv("a", "ghost", 2, 2, 1)])
        .breaks("nothing that was sent in time makes revision 2");
}

#[test]
fn a_write_that_was_refused_and_done_is_found() {
    Story::default()
        .call(0, 10, Op::One(put("a", "1")), Outcome::Refused(Refusal::LeaseNotFound))
        .read(20, 30, "a", 2, &[kv("a", "1", 2, 2, 1)])
        .breaks("it was refused, and seen at {2}");
}

#[test]
fn an_unknown_outcome_stays_open() {
    let value = kv("a", "1", 3, 3, 1);
    // Long after it was sent, or never.
    Story::default()
        .unknown(0, put("a", "1"))
        .done(10, 20, put("b", "2"), 2, was(None))
        .read(30, 40, "a", 2, &[])
        .read(50, 60, "a", 3, std::slice::from_ref(&value))
        .passes();
    Story::default()
        .unknown(0, put("a", "1"))
        .read(30, 40, "a", 1, &[])
        .passes();
    // But not before it was sent, and not undone.
    Story::default()
        .read(0, 10, "a", 2, &[kv("a", "1", 2, 2, 1)])
        .unknown(20, put("a", "1"))
        .breaks("before it was sent");
    Story::default()
        .unknown(0, put("a", "1"))
        .read(10, 20, "a", 2, &[kv("a", "1", 2, 2, 1)])
        .read(30, 40, "a", 2, &[])
        .breaks("at revision 2 the answer must be");
}

#[test]
fn which_unknown_request_made_a_revision_is_found_out() {
    // Three deletes and a put of unknown outcome made revisions 3 and 4; only the state tells which.
    let delete = |key: &str| KeyOp::Delete {
        range: KeyRange::one(key),
    };
    let b = kv("b", "2", 3, 3, 1);
    Story::default()
        .done(0, 10, put("a", "1"), 2, was(None))
        .done(0, 11, put("b", "2"), 3, was(None))
        .unknown(20, delete("b"))
        .unknown(21, delete("a"))
        .unknown(22, put("c", "3"))
        .unknown(23, delete("b"))
        .read(100, 110, "a", 5, &[])
        .read(100, 110, "c", 5, &[kv("c", "3", 5, 5, 1)])
        .read(100, 110, "b", 5, &[b])
        .passes();
}

#[test]
fn a_lease_that_ends_early_is_found() {
    let grant = |story: Story| {
        story.call(
            0,
            10,
            Op::Grant { lease: 7 },
            Outcome::Done {
                revision: 1,
                answer: Answer::Lease,
            },
        )
    };
    let leased = KeyOp::Put {
        key: "a".to_owned(),
        value: "1".to_owned(),
        lease: 7,
    };
    let expire = |story: Story, at: u64| story.call(at, at, Op::Expire { lease: 7 }, Outcome::Unknown);
    let story = grant(Story::default()).done(20, 30, leased.clone(), 2, was(None));
    expire(story, 1_000).read(2_000, 2_010, "a", 3, &[]).passes();
    let story = grant(Story::default()).done(20, 30, leased.clone(), 2, was(None));
    expire(story, 1_000)
        .read(500, 510, "a", 3, &[])
        .breaks("nothing that was sent in time makes revision 3");
    // Without keys it ends without a trace, but not before its time either.
    let refused = Outcome::Refused(Refusal::LeaseNotFound);
    expire(grant(Story::default()), 1_000)
        .call(2_000, 2_010, Op::One(leased.clone()), refused.clone())
        .passes();
    expire(grant(Story::default()), 1_000)
        .call(500, 510, Op::One(leased), refused)
        .breaks("nothing that was sent in time");
}

#[test]
fn only_the_lease_that_is_missed_is_looked_for() {
    // Many leases without keys are past their time; which of them are gone nobody knows, and it does not matter.
    let mut story = Story::default();
    for lease in 1..=30 {
        let granted = Outcome::Done {
            revision: 1,
            answer: Answer::Lease,
        };
        story = story.call(0, 10, Op::Grant { lease }, granted);
        story = story.call(1_000, 1_000, Op::Expire { lease }, Outcome::Unknown);
    }
    let leased = KeyOp::Put {
        key: "a".to_owned(),
        value: "1".to_owned(),
        lease: 17,
    };
    let refused = Outcome::Refused(Refusal::LeaseNotFound);
    story
        .call(2_000, 2_010, Op::One(leased), refused)
        .read(2_000, 2_010, "a", 1, &[])
        .done(2_005, 2_030, put("b", "2"), 2, was(None))
        .read(2_040, 2_050, "a", 3, &[])
        .breaks("nothing that was sent in time makes revision 3");
}

#[test]
fn a_revoked_lease_takes_its_keys_along() {
    let lease = |revision: i64| Outcome::Done {
        revision,
        answer: Answer::Lease,
    };
    let leased = KeyOp::Put {
        key: "a".to_owned(),
        value: "1".to_owned(),
        lease: 7,
    };
    let story = || {
        Story::default()
            .call(0, 10, Op::Grant { lease: 7 }, lease(1))
            .done(20, 30, leased.clone(), 2, was(None))
    };
    story()
        .call(40, 50, Op::Revoke { lease: 7 }, lease(3))
        .read(60, 70, "a", 3, &[])
        .passes();
    let kept = KeyValue {
        lease: 7,
        ..kv("a", "1", 2, 2, 1)
    };
    story()
        .call(40, 50, Op::Revoke { lease: 7 }, lease(3))
        .read(60, 70, "a", 3, &[kept])
        .breaks("at revision 3 the answer must be");
}

#[test]
fn the_end_of_the_time_is_no_verdict() {
    // A revision that any of many requests of unknown outcome could have made, and a read that no choice explains.
    let mut story = Story::default();
    for key in 0..24 {
        story = story.unknown(key, put(&format!("k{key}"), &format!("v{key}")));
    }
    story = story.read(100, 110, "none", 12, &[kv("none", "x", 1, 1, 1)]);
    let evidence = Evidence::of(&story.0);
    let verdict = check(&story.0, &State::default(), &evidence, &|| false);
    assert!(matches!(verdict, Verdict::Undecided { .. }), "{verdict:?}");
}
