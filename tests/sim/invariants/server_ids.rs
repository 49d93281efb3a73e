//! A server's id is never given out twice, and never stands for two servers in the membership.

use std::collections::BTreeMap;

use trireme_store::sim::Content;

use super::{Invariant, Millis, Record, Seen};

pub(super) const NAME: &str = "server ids";

/// Names of members by id, as committed entries have them.
#[derive(Default)]
pub(super) struct MembersKeepTheirNames(BTreeMap<u64, String>);

impl Invariant for MembersKeepTheirNames {
    fn name(&self) -> &'static str {
        NAME
    }

    fn look(&mut self, _: Millis, seen: &Seen) -> Result<(), String> {
        for entry in &seen.committed {
            let Content::Members(members) = &entry.content else {
                continue;
            };
            for (id, name) in members {
                let known = self.0.entry(*id).or_insert_with(|| name.clone());
                if known != name {
                    return Err(format!(
                        "id {id} was {known}'s, and is {name}'s at index {}",
                        entry.index
                    ));
                }
            }
        }
        Ok(())
    }
}

pub(super) fn judge(record: &Record) -> Vec<String> {
    let mut given = BTreeMap::new();
    let mut found = Vec::new();
    for (id, machine) in &record.changes.given {
        if let Some(other) = given.insert(*id, *machine) {
            found.push(format!(
                "id {id} was given to machine {other}, and again to machine {machine}"
            ));
        }
    }
    found
}
