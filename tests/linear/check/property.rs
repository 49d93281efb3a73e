//! Histories made at random: by a sequential store with clients that overlap they pass; damaged they do not; and small
//! ones of any kind are judged as by trying every order.

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{Evidence, Verdict, check};
use crate::linear::{
    history::{Call, Outcome},
    load::{Load, only_reads},
    model::{Answer, KeyAnswer, KeyValue, State},
};

/// How a history is made.
#[derive(Clone, Copy)]
struct Shape {
    clients: usize,
    calls: usize,
    /// How many of a hundred requests nobody hears of again.
    unknown_percent: u32,
}

/// A client's request on its way.
struct Pending {
    call: Call,
    /// Whether the store has seen it.
    arrived: bool,
}

/// One client at a time does one step: sends, is carried out, or receives.
fn history(seed: u64, shape: Shape) -> Vec<Call> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut state = State::default();
    let mut loads: Vec<Load> = (0..shape.clients).map(Load::new).collect();
    let mut pending: Vec<Option<Pending>> = (0..shape.clients).map(|_| None).collect();
    // Requests that were given up, and that may still arrive.
    let mut adrift = Vec::new();
    let mut calls = Vec::new();
    let mut now = 0;
    while calls.len() < shape.calls {
        now += 1;
        if !adrift.is_empty() && random.random_ratio(1, 8) {
            let late = adrift.swap_remove(random.random_range(0..adrift.len()));
            if let Ok(applied) = state.evaluate(&late) {
                state.commit(&applied);
            }
        }
        let client = random.random_range(0..shape.clients);
        let Some(mut mine) = pending[client].take() else {
            pending[client] = Some(Pending {
                call: Call {
                    client,
                    op: loads[client].next(&mut random),
                    invoked: now,
                    returned: now,
                    outcome: Outcome::Unknown,
                },
                arrived: false,
            });
            continue;
        };
        if random.random_ratio(shape.unknown_percent, 100) {
            loads[client].learn(&mine.call.op, &Outcome::Unknown);
            if !mine.arrived && random.random_bool(0.7) {
                adrift.push(mine.call.op.clone());
            }
            if !only_reads(&mine.call.op) {
                mine.call.outcome = Outcome::Unknown;
                calls.push(mine.call);
            }
            continue;
        }
        if mine.arrived {
            mine.call.returned = now;
            loads[client].learn(&mine.call.op, &mine.call.outcome);
            calls.push(mine.call);
            continue;
        }
        mine.call.outcome = match state.evaluate(&mine.call.op) {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(applied) => {
                state.commit(&applied);
                Outcome::Done {
                    revision: applied.revision,
                    answer: applied.answer,
                }
            }
        };
        mine.arrived = true;
        pending[client] = Some(mine);
    }
    // Those that are still on their way are of unknown outcome, unless there is to be none: then each has its answer, or was
    // never sent.
    for mut left in pending.into_iter().flatten() {
        if shape.unknown_percent == 0 {
            left.call.returned = now + 1;
            calls.extend(left.arrived.then_some(left.call));
        } else if !only_reads(&left.call.op) {
            left.call.outcome = Outcome::Unknown;
            calls.push(left.call);
        }
    }
    calls.sort_by_key(|call| call.invoked);
    calls
}

fn judge(calls: &[Call]) -> Verdict {
    check(calls, &State::default(), &Evidence::of(calls), &|| true)
}

#[test]
fn what_a_sequential_store_does_passes() {
    for seed in 0..150 {
        let shape = Shape {
            clients: 2 + (seed as usize % 12),
            calls: 300,
            unknown_percent: [0, 2, 10][seed as usize % 3],
        };
        let calls = history(seed, shape);
        let verdict = judge(&calls);
        assert!(
            matches!(verdict, Verdict::Linearizable { .. }),
            "seed {seed}: {verdict:?}"
        );
    }
}

/// Damages one answer in a way that nothing can explain: the answer names its revision, and with all outcomes known there
/// is one state at each.
fn damage(calls: &mut [Call], random: &mut StdRng) -> String {
    let ghost = |kv: &mut KeyValue, random: &mut StdRng| match random.random_range(0..4) {
        0 => kv.value = "nobody's".to_owned(),
        1 => kv.version += 1,
        2 => kv.mod_revision -= 1,
        _ => kv.create_revision -= 1,
    };
    loop {
        let position = random.random_range(0..calls.len());
        let before = format!("{:?}", calls[position]);
        let Outcome::Done { revision, answer } = &mut calls[position].outcome else {
            continue;
        };
        match (random.random_range(0..5), answer) {
            // An older write is lost, or this one was done twice.
            (0, Answer::One(KeyAnswer::Put { .. })) => *revision -= 1,
            (1, Answer::One(KeyAnswer::Range { kvs, count, .. })) if !kvs.is_empty() => {
                kvs.pop();
                *count -= 1;
            }
            (2, Answer::One(KeyAnswer::Put { previous: Some(kv) })) => ghost(kv, random),
            (3, Answer::One(KeyAnswer::Range { kvs, .. })) if !kvs.is_empty() => {
                let kv = random.random_range(0..kvs.len());
                ghost(&mut kvs[kv], random);
            }
            (4, Answer::Txn { succeeded, .. }) => *succeeded = !*succeeded,
            _ => continue,
        }
        return format!("{before} became {:?}", calls[position]);
    }
}

