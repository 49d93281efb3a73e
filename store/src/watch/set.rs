//! Many watchers behind one reader, as a stream of etcd's watch service has them.
//!
//! All that have caught up share one position and one look at each change; a change finds its watchers by its key.
//! Those that begin in the past share a second position, which reads the history until it meets the first. While
//! nothing happens to its keys, the whole set costs nothing, whatever happens to others. Kept here is invariant I3.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use trireme_mvcc::history::event_bytes;
use trireme_mvcc::types::{Event, KeyRange, Revision};

use super::hub::{Hub, Subscriber, stopped};
use super::metrics::WatchMetrics;
use super::ranges::Ranges;
use super::shared::SharedChange;
use super::window::Found;
use crate::engine::limits::{WATCH_ROUND_BYTES, WATCH_ROUND_EVENTS, WATCH_STEP_REVISIONS};
use crate::kv::KvError;

/// See the module.
#[derive(Debug)]
pub(crate) struct WatchSet {
    hub: Arc<Hub>,
    subscriber: Subscriber,
    watchers: BTreeMap<u64, Watcher>,
    /// Those that have caught up, and those that wait for a revision of the future.
    present: Position,
    /// Those that have not.
    late: Position,
    /// Nothing more is to be read at the present.
    idle: bool,
    /// The late ones are next.
    late_turn: bool,
}

#[derive(Debug)]
struct Watcher {
    range: KeyRange,
    /// It wants nothing from before this revision, or has it already.
    start: Revision,
    late: bool,
}

/// A place in the history, and the watchers that stand there.
#[derive(Debug, Default)]
struct Position {
    ranges: Ranges<()>,
    watchers: usize,
    /// The first revision that was not looked at.
    next: Revision,
}

/// An event in a delivery.
#[derive(Debug, Clone)]
pub(crate) struct EventRef {
    change: Arc<SharedChange>,
    place: u32,
}

/// What one watcher is to be told.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// Changes, in order; all changes of a revision are in one delivery.
    Events {
        /// Of which watcher.
        id: u64,
        /// The changes.
        events: Vec<EventRef>,
        /// Everything up to this revision has now been delivered to it.
        progress: Revision,
    },
    /// The watcher's next revision has been compacted away. It is not in the set any more.
    Compacted {
        /// Which watcher.
        id: u64,
        /// The oldest revision that can be had.
        oldest: Revision,
    },
}

impl EventRef {
    /// The event.
    pub(crate) fn event(&self) -> &Event {
        &self.change.events[self.place as usize]
    }

    /// The event as an encoded `mvccpb.Event`, shared by all who ask.
    pub(crate) fn encoded(&self, with_previous: bool, metrics: &WatchMetrics) -> Bytes {
        self.change.encoded(self.place as usize, with_previous, metrics)
    }
}

