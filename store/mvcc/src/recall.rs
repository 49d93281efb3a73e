//! What of the state is kept in memory beside the storage, so that neither a write nor a read must search there for what is
//! asked all the time. It is never more than what the storage says, and may be less.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::index::Index;
use crate::types::Revision;

/// See the module.
#[derive(Debug)]
pub struct Recall {
    /// All keys that live, and the newest versions of those used last.
    pub index: Index,
    /// The revision that the storage holds, or is about to hold.
    stored: AtomicI64,
}

impl Recall {
    /// Knows nothing, and will keep up to so many bytes of versions.
    pub fn new(kept_bytes: usize) -> Self {
        Self {
            index: Index::new(kept_bytes),
            stored: AtomicI64::new(0),
        }
    }

    /// The revision that the storage holds, or is about to hold. While it is beyond the state that is known here, the storage
    /// must be asked: somebody may have read there what is not known here yet, and must not go back behind it.
    pub fn stored(&self) -> Revision {
        self.stored.load(Ordering::SeqCst)
    }

    /// A chunk is about to be stored that leads to a revision.
    pub(crate) fn will_store(&self, revision: Revision) {
        self.stored.store(revision, Ordering::SeqCst);
    }

    /// Forgets everything: the state is another one, of revision `revision`.
    pub(crate) fn begin(&self, revision: Revision) {
        self.index.begin(revision);
        self.will_store(revision);
    }
}
