//! The one thread that writes the log. In a simulation it is a task: the same work, on simulated time.
//!
//! Votes, appends, truncations and purges pass through one queue, in the order in which consensus submitted them (I1 rests on
//! it). The thread takes everything that is queued, makes one batch of it, writes and syncs it once, and only then reports:
//! what waits for the disk shares one sync.
//!
//! The commit position goes with whatever is written next. It may be lost: nobody waits for it, and so nobody is woken for it.
//!
//! A failed write or sync ends the process. The kernel may have dropped the pages and a second sync would then report
//! success; only a restart, which reads the disk, can tell what is there.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use openraft::storage::IOFlushed;
use tokio::time::Instant;

use super::super::types::{LogId, TypeConfig, Vote};
use super::disk::{Disk, DiskFile};
use super::frame::{self, Checkpoint, Content};
use super::recovery::End;
use super::segments::{Location, Segments};
use super::tail::WriteSequence;
use super::{SPARE_NAME, segment_name};
use crate::faults::{self, Failpoint};
use crate::limits;
use crate::metrics::Histogram;
use crate::store::LogUse;

/// Told when a write is durable.
pub(super) type Done = tokio::sync::oneshot::Sender<()>;

/// One thing to write.
pub(super) enum LogWrite {
    /// The vote.
    Vote(Vote, Done),
    /// Entries at the end of the log.
    Append {
        /// Index of the first.
        first_index: u64,
        /// Their records; never empty.
        records: Vec<Bytes>,
        /// The last of them.
        last: LogId,
        /// Told when they are durable. `None` only for a planted bug, which has told it already.
        callback: Option<IOFlushed<TypeConfig>>,
    },
    /// Removes all entries after this one.
    Truncate(Option<LogId>),
    /// Removes all entries up to and with this one.
    Purge(LogId),
    /// Ends the thread once everything before is durable.
    Stop,
}

/// Bounds of the times that syncs take, in microseconds.
const SYNC_BOUNDS_US: &[u64] = &[
    100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 204_800, 409_600, 819_200, 1_638_400,
];

/// What the writer has done, for measurements.
#[derive(Debug)]
pub(crate) struct LogCounters {
    /// Syncs of the disk.
    pub(crate) syncs: AtomicU64,
    /// Entries appended.
    pub(crate) entries: AtomicU64,
    /// Bytes of entries appended.
    pub(crate) bytes: AtomicU64,
    /// How long each write with its sync took.
    pub(crate) sync_times: Histogram,
}

impl Default for LogCounters {
    fn default() -> Self {
        Self {
            syncs: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            sync_times: Histogram::of_durations(SYNC_BOUNDS_US),
        }
    }
}

