//! The hub: takes in what was applied, wakes those who wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use trireme_mvcc::machine::{Applied, Change};
use trireme_mvcc::types::{KeyRange, Revision};

use super::cursor::Cursor;
use super::interest::Interest;
use super::window::{Found, Window, WindowLimits};
use crate::engine::Engine;
use crate::engine::limits::PROGRESS_PERIOD;
use crate::kv::{KvError, WatchRequest, Watcher};

/// See [the module](super).
#[derive(Debug)]
pub struct Hub {
    engine: Arc<Engine>,
    shared: Mutex<Shared>,
    /// The revision that is applied and told to watchers.
    applied: watch::Sender<Revision>,
    pace: Arc<Pace>,
    paced: AtomicBool,
}

#[derive(Debug)]
struct Shared {
    window: Window,
    interest: Interest,
}

/// Tells quiet watchers about progress, now and then.
#[derive(Debug)]
struct Pace {
    advanced: Notify,
    progress: watch::Sender<Revision>,
    closed: CancellationToken,
}

impl Hub {
    /// A hub over `engine`, at its present revision.
    pub fn new(engine: Arc<Engine>) -> Arc<Self> {
        Self::with_limits(engine, WindowLimits::default())
    }

    pub(super) fn with_limits(engine: Arc<Engine>, limits: WindowLimits) -> Arc<Self> {
        let revision = engine.revision();
        let shared = Shared {
            window: Window::new(limits, revision),
            interest: Interest::default(),
        };
        let pace = Pace {
            advanced: Notify::new(),
            progress: watch::Sender::new(revision),
            closed: CancellationToken::new(),
        };
        Arc::new(Self {
            engine,
            shared: Mutex::new(shared),
            applied: watch::Sender::new(revision),
            pace: Arc::new(pace),
            paced: AtomicBool::new(false),
        })
    }

    /// Takes in an applied chunk. To be called after each, in order, by the one who applies.
    pub fn publish(&self, applied: &Applied) {
        if applied.changes.is_empty() {
            return;
        }
        {
            let mut shared = self.lock();
            for change in &applied.changes {
                shared.window.push(Arc::new(change.clone()));
            }
            shared.interest.ring(
                applied
                    .changes
                    .iter()
                    .flat_map(|change| &change.events)
                    .map(|event| &event.kv.key),
            );
        }
        self.applied.send_replace(applied.revision);
        self.pace.advanced.notify_one();
    }

    /// The engine's state was replaced: starts anew from it. Watchers go on from its history.
    pub fn reset(&self) {
        let revision = self.engine.revision();
        {
            let mut shared = self.lock();
            shared.window.reset(revision);
            shared.interest.ring_all();
        }
        self.applied.send_replace(revision);
        self.pace.advanced.notify_one();
    }

    /// Ends all watches and waits, with [`KvError::Stopped`].
    pub fn close(&self) {
        self.pace.closed.cancel();
    }

    /// The revision that is applied, and that watchers can see.
    pub fn applied_revision(&self) -> Revision {
        *self.applied.borrow()
    }

    /// Waits until `revision` is applied.
    ///
    /// # Errors
    /// [`KvError::Stopped`].
    pub async fn wait_applied(&self, revision: Revision) -> Result<(), KvError> {
        let mut applied = self.applied.subscribe();
        tokio::select! {
            biased;
            () = self.pace.closed.cancelled() => Err(stopped()),
            reached = applied.wait_for(|applied| *applied >= revision) => match reached {
                Ok(_) => Ok(()),
                Err(_) => Err(stopped()),
            },
        }
    }

    /// Begins a watch. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`KvError::Compacted`] if the start is gone, [`KvError::Invalid`] if it is negative, [`KvError::Stopped`].
    pub fn watch(self: &Arc<Self>, request: WatchRequest) -> Result<Box<dyn Watcher>, KvError> {
        Ok(Box::new(self.cursor(request)?))
    }

    pub(super) fn cursor(self: &Arc<Self>, request: WatchRequest) -> Result<Cursor, KvError> {
        let WatchRequest { range, start_revision } = request;
        if self.pace.closed.is_cancelled() {
            return Err(stopped());
        }
        if start_revision < 0 {
            return Err(KvError::Invalid(format!(
                "a watch cannot start at revision {start_revision}"
            )));
        }
        let oldest = self.engine.compacted_revision();
        if start_revision > 0 && start_revision < oldest {
            return Err(KvError::Compacted {
                requested: start_revision,
                oldest,
            });
        }
        self.start_pacing();
        let (bell, revision) = {
            let mut shared = self.lock();
            (shared.interest.add(&range), shared.window.revision())
        };
        let start = if start_revision == 0 {
            revision + 1
        } else {
            start_revision
        };
        Ok(Cursor::new(
            Arc::clone(self),
            range,
            start,
            bell,
            self.pace.progress.subscribe(),
        ))
    }

    pub(super) fn changes_from(&self, next: Revision, max: usize) -> Found {
        self.lock().window.from(next, max)
    }

    /// The history of a range, as a chunk of bounded size, and the first revision after it.
    pub(super) async fn history(
        &self,
        range: &KeyRange,
        start: Revision,
        end: Revision,
    ) -> Result<(Vec<Change>, Revision), KvError> {
        let chunk = self.engine.read_history(range.clone(), start, end).await?;
        Ok((chunk.changes, chunk.next_revision))
    }

    pub(super) fn forget(&self, range: &KeyRange) {
        self.lock().interest.remove(range);
    }

    pub(super) fn closed(&self) -> &CancellationToken {
        &self.pace.closed
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the task that paces progress, with the first watch.
    fn start_pacing(&self) {
        if self.paced.swap(true, Ordering::Relaxed) {
            return;
        }
        let (pace, applied) = (Arc::clone(&self.pace), self.applied.subscribe());
        tokio::spawn(pace_progress(pace, applied));
    }

    #[cfg(test)]
    pub(super) fn groups(&self) -> usize {
        self.lock().interest.groups()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.close();
    }
}

/// After the store has advanced: waits a little, so that many revisions make one mark, then gives it.
async fn pace_progress(pace: Arc<Pace>, applied: watch::Receiver<Revision>) {
    let rounds = async {
        loop {
            pace.advanced.notified().await;
            tokio::time::sleep(PROGRESS_PERIOD).await;
            pace.progress.send_replace(*applied.borrow());
        }
    };
    tokio::select! {
        biased;
        () = pace.closed.cancelled() => {}
        () = rounds => {}
    }
}

pub(super) fn stopped() -> KvError {
    KvError::Stopped("the store is shutting down".into())
}
