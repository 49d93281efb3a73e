//! Watchers: of everything, from the beginning to the end; and many short ones of all kinds.
//!
//! A watch that ends is begun again from where it was, on whichever server, which makes a watch of its own: each is
//! judged by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use trireme_store::kv::{Kv, KvError, WatchBatch, WatchRequest};

use super::{client::Shared, convert, server::Access};
use crate::{
    linear::{
        driver::WatchRecord,
        model::{Event, KeyRange},
    },
    watch_rules::{Body, Message, Watch},
};

/// How long a watcher waits before it begins again.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a watcher of everything stays with one server, at most, in milliseconds.
const STAY_MAX_MS: u64 = 6_000;
/// How long a watcher rests now and then, at most, in milliseconds: it falls behind.
const REST_MAX_MS: u64 = 1_500;
/// The keys that clients of a run use.
const OURS: (&str, &str) = ("k", "l");

/// How far the watchers of everything are, and how far they are to go.
#[derive(Debug, Default)]
pub struct Goal {
    /// The furthest revision that one of them was sent.
    pub seen: AtomicI64,
    /// The revision that they end at; 0 while that is open.
    pub end: AtomicI64,
}

impl Goal {
    fn end(&self) -> Option<i64> {
        Some(self.end.load(Ordering::Relaxed)).filter(|end| *end > 0)
    }
}

/// A watch that runs on a server.
struct Running {
    batches: mpsc::Receiver<Result<WatchBatch, KvError>>,
    watch: Watch,
    /// Up to which revision everything was sent.
    reached: i64,
    foreign: Vec<i64>,
    over: bool,
}

/// What came of waiting for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Message,
    Nothing,
    End,
}

