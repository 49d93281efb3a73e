//! What must hold, each promise in a file of its own: some looked at while the simulation runs, some judged at its end.
//!
//! None of them knows how the store keeps its promise, or what went wrong meanwhile.

mod acknowledged_writes;
mod fenced_writes;
mod linearizable;
mod log_agreement;
mod nobody_quarantined;
mod objects;
mod one_leader_a_term;
mod past_reads;
mod revisions_grow;
mod server_ids;
mod state_hashes;
mod watch_rules;

use std::collections::BTreeMap;

use trireme_store::{StoreStatus, kv::KeyValue, sim::Committed};

use super::{
    client::ClientRecord,
    net::{MachineId, Millis},
    objects::ObjectRecord,
    upkeep::Changes,
};
use crate::linear::{driver::WatchRecord, history::History};

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub invariant: &'static str,
    /// How.
    pub found: String,
}

/// One server as it is seen while it runs.
#[derive(Debug)]
pub struct Seen {
    /// Its machine.
    pub machine: MachineId,
    /// How often the machine was started.
    pub start: u64,
    /// How it stands.
    pub status: StoreStatus,
    /// Why it is quarantined, if it is.
    pub quarantined: Option<String>,
    /// What it has applied since it was last seen; after a start, all that its log still holds.
    pub committed: Vec<Committed>,
}

/// A promise that is looked at while the simulation runs.
pub trait Invariant {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Looks at one server.
    ///
    /// # Errors
    /// How it is broken.
    fn look(&mut self, now: Millis, seen: &Seen) -> Result<(), String>;
}

/// All of those.
pub fn running() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(one_leader_a_term::OneLeaderATerm::default()),
        Box::new(log_agreement::LogAgreement::default()),
        Box::new(state_hashes::StateHashes::default()),
        Box::new(revisions_grow::RevisionsGrow::default()),
        Box::new(server_ids::MembersKeepTheirNames::default()),
        Box::new(nobody_quarantined::NobodyQuarantined),
    ]
}

/// Everything that is known at the end.
#[derive(Debug, Default)]
pub struct Record {
    /// What each client recorded.
    pub clients: Vec<ClientRecord>,
    /// All of it together, with the last reads and writes of the run.
    pub history: History,
    /// What each client of the API recorded.
    pub objects: Vec<ObjectRecord>,
    /// What the watchers recorded.
    pub watches: Vec<WatchRecord>,
    /// The highest revision that a compaction was asked for.
    pub compacted: i64,
    /// Every committed entry that any server was seen to have, by index.
    pub committed: BTreeMap<u64, Committed>,
    /// The changes of the members.
    pub changes: Changes,
    /// For each server, by machine: acknowledged writes as it has them now. None if that is forgotten.
    pub kept: BTreeMap<MachineId, Vec<(Acknowledged, Option<KeyValue>)>>,
}

/// A write that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// The revision that it was told to have made.
    pub revision: i64,
}

/// A judgement at the end.
pub type Judge = fn(&Record) -> Vec<String>;

/// Those that judge without an order of all requests, by name.
pub const AT_THE_END: [(&str, Judge); 3] = [
    (acknowledged_writes::NAME, acknowledged_writes::judge),
    (fenced_writes::NAME, fenced_writes::judge),
    (server_ids::NAME, server_ids::judge),
];

/// Judges all that was recorded.
pub fn judge(record: &Record) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (invariant, judge) in AT_THE_END {
        let found = judge(record).into_iter();
        violations.extend(found.map(|found| Violation { invariant, found }));
    }
    violations.extend(objects::judge(record));
    match linearizable::order(record) {
        Err(found) => violations.push(Violation {
            invariant: linearizable::NAME,
            found,
        }),
        Ok(replay) => {
            let past = past_reads::judge(record, &replay).into_iter();
            violations.extend(past.map(|found| Violation {
                invariant: past_reads::NAME,
                found,
            }));
            violations.extend(watch_rules::judge(record, &replay));
        }
    }
    violations
}

/// The acknowledged writes of a history, each with a value that nobody else wrote.
pub fn acknowledged(history: &History) -> Vec<Acknowledged> {
    acknowledged_writes::of(history)
}

#[cfg(test)]
mod tests;
