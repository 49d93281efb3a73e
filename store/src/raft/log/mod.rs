//! The Raft log on disk: openraft's `RaftLogStorage`.
//!
//! What consensus sees is the state in memory, changed at once under one lock; the writer
//! makes it durable in the same order and reports. So `append` never waits for the disk, and what was
//! appended can be read when it returns. Entries leave memory only after they are durable, so a read
//! finds each entry either in the tail or, as written last, on disk.
//!
//! On disk it is a row of segments of fixed length, each written from its start to its end in
//! batches; a batch is one write and one sync. See [`frame`] for their form and [`recovery`] for what is
//! made of them after a crash.
//!
//! It is not the state: that is the engine's, has no log of its own, and is rebuilt from here.

mod disk;
mod frame;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod recovery;
mod segments;
#[cfg(any(test, feature = "sim", feature = "fuzz"))]
#[cfg_attr(
    not(any(test, feature = "sim")),
    allow(dead_code, reason = "the fuzz targets lose no power")
)]
mod sim_disk;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use futures::Stream;
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};

use self::disk::{Disk, FileDisk, TakeError};
use self::recovery::{RecoverError, Recovered, recover};
use self::segments::{Run, Segments};
#[cfg(feature = "sim")]
pub(crate) use self::sim_disk::{SimDisk, Unsynced};
use self::tail::{Tail, WriteSequence};
pub(crate) use self::writer::LogCounters;
use self::writer::{CommitPosition, LogWrite, Queue};
use super::record;
use super::types::{LogEntry, LogId, TypeConfig, Vote, log_id};
use crate::blocking;
use crate::faults::{self, Failpoint, Faults};
use crate::limits;

/// A segment that is made and waits to be used.
const SPARE_NAME: &str = "spare";
const SEGMENT_SUFFIX: &str = ".wal";

/// The file name of a segment.
fn segment_name(number: u64) -> String {
    format!("{number:016x}{SEGMENT_SUFFIX}")
}

/// The number of the segment of this name; `None` if it is another file.
fn segment_number(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(SEGMENT_SUFFIX)?, 16).ok()
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogOpenError {
    /// Another process has it open.
    #[error("the data directory is in use: another process has the Raft log in {path} open; stop that one first")]
    InUse {
        /// Where.
        path: String,
    },
    /// The disk or its permissions do not allow it.
    #[error("cannot {doing} of the Raft log in {path}")]
    Io {
        /// Where.
        path: String,
        /// What we were doing.
        doing: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The log is damaged in a place that may have been acknowledged.
    #[error(
        "the Raft log in {path} is damaged ({what}); this server is quarantined: it must not vote or serve. \
         Remove it from the cluster, delete its data directory and join it anew"
    )]
    Quarantined {
        /// Where.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The writer's thread could not be started.
    #[error("cannot start the log's writer")]
    Thread(#[source] io::Error),
}

/// Told up to which write everything is durable.
type OnDurable = Box<dyn Fn(WriteSequence) + Send + Sync>;

/// The index behind `last`; the log begins at 0, where openraft puts the first membership.
fn next_index(last: Option<LogId>) -> u64 {
    last.map_or(0, |id| id.index + 1)
}

/// The log as consensus sees it; the disk may be a few writes behind.
#[derive(Debug)]
struct View {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// Index of the first entry, or of the next one if there is none. Behind `purged`, if that is set.
    first: u64,
    last: Option<LogId>,
    tail: Tail,
    sequence: WriteSequence,
    queue: Queue,
    /// Where the writer finds `committed`.
    commit_position: CommitPosition,
}

/// The log. Clones are the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    segments: Arc<Segments>,
    view: Arc<Mutex<View>>,
    counters: Arc<LogCounters>,
    writing: Arc<Mutex<Option<Writing>>>,
    faults: Faults,
}

/// What writes the log.
enum Writing {
    Thread(std::thread::JoinHandle<()>),
    #[cfg(feature = "sim")]
    Task(tokio::task::JoinHandle<()>),
}

