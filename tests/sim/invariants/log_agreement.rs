//! What is committed is never rewritten: at an index every server, at any time, has applied the same entry, and terms
//! never go back.

use std::collections::BTreeMap;

use super::{Invariant, Millis, Seen};

/// Term and checksum of every committed entry, by index, and who was first seen to have it.
#[derive(Default)]
pub(super) struct LogAgreement(BTreeMap<u64, (u64, u32, u64)>);

impl Invariant for LogAgreement {
    fn name(&self) -> &'static str {
        "log agreement"
    }

    fn look(&mut self, _: Millis, seen: &Seen) -> Result<(), String> {
        for entry in &seen.committed {
            let id = seen.status.id;
            let (term, checksum, first) = *self.0.entry(entry.index).or_insert((entry.term, entry.checksum, id));
            if (term, checksum) != (entry.term, entry.checksum) {
                return Err(format!(
                    "at index {} server {first} had applied an entry of term {term} and checksum {checksum:08x}, server {id} has \
                     one of term {} and checksum {:08x}",
                    entry.index, entry.term, entry.checksum
                ));
            }
            let before = self.0.range(..entry.index).next_back();
            if let Some((index, (term, ..))) = before
                && *term > entry.term
            {
                return Err(format!(
                    "the entry at index {} is of term {}, the one at {index} of the later term {term}",
                    entry.index, entry.term
                ));
            }
        }
        Ok(())
    }
}
