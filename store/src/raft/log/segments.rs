//! Where each entry's record is: the index of the log's files, in memory.
//!
//! The writer changes it, once what it tells of is durable; readers take what they need and read without it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::disk::DiskFile;

/// The place of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    /// The segment's number.
    pub(super) segment: u64,
    /// Where the record begins in it, in bytes.
    pub(super) offset: u64,
    /// The record's length, in bytes.
    pub(super) len: u32,
}

/// Records that follow each other in one file.
#[derive(Debug)]
pub(super) struct Run {
    file: Arc<dyn DiskFile>,
    records: Vec<Location>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Segments {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The entry that `locations` begins with.
    first: u64,
    locations: VecDeque<Location>,
    files: BTreeMap<u64, Arc<dyn DiskFile>>,
}

impl Segments {
    /// No entries; the next one is `next_index`.
    pub(super) fn begin_at(&self, next_index: u64) {
        let mut inner = self.lock();
        inner.locations.clear();
        inner.first = next_index;
    }

    /// Adds a file.
    pub(super) fn add_file(&self, segment: u64, file: Arc<dyn DiskFile>) {
        self.lock().files.insert(segment, file);
    }

    /// Adds the next entries, from `first_index` on.
    pub(super) fn append(&self, first_index: u64, locations: impl IntoIterator<Item = Location>) {
        let mut inner = self.lock();
        if inner.locations.is_empty() {
            inner.first = first_index;
        }
        assert_eq!(
            inner.first + inner.locations.len() as u64,
            first_index,
            "the log has no holes"
        );
        inner.locations.extend(locations);
    }

    /// Forgets all entries from `index` on.
    pub(super) fn truncate_from(&self, index: u64) {
        let mut inner = self.lock();
        let keep = usize::try_from(index.saturating_sub(inner.first)).unwrap_or(usize::MAX);
        inner.locations.truncate(keep);
        if keep == 0 {
            inner.first = index;
        }
    }

    /// Forgets all entries before `index`.
    pub(super) fn purge_before(&self, index: u64) {
        let mut inner = self.lock();
        let gone = usize::try_from(index.saturating_sub(inner.first)).unwrap_or(usize::MAX);
        let gone = gone.min(inner.locations.len());
        inner.locations.drain(..gone);
        inner.first = inner.first.max(index);
    }

    /// Takes out the files before `active` that hold no entry any more, oldest first.
    ///
    /// Only from the oldest on, without a hole: a later file needs the earlier ones to be read.
    pub(super) fn take_unneeded(&self, active: u64) -> Vec<(u64, Arc<dyn DiskFile>)> {
        let mut inner = self.lock();
        let needed = inner.locations.front().map_or(active, |oldest| oldest.segment);
        let needed = needed.min(active);
        let kept = inner.files.split_off(&needed);
        std::mem::replace(&mut inner.files, kept).into_iter().collect()
    }

    /// The places of the entries `start..end`, up to `bytes_max` but at least one, as runs to be read at once.
    /// Entries that are not there end the answer.
    pub(super) fn locate(&self, start: u64, end: u64, bytes_max: usize) -> Vec<Run> {
        let inner = self.lock();
        let mut runs: Vec<Run> = Vec::new();
        let mut bytes = 0usize;
        for index in start..end {
            let at = index.checked_sub(inner.first).and_then(|at| usize::try_from(at).ok());
            let Some(location) = at.and_then(|at| inner.locations.get(at)) else {
                break;
            };
            bytes = bytes.saturating_add(location.len as usize);
            if bytes > bytes_max && !runs.is_empty() {
                break;
            }
            match runs.last_mut() {
                Some(run) if run.records[0].segment == location.segment => run.records.push(*location),
                _ => {
                    let file = inner.files.get(&location.segment);
                    let file = file.expect("a file goes only after its entries").clone();
                    let records = vec![*location];
                    runs.push(Run { file, records });
                }
            }
        }
        runs
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Reads the records, which share one piece of memory.
    ///
    /// # Errors
    /// What the disk reports.
    pub(super) fn read(&self) -> io::Result<Vec<Bytes>> {
        let (Some(first), Some(last)) = (self.records.first(), self.records.last()) else {
            return Ok(Vec::new());
        };
        if last.offset < first.offset {
            // Entries that replaced truncated ones can only stand behind them.
            return Err(io::Error::other("the log's index is out of order"));
        }
        let span = last.offset + u64::from(last.len) - first.offset;
        let mut buffer = vec![0; usize::try_from(span).map_err(io::Error::other)?];
        self.file.read_at(&mut buffer, first.offset)?;
        let buffer = Bytes::from(buffer);
        let slice = |location: &Location| {
            let from = usize::try_from(location.offset - first.offset).map_err(io::Error::other)?;
            Ok(buffer.slice(from..from + location.len as usize))
        };
        self.records.iter().map(slice).collect()
    }
}
