//! I2: revisions only grow: on one server as long as it runs, and among all servers with the index.

use std::collections::BTreeMap;

use super::{Invariant, MachineId, Millis, Seen};

/// What was seen so far.
#[derive(Default)]
pub(super) struct RevisionsGrow {
    /// The last of each run of a server: index and revision.
    last: BTreeMap<(MachineId, u64), (u64, i64)>,
    /// The revision after each index.
    at: BTreeMap<u64, i64>,
}

impl Invariant for RevisionsGrow {
    fn name(&self) -> &'static str {
        "revisions grow"
    }

    fn look(&mut self, _: Millis, seen: &Seen) -> Result<(), String> {
        let (index, revision) = (seen.status.applied_index, seen.status.applied_revision);
        let id = seen.status.id;
        let last = self.last.insert((seen.machine, seen.start), (index, revision));
        if let Some((last_index, last_revision)) = last
            && (index < last_index || revision < last_revision)
        {
            return Err(format!(
                "server {id} went back from index {last_index} and revision {last_revision} to {index} and {revision}"
            ));
        }
        // The two are read one after the other: they fit if the state's own index is the same.
        if seen.status.state_hash_index != index {
            return Ok(());
        }
        let there = *self.at.entry(index).or_insert(revision);
        let before = self.at.range(..index).next_back().map_or(0, |(_, revision)| *revision);
        let after = self
            .at
            .range(index + 1..)
            .next()
            .map_or(i64::MAX, |(_, revision)| *revision);
        if there == revision && (before..=after).contains(&revision) {
            Ok(())
        } else {
            Err(format!(
                "server {id} is at revision {revision} after index {index}; another was at {there}, before it at {before}"
            ))
        }
    }
}
