//! All answers have one order that the model agrees with, and every watcher was told of the same changes.
//!
//! The search is the one of [`crate::linear::check`].

use std::cell::Cell;

use super::Record;
use crate::linear::{
    check::{Evidence, Verdict, check},
    driver::witness,
    history::Call,
    model::State,
    replay::Replay,
};

pub(super) const NAME: &str = "linearizable";

/// How often the search asks whether to go on before it is given up. A count, so that the verdict is the seed's.
const LOOKS_MAX: u32 = 500;

/// The order, played back.
pub(super) fn order(record: &Record) -> Result<Replay, String> {
    let (events, foreign) = witness(&record.watches);
    let mut calls = record.history.with_expiries();
    let foreign: Vec<Call> = foreign
        .into_iter()
        .filter(|revision| *revision > 1)
        .map(Call::foreign)
        .collect();
    calls.splice(0..0, foreign);
    let evidence = Evidence::of(&calls).with_witness(&events);
    let initial = State::default();
    let looks = Cell::new(0);
    let go_on = || {
        looks.set(looks.get() + 1);
        looks.get() < LOOKS_MAX
    };
    match check(&calls, &initial, &evidence, &go_on) {
        Verdict::Linearizable { order } => {
            let mut replay = Replay::of(&calls, &order, &initial);
            replay.compacted = record.compacted;
            Ok(replay)
        }
        Verdict::Broken(broken) => {
            // If the answers alone have an order, then it is a watch that disagrees with them.
            looks.set(0);
            let whose = match check(&calls, &initial, &Evidence::of(&calls), &go_on) {
                Verdict::Linearizable { .. } => "the answers have an order, but not with what watches told",
                Verdict::Broken(_) => "the answers have no order",
                Verdict::Undecided { .. } => "no order was found",
            };
            Err(format!(
                "{whose}; {} of {} were placed, up to revision {}: {}",
                broken.placed,
                calls.len(),
                broken.revision,
                broken.found
            ))
        }
        Verdict::Undecided { placed } => Err(format!("undecided, {placed} of {} placed", calls.len())),
    }
}
