//! Closed loops of many clients over few connections: each client asks, waits for the answer, and asks again.
//!
//! All of them run on one thread, so that the generator never takes more than one core. A client is only a place in a
//! connection's count of requests in flight, since nothing else tells clients apart.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::{
    sync::Barrier,
    time::{Instant, timeout},
};

use super::{
    histogram::Histogram,
    noise::Noise,
    wire::{Received, Wire},
    work::{Kind, Work},
};

/// Connections to each endpoint that many clients share.
pub const CONNECTIONS_PER_ENDPOINT: usize = 16;
/// How long a client rests after a refusal, as a client that backs off would.
const REST_AFTER_REFUSAL: Duration = Duration::from_millis(20);
/// How long answers may be awaited after the last request.
const DRAIN: Duration = Duration::from_secs(20);
/// The status of an answer that is shorter than a right one.
const STATUS_SHORT: u8 = 254;

/// A run of closed loops.
#[derive(Debug, Clone)]
pub struct Load {
    /// `HOST:PORT` of those that serve; clients are spread evenly.
    pub endpoints: Vec<String>,
    /// How many requests are in flight.
    pub clients: usize,
    /// What they ask for.
    pub kind: Kind,
    /// How long it runs before anything is measured.
    pub lead_in: Duration,
    /// How long is measured. A [`Kind::Fill`] runs until everything is written.
    pub measured: Duration,
}

/// What a run of closed loops came to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Right answers in the measured time.
    pub completed: u64,
    /// Right answers at all: what the processor time of the servers is divided by.
    pub completed_in_all: u64,
    /// The measured time.
    pub elapsed: Duration,
    /// Latencies of those that completed in the measured time.
    pub latencies: Histogram,
    /// Answers that were not right, by status.
    pub refused: BTreeMap<u8, u64>,
}

impl Outcome {
    /// Right answers a second.
    pub fn rate(&self) -> f64 {
        self.completed as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Counts of wrong answers for a person; empty if there were none.
    pub fn refusals(&self) -> String {
        let named = self
            .refused
            .iter()
            .map(|(status, count)| format!("{count} of status {status}"));
        named.collect::<Vec<_>>().join(", ")
    }

    fn merge(&mut self, other: &Self) {
        self.completed += other.completed;
        self.completed_in_all += other.completed_in_all;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.latencies.merge(&other.latencies);
        for (status, count) in &other.refused {
            *self.refused.entry(*status).or_default() += count;
        }
    }
}

/// Runs closed loops to their end.
///
/// # Errors
/// If a connection cannot be made or breaks.
pub async fn drive(load: Load) -> Result<Outcome> {
    on_own_thread(move || drive_here(load)).await
}

/// Runs something on a thread with a runtime of its own, as a client process would.
///
/// # Errors
/// If it fails.
pub async fn on_own_thread<T, F, Fut>(run: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<T>>,
{
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = runtime
            .context("a runtime for the load")
            .and_then(|runtime| runtime.block_on(run()));
        // Nobody waits any more if the whole run was given up.
        let _ = sender.send(result);
    })?;
    let result = receiver.await.context("the load generator ended early")?;
    thread.join().ok().context("the load generator ended early")?;
    result
}

async fn drive_here(load: Load) -> Result<Outcome> {
    let noise = Noise::default();
    let connections = (load.endpoints.len() * CONNECTIONS_PER_ENDPOINT).min(load.clients);
    let barrier = Arc::new(Barrier::new(connections));
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..connections {
        let clients = load.clients / connections + usize::from(index < load.clients % connections);
        let wire = Wire::connect(&load.endpoints[index % load.endpoints.len()]).await?;
        let lane = Lane {
            wire,
            work: Work::new(load.kind.clone(), noise.clone(), index as u64 + 1),
            clients,
            resting: VecDeque::new(),
            outcome: Outcome::default(),
        };
        let (barrier, lead_in, measured) = (barrier.clone(), load.lead_in, load.measured);
        tasks.spawn(async move {
            barrier.wait().await;
            lane.run(lead_in, measured).await
        });
    }
    let mut all = Outcome::default();
    while let Some(outcome) = tasks.join_next().await {
        all.merge(&outcome.context("a connection of the load")??);
    }
    Ok(all)
}

