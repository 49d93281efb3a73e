//! A view of the state that is held for as long as it is needed, and can be exported more than once.
//!
//! Two exports of one view give the same bytes, so an export that broke off can go on from where it was.

use std::io::Write;

use trireme_mvcc::meta::State;
use trireme_mvcc::snapshot::{Exporter, SnapshotHeader};
use trireme_mvcc::storage::Storage;

use super::backend::BackendSnapshot;
use super::error::EngineError;
use super::replica::Engine;

/// A view that does not change.
#[derive(Debug)]
pub struct Pinned<'a> {
    snapshot: BackendSnapshot<'a>,
    header: SnapshotHeader,
}

impl Engine {
    /// Pins the present state for the time of `work`. Whatever is applied meanwhile is not in it; nobody waits for it.
    ///
    /// # Errors
    /// [`EngineError::Storage`], fatal.
    pub fn pinned<T>(&self, work: impl FnOnce(&Pinned<'_>) -> T) -> Result<T, EngineError> {
        let storage = self.storage();
        let snapshot = storage.snapshot();
        let header = SnapshotHeader::from(&State::load(&snapshot)?);
        Ok(work(&Pinned { snapshot, header }))
    }
}

impl Engine {
    /// About how large an export would be, in bytes; 0 if that is not known.
    pub fn estimated_bytes(&self) -> u64 {
        self.storage().estimated_bytes()
    }
}

impl Pinned<'_> {
    /// What the view is of.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// Writes the whole view. Blocking.
    ///
    /// # Errors
    /// [`EngineError::Storage`], fatal; [`EngineError::Stream`].
    pub fn export(&self, writer: &mut impl Write) -> Result<(), EngineError> {
        let mut exporter = Exporter::new(&self.snapshot)?;
        while let Some(chunk) = exporter.next_chunk()? {
            writer.write_all(&chunk).map_err(EngineError::Stream)?;
        }
        writer.flush().map_err(EngineError::Stream)
    }
}
