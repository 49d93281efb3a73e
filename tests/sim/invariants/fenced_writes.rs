//! I5: a write that was decided under a leadership is carried out in its term, or not at all.
//!
//! The log says in which term each fenced write was committed; whoever was shown the value of one of another term has
//! seen it take effect.

use std::collections::BTreeMap;

use trireme_store::sim::Content;

use super::Record;
use crate::linear::{history::Outcome, model::KeyValue};

pub(super) const NAME: &str = "fenced writes";

pub(super) fn judge(record: &Record) -> Vec<String> {
    let mut found = Vec::new();
    // What must never be seen, and of which terms it was decided and committed.
    let mut deposed: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut committed: BTreeMap<String, u64> = BTreeMap::new();
    for entry in record.committed.values() {
        let Content::Fenced { term, puts } = &entry.content else {
            continue;
        };
        for (_, value) in puts {
            let value = String::from_utf8_lossy(value).into_owned();
            if *term != entry.term {
                deposed.insert(value.clone(), (*term, entry.term));
            }
            committed.insert(value, entry.term);
        }
    }
    for client in &record.clients {
        for (term, value) in &client.fenced {
            if let Some(of) = committed.get(value).filter(|of| *of != term) {
                found.push(format!(
                    "{value} was decided in term {term}, committed in term {of}, and acknowledged"
                ));
            }
        }
    }
    let answers = record.history.calls.iter().filter_map(|call| match &call.outcome {
        Outcome::Done { answer, .. } => Some(answer.shown()),
        Outcome::Refused(_) | Outcome::Unknown => None,
    });
    let watched = record
        .watches
        .iter()
        .flat_map(|record| &record.watches)
        .flat_map(crate::watch_rules::Watch::events)
        .map(|event| &event.kv);
    let shown: Vec<&KeyValue> = answers.flatten().chain(watched).collect();
    for kv in shown {
        if let Some((term, of)) = deposed.remove(&kv.value) {
            found.push(format!(
                "{} = {} was decided in term {term} and committed in term {of}, and took effect at revision {}",
                kv.key, kv.value, kv.mod_revision
            ));
        }
    }
    found
}