/// One connection's share of the clients.
struct Lane {
    wire: Wire,
    work: Work,
    clients: usize,
    /// When the clients that were refused ask again.
    resting: VecDeque<Instant>,
    outcome: Outcome,
}

impl Lane {
    async fn run(mut self, lead_in: Duration, measured: Duration) -> Result<Outcome> {
        let begin = Instant::now() + lead_in;
        let fills = matches!(self.work.kind(), Kind::Fill { .. });
        let end = (!fills).then(|| begin + measured);
        let mut request = Vec::new();
        let mut exhausted = false;
        let mut now = Instant::now();
        let mut last_answer = now;
        while !exhausted && end.is_none_or(|end| now < end) {
            exhausted = !self.ask(&mut request, now);
            self.wire.flush()?;
            let wake = self.resting.front().copied().unwrap_or(now + Duration::from_secs(1));
            let deadline = end.map_or(wake, |end| wake.min(end));
            now = self.turn(deadline, begin, end).await?;
            last_answer = now;
        }
        let drain = async {
            while self.wire.in_flight() > 0 {
                last_answer = self.turn(now + DRAIN, begin, end).await?;
            }
            anyhow::Ok(())
        };
        timeout(DRAIN, drain).await.context("answers are still missing")??;
        self.outcome.elapsed = if fills { last_answer - begin } else { measured };
        Ok(self.outcome)
    }

    /// Asks for as many as have no request in flight; false if there is nothing left to ask for.
    fn ask(&mut self, request: &mut Vec<u8>, now: Instant) -> bool {
        while self.resting.front().is_some_and(|until| *until <= now) {
            self.resting.pop_front();
        }
        let (path, bytes) = (self.work.kind().path(), self.work.kind().request_bytes());
        while self.wire.in_flight() + self.resting.len() < self.clients && self.wire.has_room(bytes) {
            if !self.work.next(request) {
                return false;
            }
            self.wire.request(path, request, now);
        }
        true
    }

    /// Takes what has come; gives the time at which it came.
    async fn turn(&mut self, deadline: Instant, begin: Instant, end: Option<Instant>) -> Result<Instant> {
        let least = self.work.kind().least_answer_bytes();
        let (outcome, resting) = (&mut self.outcome, &mut self.resting);
        let mut arrived = None;
        self.wire
            .turn(deadline, |received| {
                let Received::Ended { started, bytes, status } = received else {
                    return;
                };
                let now = *arrived.get_or_insert_with(Instant::now);
                let status = if status == 0 && bytes < least {
                    STATUS_SHORT
                } else {
                    status
                };
                if status != 0 {
                    *outcome.refused.entry(status).or_default() += 1;
                    resting.push_back(now + REST_AFTER_REFUSAL);
                    return;
                }
                outcome.completed_in_all += 1;
                if now >= begin && end.is_none_or(|end| now < end) {
                    outcome.completed += 1;
                    outcome.latencies.record(now - started);
                }
            })
            .await?;
        Ok(arrived.unwrap_or_else(Instant::now))
    }
}

/// Writes keys and checks that all were taken.
///
/// # Errors
/// If a connection breaks or a write is refused.
pub async fn fill(endpoints: &[String], keys: u64, value_bytes: usize, clients: usize) -> Result<Outcome> {
    let load = Load {
        endpoints: endpoints.to_vec(),
        clients,
        kind: Kind::fill(keys, value_bytes),
        lead_in: Duration::ZERO,
        measured: Duration::ZERO,
    };
    let outcome = drive(load).await?;
    ensure!(
        outcome.refused.is_empty(),
        "writing {keys} keys: refused {}",
        outcome.refusals()
    );
    Ok(outcome)
}