impl Debug for LogStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStore")
            .field("last", &self.view().last)
            .finish_non_exhaustive()
    }
}

impl LogStore {
    /// Opens the log in the directory `path`, which is made if it is absent, and checks all of it.
    ///
    /// # Errors
    /// [`LogOpenError`]: it is in use, unreadable or damaged.
    pub(crate) fn open(path: &Path, tail_bytes: usize) -> Result<Self, LogOpenError> {
        let shown = path.display().to_string();
        let disk = FileDisk::take(path).map_err(|error| match error {
            TakeError::InUse => LogOpenError::InUse { path: shown.clone() },
            TakeError::Io(source) => LogOpenError::Io {
                path: shown.clone(),
                doing: "open the directory".into(),
                source,
            },
        })?;
        Self::open_on(Arc::new(disk), &shown, tail_bytes)
    }

    /// Opens the log on `disk`, called `path` in what is told.
    fn open_on(disk: Arc<dyn Disk>, path: &str, tail_bytes: usize) -> Result<Self, LogOpenError> {
        Self::open_with(disk, path, tail_bytes, |start, durable| {
            let (queue, thread) = writer::start(start, durable).map_err(LogOpenError::Thread)?;
            Ok((queue, Writing::Thread(thread)))
        })
    }

    /// Opens the log on a simulated disk, whose syncs take as long as `sync_time` says. A task of the present runtime
    /// writes it.
    ///
    /// # Errors
    /// [`LogOpenError::Quarantined`].
    #[cfg(feature = "sim")]
    pub(crate) fn open_simulated(
        disk: Arc<SimDisk>,
        tail_bytes: usize,
        sync_time: Arc<dyn Fn() -> std::time::Duration + Send + Sync>,
    ) -> Result<Self, LogOpenError> {
        Self::open_with(disk, "the simulated disk", tail_bytes, |start, durable| {
            let (queue, task) = writer::start_task(start, durable, sync_time);
            Ok((queue, Writing::Task(task)))
        })
    }

    fn open_with(
        disk: Arc<dyn Disk>,
        path: &str,
        tail_bytes: usize,
        begin: impl FnOnce(writer::Start, OnDurable) -> Result<(Queue, Writing), LogOpenError>,
    ) -> Result<Self, LogOpenError> {
        let path = path.to_owned();
        let Recovered {
            state,
            tail,
            segments,
            end,
            spare,
        } = recover(&*disk, tail_bytes).map_err(|error| match error {
            RecoverError::Io { doing, source } => LogOpenError::Io { path, doing, source },
            RecoverError::Damaged(what) => LogOpenError::Quarantined { path, what },
        })?;
        let segments = Arc::new(segments);
        let counters = Arc::new(LogCounters::default());
        // The writer reports to the view, which needs the writer's queue first: hence the cell. It is weak,
        // so that a log that is dropped without being closed ends its writer.
        let cell: Arc<OnceLock<Weak<Mutex<View>>>> = Arc::default();
        let reported = cell.clone();
        let commit_position = CommitPosition::default();
        let start = writer::Start {
            disk,
            segments: segments.clone(),
            state,
            end,
            spare,
            counters: counters.clone(),
            committed: commit_position.clone(),
        };
        let on_durable: OnDurable = Box::new(move |sequence| {
            if let Some(view) = reported.get().and_then(Weak::upgrade) {
                lock(&view).tail.set_durable(sequence);
            }
        });
        let (queue, writing) = begin(start, on_durable)?;
        let view = Arc::new(Mutex::new(View {
            vote: state.vote,
            committed: state.committed,
            purged: state.purged,
            first: next_index(state.purged),
            last: state.last,
            tail,
            sequence: 0,
            queue,
            commit_position,
        }));
        cell.set(Arc::downgrade(&view)).expect("it is set once, here");
        Ok(Self {
            segments,
            view,
            counters,
            writing: Arc::new(Mutex::new(Some(writing))),
            faults: Faults::default(),
        })
    }

    /// The same log, with faults.
    pub(crate) fn with_faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// What the writer has done so far.
    pub(crate) fn counters(&self) -> &LogCounters {
        &self.counters
    }

