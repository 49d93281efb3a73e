//! Which keys are due, which are being worked on, and which wait: the memory of the controllers' shell.
//!
//! Pure: time and revisions are handed in. A key is never worked on twice at once, never lost while it is
//! worked on, and never worked on before the world shows its own last write (invariant I8).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;
use trireme_logic::object::ObjectKey;

use crate::limits::{RECONCILE_RETRY_INITIAL_MS, RECONCILE_RETRY_MAX_MS};

/// One key of one controller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkItem {
    /// Index in the list of controllers.
    pub controller: usize,
    /// The key.
    pub key: ObjectKey,
}

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// Everything was written; the world must reach this revision before the key is looked at again (0: nothing was
    /// written).
    Written {
        /// The highest revision written.
        revision: i64,
    },
    /// Something failed: try again, later each time. What was written before that must be visible first, or it
    /// would be decided a second time.
    Failed {
        /// The highest revision written before the failure; 0 if nothing was.
        revision: i64,
    },
}

/// The queue.
#[derive(Debug, Default)]
pub struct WorkQueue {
    due: BTreeSet<WorkItem>,
    in_flight: BTreeSet<WorkItem>,
    /// Touched while in flight or parked: due again afterwards.
    touched: BTreeSet<WorkItem>,
    /// Written, but not yet visible: the revision to wait for.
    parked: BTreeMap<WorkItem, i64>,
    timers: BTreeSet<(Instant, WorkItem)>,
    failures: BTreeMap<WorkItem, u32>,
}

impl WorkQueue {
    /// Something about the key may have changed.
    pub fn touch(&mut self, item: WorkItem) {
        if self.in_flight.contains(&item) || self.parked.contains_key(&item) {
            self.touched.insert(item);
        } else {
            self.due.insert(item);
        }
    }

    /// Touches the key at `at`.
    pub fn touch_at(&mut self, item: WorkItem, at: Instant) {
        self.timers.insert((at, item));
    }

    /// The next key to work on; it is in flight until [`WorkQueue::complete`].
    pub fn take(&mut self) -> Option<WorkItem> {
        let item = self.due.pop_first()?;
        self.in_flight.insert(item.clone());
        Some(item)
    }

    /// Work on a key ended.
    pub fn complete(&mut self, item: WorkItem, completion: Completion, world_revision: i64, now: Instant) {
        self.in_flight.remove(&item);
        match completion {
            Completion::Written { revision } => {
                self.failures.remove(&item);
                if revision > world_revision {
                    self.parked.insert(item, revision);
                } else if revision > 0 || self.touched.contains(&item) {
                    self.touched.remove(&item);
                    self.due.insert(item);
                }
            }
            Completion::Failed { revision } if revision > world_revision => {
                self.parked.insert(item, revision);
            }
            Completion::Failed { .. } => {
                self.touched.remove(&item);
                let failures = self.failures.entry(item.clone()).or_default();
                let delay = retry_delay(*failures);
                *failures = failures.saturating_add(1);
                self.timers.insert((now + delay, item));
            }
        }
    }

    /// The world has reached `revision`: parked keys that waited for it are due, since their own writes are changes too.
    pub fn world_reached(&mut self, revision: i64) {
        let visible: Vec<WorkItem> = self
            .parked
            .iter()
            .filter(|(_, needed)| **needed <= revision)
            .map(|(item, _)| item.clone())
            .collect();
        for item in visible {
            self.parked.remove(&item);
            self.touched.remove(&item);
            self.due.insert(item);
        }
    }

    /// Timers up to `now` fire.
    pub fn fire_timers(&mut self, now: Instant) {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, item)) = self.timers.pop_first() {
                self.touch(item);
            }
        }
    }

    /// When the next timer fires.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// How many keys are being worked on.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }
}

fn retry_delay(failures: u32) -> Duration {
    let factor = 1_u64 << failures.min(16);
    Duration::from_millis((RECONCILE_RETRY_INITIAL_MS * factor).min(RECONCILE_RETRY_MAX_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str) -> WorkItem {
        WorkItem {
            controller: 0,
            key: ObjectKey::new("default", name),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_until_the_world_shows_its_own_write() {
        let mut queue = WorkQueue::default();
        queue.touch(item("a"));
        let taken = queue.take().unwrap();
        queue.touch(item("a"));
        assert_eq!(queue.take(), None, "in flight, so not a second time");
        queue.complete(taken, Completion::Written { revision: 10 }, 9, Instant::now());
        assert_eq!(queue.take(), None, "its write is not visible yet");
        queue.world_reached(9);
        assert_eq!(queue.take(), None);
        queue.world_reached(10);
        assert_eq!(queue.take(), Some(item("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_the_writes_must_be_visible_before_the_rest_is_tried() {
        let mut queue = WorkQueue::default();
        queue.touch(item("a"));
        let taken = queue.take().unwrap();
        queue.complete(taken, Completion::Failed { revision: 7 }, 5, Instant::now());
        assert_eq!((queue.take(), queue.next_timer()), (None, None));
        queue.world_reached(7);
        assert_eq!(queue.take(), Some(item("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_touch_while_in_flight_is_not_lost() {
        let mut queue = WorkQueue::default();
        queue.touch(item("a"));
        let taken = queue.take().unwrap();
        queue.touch(item("a"));
        queue.complete(taken, Completion::Written { revision: 0 }, 5, Instant::now());
        assert_eq!(queue.take(), Some(item("a")));
        queue.complete(item("a"), Completion::Written { revision: 0 }, 5, Instant::now());
        assert_eq!(queue.take(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_tried_again_later_each_time_up_to_a_bound() {
        let mut queue = WorkQueue::default();
        let start = Instant::now();
        queue.touch(item("a"));
        let mut delays = Vec::new();
        for _ in 0..12 {
            let taken = queue.take().unwrap();
            queue.complete(taken, Completion::Failed { revision: 0 }, 0, start);
            let at = queue.next_timer().unwrap();
            delays.push(at - start);
            queue.fire_timers(at);
        }
        assert_eq!(delays[0], Duration::from_millis(RECONCILE_RETRY_INITIAL_MS));
        assert_eq!(delays[1], delays[0] * 2);
        assert_eq!(*delays.last().unwrap(), Duration::from_millis(RECONCILE_RETRY_MAX_MS));
    }
}
