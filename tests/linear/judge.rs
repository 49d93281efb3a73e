//! What a run's record says: is there one order of all answers, and does everything else that was told agree with it?

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::Result;
use tokio::time::Instant;

use super::{
    check::{Evidence, Verdict, check},
    driver::{WatchRecord, witness},
    history::{Call, History, Outcome},
    model::State,
    past,
    replay::Replay,
};
use crate::watch_rules::{self, Watch};

/// How long the search for an order may take; after that it is undecided, which counts as failed.
const CHECK_PATIENCE: Duration = Duration::from_secs(120);

/// Everything that was recorded.
#[derive(Debug)]
pub struct Record {
    /// The keys at the beginning.
    pub initial: State,
    /// What the clients sent and were told.
    pub history: History,
    /// What the watchers were sent.
    pub watches: Vec<WatchRecord>,
    /// The revision up to which the past may have been forgotten.
    pub compacted: i64,
    /// What was wrong already while it was recorded.
    pub findings: Vec<(String, String)>,
}

/// What is wrong with a record.
#[derive(Debug)]
pub struct Judgement {
    /// What the search says, in a word.
    pub verdict: &'static str,
    /// Everything that is wrong: the rule, and what it found.
    pub findings: Vec<(String, String)>,
    /// The requests, with what happened without any.
    pub calls: Vec<Call>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Record {
    /// All watches, in no order.
    pub fn watches(&self) -> impl Iterator<Item = &Watch> {
        self.watches.iter().flat_map(|record| &record.watches)
    }

    /// Judges it.
    pub fn judge(&self) -> Judgement {
        let started = Instant::now();
        let (events, foreign) = witness(&self.watches);
        let mut calls = self.history.with_expiries();
        let foreign = foreign.into_iter().filter(|revision| *revision > self.initial.revision);
        let foreign: Vec<Call> = foreign.map(Call::foreign).collect();
        calls.splice(0..0, foreign);
        let evidence = Evidence::of(&calls).with_witness(&events);
        let mut findings = self.findings.clone();
        let (verdict, replay) = order(&calls, &self.initial, &evidence);
        match replay {
            Ok(mut replay) => {
                replay.compacted = self.compacted;
                findings.extend(self.compare(&replay));
            }
            Err(found) => findings.push(("linearizable".to_owned(), found)),
        }
        Judgement {
            verdict,
            findings,
            calls,
            seconds: started.elapsed().as_secs_f64(),
        }
    }

    /// What watches and reads of the past say beside the order.
    fn compare(&self, replay: &Replay) -> Vec<(String, String)> {
        let mut findings = Vec::new();
        for watch in self.watches() {
            let violations = watch_rules::violations(watch, replay).into_iter();
            findings.extend(violations.map(|(rule, found)| (format!("watch: {rule}"), found)));
        }
        let past = past::check(&self.history.past_reads, replay).into_iter();
        findings.extend(past.map(|found| ("past reads".to_owned(), found)));
        findings
    }

    /// Leaves the record in a folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_down(&self, calls: &[Call], folder: &Path) -> Result<()> {
        let mut text = String::new();
        for call in calls {
            writeln!(text, "{call:?}")?;
        }
        std::fs::write(folder.join("calls.txt"), &text)?;
        text.clear();
        for watch in self.watches() {
            writeln!(
                text,
                "{} (filters: no put {}, no delete {})",
                watch.name, watch.no_put, watch.no_delete
            )?;
            for message in &watch.messages {
                writeln!(text, "  {message:?}")?;
            }
        }
        std::fs::write(folder.join("watches.txt"), text)?;
        Ok(())
    }
}

/// Looks for an order of all answers, with what watches told: a word for what came of it, and the order played back.
fn order(calls: &[Call], initial: &State, evidence: &Evidence) -> (&'static str, Result<Replay, String>) {
    let started = Instant::now();
    let go_on = || started.elapsed() < CHECK_PATIENCE;
    match check(calls, initial, evidence, &go_on) {
        Verdict::Linearizable { order } => ("linearizable", Ok(Replay::of(calls, &order, initial))),
        Verdict::Broken(broken) => {
            // If the answers alone have an order, then it is a watch that disagrees with them.
            let alone = check(calls, initial, &Evidence::of(calls), &go_on);
            let whose = match alone {
                Verdict::Linearizable { .. } => "the answers have an order, but not with what watches told",
                Verdict::Broken(_) => "the answers have no order",
                Verdict::Undecided { .. } => "no order was found",
            };
            let found = format!(
                "{whose}; {} of {} were placed, up to revision {}: {}",
                broken.placed,
                calls.len(),
                broken.revision,
                broken.found
            );
            ("BROKEN", Err(found))
        }
        Verdict::Undecided { placed } => {
            let found = format!(
                "undecided after {} s, {placed} of {} placed",
                CHECK_PATIENCE.as_secs(),
                calls.len()
            );
            ("UNDECIDED", Err(found))
        }
    }
}

impl Judgement {
    /// How many revisions were made after `beginning`.
    pub fn revisions(&self, beginning: i64) -> i64 {
        let made = self.calls.iter().filter_map(|call| match call.outcome {
            Outcome::Done { revision, .. } => Some(revision - beginning),
            Outcome::Refused(_) | Outcome::Unknown => None,
        });
        made.max().unwrap_or(0)
    }
}
