//! The ordered byte store that the state machine stands on, as a trait.
//!
//! Not a general database interface: a few tables, atomic batches, consistent views and forward
//! cursors are all that is needed. Its implementations live in [`crate::memory`] and, on RocksDB, in the
//! store's engine; both pass one conformance suite there.

use bytes::Bytes;

/// A boxed cause of a storage failure.
pub type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The storage failed or holds what it cannot hold. Always fatal to the server: never skipped or retried.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The device or the library below reported an error.
    #[error("storage failed while {doing}")]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// What was reported.
        #[source]
        source: Source,
    },
    /// What was read cannot have been written by us.
    #[error("storage is corrupt: {0}")]
    Corrupt(String),
}

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The state of the machine itself: see [`crate::meta`].
    Meta,
    /// Every version of every key, newest version of a key first: see [`crate::keys`].
    Data,
    /// Which key changed at which revision: see [`crate::keys`].
    Events,
    /// The leases: see [`crate::lease`].
    Leases,
    /// Which keys are attached to which lease: see [`crate::keys`].
    LeaseKeys,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 5] = [Self::Meta, Self::Data, Self::Events, Self::Leases, Self::LeaseKeys];
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Stores a value.
    Put {
        /// Where.
        table: Table,
        /// Its key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// Removes a key, which need not exist.
    Delete {
        /// Where.
        table: Table,
        /// The key.
        key: Vec<u8>,
    },
    /// Removes all keys from `from` up to and without `to`.
    DeleteRange {
        /// Where.
        table: Table,
        /// The first.
        from: Vec<u8>,
        /// The first that stays.
        to: Vec<u8>,
    },
}

impl Write {
    /// The size of its keys and value, in bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::Put { table: _, key, value } => key.len() + value.len(),
            Self::Delete { table: _, key } => key.len(),
            Self::DeleteRange { table: _, from, to } => from.len() + to.len(),
        }
    }
}

/// Writes that happen all or not at all.
#[derive(Debug, Default)]
pub struct WriteBatch {
    /// The writes, in order.
    pub writes: Vec<Write>,
    bytes: usize,
}

impl WriteBatch {
    /// Adds a put.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        self.writes.push(Write::Put { table, key, value });
    }

    /// Adds a removal.
    pub fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.bytes += key.len();
        self.writes.push(Write::Delete { table, key });
    }

    /// Adds the removal of all keys from `from` up to and without `to`. It costs the same however many they are.
    pub fn delete_range(&mut self, table: Table, from: Vec<u8>, to: Vec<u8>) {
        self.bytes += from.len() + to.len();
        self.writes.push(Write::DeleteRange { table, from, to });
    }

    /// The number of writes.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Keeps the first `count` writes and forgets the others.
    pub fn truncate(&mut self, count: usize) {
        for write in self.writes.drain(count.min(self.writes.len())..) {
            self.bytes -= write.bytes();
        }
    }

    /// The size of all keys and values, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// How a cursor will be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// In the order of keys, up to and without `upper`.
    Ordered {
        /// The first key that is out of interest; `None` for no bound.
        upper: Option<Vec<u8>>,
    },
    /// Seeks that ask only for the versions of one user key, in [`Table::Data`]. After a seek the cursor may end
    /// at the first key that belongs to another user key, or go on to it. Allows filters that make a miss cheap.
    OneKey,
}

/// An ordered byte store.
pub trait Storage: Send + Sync + 'static {
    /// A consistent view, cheap to make, that later writes do not change.
    type Snapshot<'a>: StorageRead
    where
        Self: 'a;

    /// Takes a view of the present state.
    fn snapshot(&self) -> Self::Snapshot<'_>;

    /// Carries out a batch atomically.
    ///
    /// # Errors
    /// [`StorageError::Io`], fatal.
    fn write(&self, batch: WriteBatch) -> Result<(), StorageError>;
}

/// A consistent view of a [`Storage`].
pub trait StorageRead {
    /// See [`Cursor`].
    type Cursor<'a>: Cursor
    where
        Self: 'a;

    /// Reads one key.
    ///
    /// # Errors
    /// [`StorageError`], fatal.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// Opens a cursor, which points nowhere until its first seek.
    fn cursor(&self, table: Table, access: Access) -> Self::Cursor<'_>;
}

/// A position in a table of a view.
pub trait Cursor {
    /// Goes to the first key at or after `key`.
    ///
    /// # Errors
    /// [`StorageError`], fatal.
    fn seek(&mut self, key: &[u8]) -> Result<(), StorageError>;

    /// Goes to the next key; does nothing at the end.
    ///
    /// # Errors
    /// [`StorageError`], fatal.
    fn next(&mut self) -> Result<(), StorageError>;

    /// The key and value here; `None` at the end.
    fn entry(&self) -> Option<(&[u8], &[u8])>;
}