    /// Index of the first entry that is still there, or that would be next.
    pub(crate) fn first_index(&self) -> u64 {
        self.view().first
    }

    /// Index of the last entry; 0 if there never was one.
    pub(crate) fn last_index(&self) -> u64 {
        self.view().last.map_or(0, |id| id.index)
    }

    /// Waits until everything is durable and ends the writer. Blocking. Later writes fail.
    pub(crate) fn close(&self) {
        if let Some(Writing::Thread(thread)) = self.stop_writing()
            && thread.join().is_err()
        {
            tracing::error!("the log's writer panicked");
        }
    }

    /// As [`close`](Self::close), from where nothing may block.
    pub(crate) async fn end(&self) {
        let ended = match self.stop_writing() {
            None => return,
            Some(Writing::Thread(thread)) => tokio::task::spawn_blocking(move || thread.join().is_ok()).await,
            #[cfg(feature = "sim")]
            Some(Writing::Task(task)) => task.await.map(|()| true),
        };
        if !matches!(ended, Ok(true)) {
            tracing::error!("the log's writer panicked");
        }
    }

    fn stop_writing(&self) -> Option<Writing> {
        {
            let mut view = self.view();
            view.sequence += 1;
            let sequence = view.sequence;
            // An error means that the writer has ended already.
            let _ = view.queue.send(sequence, LogWrite::Stop);
        }
        self.writing.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn view(&self) -> MutexGuard<'_, View> {
        lock(&self.view)
    }

