//! The storage on RocksDB.
//!
//! One column family for each table, flushed atomically together. The write-ahead log is off: the Raft log
//! is the one durable truth, and after a crash this database stands at its last flush, data and applied position
//! alike. `Data` has a bloom filter on the escaped user key, so that looking for a key that is not there costs no read.

use std::path::Path;

use bytes::Bytes;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, CompactOptions, DB,
    DBCompressionType, DBRawIterator, FlushOptions, LogLevel, Options, ReadOptions, SliceTransform, Snapshot,
    WriteOptions,
};
use trireme_mvcc::keys;
use trireme_mvcc::storage::{Access, Cursor, Storage, StorageError, StorageRead, Table, Write, WriteBatch};
use trireme_mvcc::types::Revision;

use super::limits::{
    BACKGROUND_WRITE_BYTES_PER_SECOND, DELETIONS_RATIO, DELETIONS_TRIGGER, DELETIONS_WINDOW, FILE_SYNC_BYTES,
};
use super::replica::EngineOptions;

/// What a row takes in a batch besides its key and value, at most.
const ROW_OVERHEAD_BYTES: usize = 16;
const BLOOM_BITS_PER_KEY: f64 = 10.0;
const BLOCK_BYTES: usize = 16 << 10;
const MEMTABLE_BLOOM_RATIO: f64 = 0.02;
/// Files written out side by side before they are merged into the others. A merge rewrites what lies below, so fewer are
/// better; reads of the present state hardly come here.
const FILES_BEFORE_MERGE: i32 = 8;
const OPEN_FILES_MAX: i32 = 512;
const LOG_FILES_KEPT: usize = 3;
const LOG_FILE_BYTES: usize = 1 << 20;
/// How often the background's right to write is renewed, in microseconds.
const RATE_REFILL_US: i64 = 100_000;
/// One in so many times a merge of files goes before a flush.
const RATE_FAIRNESS: i32 = 10;
/// Share of the write buffer that the small tables get.
const SMALL_TABLE_SHARE: usize = 4;

/// A RocksDB database with our tables.
pub struct RocksStorage {
    db: DB,
}

impl std::fmt::Debug for RocksStorage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RocksStorage")
            .field("path", &self.db.path())
            .finish_non_exhaustive()
    }
}

impl RocksStorage {
    /// Opens the database in `path`, or makes it.
    ///
    /// # Errors
    /// [`StorageError::Io`], fatal.
    pub fn open(path: &Path, options: &EngineOptions) -> Result<Self, StorageError> {
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let families = Table::ALL.map(|table| {
            ColumnFamilyDescriptor::new(
                family_name(table),
                family_options(table, &cache, options.write_buffer_bytes),
            )
        });
        let db = DB::open_cf_descriptors(&database_options(), path, families).map_err(io("opening the database"))?;
        Ok(Self { db })
    }

    /// Makes everything written so far durable. Blocking.
    ///
    /// # Errors
    /// [`StorageError::Io`], fatal.
    pub fn flush(&self) -> Result<(), StorageError> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        let families = Table::ALL.map(|table| self.family(table));
        self.db.flush_cfs_opt(&families, &options).map_err(io("flushing"))
    }

    /// Whether a write may have to wait: because what was written before is still being written out, or merged.
    pub fn is_behind(&self) -> bool {
        // Every batch writes to `Meta`, and all tables are written out together.
        [
            "rocksdb.num-immutable-mem-table",
            "rocksdb.actual-delayed-write-rate",
            "rocksdb.is-write-stopped",
        ]
        .into_iter()
        .any(|property| self.property(Table::Meta, property) > 0)
    }

    /// About how much it holds, in bytes: files and memory, without what is deleted already.
    pub fn estimated_bytes(&self) -> u64 {
        Table::ALL
            .into_iter()
            .map(|table| {
                self.property(table, "rocksdb.estimate-live-data-size")
                    + self.property(table, "rocksdb.cur-size-all-mem-tables")
            })
            .sum()
    }

    /// What it takes, in bytes: files and memory.
    pub fn database_bytes(&self) -> u64 {
        Table::ALL
            .into_iter()
            .map(|table| {
                self.property(table, "rocksdb.total-sst-files-size")
                    + self.property(table, "rocksdb.cur-size-all-mem-tables")
            })
            .sum()
    }

    /// Merges the files of the table `Events` below a revision. Blocking; reads and writes go on.
    pub fn merge_events(&self, before: Revision) {
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        let upper = keys::event_key(before, 0);
        self.db
            .compact_range_cf_opt(self.family(Table::Events), None::<&[u8]>, Some(upper), &options);
    }

    fn property(&self, table: Table, name: &str) -> u64 {
        let found = self.db.property_int_value_cf(self.family(table), name);
        found.ok().flatten().unwrap_or(0)
    }

    fn family(&self, table: Table) -> &ColumnFamily {
        family(&self.db, table)
    }
}

fn family(db: &DB, table: Table) -> &ColumnFamily {
    db.cf_handle(family_name(table))
        .expect("every table's column family is made when the database is opened")
}

