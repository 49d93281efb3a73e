//! How a watcher that has nothing to do is woken: a bell of its own, which remembers that it was rung.
//!
//! It also remembers since when there is something: whatever happened before that revision did not concern the
//! watcher, so it need not look at it. A watcher of quiet keys thereby passes over any amount of other changes.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;
use trireme_mvcc::types::Revision;

/// Not rung.
const SILENT: Revision = Revision::MAX;

/// See the module.
#[derive(Debug)]
pub(super) struct Bell {
    /// The first revision that concerns the watcher since it last took this.
    since: AtomicI64,
    /// The first revision that the watcher has not looked at; [`SILENT`] while it waits to be rung for.
    position: AtomicI64,
    notify: Notify,
}

impl Default for Bell {
    fn default() -> Self {
        Self {
            since: AtomicI64::new(SILENT),
            position: AtomicI64::new(SILENT),
            notify: Notify::new(),
        }
    }
}

impl Bell {
    /// Something happened in `revision`.
    pub(super) fn ring(&self, revision: Revision) {
        if self.since.fetch_min(revision, Ordering::AcqRel) > revision {
            self.notify.notify_one();
        }
    }

    /// Waits until it rings, or has rung since the last wait. May also return for nothing.
    pub(super) async fn rung(&self) {
        self.notify.notified().await;
    }

    /// Says where the watcher stands: the first revision that it has not looked at; `None` once it has nothing more to
    /// look at, and waits.
    pub(super) fn stand_at(&self, position: Option<Revision>) {
        self.position.store(position.unwrap_or(SILENT), Ordering::Relaxed);
    }

    /// Whether there is something from before `first` that the watcher has not looked at.
    pub(super) fn is_behind(&self, first: Revision) -> bool {
        let position = self.position.load(Ordering::Relaxed);
        let next = if position == SILENT {
            self.since.load(Ordering::Relaxed)
        } else {
            // What it was rung for meanwhile lies behind it, or ahead.
            position
        };
        next < first
    }

    /// The first revision that concerns the watcher since the last call, if there was one.
    pub(super) fn take(&self) -> Option<Revision> {
        Some(self.since.swap(SILENT, Ordering::AcqRel)).filter(|since| *since != SILENT)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn knows_who_is_behind() {
        let bell = Bell::default();
        assert!(!bell.is_behind(Revision::MAX), "it has nothing to look at");
        bell.stand_at(Some(7));
        assert!(!bell.is_behind(7) && bell.is_behind(8));
        bell.ring(5);
        assert!(!bell.is_behind(7), "it has passed that already");
        bell.take();
        bell.stand_at(None);
        assert!(!bell.is_behind(8));
        bell.ring(9);
        assert!(!bell.is_behind(9) && bell.is_behind(10));
    }

    #[test]
    fn remembers_the_first_of_what_happened() {
        let bell = Bell::default();
        assert_eq!(bell.take(), None);
        assert!(bell.rung().now_or_never().is_none());
        bell.ring(7);
        bell.ring(9);
        bell.ring(5);
        assert!(bell.rung().now_or_never().is_some());
        assert_eq!(bell.take(), Some(5));
        assert_eq!(bell.take(), None);
        bell.ring(11);
        assert!(bell.rung().now_or_never().is_some());
        assert_eq!(bell.take(), Some(11));
    }
}