impl WatchSet {
    /// An empty set. To be made within a tokio runtime.
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        let present = Position {
            next: hub.applied_revision() + 1,
            ..Position::default()
        };
        Self {
            hub: Arc::clone(hub),
            subscriber: hub.subscribe(),
            watchers: BTreeMap::new(),
            present,
            late: Position::default(),
            idle: true,
            late_turn: false,
        }
    }

    /// Adds a watcher from revision `start` on; 0 for everything after now. Answers the present revision; `id` must
    /// be a new one.
    pub(crate) fn add(&mut self, id: u64, range: KeyRange, start: Revision) -> Revision {
        self.leave_idle();
        let revision = self.subscriber.add(&range, None);
        let mut start = if start == 0 { revision + 1 } else { start };
        if self.hub.skips_what_is_compacted() {
            start = start.max(self.hub.oldest());
        }
        let compacted = start < self.hub.oldest();
        if self.watchers.is_empty() {
            // Nobody else has a position, so there need not be two.
            self.present.next = if compacted {
                revision + 1
            } else {
                start.min(revision + 1)
            };
        }
        let late = start < self.present.next;
        if late {
            self.make_late(start);
        }
        let position = if late { &mut self.late } else { &mut self.present };
        position.join(&range, id);
        self.watchers.insert(id, Watcher { range, start, late });
        self.tell_position();
        revision
    }

    /// Removes a watcher; false if there is none of that id.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let Some(Watcher { range, late, .. }) = self.watchers.remove(&id) else {
            return false;
        };
        let position = if late { &mut self.late } else { &mut self.present };
        position.leave(&range, id);
        self.subscriber.remove(&range, None);
        true
    }

    /// The revision up to which all watchers have been told everything; `None` while one of them is behind or waits
    /// for a revision of the future.
    pub(crate) fn synced(&mut self) -> Option<Revision> {
        if !self.idle || self.late.watchers > 0 {
            return None;
        }
        self.pass_over();
        let revision = self.present.next - 1;
        let waits = self.watchers.values().any(|watcher| watcher.start > revision + 1);
        (!waits).then_some(revision)
    }

    /// The revision up to which those that have caught up have been told everything.
    pub(crate) fn reached(&mut self) -> Revision {
        if self.idle {
            self.pass_over();
        }
        self.present.next - 1
    }

    /// Whether the watcher has caught up with the set's present.
    pub(crate) fn has_caught_up(&self, id: u64) -> bool {
        self.idle
            && self
                .watchers
                .get(&id)
                .is_some_and(|watcher| !watcher.late && watcher.start <= self.present.next)
    }

    /// Whether all changes up to `revision` that concern the set have rung for it.
    pub(crate) fn is_informed(&self, revision: Revision) -> bool {
        self.hub.informed() >= revision
    }

    /// Waits until [`is_informed`](Self::is_informed).
    pub(crate) fn informed(&self, revision: Revision) -> impl Future<Output = ()> + Send + 'static {
        let mut rung = self.hub.rung();
        async move {
            // An error means that the hub has closed, which `deliver` tells.
            let _ = rung.wait_for(|rung| *rung >= revision).await;
        }
    }

    /// Waits for something to tell; nothing, if all has just been told. A future that is dropped before it is done
    /// loses nothing.
    ///
    /// # Errors
    /// [`KvError::Stopped`], final.
    pub(crate) async fn deliver(&mut self) -> Result<Vec<Delivery>, KvError> {
        loop {
            if self.hub.closed().is_cancelled() {
                return Err(stopped());
            }
            if self.idle {
                self.wait().await?;
            }
            // In turns, each of which changes nothing before its last wait.
            self.late_turn = !self.late_turn && self.late.watchers > 0;
            let deliveries = if self.late_turn {
                self.advance_late().await?
            } else {
                self.advance_present().await?
            };
            self.tell_position();
            if !deliveries.is_empty() || self.idle {
                return Ok(deliveries);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn wait(&mut self) -> Result<(), KvError> {
        tokio::select! {
            biased;
            () = self.hub.closed().cancelled() => return Err(stopped()),
            () = self.subscriber.bell().rung() => {}
        }
        self.leave_idle();
        Ok(())
    }

    fn leave_idle(&mut self) {
        if self.idle {
            self.pass_over();
            self.idle = false;
            self.tell_position();
        }
    }

    /// Lets others know how far behind the set is.
    fn tell_position(&self) {
        let next = match self.late.watchers {
            0 => self.present.next,
            _ => self.present.next.min(self.late.next),
        };
        self.subscriber.bell().stand_at((!self.idle).then_some(next));
    }

    /// Passes over what did not concern the set while it was idle. If something did since, it is idle no more.
    fn pass_over(&mut self) {
        // Read first: everything up to here that concerns the set has rung the bell.
        let informed = self.hub.informed();
        let since = self.subscriber.bell().take();
        self.present.next = self.present.next.max(since.unwrap_or(Revision::MAX).min(informed + 1));
        if since.is_some() {
            self.idle = false;
        }
    }

    /// Lets the late ones go back to `start`.
    fn make_late(&mut self, start: Revision) {
        let next = self.late.next;
        if self.late.watchers == 0 {
            self.late.next = start;
        } else if start < next {
            for watcher in self.watchers.values_mut().filter(|watcher| watcher.late) {
                watcher.start = watcher.start.max(next);
            }
            self.late.next = start;
        }
    }

    async fn advance_present(&mut self) -> Result<Vec<Delivery>, KvError> {
        let next = self.present.next;
        let (changes, behind) = match self.hub.changes_from(next, WATCH_STEP_REVISIONS) {
            Found::Nothing => {
                self.idle = self.late.watchers == 0;
                return Ok(Vec::new());
            }
            Found::Changes(changes) => (changes, None),
            Found::History(end) => {
                if next < self.hub.oldest() {
                    return Ok(self.lose_compacted(false));
                }
                let Some((changes, behind)) = self.read_history(false, end).await? else {
                    return Ok(Vec::new());
                };
                (changes, Some(behind))
            }
        };
        let (deliveries, next) = self.dispatch(false, &changes, behind);
        self.present.next = next;
        Ok(deliveries)
    }

    async fn advance_late(&mut self) -> Result<Vec<Delivery>, KvError> {
        if self.late.next < self.hub.oldest() {
            return Ok(self.lose_compacted(true));
        }
        let (changes, behind) = match self.hub.changes_from(self.late.next, WATCH_STEP_REVISIONS) {
            Found::Nothing => (Vec::new(), None),
            Found::Changes(changes) => (changes, None),
            Found::History(end) => {
                let Some((changes, behind)) = self.read_history(true, end).await? else {
                    return Ok(Vec::new());
                };
                (changes, Some(behind))
            }
        };
        let (deliveries, next) = self.dispatch(true, &changes, behind);
        self.late.next = next;
        if next >= self.present.next {
            self.unite();
        }
        Ok(deliveries)
    }

    /// The history of all ranges of a position; `None` if it has just been compacted away, or there are none.
    async fn read_history(
        &mut self,
        late: bool,
        end: Revision,
    ) -> Result<Option<(Vec<Arc<SharedChange>>, Revision)>, KvError> {
        let position = if late { &mut self.late } else { &mut self.present };
        let Some(hull) = position.ranges.hull() else {
            position.next = end + 1;
            return Ok(None);
        };
        let flow = self.subscriber.flow();
        match self
            .hub
            .history(flow, &hull, position.next, end, WATCH_ROUND_BYTES)
            .await
        {
            Ok(read) => Ok(Some(read)),
            // The next round finds who is concerned.
            Err(KvError::Compacted { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What each change tells its watchers, and the first revision that was not looked at.
    fn dispatch(
        &mut self,
        late: bool,
        changes: &[Arc<SharedChange>],
        behind: Option<Revision>,
    ) -> (Vec<Delivery>, Revision) {
        let position = if late { &mut self.late } else { &mut self.present };
        let watchers = &self.watchers;
        let mut next = position.next;
        let mut cut = false;
        let (mut bytes, mut told) = (0, 0);
        let mut found: BTreeMap<u64, Vec<EventRef>> = BTreeMap::new();
        for change in changes {
            // Only between revisions (I3).
            if bytes >= WATCH_ROUND_BYTES || told >= WATCH_ROUND_EVENTS {
                cut = true;
                break;
            }
            for (place, event) in (0..).zip(&change.events) {
                let before = told;
                position.ranges.find(&event.kv.key, |group| {
                    for (id, ()) in group.owners() {
                        if watchers
                            .get(&id)
                            .is_some_and(|watcher| watcher.start <= change.revision)
                        {
                            told += 1;
                            found.entry(id).or_default().push(EventRef {
                                change: Arc::clone(change),
                                place,
                            });
                        }
                    }
                });
                if told > before {
                    bytes += event_bytes(event);
                }
            }
            next = change.revision + 1;
        }
        let next = if cut { next } else { behind.unwrap_or(next) };
        let deliveries = found.into_iter().map(|(id, events)| Delivery::Events {
            id,
            events,
            progress: next - 1,
        });
        (deliveries.collect(), next)
    }

    /// Lets go of the watchers of a position that need something that is compacted away.
    fn lose_compacted(&mut self, late: bool) -> Vec<Delivery> {
        let oldest = self.hub.oldest();
        let position = if late { &mut self.late } else { &mut self.present };
        let next = position.next;
        if next >= oldest {
            return Vec::new();
        }
        position.next = oldest;
        if self.hub.skips_what_is_compacted() {
            return Vec::new();
        }
        let lost = self.watchers.iter();
        let lost = lost.filter(|(_, watcher)| watcher.late == late && watcher.start.max(next) < oldest);
        let lost: Vec<u64> = lost.map(|(id, _)| *id).collect();
        let tell = lost.into_iter().map(|id| {
            self.remove(id);
            Delivery::Compacted { id, oldest }
        });
        tell.collect()
    }

    /// The late ones have caught up.
    fn unite(&mut self) {
        let reached = self.late.next;
        let (late, present) = (&mut self.late, &mut self.present);
        for (id, watcher) in self.watchers.iter_mut().filter(|(_, watcher)| watcher.late) {
            late.leave(&watcher.range, *id);
            present.join(&watcher.range, *id);
            watcher.late = false;
            watcher.start = watcher.start.max(reached);
        }
    }
}

impl Position {
    fn join(&mut self, range: &KeyRange, id: u64) {
        self.ranges.add(range, id, ());
        self.watchers += 1;
    }

    fn leave(&mut self, range: &KeyRange, id: u64) {
        self.ranges.remove(range, id);
        self.watchers -= 1;
    }
}

impl Drop for WatchSet {
    fn drop(&mut self) {
        for watcher in self.watchers.values() {
            self.subscriber.remove(&watcher.range, None);
        }
    }
}
