//! The newest entries of the log, in memory, bounded by bytes.
//!
//! Replication and apply read almost always from here, so nothing is read back from disk or encoded
//! a second time. An entry that is not yet durable is never dropped, whatever the bound says: until
//! then this is the only place that has it.

use std::collections::VecDeque;

use super::super::types::LogEntry;

/// Number of a write in the order in which the writer carries them out.
pub(super) type WriteSequence = u64;

#[derive(Debug)]
struct Cached {
    entry: LogEntry,
    bytes: usize,
    sequence: WriteSequence,
}

/// Consecutive entries that end at the end of the log.
#[derive(Debug)]
pub(super) struct Tail {
    entries: VecDeque<Cached>,
    first_index: u64,
    bytes: usize,
    bytes_max: usize,
    durable: WriteSequence,
}

impl Tail {
    /// An empty tail behind which the next entry is `next_index`.
    pub(super) fn new(next_index: u64, bytes_max: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            first_index: next_index,
            bytes: 0,
            bytes_max,
            durable: 0,
        }
    }

    /// Index of its first entry; one behind the last entry of the log if it is empty.
    pub(super) fn first_index(&self) -> u64 {
        self.first_index
    }

    /// Lets the next entry be `index`. Only for an empty log.
    pub(super) fn begin_at(&mut self, index: u64) {
        assert!(self.entries.is_empty(), "a log that has entries goes on behind them");
        self.first_index = index;
    }

    /// Adds the next entry, written by the write `sequence`.
    pub(super) fn push(&mut self, entry: LogEntry, sequence: WriteSequence) {
        assert_eq!(entry.log_id.index, self.next_index(), "the log has no holes");
        let bytes = entry.record.as_ref().map_or(0, bytes::Bytes::len) + size_of::<Cached>();
        self.bytes += bytes;
        self.entries.push_back(Cached { entry, bytes, sequence });
        self.shrink();
    }

    /// All writes up to `sequence` are durable now.
    pub(super) fn set_durable(&mut self, sequence: WriteSequence) {
        self.durable = self.durable.max(sequence);
        self.shrink();
    }

    /// The entry at `index`, if it is here.
    pub(super) fn get(&self, index: u64) -> Option<&LogEntry> {
        let at = usize::try_from(index.checked_sub(self.first_index)?).ok()?;
        self.entries.get(at).map(|cached| &cached.entry)
    }

    /// Drops all entries from `index` on.
    pub(super) fn truncate_from(&mut self, index: u64) {
        while self.next_index() > index {
            match self.entries.pop_back() {
                Some(cached) => self.bytes -= cached.bytes,
                // All of it, and what is on disk before it.
                None => {
                    self.first_index = index;
                    return;
                }
            }
        }
    }

    /// Drops all entries before `index`, durable or not: they are purged from the log.
    pub(super) fn purge_before(&mut self, index: u64) {
        while self.first_index < index {
            match self.entries.pop_front() {
                Some(cached) => {
                    self.bytes -= cached.bytes;
                    self.first_index += 1;
                }
                None => self.first_index = index,
            }
        }
    }

    fn next_index(&self) -> u64 {
        self.first_index + self.entries.len() as u64
    }

    fn shrink(&mut self) {
        while self.bytes > self.bytes_max {
            match self.entries.front() {
                Some(cached) if cached.sequence <= self.durable => {
                    self.bytes -= cached.bytes;
                    self.entries.pop_front();
                    self.first_index += 1;
                }
                Some(_) | None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::entry::RaftEntry;

    use super::super::super::record;
    use super::super::super::types::{Command, Payload, log_id};
    use super::*;

    fn entry(index: u64) -> LogEntry {
        let mut entry = LogEntry::new(log_id(1, index), Payload::Normal(Command(Bytes::from(vec![0; 1000]))));
        record::seal(&mut entry);
        entry
    }

    fn tail(range: std::ops::Range<u64>, bytes_max: usize) -> Tail {
        let mut tail = Tail::new(range.start, bytes_max);
        for index in range {
            tail.push(entry(index), index);
        }
        tail
    }

    fn held(tail: &Tail) -> Vec<u64> {
        (0..100).filter(|index| tail.get(*index).is_some()).collect()
    }

    #[test]
    fn what_is_not_durable_is_kept_beyond_the_bound() {
        let mut tail = tail(5..10, 0);
        assert_eq!(held(&tail), [5, 6, 7, 8, 9]);
        tail.set_durable(7);
        assert_eq!(held(&tail), [8, 9]);
        tail.set_durable(100);
        assert!(held(&tail).is_empty());
        assert_eq!(tail.first_index(), 10);
    }

    #[test]
    fn what_fits_is_kept() {
        let mut tail = tail(5..10, 1 << 20);
        tail.set_durable(100);
        assert_eq!(held(&tail), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn truncation_reaches_behind_the_first_entry() {
        for (from, want) in [(10, vec![5, 6, 7, 8, 9]), (7, vec![5, 6]), (5, vec![]), (3, vec![])] {
            let mut tail = tail(5..10, 1 << 20);
            tail.truncate_from(from);
            assert_eq!(held(&tail), want, "from {from}");
            tail.push(entry(from), 100);
        }
    }

    #[test]
    fn purging_reaches_beyond_the_last_entry() {
        for (before, want) in [(5, vec![5, 6, 7, 8, 9]), (8, vec![8, 9]), (10, vec![]), (20, vec![])] {
            let mut tail = tail(5..10, 1 << 20);
            tail.purge_before(before);
            assert_eq!(held(&tail), want, "before {before}");
        }
    }
}
