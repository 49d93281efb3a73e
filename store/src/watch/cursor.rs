//! One watcher: a position in the history of a range.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use trireme_mvcc::history::event_bytes;
use trireme_mvcc::types::{Event, KeyRange, Revision};

use super::hub::{Hub, Subscriber, stopped};
use super::shared::SharedChange;
use super::topics::About;
use super::window::Found;
use crate::engine::limits::{PROGRESS_PERIOD, WATCH_BATCH_BYTES, WATCH_STEP_REVISIONS};
use crate::kv::{KvError, WatchBatch, Watcher};

/// See the module. Dropping a future of [`next`](Watcher::next) loses nothing.
#[derive(Debug)]
pub(super) struct Cursor {
    hub: Arc<Hub>,
    range: KeyRange,
    /// What of it concerns the reader; `None` for all.
    about: Option<About>,
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
        about: Option<About>,
        start: Revision,
        subscriber: Subscriber,
        progress: watch::Receiver<Revision>,
    ) -> Self {
        Self {
            hub,
            range,
            about,
            next: start,
            told: start - 1,
            subscriber,
            progress,
        }
    }

    /// Looks at what there is between the cursor and the present; a batch if there is something in the range.
    async fn advance(&mut self) -> Result<Step, KvError> {
        self.subscriber.bell().stand_at(Some(self.next));
        let take = |changes: &mut dyn Iterator<Item = &Arc<SharedChange>>| self.take(changes);
        match self.hub.look_from(self.next, WATCH_STEP_REVISIONS, take) {
            Found::Nothing => Ok(Step::CaughtUp),
            Found::Changes(taken) => Ok(self.pass(taken)),
            Found::History(end) => {
                let (changes, behind) = self
                    .hub
                    .history(self.subscriber.flow(), &self.range, self.next, end, WATCH_BATCH_BYTES)
                    .await?;
                let mut taken = self.take(&mut changes.iter());
                if !taken.is_cut {
                    taken.next = behind;
                }
                Ok(self.pass(taken))
            }
        }
    }

    /// Takes what concerns the reader out of changes.
    fn take(&self, changes: &mut dyn Iterator<Item = &Arc<SharedChange>>) -> Taken {
        let is_wanted = |change: &SharedChange, place: usize| {
            let about = self.about.as_ref();
            self.range.contains(&change.events[place].kv.key) && about.is_none_or(|about| about.concerns(change, place))
        };
        Taken::of(changes, is_wanted, self.next)
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

    /// Passes over what does not concern the reader, of which nothing before `next` is left: up to what it was rung for or, if it
    /// was not, up to the revision `informed`, for which all whom it concerned had been rung before this was asked.
    fn pass_over(&mut self, informed: Revision) {
        let concerned = self.subscriber.bell().take();
        self.next = self.next.max(concerned.unwrap_or(informed + 1));
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

/// The events that are wanted out of some changes.
struct Taken {
    events: Vec<Arc<Event>>,
    /// The first revision that was not looked at.
    next: Revision,
    /// There were more changes than a batch may have.
    is_cut: bool,
}

impl Taken {
    fn of(
        changes: &mut dyn Iterator<Item = &Arc<SharedChange>>,
        is_wanted: impl Fn(&SharedChange, usize) -> bool,
        next: Revision,
    ) -> Self {
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
            for (place, event) in change.events.iter().enumerate() {
                if is_wanted(change, place) {
                    bytes += event_bytes(event);
                    taken.events.push(Arc::clone(event));
                }
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
            match self.advance().await? {
                Step::Batch(batch) => return Ok(batch),
                Step::Moved => {
                    tokio::task::yield_now().await;
                    continue;
                }
                // A hub that closes rings, too. It is not asked before: that takes a lock which all watchers share.
                Step::CaughtUp if self.hub.closed().is_cancelled() => return Err(stopped()),
                Step::CaughtUp => self.subscriber.bell().stand_at(None),
            }
            if due && let Some(mark) = self.mark() {
                return Ok(mark);
            }
            // What was passed without a word on the way here is told after a while, also if nothing happens any more.
            let untold = self.next - 1 > self.told;
            let woken = tokio::select! {
                biased;
                () = self.subscriber.bell().rung() => Woken::Rung,
                changed = self.progress.changed() => if changed.is_ok() { Woken::ProgressDue } else { Woken::Closed },
                () = tokio::time::sleep(PROGRESS_PERIOD), if untold => Woken::ProgressDue,
            };
            match woken {
                Woken::Rung => self.pass_over(0),
                Woken::ProgressDue => {
                    self.pass_over(self.hub.informed());
                    due = true;
                }
                Woken::Closed => return Err(stopped()),
            }
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.subscriber.remove(&self.range, self.about.as_ref());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::engine::Engine;
    use crate::kv::WatchRequest;

    /// Also if it is rung between the look at how far all were rung and the look at its own bell.
    #[tokio::test]
    async fn nothing_that_it_was_rung_for_is_passed_over() {
        let hub = Hub::new(Arc::new(Engine::in_memory()));
        let request = WatchRequest {
            range: KeyRange::prefix("a/"),
            start_revision: 2,
        };
        let mut cursor = hub.cursor(request, None).unwrap();
        cursor.pass_over(4);
        assert_eq!(cursor.next, 5, "it was not rung");
        cursor.subscriber.bell().ring(7);
        cursor.subscriber.bell().ring(9);
        cursor.pass_over(9);
        assert_eq!(cursor.next, 7);
        cursor.subscriber.bell().ring(6);
        cursor.pass_over(0);
        assert_eq!(cursor.next, 7, "it never goes back");
    }
}
