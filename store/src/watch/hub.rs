//! The hub: takes in what was applied, wakes those who wait for it.
//!
//! Whoever applies only adds to the window; waking, which costs in the number of watchers, is a task of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use trireme_mvcc::machine::Applied;
use trireme_mvcc::types::{KeyRange, Revision};

use super::bell::Bell;
use super::cursor::Cursor;
use super::metrics::WatchMetrics;
use super::ranges::{Group, Ranges};
use super::shared::SharedChange;
use super::topics::{About, TopicTable};
use super::window::{Found, Window, WindowLimits};
use crate::engine::limits::{PROGRESS_PERIOD, WATCH_STEP_REVISIONS};
use crate::engine::{Engine, HistoryBudget};
use crate::faults::{self, Failpoint};
use crate::kv::{KvError, WatchRequest, Watcher};
use crate::lanes::Flow;

/// See [the module](super).
#[derive(Debug)]
pub struct Hub {
    engine: Arc<Engine>,
    shared: Arc<Shared>,
    /// The revision that is applied and told to watchers.
    applied: watch::Sender<Revision>,
    running: AtomicBool,
    next_subscriber: AtomicU64,
}

/// What the hub's tasks work on.
#[derive(Debug)]
struct Shared {
    window: RwLock<Window>,
    interest: Mutex<Interest>,
    published: Notify,
    /// The revision up to which watchers have been woken.
    rung: watch::Sender<Revision>,
    /// The revision that quiet watchers are to tell of, now and then.
    progress: watch::Sender<Revision>,
    closed: CancellationToken,
    metrics: WatchMetrics,
}

/// Who is to be woken for which changes.
#[derive(Debug, Default)]
struct Interest {
    ranges: Ranges<Arc<Bell>>,
    topics: TopicTable<Arc<Bell>>,
}

/// Someone who is woken when the keys of its ranges change. It removes the ranges that it has added.
#[derive(Debug)]
pub(super) struct Subscriber {
    shared: Arc<Shared>,
    id: u64,
    bell: Arc<Bell>,
}

impl Hub {
    /// A hub over `engine`, at its present revision.
    pub fn new(engine: Arc<Engine>) -> Arc<Self> {
        Self::with_limits(engine, WindowLimits::default())
    }

    pub(super) fn with_limits(engine: Arc<Engine>, limits: WindowLimits) -> Arc<Self> {
        let revision = engine.revision();
        let shared = Shared {
            window: RwLock::new(Window::new(limits, revision)),
            interest: Mutex::default(),
            published: Notify::new(),
            rung: watch::Sender::new(revision),
            progress: watch::Sender::new(revision),
            closed: CancellationToken::new(),
            metrics: WatchMetrics::default(),
        };
        Arc::new(Self {
            engine,
            shared: Arc::new(shared),
            applied: watch::Sender::new(revision),
            running: AtomicBool::new(false),
            next_subscriber: AtomicU64::new(0),
        })
    }

    /// Takes in an applied chunk. To be called after each, in order, by the one who applies.
    pub fn publish(&self, applied: &Applied) {
        if applied.changes.is_empty() {
            return;
        }
        {
            let mut window = self.shared.window.write().unwrap_or_else(PoisonError::into_inner);
            for change in &applied.changes {
                window.push(Arc::new(SharedChange::new(change.clone())));
            }
        }
        self.applied.send_replace(applied.revision);
        self.shared.published.notify_one();
    }

    /// The engine's state was replaced: starts anew from it. Watchers go on from its history.
    pub fn reset(&self) {
        let revision = self.engine.revision();
        self.shared
            .window
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .reset(revision);
        self.applied.send_replace(revision);
        self.shared.published.notify_one();
    }

    /// Ends all watches and waits, with [`KvError::Stopped`].
    pub fn close(&self) {
        self.shared.closed.cancel();
        // Who waits for its bell looks then whether this is over.
        self.shared.interest().bells().for_each(|bell| bell.ring(0));
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
            () = self.shared.closed.cancelled() => Err(stopped()),
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
        Ok(Box::new(self.cursor(request, None)?))
    }

    /// Begins a watch of one topic of a range: it is woken for that alone, and given nothing else.
    ///
    /// # Errors
    /// As [`watch`](Self::watch).
    pub fn watch_about(self: &Arc<Self>, request: WatchRequest, about: About) -> Result<Box<dyn Watcher>, KvError> {
        Ok(Box::new(self.cursor(request, Some(about))?))
    }

