//! I2: at an index every server, at any time, has the same state and the same revision.

use std::collections::BTreeMap;

use super::{Invariant, Millis, Seen};

/// The hashes so far, by index, and who was first seen to have them.
#[derive(Default)]
pub(super) struct StateHashes(BTreeMap<u64, (String, u64)>);

impl Invariant for StateHashes {
    fn name(&self) -> &'static str {
        "state hashes"
    }

    fn look(&mut self, _: Millis, seen: &Seen) -> Result<(), String> {
        let status = &seen.status;
        if status.state_hash_index == 0 {
            return Ok(());
        }
        let ours = || (status.state_hash.clone(), status.id);
        let (hash, first) = self.0.entry(status.state_hash_index).or_insert_with(ours);
        if *hash == status.state_hash {
            Ok(())
        } else {
            Err(format!(
                "at index {} the state of server {first} was {hash}, that of server {} is {}",
                status.state_hash_index, status.id, status.state_hash
            ))
        }
    }
}
