//! Numbers of keys that are already known, so that a list read page by page counts its keys once.
//!
//! A count at a revision never changes. Whoever reads a page at a revision whose range has been counted knows the count
//! of what is left: the next page, and whoever asks how many remain, need not walk it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use trireme_mvcc::types::{KeyRange, Order, RangeRequest, RangeResponse, Revision};

use super::limits::COUNTS_KEPT;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// The latest last.
    known: Mutex<VecDeque<Count>>,
}

#[derive(Debug)]
struct Count {
    range: KeyRange,
    revision: Revision,
    keys: u64,
}

impl Counts {
    /// The number of keys of a range at a revision, if it is known.
    pub(super) fn get(&self, range: &KeyRange, revision: Revision) -> Option<u64> {
        let known = self.lock();
        let found = known
            .iter()
            .rev()
            .find(|count| count.revision == revision && count.range == *range)?;
        Some(found.keys)
    }

    /// Learns from an answer whose count is known, from itself or from before.
    pub(super) fn learn(&self, request: &RangeRequest, response: &RangeResponse, count: Option<u64>) {
        let revision = if request.revision > 0 {
            request.revision
        } else {
            response.revision
        };
        let Some(keys) = count.filter(|_| request.range.end.is_some()) else {
            return;
        };
        if request.count_only {
            self.put(request.range.clone(), revision, keys);
        }
        let in_order = request.filter.is_open() && request.order == Order::default();
        if let Some(last) = response.kvs.last().filter(|_| response.more && in_order) {
            let range = KeyRange {
                start: Bytes::from([&last.key[..], &[0]].concat()),
                end: request.range.end.clone(),
            };
            self.put(range, revision, keys.saturating_sub(response.kvs.len() as u64));
        }
    }

    /// Learns how many keys a range has.
    pub(super) fn note(&self, range: KeyRange, revision: Revision, keys: u64) {
        self.put(range, revision, keys);
    }

    /// Forgets everything: the state is another one.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn put(&self, range: KeyRange, revision: Revision, keys: u64) {
        let mut known = self.lock();
        known.retain(|count| count.revision != revision || count.range != range);
        if known.len() >= COUNTS_KEPT {
            known.pop_front();
        }
        known.push_back(Count { range, revision, keys });
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Count>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