impl LogCounters {
    /// What they stand at.
    pub(crate) fn read(&self) -> LogUse {
        LogUse {
            syncs: self.syncs.load(Ordering::Relaxed),
            entries: self.entries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// The queue's end that is written to.
#[derive(Debug, Clone)]
pub(super) enum Queue {
    /// To the thread.
    Thread(Sender<(WriteSequence, LogWrite)>),
    /// To the task of a simulation.
    #[cfg(feature = "sim")]
    Task(tokio::sync::mpsc::UnboundedSender<(WriteSequence, LogWrite)>),
}

impl Queue {
    /// Queues a write. The caller holds the log's lock, so that sequences are queued in order.
    pub(super) fn send(&self, sequence: WriteSequence, write: LogWrite) -> io::Result<()> {
        let queued = match self {
            Self::Thread(sender) => sender.send((sequence, write)).is_ok(),
            #[cfg(feature = "sim")]
            Self::Task(sender) => sender.send((sequence, write)).is_ok(),
        };
        if queued {
            Ok(())
        } else {
            Err(io::Error::other("the log has been closed"))
        }
    }
}

/// The last commit position that consensus has told of.
#[derive(Debug, Clone, Default)]
pub(super) struct CommitPosition(Arc<Mutex<Option<LogId>>>);

impl CommitPosition {
    /// It is `id` now.
    pub(super) fn set(&self, id: LogId) {
        *self.lock() = Some(id);
    }

    /// What is to be written of it behind the entry `last`, if `written` was written of it before. An entry that is committed may
    /// still be queued.
    fn due(&self, written: Option<LogId>, last: Option<LogId>) -> Option<LogId> {
        self.lock().filter(|id| Some(*id) > written && Some(*id) <= last)
    }

    fn lock(&self) -> MutexGuard<'_, Option<LogId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the writer goes on from.
pub(super) struct Start {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) segments: Arc<Segments>,
    pub(super) state: Checkpoint,
    pub(super) end: End,
    pub(super) spare: Option<Arc<dyn DiskFile>>,
    pub(super) counters: Arc<LogCounters>,
    pub(super) committed: CommitPosition,
}

/// Starts the thread. `on_durable` is called with the sequence up to which everything is durable.
pub(super) fn start(
    start: Start,
    on_durable: impl Fn(WriteSequence) + Send + 'static,
) -> io::Result<(Queue, JoinHandle<()>)> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("raft-log".into()).spawn(move || {
        let mut writer = Writer::new(start, Spare::make);
        writer.run(&receiver, &on_durable);
        // Whoever opens the directory next must find nobody at work in it.
        if let Err(error) = writer.spare.take() {
            tracing::warn!(%error, "could not make the next segment of the Raft log");
        }
    })?;
    Ok((Queue::Thread(sender), thread))
}

/// Starts the task that stands for the thread in a simulation. `sync_time` says how long the next sync takes.
#[cfg(feature = "sim")]
pub(super) fn start_task(
    start: Start,
    on_durable: impl Fn(WriteSequence) + Send + Sync + 'static,
    sync_time: Arc<dyn Fn() -> std::time::Duration + Send + Sync>,
) -> (Queue, tokio::task::JoinHandle<()>) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let writer = Writer::new(start, |_| Spare::None);
    let task = tokio::spawn(writer.run_on_simulated_time(receiver, on_durable, sync_time));
    (Queue::Task(sender), task)
}

/// The file that the next segment will be.
enum Spare {
    Ready(Arc<dyn DiskFile>),
    Making(JoinHandle<io::Result<Arc<dyn DiskFile>>>),
    None,
}

impl Spare {
    /// Begins to make one, so that it is there when it is needed.
    fn make(disk: &Arc<dyn Disk>) -> Self {
        let disk = disk.clone();
        let make = move || disk.create(SPARE_NAME, limits::LOG_SEGMENT_BYTES);
        match std::thread::Builder::new().name("raft-log-spare".into()).spawn(make) {
            Ok(thread) => Self::Making(thread),
            // It will be made when it is needed.
            Err(_) => Self::None,
        }
    }

    fn take(&mut self) -> io::Result<Option<Arc<dyn DiskFile>>> {
        match std::mem::replace(self, Self::None) {
            Self::Ready(file) => Ok(Some(file)),
            Self::Making(thread) => match thread.join() {
                Ok(made) => made.map(Some),
                Err(_) => Err(io::Error::other("the thread that makes log files panicked")),
            },
            Self::None => Ok(None),
        }
    }
}

/// Writes that go into one batch.
#[derive(Default)]
struct Pending {
    writes: Vec<LogWrite>,
    bytes: usize,
    last: WriteSequence,
    stop: bool,
}

impl Pending {
    fn add(&mut self, sequence: WriteSequence, write: LogWrite) {
        self.last = sequence;
        match &write {
            LogWrite::Append { records, .. } => self.bytes += records.iter().map(Bytes::len).sum::<usize>(),
            LogWrite::Vote(..) | LogWrite::Truncate(_) | LogWrite::Purge(_) => {}
            LogWrite::Stop => self.stop = true,
        }
        self.writes.push(write);
    }

    fn is_full(&self) -> bool {
        self.stop || self.bytes >= limits::LOG_WRITE_BATCH_BYTES
    }
}

struct Writer {
    disk: Arc<dyn Disk>,
    segments: Arc<Segments>,
    /// After the last batch.
    state: Checkpoint,
    end: End,
    spare: Spare,
    counters: Arc<LogCounters>,
    buffer: Vec<u8>,
    /// Goes with the next batch.
    committed: CommitPosition,
    /// Whether nothing proves the last batch yet.
    unmarked: bool,
}

impl Writer {
    fn new(start: Start, make_spare: impl FnOnce(&Arc<dyn Disk>) -> Spare) -> Self {
        let Start {
            disk,
            segments,
            state,
            end,
            spare,
            counters,
            committed,
        } = start;
        let spare = spare.map_or_else(|| make_spare(&disk), Spare::Ready);
        Self {
            disk,
            segments,
            state,
            end,
            spare,
            counters,
            buffer: Vec::new(),
            committed,
            unmarked: false,
        }
    }