    /// Reads `range`, up to `bytes_max` bytes but at least one entry.
    pub(crate) fn read(&self, range: impl RangeBounds<u64>, bytes_max: usize) -> io::Result<Vec<LogEntry>> {
        let (wanted_start, wanted_end) = half_open(range);
        let view = self.view();
        let start = wanted_start.max(view.first);
        let end = wanted_end.min(next_index(view.last));
        if start >= end {
            return Ok(Vec::new());
        }
        let disk_end = end.min(view.tail.first_index());
        // Both parts are taken under the lock, so that together they are the log of one moment.
        let runs = self.segments.locate(start, disk_end, bytes_max);
        let cached: Vec<LogEntry> = (disk_end.max(start)..end)
            .map(|index| {
                view.tail
                    .get(index)
                    .cloned()
                    .expect("the tail reaches to the end of the log")
            })
            .collect();
        drop(view);

        let mut entries = Vec::with_capacity(usize::try_from(end - start).unwrap_or(0).min(4096));
        let mut bytes = 0;
        for record in runs.iter().map(Run::read).collect::<io::Result<Vec<_>>>()?.concat() {
            let index = start + entries.len() as u64;
            bytes += record.len();
            entries.push(checked(index, record)?);
        }
        if (start + entries.len() as u64) < disk_end {
            // What fits has been read, or the index has lost what the view promises.
            return match entries.is_empty() {
                false => Ok(entries),
                true => Err(damaged(start, "missing")),
            };
        }
        for entry in cached {
            bytes += size(&entry);
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl LogStore {
    /// As [`read`](Self::read), but whatever is not in memory is read on a thread that may block: heartbeats must not wait for it.
    async fn read_apart(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<LogEntry>> {
        if self.is_in_memory(start) {
            return self.read(start..end, bytes_max);
        }
        let log = self.clone();
        let read = blocking::run(move || log.read(start..end, bytes_max));
        read.await.map_err(io::Error::other)?
    }

    /// Whether everything from `start` on is in memory.
    fn is_in_memory(&self, start: u64) -> bool {
        let view = self.view();
        start.max(view.first) >= view.tail.first_index()
    }
}

impl View {
    fn next_sequence(&mut self) -> WriteSequence {
        self.sequence += 1;
        self.sequence
    }

    fn enqueue(&mut self, write: LogWrite) -> io::Result<()> {
        let sequence = self.next_sequence();
        self.queue.send(sequence, write)
    }
}

fn lock(view: &Mutex<View>) -> MutexGuard<'_, View> {
    // A panic under the lock ends this server's consensus anyway; readers may still look.
    view.lock().unwrap_or_else(PoisonError::into_inner)
}

fn size(entry: &LogEntry) -> usize {
    entry.record.as_ref().map_or(0, Bytes::len)
}

fn damaged(index: u64, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("log entry {index}: {what}"))
}

fn checked(index: u64, record: Bytes) -> io::Result<LogEntry> {
    let entry = record::open(record).map_err(|error| damaged(index, &error.to_string()))?;
    if entry.log_id.index == index {
        Ok(entry)
    } else {
        Err(damaged(index, "another entry stands in its place"))
    }
}

fn half_open(range: impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<LogEntry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.read(range, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<LogEntry>, io::Error> {
        self.read_apart(start, end, limits::APPEND_BATCH_BYTES).await
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<LogEntry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // A replica that was away may have very many to apply: they are read as they are consumed.
        let (start, end) = half_open(range);
        let pages = futures::stream::unfold((self.clone(), start), move |(log, next)| async move {
            let page = match log.read_apart(next, end, limits::APPLY_BATCH_BYTES).await {
                Ok(page) => page,
                Err(error) => return Some((vec![Err(error)], (log, end))),
            };
            let next = page.last()?.log_id.index + 1;
            Some((page.into_iter().map(Ok).collect::<Vec<_>>(), (log, next)))
        });
        futures::StreamExt::flat_map(pages, futures::stream::iter)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.view().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let view = self.view();
        Ok(LogState {
            last_purged_log_id: view.purged,
            last_log_id: view.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, durable) = tokio::sync::oneshot::channel();
        {
            let mut view = self.view();
            view.vote = Some(*vote);
            if self.faults.forgets_votes() {
                return Ok(());
            }
            faults::point(Failpoint::VoteBeforePersist);
            view.enqueue(LogWrite::Vote(*vote, done))?;
        }
        durable
            .await
            .map_err(|_| io::Error::other("the log was closed before the vote was durable"))?;
        faults::point(Failpoint::VoteAfterPersist);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let mut view = self.view();
        if let Some(committed) = committed
            && view.committed != Some(committed)
        {
            view.committed = Some(committed);
            view.commit_position.set(committed);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.view().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        // Encoding needs no lock.
        let sealed: Vec<(Bytes, LogEntry)> = entries
            .into_iter()
            .map(|mut entry| (record::seal(&mut entry), entry))
            .collect();
        let mut view = self.view();
        let Some((_, first)) = sealed.first() else {
            drop(view);
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let first_index = first.log_id.index;
        if view.last.is_none() {
            // A log begins at 0, but openraft's suite also begins elsewhere. Recovery insists on 0.
            view.first = first_index;
            view.tail.begin_at(first_index);
        }
        let sequence = view.next_sequence();
        let last = sealed.last().map_or(log_id(0, 0), |(_, entry)| entry.log_id);
        let mut records = Vec::with_capacity(sealed.len());
        for (record, entry) in sealed {
            view.last = Some(entry.log_id);
            view.tail.push(entry, sequence);
            records.push(record);
        }
        let mut callback = Some(callback);
        if self.faults.reports_before_writing() {
            callback
                .take()
                .into_iter()
                .for_each(|callback| callback.io_completed(Ok(())));
        }
        view.queue.send(
            sequence,
            LogWrite::Append {
                first_index,
                records,
                last,
                callback,
            },
        )
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let mut view = self.view();
        let first = next_index(last_log_id);
        if view.last.is_none_or(|last| last.index < first) {
            return Ok(());
        }
        view.tail.truncate_from(first);
        view.last = last_log_id;
        view.enqueue(LogWrite::Truncate(last_log_id))
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let mut view = self.view();
        if view.purged >= Some(upto) {
            return Ok(());
        }
        view.tail.purge_before(upto.index + 1);
        view.first = upto.index + 1;
        view.purged = Some(upto);
        view.last = view.last.max(Some(upto));
        view.enqueue(LogWrite::Purge(upto))
    }
}
