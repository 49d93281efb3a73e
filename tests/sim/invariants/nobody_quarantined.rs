//! Nobody is quarantined: a disk that only loses what was not synced, and a network that only delays and cuts, damage
//! nothing.

use super::{Invariant, Millis, Seen};

/// Remembers nothing.
pub(super) struct NobodyQuarantined;

impl Invariant for NobodyQuarantined {
    fn name(&self) -> &'static str {
        "nobody quarantined"
    }

    fn look(&mut self, _: Millis, seen: &Seen) -> Result<(), String> {
        match &seen.quarantined {
            Some(cause) => Err(format!("server {} is quarantined: {cause}", seen.status.id)),
            None => Ok(()),
        }
    }
}