    fn run(&mut self, receiver: &Receiver<(WriteSequence, LogWrite)>, on_durable: &impl Fn(WriteSequence)) {
        loop {
            let received = if self.unmarked {
                receiver.recv_timeout(limits::LOG_MARK_AFTER)
            } else {
                receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            let mut pending = Pending::default();
            match received {
                Ok((sequence, write)) => pending.add(sequence, write),
                Err(RecvTimeoutError::Timeout) => {
                    self.mark()
                        .unwrap_or_else(|error| die("marking the end of the Raft log", &error));
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while !pending.is_full() {
                match receiver.try_recv() {
                    Ok((sequence, write)) => pending.add(sequence, write),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            let stop = pending.stop;
            self.write_out(pending, on_durable);
            if stop {
                if self.unmarked {
                    self.mark()
                        .unwrap_or_else(|error| die("marking the end of the Raft log", &error));
                }
                return;
            }
        }
    }

    fn write_out(&mut self, pending: Pending, on_durable: &impl Fn(WriteSequence)) {
        let written = self.write(pending);
        self.conclude(written, on_durable);
    }

    /// Hands the writes to the disk, as one batch.
    fn write(&mut self, pending: Pending) -> Written {
        let Pending {
            writes,
            bytes: _,
            last,
            stop: _,
        } = pending;
        let indexed = self
            .batch(&writes)
            .unwrap_or_else(|error| die("writing the Raft log", &error));
        Written { writes, indexed, last }
    }

    /// Makes what was written durable, and reports it.
    fn conclude(&mut self, written: Written, on_durable: &impl Fn(WriteSequence)) {
        let Written { writes, indexed, last } = written;
        self.sync().unwrap_or_else(|error| die("syncing the Raft log", &error));
        self.unmarked = true;
        faults::point(Failpoint::LogAfterSync);
        let purged = self.index(indexed);
        on_durable(last);
        for write in writes {
            match write {
                // The one that waited may have been dropped at shutdown.
                LogWrite::Vote(_, done) => drop(done.send(())),
                LogWrite::Append { callback, .. } => {
                    callback.into_iter().for_each(|callback| callback.io_completed(Ok(())));
                }
                LogWrite::Truncate(_) | LogWrite::Purge(_) | LogWrite::Stop => {}
            }
        }
        if purged {
            self.drop_segments();
        }
    }

    /// Writes one batch, without syncing it; what will have changed in the index.
    fn batch(&mut self, writes: &[LogWrite]) -> io::Result<Vec<Indexed>> {
        if writes.iter().any(is_reported_already) {
            faults::hold_back();
        }
        let needed: usize = writes.iter().map(frames_bytes).sum::<usize>() + SMALL_FRAME_BYTES;
        self.begin(needed)?;
        let mut indexed = Vec::new();
        let mut last_frame = 0;
        for write in writes {
            match write {
                LogWrite::Vote(vote, _) => {
                    last_frame = self.frame(&Content::Vote(*vote));
                    self.state.vote = Some(*vote);
                }
                LogWrite::Append {
                    first_index,
                    records,
                    last,
                    callback: _,
                } => {
                    let mut locations = Vec::with_capacity(records.len());
                    let mut bytes = 0;
                    for record in records {
                        last_frame = self.frame(&Content::Entry(record));
                        bytes += record.len() as u64;
                        locations.push(Location {
                            segment: self.end.segment,
                            offset: self.end.offset + (last_frame + frame::HEADER_BYTES) as u64,
                            len: u32::try_from(record.len()).map_err(io::Error::other)?,
                        });
                    }
                    self.state.last = Some(*last);
                    self.counters.entries.fetch_add(records.len() as u64, Ordering::Relaxed);
                    self.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
                    indexed.push(Indexed::Append(*first_index, locations));
                }
                LogWrite::Truncate(after) => {
                    last_frame = self.frame(&Content::Truncate(*after));
                    self.state.last = *after;
                    indexed.push(Indexed::Truncate(super::next_index(*after)));
                }
                LogWrite::Purge(upto) => {
                    last_frame = self.frame(&Content::Purge(*upto));
                    self.state.purged = self.state.purged.max(Some(*upto));
                    self.state.last = self.state.last.max(Some(*upto));
                    indexed.push(Indexed::Purge(upto.index + 1));
                }
                LogWrite::Stop => {}
            }
        }
        last_frame = self.frame_of_committed().unwrap_or(last_frame);
        if self.buffer.is_empty() {
            // Only a stop: everything before it is durable already.
            return Ok(indexed);
        }
        self.finish(last_frame)?;
        Ok(indexed)
    }

    /// Proves that the last batch had reached the disk.
    fn mark(&mut self) -> io::Result<()> {
        self.begin(2 * SMALL_FRAME_BYTES)?;
        self.frame_of_committed();
        let last_frame = self.frame(&Content::Mark);
        self.unmarked = false;
        self.finish(last_frame)?;
        self.sync()
    }

    /// Begins a batch of at most `needed` bytes, in a new segment if this one is too full.
    fn begin(&mut self, needed: usize) -> io::Result<()> {
        self.buffer.clear();
        if self.end.offset + needed as u64 <= self.end.file.len() {
            return Ok(());
        }
        let segment = self.end.segment + 1;
        let needed = (needed + CHECKPOINT_FRAME_BYTES) as u64;
        let spare = match self.spare.take()? {
            Some(spare) if spare.len() >= needed => spare,
            _ => self.disk.create(SPARE_NAME, needed.max(limits::LOG_SEGMENT_BYTES))?,
        };
        self.disk.rename(SPARE_NAME, &segment_name(segment))?;
        faults::point(Failpoint::LogSegmentChange);
        self.segments.add_file(segment, spare.clone());
        self.end = End {
            segment,
            file: spare,
            offset: 0,
        };
        self.spare = Spare::make(&self.disk);
        self.frame(&Content::Checkpoint(self.state));
        Ok(())
    }

    /// Adds a frame to the batch; where in the buffer it begins.
    fn frame(&mut self, content: &Content<'_>) -> usize {
        let start = self.buffer.len();
        frame::write(&mut self.buffer, self.end.segment, self.state.batch + 1, content);
        start
    }

    /// Adds the frame of the commit position to the batch, as its last, if it is due; where it begins.
    fn frame_of_committed(&mut self) -> Option<usize> {
        let committed = self.committed.due(self.state.committed, self.state.last)?;
        self.state.committed = Some(committed);
        Some(self.frame(&Content::Committed(committed)))
    }

    /// Writes the batch, whose last frame begins at `last_frame`. It is to be [synced](Self::sync) next.
    fn finish(&mut self, last_frame: usize) -> io::Result<()> {
        frame::end_batch(&mut self.buffer, last_frame);
        faults::point(Failpoint::LogBeforeWrite);
        let bytes = self.buffer.len();
        // To the end of its last page, where there are zeros already: a page that is written in part would be read first.
        let end = (self.end.offset + bytes as u64).next_multiple_of(limits::LOG_PAGE_BYTES as u64);
        let padding = end
            .min(self.end.file.len())
            .saturating_sub(self.end.offset + bytes as u64);
        self.buffer.resize(bytes + padding as usize, 0);
        let written = self.end.file.write_at(&self.buffer, self.end.offset);
        self.buffer.truncate(bytes);
        written?;
        faults::point(Failpoint::LogAfterWrite);
        Ok(())
    }

    /// Syncs the batch that was written, if there is one.
    fn sync(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        self.end.file.sync()?;
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.counters.sync_times.observe_duration(began.elapsed());
        self.end.offset += self.buffer.len() as u64;
        self.state.batch += 1;
        self.buffer.clear();
        // One large batch shall not hold its memory for ever.
        self.buffer.shrink_to(limits::LOG_WRITE_BUFFER_KEPT_BYTES);
        Ok(())
    }

    /// Lets readers find what is durable now. Tells whether something was purged.
    fn index(&self, indexed: Vec<Indexed>) -> bool {
        let mut purged = false;
        for change in indexed {
            match change {
                Indexed::Append(first, locations) => self.segments.append(first, locations),
                Indexed::Truncate(from) => self.segments.truncate_from(from),
                Indexed::Purge(before) => {
                    self.segments.purge_before(before);
                    purged = true;
                }
            }
        }
        purged
    }

    /// Frees the files that hold nothing any more. The purge is durable by now.
    fn drop_segments(&mut self) {
        faults::point(Failpoint::LogPurged);
        let mut unneeded = self.segments.take_unneeded(self.end.segment).into_iter();
        for (number, file) in unneeded.by_ref() {
            if let Err(error) = self.disk.remove(&segment_name(number)) {
                // It is tried again with the next purge, and no later one goes before it.
                tracing::warn!(%error, segment = number, "could not remove a purged segment of the Raft log");
                self.segments.add_file(number, file);
                break;
            }
        }
        unneeded.for_each(|(number, file)| self.segments.add_file(number, file));
    }
}

#[cfg(feature = "sim")]
impl Writer {
    /// As [`run`](Self::run), but time passes between a write and its sync, in which power may be lost.
    async fn run_on_simulated_time(
        mut self,
        mut receiver: tokio::sync::mpsc::UnboundedReceiver<(WriteSequence, LogWrite)>,
        on_durable: impl Fn(WriteSequence),
        sync_time: Arc<dyn Fn() -> std::time::Duration + Send + Sync>,
    ) {
        loop {
            let received = if self.unmarked {
                tokio::time::timeout(limits::LOG_MARK_AFTER, receiver.recv()).await
            } else {
                Ok(receiver.recv().await)
            };
            let mut pending = Pending::default();
            match received {
                Ok(Some((sequence, write))) => pending.add(sequence, write),
                Ok(None) => return,
                Err(_) => {
                    self.mark()
                        .unwrap_or_else(|error| die("marking the end of the Raft log", &error));
                    continue;
                }
            }
            while !pending.is_full()
                && let Ok((sequence, write)) = receiver.try_recv()
            {
                pending.add(sequence, write);
            }
            let stop = pending.stop;
            let written = self.write(pending);
            tokio::time::sleep(sync_time()).await;
            self.conclude(written, &on_durable);
            if stop {
                if self.unmarked {
                    self.mark()
                        .unwrap_or_else(|error| die("marking the end of the Raft log", &error));
                }
                return;
            }
        }
    }
}

/// A batch that was written and is not durable yet.
struct Written {
    writes: Vec<LogWrite>,
    indexed: Vec<Indexed>,
    last: WriteSequence,
}

/// A change of the index, to be made once its batch is durable.
enum Indexed {
    Append(u64, Vec<Location>),
    Truncate(u64),
    Purge(u64),
}

/// Bound of any frame but an entry's and a checkpoint's.
const SMALL_FRAME_BYTES: usize = frame::HEADER_BYTES + 64;
/// Bound of a checkpoint's frame.
const CHECKPOINT_FRAME_BYTES: usize = frame::HEADER_BYTES + 128;

fn frames_bytes(write: &LogWrite) -> usize {
    match write {
        LogWrite::Append { records, .. } => records.iter().map(|record| frame::HEADER_BYTES + record.len()).sum(),
        LogWrite::Vote(..) | LogWrite::Truncate(_) | LogWrite::Purge(_) => SMALL_FRAME_BYTES,
        LogWrite::Stop => 0,
    }
}

/// Whether a planted bug has reported it as durable before it is written.
fn is_reported_already(write: &LogWrite) -> bool {
    matches!(write, LogWrite::Append { callback: None, .. })
}

/// Ends the process, since nothing is known of the disk any more.
fn die(doing: &str, error: &io::Error) -> ! {
    tracing::error!(%error, "failed while {doing}; the server ends, since its disk cannot be trusted");
    eprintln!("trireme: failed while {doing}: {error}; the server ends, since its disk cannot be trusted");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::super::super::types::log_id;
    use super::*;

    #[test]
    fn a_commit_position_is_written_once_and_never_before_its_entry() {
        let position = CommitPosition::default();
        let at = |term, index| Some(log_id(term, index));
        assert_eq!(position.due(None, at(1, 9)), None);
        position.set(log_id(2, 7));
        for (written, last, due) in [
            (None, at(2, 7), at(2, 7)),
            (at(1, 5), at(3, 8), at(2, 7)),
            (at(2, 7), at(3, 8), None),
            // Its entry is queued behind, in place of others.
            (at(1, 5), at(2, 6), None),
            (at(1, 5), at(1, 9), None),
            (None, None, None),
        ] {
            assert_eq!(position.due(written, last), due, "{written:?}, {last:?}");
        }
    }
}
