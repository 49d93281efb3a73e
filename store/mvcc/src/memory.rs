//! The storage in memory: ordered maps behind one lock, for tests and simulation.
//!
//! A view shares the maps; the first write after it, while it lives, copies them. That is simple and
//! exact, and cheap as long as views are short.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use crate::storage::{Access, Cursor, Storage, StorageError, StorageRead, Table, Write, WriteBatch};

type Map = BTreeMap<Vec<u8>, Bytes>;

/// The maps of the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tables {
    meta: Map,
    data: Map,
    events: Map,
    leases: Map,
    lease_keys: Map,
}

impl Tables {
    fn of(&self, table: Table) -> &Map {
        match table {
            Table::Meta => &self.meta,
            Table::Data => &self.data,
            Table::Events => &self.events,
            Table::Leases => &self.leases,
            Table::LeaseKeys => &self.lease_keys,
        }
    }

    fn of_mut(&mut self, table: Table) -> &mut Map {
        match table {
            Table::Meta => &mut self.meta,
            Table::Data => &mut self.data,
            Table::Events => &mut self.events,
            Table::Leases => &mut self.leases,
            Table::LeaseKeys => &mut self.lease_keys,
        }
    }
}

/// A storage in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    tables: RwLock<Arc<Tables>>,
}

impl MemoryStorage {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
}

/// A view of a [`MemoryStorage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemorySnapshot {
    tables: Arc<Tables>,
}

impl From<MemorySnapshot> for MemoryStorage {
    /// A storage that goes on from a view.
    fn from(view: MemorySnapshot) -> Self {
        Self {
            tables: RwLock::new(view.tables),
        }
    }
}

impl Storage for MemoryStorage {
    type Snapshot<'a> = MemorySnapshot;

    fn snapshot(&self) -> MemorySnapshot {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        MemorySnapshot {
            tables: Arc::clone(&tables),
        }
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StorageError> {
        let mut shared = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let tables = Arc::make_mut(&mut shared);
        for write in batch.writes {
            match write {
                Write::Put { table, key, value } => {
                    tables.of_mut(table).insert(key, value.into());
                }
                Write::Delete { table, key } => {
                    tables.of_mut(table).remove(&key);
                }
                Write::DeleteRange { table, from, to } => {
                    let map = tables.of_mut(table);
                    if from < to {
                        let mut kept = map.split_off(&from);
                        map.append(&mut kept.split_off(&to));
                    }
                }
            }
        }
        Ok(())
    }
}

impl StorageRead for MemorySnapshot {
    type Cursor<'a> = MemoryCursor<'a>;

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.tables.of(table).get(key).cloned())
    }

    fn cursor(&self, table: Table, access: Access) -> MemoryCursor<'_> {
        let upper = match access {
            Access::Ordered { upper } => upper,
            Access::OneKey => None,
        };
        let map = self.tables.of(table);
        MemoryCursor {
            map,
            upper,
            rest: btree_map::Range::default(),
            here: None,
        }
    }
}

/// A cursor of a [`MemorySnapshot`].
#[derive(Debug)]
pub struct MemoryCursor<'a> {
    map: &'a Map,
    upper: Option<Vec<u8>>,
    rest: btree_map::Range<'a, Vec<u8>, Bytes>,
    here: Option<(&'a [u8], &'a [u8])>,
}

impl MemoryCursor<'_> {
    fn step(&mut self) {
        let next = self
            .rest
            .next()
            .filter(|(key, _)| self.upper.as_ref().is_none_or(|upper| *key < upper));
        self.here = next.map(|(key, value)| (key.as_slice(), value.as_ref()));
    }
}

impl Cursor for MemoryCursor<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<(), StorageError> {
        self.rest = self.map.range::<[u8], _>((Bound::Included(key), Bound::Unbounded));
        self.step();
        Ok(())
    }

    fn next(&mut self) -> Result<(), StorageError> {
        if self.here.is_some() {
            self.step();
        }
        Ok(())
    }

    fn entry(&self) -> Option<(&[u8], &[u8])> {
        self.here
    }
}
