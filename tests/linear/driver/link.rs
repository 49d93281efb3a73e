//! What all clients of a run share: the members' addresses, one clock, and the word to stop.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{sync::watch, time::Instant};
use tonic::transport::Channel;

use crate::{harness::etcd, linear::history::Micros};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a member is reached.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its URL.
    pub url: String,
    /// The network namespace that this is in, if any.
    pub namespace: Option<String>,
}

/// What all clients share.
#[derive(Debug)]
pub struct Shared {
    targets: Vec<Target>,
    started: Instant,
    stopped: watch::Receiver<bool>,
    /// Up to which revision the watchers must be told before they end; 0 while that is open.
    end: watch::Receiver<i64>,
    /// The seed of all choices.
    pub seed: u64,
    answered: AtomicU64,
    newest: AtomicI64,
    compacted: AtomicI64,
}

impl Shared {
    /// The end that says that there is none to be reached.
    pub const ABANDONED: i64 = -1;

    /// A run that starts now.
    pub fn new(targets: Vec<Target>, seed: u64, stopped: watch::Receiver<bool>, end: watch::Receiver<i64>) -> Self {
        Self {
            targets,
            started: Instant::now(),
            stopped,
            end,
            seed,
            answered: AtomicU64::new(0),
            newest: AtomicI64::new(1),
            compacted: AtomicI64::new(0),
        }
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.targets.len()
    }

    /// Now, on the run's clock.
    pub fn now(&self) -> Micros {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Whether the clients are to stop.
    pub fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// The revision that the watchers must reach before they end; none while the clients go on.
    pub fn end(&self) -> Option<i64> {
        Some(*self.end.borrow()).filter(|end| *end > 0)
    }

    /// Whether the watchers are to end wherever they are.
    pub fn is_abandoned(&self) -> bool {
        *self.end.borrow() == Self::ABANDONED
    }

    /// Counts a request that was answered, at a revision.
    pub fn answered_at(&self, revision: i64) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.newest.fetch_max(revision, Ordering::Relaxed);
    }

    /// Requests that were answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// The newest revision that any client was told.
    pub fn newest(&self) -> i64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// A compaction was asked for.
    pub fn compacted_at(&self, revision: i64) {
        self.compacted.fetch_max(revision, Ordering::Relaxed);
    }

    /// The highest revision that a compaction was asked for.
    pub fn compacted(&self) -> i64 {
        self.compacted.load(Ordering::Relaxed)
    }

    /// Connects to a member.
    ///
    /// # Errors
    /// If that fails, or takes too long.
    pub async fn connect(&self, member: usize) -> Result<Channel> {
        let target = &self.targets[member];
        tokio::time::timeout(CONNECT_TIMEOUT, etcd::connect(&target.url, target.namespace.as_deref()))
            .await
            .context("connecting took too long")?
    }
}