#[test]
fn one_damaged_answer_does_not_pass() {
    for seed in 0..300 {
        let shape = Shape {
            clients: 8,
            calls: 150,
            unknown_percent: 0,
        };
        let mut calls = history(seed, shape);
        let mut random = StdRng::seed_from_u64(seed);
        let damaged = damage(&mut calls, &mut random);
        let verdict = judge(&calls);
        assert!(
            matches!(verdict, Verdict::Broken(_)),
            "seed {seed}: {damaged}: {verdict:?}"
        );
    }
}

#[test]
fn a_value_that_nobody_wrote_does_not_pass_whatever_is_unknown() {
    for seed in 0..100 {
        let shape = Shape {
            clients: 8,
            calls: 150,
            unknown_percent: 10,
        };
        let mut calls = history(seed, shape);
        let shown = calls.iter_mut().rev().find_map(|call| match &mut call.outcome {
            Outcome::Done {
                answer: Answer::One(KeyAnswer::Range { kvs, .. }),
                ..
            } => kvs.first_mut(),
            _ => None,
        });
        let Some(kv) = shown else {
            continue;
        };
        kv.value = "nobody's".to_owned();
        let verdict = judge(&calls);
        assert!(matches!(verdict, Verdict::Broken(_)), "seed {seed}: {verdict:?}");
    }
}

/// Tries every order.
fn any_order(calls: &[Call], state: &State, left: &[usize]) -> bool {
    let known = |call: &usize| calls[*call].outcome != Outcome::Unknown;
    let Some(horizon) = left
        .iter()
        .filter(|call| known(call))
        .map(|call| calls[*call].returned)
        .min()
    else {
        return true;
    };
    left.iter().filter(|call| calls[**call].invoked <= horizon).any(|call| {
        let rest: Vec<usize> = left.iter().copied().filter(|other| other != call).collect();
        match (state.evaluate(&calls[*call].op), &calls[*call].outcome) {
            (Err(refusal), Outcome::Refused(told)) => refusal == *told && any_order(calls, state, &rest),
            (Ok(applied), Outcome::Done { revision, answer })
                if applied.revision != *revision || applied.answer != *answer =>
            {
                false
            }
            (Ok(applied), Outcome::Done { .. } | Outcome::Unknown) => {
                let mut next = state.clone();
                next.commit(&applied);
                any_order(calls, &next, &rest)
            }
            _ => false,
        }
    })
}

#[test]
fn small_histories_are_judged_as_by_trying_every_order() {
    let (mut passed, mut failed) = (0, 0);
    for seed in 0..2_000 {
        let shape = Shape {
            clients: 4,
            calls: 6,
            unknown_percent: 15,
        };
        let mut calls = history(seed, shape);
        let mut random = StdRng::seed_from_u64(seed);
        let done: Vec<usize> = (0..calls.len())
            .filter(|call| matches!(calls[*call].outcome, Outcome::Done { .. }))
            .collect();
        // Half of them are damaged, in ways that unknown outcomes may or may not explain.
        if seed % 2 == 0
            && let Some(call) = done.choose(&mut random)
            && let Outcome::Done { revision, answer } = &mut calls[*call].outcome
        {
            match answer {
                Answer::One(KeyAnswer::Put {
                    previous: previous @ Some(_),
                }) => *previous = None,
                Answer::One(KeyAnswer::Range { kvs, count, .. }) if *count > 0 => {
                    kvs.clear();
                    *count = 0;
                }
                _ => *revision += 1,
            }
        }
        let all: Vec<usize> = (0..calls.len()).collect();
        let expected = any_order(&calls, &State::default(), &all);
        let verdict = judge(&calls);
        let linearizable = matches!(verdict, Verdict::Linearizable { .. });
        assert_eq!(linearizable, expected, "seed {seed}: {calls:#?}\n{verdict:?}");
        if expected { passed += 1 } else { failed += 1 }
    }
    assert!(passed > 500 && failed > 300, "{passed} passed, {failed} failed");
}
