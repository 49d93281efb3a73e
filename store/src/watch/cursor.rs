//! One watcher: a position in the history of a range.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use trireme_mvcc::history::event_bytes;
use trireme_mvcc::types::{Event, KeyRange, Revision};

use super::hub::{Hub, Subscriber, stopped};
use super::shared::SharedChange;
use super::window::Found;
use crate::engine::limits::{PROGRESS_PERIOD, WATCH_BATCH_BYTES, WATCH_STEP_REVISIONS};
use crate::kv::{KvError, WatchBatch, Watcher};

/// See the module. Dropping a future of [`next`](Watcher::next) loses nothing.
#[derive(Debug)]
pub(super) struct Cursor {
    hub: Arc<Hub>,
    range: KeyRange,
    /// The first revision that was not looked at.
    next: Revision,
    /// The progress that the reader knows of.
    told: Revision,
    subscriber: Subscriber,
    progress: watch::Receiver<Revision>,
}

impl Cursor {
    pub(super) fn new(
        hub: Arc<Hub>,
        range: KeyRange,
        start: Revision,
        subscriber: Subscriber,
        progress: watch::Receiver<Revision>,
    ) -> Self {
        Self {
            hub,
            range,
            next: start,
            told: start - 1,
            subscriber,
            progress,
        }
    }

    /// Looks at what there is between the cursor and the present; a batch if there is something in the range.
    async fn advance(&mut self) -> Result<Step, KvError> {
        self.subscriber.bell().stand_at(Some(self.next));
        let take = |changes: &mut dyn Iterator<Item = &Arc<SharedChange>>| Taken::of(changes, &self.range, self.next);
        match self.hub.look_from(self.next, WATCH_STEP_REVISIONS, take) {
            Found::Nothing => Ok(Step::CaughtUp),
            Found::Changes(taken) => Ok(self.pass(taken)),
            Found::History(end) => {
                let (changes, behind) = self
                    .hub
                    .history(self.subscriber.flow(), &self.range, self.next, end, WATCH_BATCH_BYTES)
                    .await?;
                let mut taken = Taken::of(&mut changes.iter(), &self.range, self.next);
                if !taken.is_cut {
                    taken.next = behind;
                }
                Ok(self.pass(taken))
            }
        }
    }

    /// Moves past what was taken.
    fn pass(&mut self, taken: Taken) -> Step {
        self.next = taken.next;
        if taken.events.is_empty() {
            return Step::Moved;
        }
        self.told = self.next - 1;
        self.subscriber.bell().stand_at(Some(self.next));
        self.hub.metrics().sent.add(taken.events.len() as u64);
        Step::Batch(WatchBatch {
            events: taken.events,
            progress: self.told,
        })
    }

    /// The mark of what was looked at but not yet told; `None` if everything was.
    fn mark(&mut self) -> Option<WatchBatch> {
        let progress = self.next - 1;
        (progress > self.told).then(|| {
            self.told = progress;
            WatchBatch {
                events: Vec::new(),
                progress,
            }
        })
    }
}

/// The events of a range out of some changes.
struct Taken {
    events: Vec<Arc<Event>>,
    /// The first revision that was not looked at.
    next: Revision,
    /// There were more changes than a batch may have.
    is_cut: bool,
}

impl Taken {
    fn of(changes: &mut dyn Iterator<Item = &Arc<SharedChange>>, range: &KeyRange, next: Revision) -> Self {
        let mut taken = Self {
            events: Vec::new(),
            next,
            is_cut: false,
        };
        let mut bytes = 0;
        for change in changes {
            // Only between revisions (I3).
            if bytes >= WATCH_BATCH_BYTES {
                taken.is_cut = true;
                break;
            }
            for event in change.events.iter().filter(|event| range.contains(&event.kv.key)) {
                bytes += event_bytes(event);
                taken.events.push(Arc::clone(event));
            }
            taken.next = change.revision + 1;
        }
        taken
    }
}

enum Step {
    Batch(WatchBatch),
    /// Nothing in the range, but there may be more.
    Moved,
    CaughtUp,
}

/// What ended a wait.
enum Woken {
    Rung,
    ProgressDue,
    Closed,
}

#[async_trait]
impl Watcher for Cursor {
    async fn next(&mut self) -> Result<WatchBatch, KvError> {
        let mut due = false;
        loop {
            if self.hub.closed().is_cancelled() {
                return Err(stopped());
            }
            match self.advance().await? {
                Step::Batch(batch) => return Ok(batch),
                Step::Moved => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Step::CaughtUp => self.subscriber.bell().stand_at(None),
            }
            if due && let Some(mark) = self.mark() {
                return Ok(mark);
            }
            // What was passed without a word on the way here is told after a while, also if nothing happens any more.
            let untold = self.next - 1 > self.told;
            // A hub that closes rings, too.
            let woken = tokio::select! {
                biased;
                () = self.subscriber.bell().rung() => Woken::Rung,
                changed = self.progress.changed() => if changed.is_ok() { Woken::ProgressDue } else { Woken::Closed },
                () = tokio::time::sleep(PROGRESS_PERIOD), if untold => Woken::ProgressDue,
            };
            match woken {
                // Nothing before that revision is in the range, and all up to `next` was looked at.
                Woken::Rung => {
                    if let Some(since) = self.subscriber.bell().take() {
                        self.next = self.next.max(since);
                    }
                }
                Woken::ProgressDue => due = true,
                Woken::Closed => return Err(stopped()),
            }
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.subscriber.remove(&self.range);
    }
}
