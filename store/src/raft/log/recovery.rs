//! Opening the log: what is on disk is checked, all of it, before this server takes part in anything.
//!
//! RocksDB drops a write that was cut off by a crash at the end of its own log: it was never
//! acknowledged. Everything else that does not fit (a checksum, a hole, terms that go back, a commit
//! position behind the log's end) is damage to what may have been acknowledged. The server then must
//! not vote, acknowledge or serve (D4): opening fails with one clear line.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, Options};

use super::super::record;
use super::super::types::{LogEntry, LogId, Vote};
use super::schema::{Meta, decode_log_id, decode_vote, entries_end, entry_index, entry_key};
use super::tail::Tail;
use crate::limits;

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogOpenError {
    /// Another process has it open.
    #[error("the data directory is in use: another process has the Raft log in {path} open; stop that one first")]
    InUse {
        /// Where.
        path: String,
    },
    /// The database could not be opened: the disk or its permissions do not allow it.
    #[error("cannot open the Raft log in {path}")]
    Database {
        /// Where.
        path: String,
        /// What RocksDB says.
        #[source]
        source: rocksdb::Error,
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
    Thread(#[source] std::io::Error),
}

/// What the disk holds.
pub(super) struct Recovered {
    pub(super) db: Arc<DB>,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    pub(super) tail: Tail,
}

/// Opens and checks the log in `path`.
pub(super) fn recover(path: &Path, tail_bytes: usize) -> Result<Recovered, LogOpenError> {
    let shown = path.display().to_string();
    let db = DB::open(&options(), path).map_err(|source| open_error(&shown, source))?;
    let checked = check(&db, tail_bytes);
    let (vote, committed, purged, last, tail) =
        checked.map_err(|what| LogOpenError::Quarantined { path: shown, what })?;
    Ok(Recovered {
        db: Arc::new(db),
        vote,
        committed,
        purged,
        last,
        tail,
    })
}

fn open_error(path: &str, source: rocksdb::Error) -> LogOpenError {
    let path = path.to_owned();
    let text = source.to_string();
    if source.kind() == rocksdb::ErrorKind::Corruption {
        LogOpenError::Quarantined { path, what: text }
    } else if source.kind() == rocksdb::ErrorKind::IOError && text.contains("/LOCK") {
        // RocksDB has no code of its own for it.
        LogOpenError::InUse { path }
    } else {
        LogOpenError::Database { path, source }
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_write_buffer_size(limits::LOG_WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(2);
    options.set_max_total_wal_size(4 * limits::LOG_WRITE_BUFFER_BYTES as u64);
    // The writer thread syncs, once for everything it took.
    options.set_manual_wal_flush(true);
    // Only a torn end is forgiven; a bad record before it fails the opening.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_max_open_files(256);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(limits::LOG_BLOCK_CACHE_BYTES));
    options.set_block_based_table_factory(&table);
    options
}

type Checked = (Option<Vote>, Option<LogId>, Option<LogId>, Option<LogId>, Tail);

fn check(db: &DB, tail_bytes: usize) -> Result<Checked, String> {
    let vote = meta(db, Meta::Vote, decode_vote)?;
    let committed = meta(db, Meta::Committed, decode_log_id)?;
    let purged = meta(db, Meta::Purged, decode_log_id)?;

    let mut last = purged;
    let mut tail = Tail::new(next_index(purged), tail_bytes);
    let mut cursor = db.raw_iterator();
    cursor.seek(entry_key(next_index(purged)));
    while let Some((key, value)) = cursor.item().filter(|(key, _)| *key < &entries_end()[..]) {
        let index = entry_index(key).ok_or("a key that is no entry's is among the entries")?;
        let entry = check_entry(index, value, last)?;
        last = Some(entry.log_id);
        // Sequence 0 counts as durable from the start, so old entries leave memory as new ones come.
        tail.push(entry, 0);
        cursor.next();
    }
    cursor.status().map_err(|error| error.to_string())?;

    if committed > last {
        return Err(format!(
            "entries up to {} were committed, but the log ends at {}",
            show(committed),
            show(last)
        ));
    }
    if let (Some(vote), Some(last)) = (&vote, last)
        && last.leader_id.term > vote.leader_id.term
    {
        return Err(format!(
            "the log reaches term {}, but the vote is of term {}",
            last.leader_id.term, vote.leader_id.term
        ));
    }
    Ok((vote, committed, purged, last, tail))
}

fn check_entry(index: u64, value: &[u8], last: Option<LogId>) -> Result<LogEntry, String> {
    let want = next_index(last);
    if index != want {
        return Err(format!("entry {want} is missing; the next one is {index}"));
    }
    let entry = record::open(Bytes::copy_from_slice(value)).map_err(|error| format!("entry {index}: {error}"))?;
    if entry.log_id.index != index {
        return Err(format!("entry {index} says that it is entry {}", entry.log_id.index));
    }
    if last.is_some_and(|last| entry.log_id.leader_id < last.leader_id) {
        return Err(format!("entry {index} is of an older term than the one before it"));
    }
    Ok(entry)
}

fn meta<T>(db: &DB, which: Meta, decode: fn(&[u8]) -> Result<T, String>) -> Result<Option<T>, String> {
    let value = db.get_pinned(which.key()).map_err(|error| error.to_string())?;
    value
        .map(|bytes| decode(&bytes).map_err(|error| format!("{} cannot be read: {error}", which.name())))
        .transpose()
}

/// The index behind `last`; the log begins at 0, where openraft puts the first membership.
pub(super) fn next_index(last: Option<LogId>) -> u64 {
    last.map_or(0, |id| id.index + 1)
}

fn show(id: Option<LogId>) -> String {
    id.map_or_else(|| "nothing".into(), |id| format!("index {}", id.index))
}
