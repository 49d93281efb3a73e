//! The one thread that writes the log.
//!
//! Votes, appends, truncations, purges and commit positions pass through one queue, in the order in
//! which consensus submitted them (I1 rests on it). The thread takes everything that is queued, makes
//! one batch of it, syncs once, and only then reports: what waits for the disk shares one fsync.
//!
//! A failed write or sync ends the process. The kernel may have dropped the pages and a second sync
//! would then report success; only a restart, which reads the disk, can tell what is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use bytes::Bytes;
use openraft::storage::IOFlushed;
use rocksdb::{DB, WriteBatch, WriteOptions};

use super::super::types::{LogId, TypeConfig, Vote};
use super::schema::{Meta, encode_log_id, encode_vote, entry_key};
use super::tail::WriteSequence;
use crate::limits;
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
        /// Their records.
        records: Vec<Bytes>,
        /// Told when they are durable.
        callback: IOFlushed<TypeConfig>,
    },
    /// Removes `first..=last`.
    Truncate {
        /// The first index that goes.
        first: u64,
        /// The last index that goes.
        last: u64,
    },
    /// Removes everything from `first` up to and with `upto`.
    Purge {
        /// The first index that may still be there.
        first: u64,
        /// The last that goes.
        upto: LogId,
    },
    /// The commit position. It may be lost: nobody waits for it, and it is not synced for its own sake.
    Committed(LogId),
    /// Ends the thread once everything before is durable.
    Stop,
}

/// What the writer has done, for measurements.
#[derive(Debug, Default)]
pub(crate) struct LogCounters {
    /// Syncs of the disk.
    pub(crate) syncs: AtomicU64,
    /// Entries appended.
    pub(crate) entries: AtomicU64,
    /// Bytes of entries appended.
    pub(crate) bytes: AtomicU64,
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
pub(super) struct Queue {
    sender: Sender<(WriteSequence, LogWrite)>,
}

impl Queue {
    /// Queues a write. The caller holds the log's lock, so that sequences are queued in order.
    pub(super) fn send(&self, sequence: WriteSequence, write: LogWrite) -> std::io::Result<()> {
        self.sender
            .send((sequence, write))
            .map_err(|_| std::io::Error::other("the log has been closed"))
    }
}

/// Starts the thread. `on_durable` is called with the sequence up to which everything is durable.
pub(super) fn start(
    db: Arc<DB>,
    counters: Arc<LogCounters>,
    on_durable: impl Fn(WriteSequence) + Send + 'static,
) -> std::io::Result<(Queue, std::thread::JoinHandle<()>)> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("raft-log".into()).spawn(move || {
        run(&db, &counters, &receiver, &on_durable);
    })?;
    Ok((Queue { sender }, thread))
}

/// A batch under construction.
#[derive(Default)]
struct Pending {
    batch: WriteBatch,
    bytes: usize,
    entries: u64,
    needs_sync: bool,
    committed: Option<LogId>,
    last: WriteSequence,
    callbacks: Vec<IOFlushed<TypeConfig>>,
    dones: Vec<Done>,
    purged: Option<(u64, u64)>,
    stop: bool,
}

impl Pending {
    fn add(&mut self, sequence: WriteSequence, write: LogWrite) {
        self.last = sequence;
        match write {
            LogWrite::Vote(vote, done) => {
                self.batch.put(Meta::Vote.key(), encode_vote(&vote));
                self.needs_sync = true;
                self.dones.push(done);
            }
            LogWrite::Append {
                first_index,
                records,
                callback,
            } => {
                for (index, record) in (first_index..).zip(&records) {
                    self.bytes += record.len();
                    self.batch.put(entry_key(index), record);
                }
                self.entries += records.len() as u64;
                self.needs_sync = true;
                self.callbacks.push(callback);
            }
            LogWrite::Truncate { first, last } => {
                if last - first < limits::TRUNCATE_POINT_DELETES {
                    (first..=last).for_each(|index| self.batch.delete(entry_key(index)));
                } else {
                    self.batch.delete_range(entry_key(first), entry_key(last + 1));
                }
                self.needs_sync = true;
            }
            LogWrite::Purge { first, upto } => {
                if first <= upto.index {
                    self.batch.delete_range(entry_key(first), entry_key(upto.index + 1));
                    self.purged = Some((first, upto.index));
                }
                self.batch.put(Meta::Purged.key(), encode_log_id(upto));
                self.needs_sync = true;
            }
            LogWrite::Committed(id) => self.committed = Some(id),
            LogWrite::Stop => {
                self.needs_sync = true;
                self.stop = true;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.stop || self.bytes >= limits::LOG_WRITE_BATCH_BYTES
    }
}

fn run(
    db: &DB,
    counters: &LogCounters,
    receiver: &Receiver<(WriteSequence, LogWrite)>,
    on_durable: &impl Fn(WriteSequence),
) {
    let mut options = WriteOptions::default();
    // The sync is one `flush_wal` for the whole batch.
    options.set_sync(false);
    while let Ok((sequence, write)) = receiver.recv() {
        let mut pending = Pending::default();
        pending.add(sequence, write);
        while !pending.is_full() {
            match receiver.try_recv() {
                Ok((sequence, write)) => pending.add(sequence, write),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        let stop = pending.stop;
        write_out(db, counters, &options, pending, on_durable);
        if stop {
            return;
        }
    }
}

fn write_out(
    db: &DB,
    counters: &LogCounters,
    options: &WriteOptions,
    mut pending: Pending,
    on_durable: &impl Fn(WriteSequence),
) {
    if let Some(committed) = pending.committed {
        pending.batch.put(Meta::Committed.key(), encode_log_id(committed));
    }
    if let Err(error) = db.write_opt(pending.batch, options) {
        die("writing the Raft log", &error);
    }
    if pending.needs_sync {
        if let Err(error) = db.flush_wal(true) {
            die("syncing the Raft log", &error);
        }
        counters.syncs.fetch_add(1, Ordering::Relaxed);
        on_durable(pending.last);
    }
    counters.entries.fetch_add(pending.entries, Ordering::Relaxed);
    counters.bytes.fetch_add(pending.bytes as u64, Ordering::Relaxed);
    for done in pending.dones {
        // The one that waited may have been dropped at shutdown.
        let _ = done.send(());
    }
    for callback in pending.callbacks {
        callback.io_completed(Ok(()));
    }
    if let Some((first, last)) = pending.purged {
        drop_files(db, first, last);
    }
}

/// Frees whole files of purged entries at once, instead of when compaction gets to them.
fn drop_files(db: &DB, first: u64, last: u64) {
    if let Err(error) = db.delete_file_in_range(entry_key(first), entry_key(last)) {
        // The entries are deleted already; only their space comes back later.
        tracing::warn!(%error, "could not drop files of the purged Raft log");
    }
}

/// Ends the process, since nothing is known of the disk any more.
fn die(doing: &str, error: &rocksdb::Error) -> ! {
    tracing::error!(%error, "failed while {doing}; the server ends, since its disk cannot be trusted");
    eprintln!("trireme: failed while {doing}: {error}; the server ends, since its disk cannot be trusted");
    std::process::abort();
}