    pub(super) fn cursor(self: &Arc<Self>, request: WatchRequest, about: Option<About>) -> Result<Cursor, KvError> {
        let WatchRequest { range, start_revision } = request;
        if self.shared.closed.is_cancelled() {
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
        let subscriber = self.subscribe();
        let revision = subscriber.add(&range, about.as_ref());
        let start = if start_revision == 0 {
            revision + 1
        } else {
            start_revision
        };
        Ok(Cursor::new(
            Arc::clone(self),
            range,
            about,
            start,
            subscriber,
            self.shared.progress.subscribe(),
        ))
    }

    /// A subscriber without ranges. To be called within a tokio runtime.
    pub(super) fn subscribe(self: &Arc<Self>) -> Subscriber {
        self.start();
        Subscriber {
            shared: Arc::clone(&self.shared),
            id: self.next_subscriber.fetch_add(1, Ordering::Relaxed),
            bell: Arc::default(),
        }
    }

    pub(super) fn changes_from(&self, next: Revision, max: usize) -> Found {
        self.shared.changes_from(next, max)
    }

    /// Looks at up to `max` changes where they are, without holding them. Nothing is published meanwhile.
    pub(super) fn look_from<T>(
        &self,
        next: Revision,
        max: usize,
        look: impl FnOnce(&mut dyn Iterator<Item = &Arc<SharedChange>>) -> T,
    ) -> Found<T> {
        self.shared.look_from(next, max, look)
    }

    /// The history of a range, as a chunk of about so many bytes, and the first revision after it.
    pub(super) async fn history(
        &self,
        flow: Flow,
        range: &KeyRange,
        start: Revision,
        end: Revision,
        bytes: usize,
    ) -> Result<(Vec<Arc<SharedChange>>, Revision), KvError> {
        self.shared.metrics.history_reads.add(1);
        // In its turn, however long that takes: a watch that gave up would have to begin again.
        let _seat = self.engine.lanes().patient_slice(flow).await?;
        let budget = HistoryBudget {
            bytes,
            ..HistoryBudget::default()
        };
        let chunk = self.engine.read_history(range.clone(), start, end, budget).await?;
        faults::point(Failpoint::WatchCatchingUp);
        let changes = chunk
            .changes
            .into_iter()
            .map(|change| Arc::new(SharedChange::new(change)));
        Ok((changes.collect(), chunk.next_revision))
    }

    /// Whether a bug is planted that lets watches skip what is compacted away.
    pub(super) fn skips_what_is_compacted(&self) -> bool {
        self.engine.faults().skips_what_is_compacted()
    }

    /// The oldest revision that the history can be read from.
    pub(super) fn oldest(&self) -> Revision {
        self.engine.compacted_revision()
    }

    /// The revision up to which everybody has been woken whom it concerned.
    pub(super) fn informed(&self) -> Revision {
        *self.shared.rung.borrow()
    }

    /// The same, to wait on.
    pub(super) fn rung(&self) -> watch::Receiver<Revision> {
        self.shared.rung.subscribe()
    }

    /// What is counted of watches.
    pub(crate) fn metrics(&self) -> &WatchMetrics {
        &self.shared.metrics
    }

    /// How many watchers need the history on disk.
    pub(super) fn behind(&self) -> usize {
        let first = self
            .shared
            .window
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .first();
        let interest = self.shared.interest();
        let watchers = interest.ranges.groups().flat_map(Group::counted);
        let watchers = watchers.chain(interest.topics.owners().map(|bell| (bell, 1)));
        let behind = watchers.filter(|(bell, _)| bell.is_behind(first));
        behind.map(|(_, times)| times).sum()
    }

    pub(super) fn closed(&self) -> &CancellationToken {
        &self.shared.closed
    }

    /// Starts the hub's tasks, with the first watch.
    fn start(&self) {
        if self.running.swap(true, Ordering::Relaxed) {
            return;
        }
        tokio::spawn(run(Arc::clone(&self.shared), ring));
        let applied = self.applied.subscribe();
        tokio::spawn(run(Arc::clone(&self.shared), move |shared| {
            pace_progress(shared, applied)
        }));
    }

    #[cfg(test)]
    pub(super) fn groups(&self) -> usize {
        self.shared.interest().ranges.groups().count()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn interest(&self) -> MutexGuard<'_, Interest> {
        self.interest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes_from(&self, next: Revision, max: usize) -> Found {
        self.look_from(next, max, |changes| changes.cloned().collect())
    }

    fn look_from<T>(
        &self,
        next: Revision,
        max: usize,
        look: impl FnOnce(&mut dyn Iterator<Item = &Arc<SharedChange>>) -> T,
    ) -> Found<T> {
        let window = self.window.read().unwrap_or_else(PoisonError::into_inner);
        match window.from(next, max) {
            Found::Changes(mut changes) => Found::Changes(look(&mut changes)),
            Found::Nothing => Found::Nothing,
            Found::History(until) => Found::History(until),
        }
    }

    fn revision(&self) -> Revision {
        self.window.read().unwrap_or_else(PoisonError::into_inner).revision()
    }

    /// Wakes the watchers of what was published after `done`; answers how far that was.
    fn ring_after(&self, done: Revision) -> Option<Revision> {
        let next = done + 1;
        match self.changes_from(next, WATCH_STEP_REVISIONS) {
            Found::Nothing => None,
            Found::Changes(changes) => {
                let mut interest = self.interest();
                let Interest { ranges, topics } = &mut *interest;
                ranges.begin_round();
                for change in &changes {
                    for (place, event) in change.events.iter().enumerate() {
                        ranges.meet(&event.kv.key, |group| {
                            group.owners().for_each(|(_, bell)| bell.ring(change.revision));
                        });
                        topics.meet(change, place, |bell| bell.ring(change.revision));
                    }
                }
                changes.last().map(|change| change.revision)
            }
            // What happened is not at hand: everybody looks.
            Found::History(until) => {
                self.interest().bells().for_each(|bell| bell.ring(next));
                Some(until)
            }
        }
    }
}

impl Interest {
    /// The bells of all.
    fn bells(&self) -> impl Iterator<Item = &Arc<Bell>> {
        let of_ranges = self.ranges.groups().flat_map(Group::owners).map(|(_, bell)| bell);
        of_ranges.chain(self.topics.owners())
    }
}

impl Subscriber {
    /// Adds a range, or what of it concerns a watcher, of which it may have one; answers the revision after which its changes
    /// ring.
    pub(super) fn add(&self, range: &KeyRange, about: Option<&About>) -> Revision {
        let bell = Arc::clone(&self.bell);
        {
            let mut interest = self.shared.interest();
            match about {
                Some(about) => interest.topics.add(range, about, self.id, bell),
                None => interest.ranges.add(range, self.id, bell),
            }
        }
        self.shared.metrics.watchers.raise(1);
        self.shared.revision()
    }

    /// Removes what was added.
    pub(super) fn remove(&self, range: &KeyRange, about: Option<&About>) {
        {
            let mut interest = self.shared.interest();
            match about {
                Some(about) => interest.topics.remove(range, about, self.id),
                None => interest.ranges.remove(range, self.id),
            }
        }
        self.shared.metrics.watchers.lower(1);
    }

    /// As whose work it reads the history. No connection has such a number.
    pub(super) fn flow(&self) -> Flow {
        Flow(u64::MAX - self.id)
    }

    /// The bell.
    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }
}

/// Runs a task of the hub until it closes.
async fn run<F: Future<Output = ()>>(shared: Arc<Shared>, task: impl FnOnce(Arc<Shared>) -> F) {
    let closed = shared.closed.clone();
    tokio::select! {
        biased;
        () = closed.cancelled() => {}
        () = task(shared) => {}
    }
}

/// Wakes watchers after each publication.
async fn ring(shared: Arc<Shared>) {
    loop {
        let done = *shared.rung.borrow();
        match shared.ring_after(done) {
            Some(done) => {
                shared.rung.send_replace(done);
                tokio::task::yield_now().await;
            }
            None => shared.published.notified().await,
        }
    }
}

/// After the store has advanced: waits a little, so that many revisions make one mark, then gives it.
async fn pace_progress(shared: Arc<Shared>, mut applied: watch::Receiver<Revision>) {
    while applied.changed().await.is_ok() {
        tokio::time::sleep(PROGRESS_PERIOD).await;
        shared.progress.send_replace(*applied.borrow_and_update());
    }
}

pub(super) fn stopped() -> KvError {
    KvError::Stopped("the store is shutting down".into())
}
