//! At most one server leads in a term.

use std::collections::BTreeMap;

use trireme_store::Role;

use super::{Invariant, Millis, Seen};

/// The leaders so far, by term.
#[derive(Default)]
pub(super) struct OneLeaderATerm(BTreeMap<u64, u64>);

impl Invariant for OneLeaderATerm {
    fn name(&self) -> &'static str {
        "one leader a term"
    }

    fn look(&mut self, _: Millis, seen: &Seen) -> Result<(), String> {
        if seen.status.role != Role::Leader {
            return Ok(());
        }
        let leader = *self.0.entry(seen.status.term).or_insert(seen.status.id);
        if leader == seen.status.id {
            Ok(())
        } else {
            Err(format!(
                "servers {leader} and {} both led in term {}",
                seen.status.id, seen.status.term
            ))
        }
    }
}
