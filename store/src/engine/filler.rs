//! Fills the index of live keys when a state is opened, beside everything else: nobody waits for it.

use std::sync::Arc;
use std::thread::JoinHandle;

use trireme_mvcc::index::Filling;
use trireme_mvcc::recall::Recall;
use trireme_mvcc::storage::{Storage, StorageError};

use super::backend::Backend;

/// A filling that is under way, or done. Dropping it ends it, and waits for its thread: none may be in the database when the
/// process ends.
#[derive(Debug)]
pub(super) struct Filler {
    recall: Arc<Recall>,
    filling: Filling,
    thread: Option<JoinHandle<()>>,
}

impl Filler {
    /// Begins to fill. In memory it is done at once, so that simulations are the same each time.
    pub(super) fn start(storage: &Arc<Backend>, recall: &Arc<Recall>) -> Result<Self, StorageError> {
        let filling = recall.index.filling();
        let mut filler = Self {
            recall: Arc::clone(recall),
            filling,
            thread: None,
        };
        if !storage.is_on_disk() {
            recall.index.fill(filling, &storage.snapshot())?;
            return Ok(filler);
        }
        let (storage, recall) = (Arc::clone(storage), Arc::clone(recall));
        let fill = move || match recall.index.fill(filling, &storage.snapshot()) {
            Ok(true) => tracing::debug!("the index of keys is filled"),
            Ok(false) => {}
            // Reads meet the same failure, and end the process for it.
            Err(error) => tracing::error!(%error, "the index of keys cannot be filled"),
        };
        match std::thread::Builder::new().name("key-index".to_owned()).spawn(fill) {
            Ok(thread) => filler.thread = Some(thread),
            Err(error) => tracing::warn!(%error, "the index of keys is not filled: reads will be slower"),
        }
        Ok(filler)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if !thread.is_finished() {
            self.recall.index.give_up(self.filling);
        }
        if thread.join().is_err() {
            tracing::error!("the filling of the index of keys panicked");
        }
    }
}
