//! What one server remembers of its own state's hashes.
//!
//! Servers cut the log into batches of their own, so they would seldom have a hash of the same index. Hence two kinds:
//! those at agreed indexes, where every server ends a batch, which are there however fast the log grows; and the last few
//! of whatever batches came, which agree while there is little to do.

use std::collections::{BTreeMap, VecDeque};

use trireme_mvcc::hash::StateHash;

use crate::limits;

/// The hashes that are remembered, the oldest first in each list.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    agreed: VecDeque<(u64, StateHash)>,
    recent: VecDeque<(u64, StateHash)>,
}

impl Samples {
    /// Whether every server ends a batch with this index.
    pub(crate) fn is_agreed(index: u64) -> bool {
        index.is_multiple_of(limits::HASH_AGREED_ENTRIES)
    }

    /// Remembers the hash of the state at `index`, which is greater than all before.
    pub(crate) fn push(&mut self, index: u64, hash: StateHash) {
        let (list, most) = if Self::is_agreed(index) {
            (&mut self.agreed, limits::HASH_SAMPLES_AGREED)
        } else {
            (&mut self.recent, limits::HASH_SAMPLES_RECENT)
        };
        if list.len() == most {
            list.pop_front();
        }
        list.push_back((index, hash));
    }

    /// Forgets all: the state was replaced by another server's.
    pub(crate) fn clear(&mut self) {
        self.agreed.clear();
        self.recent.clear();
    }

    /// All of them, by index.
    pub(crate) fn all(&self) -> BTreeMap<u64, StateHash> {
        self.agreed.iter().chain(&self.recent).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreed_indexes_outlive_many_batches() {
        let mut samples = Samples::default();
        let most = limits::HASH_SAMPLES_RECENT as u64;
        let last = limits::HASH_AGREED_ENTRIES * 3 + most * 2;
        for index in 1..=last {
            samples.push(index, [0; 16]);
        }
        let all = samples.all();
        for agreed in 1..=3 {
            assert!(all.contains_key(&(limits::HASH_AGREED_ENTRIES * agreed)));
        }
        assert!(all.contains_key(&last) && all.contains_key(&(last - most + 1)));
        assert!(!all.contains_key(&(last - most)));
        for index in 1..10_000 {
            samples.push(last + index * limits::HASH_AGREED_ENTRIES, [0; 16]);
        }
        assert!(samples.all().len() <= limits::HASH_SAMPLES_AGREED + limits::HASH_SAMPLES_RECENT);
        samples.clear();
        assert!(samples.all().is_empty());
    }
}
