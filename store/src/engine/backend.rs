//! The storage that an engine stands on: RocksDB, or memory, chosen when it is opened.

use std::sync::Arc;

use bytes::Bytes;
use trireme_mvcc::memory::{MemoryCursor, MemorySnapshot, MemoryStorage};
use trireme_mvcc::storage::{Access, Cursor, Storage, StorageError, StorageRead, Table, WriteBatch};
use trireme_mvcc::types::Revision;

use super::home::StateDir;
use super::kept::Kept;
use super::rocks::{RocksCursor, RocksSnapshot, RocksStorage};

/// One of our storages.
#[derive(Debug)]
pub struct Backend {
    // Before `dir`: the database is closed before its files are removed.
    kind: Kind,
    dir: Option<StateDir>,
}

#[derive(Debug)]
enum Kind {
    Rocks(Box<RocksStorage>),
    /// Where its flushes go, if it is to be found again.
    Memory(MemoryStorage, Option<Arc<Kept>>),
}

impl Backend {
    pub(crate) fn rocks(storage: RocksStorage, dir: StateDir) -> Self {
        Self {
            kind: Kind::Rocks(Box::new(storage)),
            dir: Some(dir),
        }
    }

    pub(crate) fn memory() -> Self {
        Self::of_memory(MemoryStorage::new(), None)
    }

    /// The state that `kept` holds, which its flushes go to.
    pub(crate) fn kept(kept: Arc<Kept>) -> Self {
        let storage = kept.state().map_or_else(MemoryStorage::new, MemoryStorage::from);
        Self::of_memory(storage, Some(kept))
    }

    fn of_memory(storage: MemoryStorage, kept: Option<Arc<Kept>>) -> Self {
        Self {
            kind: Kind::Memory(storage, kept),
            dir: None,
        }
    }

    /// From now on this state is the one that is found again.
    pub(crate) fn keep_in(&mut self, new: Arc<Kept>) {
        if let Kind::Memory(storage, kept) = &mut self.kind {
            new.flush(storage.snapshot());
            *kept = Some(new);
        }
    }

    /// Whether reads may touch a disk.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.dir.is_some()
    }

    /// Whether a write may have to wait for the disk.
    pub(crate) fn is_behind(&self) -> bool {
        match &self.kind {
            Kind::Rocks(storage) => storage.is_behind(),
            Kind::Memory(..) => false,
        }
    }

    /// Makes everything written so far durable.
    pub(crate) fn flush(&self) -> Result<(), StorageError> {
        match &self.kind {
            Kind::Rocks(storage) => storage.flush(),
            Kind::Memory(storage, kept) => {
                if let Some(kept) = kept {
                    kept.flush(storage.snapshot());
                }
                Ok(())
            }
        }
    }

    /// About how much it holds, in bytes.
    pub(crate) fn estimated_bytes(&self) -> u64 {
        match &self.kind {
            Kind::Rocks(storage) => storage.estimated_bytes(),
            Kind::Memory(..) => 0,
        }
    }

    /// What the database takes, in bytes: files and memory.
    pub(crate) fn database_bytes(&self) -> u64 {
        match &self.kind {
            Kind::Rocks(storage) => storage.database_bytes(),
            Kind::Memory(..) => 0,
        }
    }

    /// Merges the files of the index of changes below a revision, all of which was removed. Blocking.
    pub(crate) fn merge_events(&self, before: Revision) {
        match &self.kind {
            Kind::Rocks(storage) => storage.merge_events(before),
            Kind::Memory(..) => {}
        }
    }

    /// Removes the files once the last reader has gone.
    pub(crate) fn retire(&self) {
        if let Some(dir) = &self.dir {
            dir.retire();
        }
    }
}

impl Storage for Backend {
    type Snapshot<'a> = BackendSnapshot<'a>;

    fn snapshot(&self) -> BackendSnapshot<'_> {
        match &self.kind {
            Kind::Rocks(storage) => BackendSnapshot::Rocks(storage.snapshot()),
            Kind::Memory(storage, _) => BackendSnapshot::Memory(storage.snapshot()),
        }
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StorageError> {
        match &self.kind {
            Kind::Rocks(storage) => storage.write(batch),
            Kind::Memory(storage, kept) => {
                storage.write(batch)?;
                if let Some(kept) = kept {
                    kept.written(|| storage.snapshot());
                }
                Ok(())
            }
        }
    }
}

/// A view of a [`Backend`].
#[derive(Debug)]
pub enum BackendSnapshot<'a> {
    /// Of a database.
    Rocks(RocksSnapshot<'a>),
    /// Of memory.
    Memory(MemorySnapshot),
}

impl StorageRead for BackendSnapshot<'_> {
    type Cursor<'c>
        = BackendCursor<'c>
    where
        Self: 'c;

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        match self {
            Self::Rocks(snapshot) => snapshot.get(table, key),
            Self::Memory(snapshot) => snapshot.get(table, key),
        }
    }

    fn cursor(&self, table: Table, access: Access) -> BackendCursor<'_> {
        match self {
            Self::Rocks(snapshot) => BackendCursor::Rocks(snapshot.cursor(table, access)),
            Self::Memory(snapshot) => BackendCursor::Memory(snapshot.cursor(table, access)),
        }
    }
}

/// A cursor of a [`BackendSnapshot`].
#[derive(Debug)]
pub enum BackendCursor<'a> {
    /// Of a database.
    Rocks(RocksCursor<'a>),
    /// Of memory.
    Memory(MemoryCursor<'a>),
}

impl Cursor for BackendCursor<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<(), StorageError> {
        match self {
            Self::Rocks(cursor) => cursor.seek(key),
            Self::Memory(cursor) => cursor.seek(key),
        }
    }

    fn next(&mut self) -> Result<(), StorageError> {
        match self {
            Self::Rocks(cursor) => cursor.next(),
            Self::Memory(cursor) => cursor.next(),
        }
    }

    fn entry(&self) -> Option<(&[u8], &[u8])> {
        match self {
            Self::Rocks(cursor) => cursor.entry(),
            Self::Memory(cursor) => cursor.entry(),
        }
    }
}
