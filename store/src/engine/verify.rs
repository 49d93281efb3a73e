//! Whether a snapshot could be installed, found out without installing it.
//!
//! An installation that fails ends the server, as every failure of its state does. So a snapshot that came from elsewhere is
//! checked first: one that is damaged is then refused, and the server goes on.

use std::io::Read;

use trireme_mvcc::memory::{MemorySnapshot, MemoryStorage};
use trireme_mvcc::snapshot::SnapshotHeader;
use trireme_mvcc::storage::{Storage, StorageError, WriteBatch};

use super::error::EngineError;
use super::replica::pour;

/// A storage that keeps nothing of what is written to it.
#[derive(Debug, Default)]
struct Nowhere(MemoryStorage);

impl Storage for Nowhere {
    type Snapshot<'a> = MemorySnapshot;

    fn snapshot(&self) -> MemorySnapshot {
        self.0.snapshot()
    }

    fn write(&self, _batch: WriteBatch) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Reads a whole snapshot, and checks all of it.
///
/// # Errors
/// [`EngineError`] says what is wrong with it.
pub fn verify_snapshot(reader: &mut impl Read) -> Result<SnapshotHeader, EngineError> {
    pour(&Nowhere::default(), reader)
}