impl Running {
    /// Begins a watch; none if the server is gone or refuses.
    async fn begin(access: &Access, mut watch: Watch) -> Option<Self> {
        let (sender, batches) = mpsc::channel(1);
        let (created, creation) = tokio::sync::oneshot::channel();
        let (store, request) = (
            access.store.clone(),
            WatchRequest {
                range: convert::range(&watch.range),
                start_revision: watch.start,
            },
        );
        access.handle.spawn(async move {
            // Nothing comes between the two: the server has one thread.
            let revision = store.applied_revision();
            let mut watcher = match store.watch(request).await {
                Ok(watcher) => watcher,
                Err(error) => {
                    let _ = created.send(revision);
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            };
            let _ = created.send(revision);
            loop {
                let next = watcher.next().await;
                let last = next.is_err();
                if sender.send(next).await.is_err() || last {
                    return;
                }
            }
        });
        let revision = creation.await.ok()?;
        watch.messages.push(message(revision, Body::Created));
        let mut running = Self::of(batches, watch);
        match running.batches.try_recv() {
            Ok(Ok(batch)) => running.take(&batch),
            // Refused at the start: it was never created, unless it is told why.
            Ok(Err(KvError::Compacted { oldest, .. })) => running.cancel(oldest),
            Ok(Err(_)) => return None,
            Err(_) => {}
        }
        Some(running)
    }

    fn of(batches: mpsc::Receiver<Result<WatchBatch, KvError>>, watch: Watch) -> Self {
        let reached = watch.first_revision().unwrap_or(1) - 1;
        Self {
            batches,
            watch,
            reached,
            foreign: Vec::new(),
            over: false,
        }
    }

    fn cancel(&mut self, oldest: i64) {
        self.watch.messages.push(message(self.reached, canceled(oldest)));
        self.over = true;
    }

    async fn next(&mut self, deadline: Instant) -> Came {
        if self.over {
            return Came::End;
        }
        match timeout_at(deadline, self.batches.recv()).await {
            Err(_) => return Came::Nothing,
            Ok(Some(Ok(batch))) => self.take(&batch),
            Ok(Some(Err(KvError::Compacted { oldest, .. }))) => self.cancel(oldest),
            Ok(Some(Err(_)) | None) => self.over = true,
        }
        if self.over { Came::End } else { Came::Message }
    }

    fn take(&mut self, batch: &WatchBatch) {
        let (ours, foreign): (Vec<Event>, Vec<Event>) = batch
            .events
            .iter()
            .map(|event| convert::event(event))
            .partition(|event| KeyRange::between(OURS.0, OURS.1).contains(&event.kv.key));
        let owned: Vec<i64> = ours.iter().map(|event| event.kv.mod_revision).collect();
        let foreign = foreign.iter().map(|event| event.kv.mod_revision);
        self.foreign
            .extend(foreign.filter(|revision| !owned.contains(revision)));
        if !ours.is_empty() {
            self.watch.messages.push(message(batch.progress, Body::Events(ours)));
        }
        self.watch.messages.push(message(batch.progress, Body::Progress));
        self.reached = self.reached.max(batch.progress);
    }
}

fn message(revision: i64, body: Body) -> Message {
    Message { revision, body }
}

fn canceled(compact_revision: i64) -> Body {
    Body::Canceled { compact_revision }
}

fn watch(name: String, range: KeyRange, start: i64) -> Watch {
    Watch {
        name,
        range,
        start,
        no_put: false,
        no_delete: false,
        prev_kv: true,
        fragment: false,
        messages: Vec::new(),
    }
}

/// Watches all keys until the end of the run, from the first revision on, on one server after the other.
pub async fn watch_all(shared: Arc<Shared>, goal: Arc<Goal>, watcher: usize) -> WatchRecord {
    let mut random = SmallRng::seed_from_u64(shared.seed ^ 0xa11 ^ ((watcher as u64) << 32));
    let mut record = WatchRecord::default();
    let mut next = 2;
    while !record.reached_end {
        let Some(access) = shared.any_server(&mut random) else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let name = format!("all keys by {watcher} at machine {} from {next}", access.machine);
        let Some(mut running) = Running::begin(&access, watch(name, KeyRange::all(), next)).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let leave = Instant::now() + Duration::from_millis(random.random_range(100..STAY_MAX_MS));
        loop {
            if goal.end().is_some_and(|end| running.reached >= end) {
                record.reached_end = true;
                break;
            }
            if Instant::now() >= leave || running.next(leave.min(Instant::now() + PAUSE)).await == Came::End {
                break;
            }
            goal.seen.fetch_max(running.reached, Ordering::Relaxed);
        }
        let compacted = running
            .watch
            .messages
            .iter()
            .rev()
            .find_map(|message| match message.body {
                Body::Canceled { compact_revision } => Some(compact_revision),
                _ => None,
            });
        next = (running.reached + 1).max(compacted.unwrap_or(0)).max(next);
        record.foreign.append(&mut running.foreign);
        record.watches.push(running.watch);
        tokio::time::sleep(PAUSE).await;
    }
    record
}

/// Begins watches of all kinds, for a short time each, until the run stops.
pub async fn watch_some(shared: Arc<Shared>, watcher: usize) -> WatchRecord {
    let mut random = SmallRng::seed_from_u64(shared.seed ^ 0x50e ^ ((watcher as u64) << 32));
    let mut record = WatchRecord::default();
    let mut count = 0;
    while !shared.is_stopped() {
        count += 1;
        let Some(access) = shared.any_server(&mut random) else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let some = some_watch(
            &shared,
            &mut random,
            &format!("watch {watcher}.{count} at machine {}", access.machine),
        );
        let Some(mut running) = Running::begin(&access, some).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let until = Instant::now() + Duration::from_millis(random.random_range(100..3_000));
        while Instant::now() < until && running.next(until).await == Came::Message {
            if random.random_ratio(1, 10) {
                tokio::time::sleep(Duration::from_millis(random.random_range(0..REST_MAX_MS))).await;
            }
        }
        record.watches.push(running.watch);
    }
    record.reached_end = true;
    record
}

fn some_watch(shared: &Shared, random: &mut SmallRng, name: &str) -> Watch {
    let range = match random.random_range(0..3) {
        0 => KeyRange::between(OURS.0, OURS.1),
        1 => KeyRange::between("k2", "k6"),
        _ => KeyRange::one(format!("k{}", random.random_range(0..10))),
    };
    let newest = shared.newest();
    let start = match random.random_range(0..5) {
        0 => 0,
        1 => newest + random.random_range(1..40),
        // Close to what is forgotten.
        2 => (shared.compacted() + random.random_range(0..4)).max(1),
        _ => (newest - random.random_range(0..100)).max(1),
    };
    let name = format!("{name} of {}..{} from {start}", range.key, range.end.escape_debug());
    watch(name, range, start)
}