fn family_name(table: Table) -> &'static str {
    match table {
        // RocksDB insists on a family of this name.
        Table::Meta => "default",
        Table::Data => "data",
        Table::Events => "events",
        Table::Leases => "leases",
        Table::LeaseKeys => "lease-keys",
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_atomic_flush(true);
    options.set_max_background_jobs(2);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_keep_log_file_num(LOG_FILES_KEPT);
    options.set_max_log_file_size(LOG_FILE_BYTES);
    options.set_log_level(LogLevel::Warn);
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_bytes_per_sync(FILE_SYNC_BYTES);
    options.set_ratelimiter(BACKGROUND_WRITE_BYTES_PER_SECOND, RATE_REFILL_US, RATE_FAIRNESS);
    options
}

fn family_options(table: Table, cache: &Cache, write_buffer_bytes: usize) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(BLOCK_BYTES);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // In parts: the whole index of a large file is more than a shard of the cache holds, and would be unpacked for each read.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_zero_file_num_compaction_trigger(FILES_BEFORE_MERGE);
    options.set_level_compaction_dynamic_level_bytes(true);
    // Where much was removed, the files are merged without anybody writing there again.
    options.add_compact_on_deletion_collector_factory(DELETIONS_WINDOW, DELETIONS_TRIGGER, DELETIONS_RATIO);
    match table {
        Table::Data => {
            options.set_write_buffer_size(write_buffer_bytes);
            options.set_prefix_extractor(SliceTransform::create("trireme.user-key", user_key, Some(has_user_key)));
            options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
            blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
            blocks.set_whole_key_filtering(false);
            // In the last level, where nearly all is, nearly every key that is looked for is there: those that live are known.
            options.set_optimize_filters_for_hits(true);
        }
        Table::Meta | Table::Events | Table::Leases | Table::LeaseKeys => {
            options.set_write_buffer_size(write_buffer_bytes / SMALL_TABLE_SHARE);
        }
    }
    options.set_block_based_table_factory(&blocks);
    options
}

fn user_key(data_key: &[u8]) -> &[u8] {
    keys::escaped_len(data_key).map_or(data_key, |length| &data_key[..length])
}

fn has_user_key(data_key: &[u8]) -> bool {
    keys::escaped_len(data_key).is_some()
}

fn io(doing: &'static str) -> impl FnOnce(rocksdb::Error) -> StorageError {
    move |source| StorageError::Io {
        doing,
        source: Box::new(source),
    }
}

impl Storage for RocksStorage {
    type Snapshot<'a> = RocksSnapshot<'a>;

    fn snapshot(&self) -> RocksSnapshot<'_> {
        RocksSnapshot {
            db: &self.db,
            snapshot: self.db.snapshot(),
        }
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StorageError> {
        let mut writes =
            rocksdb::WriteBatch::with_capacity_bytes(batch.bytes() + batch.writes.len() * ROW_OVERHEAD_BYTES);
        for write in batch.writes {
            match write {
                Write::Put { table, key, value } => writes.put_cf(self.family(table), key, value),
                Write::Delete { table, key } => writes.delete_cf(self.family(table), key),
                Write::DeleteRange { table, from, to } => writes.delete_range_cf(self.family(table), from, to),
            }
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(writes, &options).map_err(io("writing a batch"))
    }
}

/// A view of a [`RocksStorage`].
pub struct RocksSnapshot<'a> {
    db: &'a DB,
    snapshot: Snapshot<'a>,
}

impl std::fmt::Debug for RocksSnapshot<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RocksSnapshot").finish_non_exhaustive()
    }
}

impl StorageRead for RocksSnapshot<'_> {
    type Cursor<'c>
        = RocksCursor<'c>
    where
        Self: 'c;

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let found = self
            .snapshot
            .get_pinned_cf_opt(family(self.db, table), key, ReadOptions::default());
        Ok(found
            .map_err(io("reading a key"))?
            .map(|value| Bytes::copy_from_slice(&value)))
    }

    fn cursor(&self, table: Table, access: Access) -> RocksCursor<'_> {
        let mut options = ReadOptions::default();
        match access {
            Access::Ordered { upper } => {
                options.set_total_order_seek(true);
                if let Some(upper) = upper {
                    options.set_iterate_upper_bound(upper);
                }
            }
            Access::OneKey => options.set_prefix_same_as_start(true),
        }
        RocksCursor {
            iterator: self.snapshot.raw_iterator_cf_opt(family(self.db, table), options),
        }
    }
}

/// A cursor of a [`RocksSnapshot`].
pub struct RocksCursor<'a> {
    iterator: DBRawIterator<'a>,
}

impl std::fmt::Debug for RocksCursor<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RocksCursor")
            .field("valid", &self.iterator.valid())
            .finish()
    }
}

impl RocksCursor<'_> {
    /// An iterator that is not valid has come to its end or has failed: only its status tells which.
    fn check(&self) -> Result<(), StorageError> {
        if self.iterator.valid() {
            Ok(())
        } else {
            self.iterator.status().map_err(io("moving a cursor"))
        }
    }
}

impl Cursor for RocksCursor<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<(), StorageError> {
        self.iterator.seek(key);
        self.check()
    }

    fn next(&mut self) -> Result<(), StorageError> {
        if !self.iterator.valid() {
            return Ok(());
        }
        self.iterator.next();
        self.check()
    }

    fn entry(&self) -> Option<(&[u8], &[u8])> {
        self.iterator.item()
    }
}
