//! What a state in memory leaves when its process ends, as a state on disk would: what was flushed, and no more.
//!
//! A database also flushes by itself, when its memory is full; a flush is always of one moment. So a simulated
//! restart finds the state of some moment at or after the last flush that was asked for, never half of a batch.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use trireme_mvcc::memory::MemorySnapshot;

/// The state that the next process of a simulated server finds.
pub struct Kept(Mutex<Inner>);

struct Inner {
    state: Option<MemorySnapshot>,
    /// Says after each write whether the state is flushed by itself.
    flushes_by_itself: Box<dyn FnMut() -> bool + Send>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Kept {
    /// Nothing yet. `flushes_by_itself` is asked after each write.
    pub fn new(flushes_by_itself: impl FnMut() -> bool + Send + 'static) -> Self {
        Self(Mutex::new(Inner {
            state: None,
            flushes_by_itself: Box::new(flushes_by_itself),
        }))
    }

    /// What there is.
    pub(crate) fn state(&self) -> Option<MemorySnapshot> {
        self.lock().state.clone()
    }

    /// A flush was asked for.
    pub(crate) fn flush(&self, state: MemorySnapshot) {
        self.lock().state = Some(state);
    }

    /// Something was written.
    pub(crate) fn written(&self, state: impl FnOnce() -> MemorySnapshot) {
        let mut inner = self.lock();
        if (inner.flushes_by_itself)() {
            inner.state = Some(state());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
