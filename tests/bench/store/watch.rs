//! One writer and many watchers: how many events arrive a second, and how long after their write.
//!
//! The writer goes on when the watchers have kept up, so that the figure is a rate that lasts, and the delay that of a
//! server at its limit rather than of an ever longer queue. Every value begins with the time at which it was written.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    sync::Barrier,
    time::{Instant, timeout},
};

use super::{
    drive::{CONNECTIONS_PER_ENDPOINT, on_own_thread},
    histogram::Histogram,
    messages,
    noise::{Dice, Noise},
    wire::{Received, Wire},
    work,
};
use crate::harness::etcd::Usage;

/// How many writes the writer is ahead of the watchers at most.
const WRITES_AHEAD: u64 = 32;
/// How long events may be awaited after the last write.
const DRAIN: Duration = Duration::from_secs(20);
/// How long the watchers are there before the memory that they cost is looked at.
const IDLE_SETTLE: Duration = Duration::from_secs(2);
/// How often the writer looks whether the watchers have kept up.
const LOOK_PERIOD: Duration = Duration::from_millis(1);
/// How often a watcher looks whether everything is over.
const END_LOOK_PERIOD: Duration = Duration::from_millis(50);
/// Keys that the writer writes.
const KEYS: u64 = 1_000;

/// What to run.
#[derive(Debug, Clone)]
pub struct WatchLoad {
    /// `HOST:PORT` of those that serve; watchers are spread evenly.
    pub endpoints: Vec<String>,
    /// Where the writer is connected.
    pub writer: String,
    /// How many watchers there are, each with a stream of its own.
    pub watchers: usize,
    /// Length of the values.
    pub value_bytes: usize,
    /// How long it runs before anything is measured.
    pub lead_in: Duration,
    /// How long is measured.
    pub measured: Duration,
    /// The process whose memory is looked at when all watchers are there and nothing has been written.
    pub idle_process: Option<u32>,
}

/// What it came to.
#[derive(Debug, Clone, Default)]
pub struct WatchOutcome {
    /// Events that arrived in the measured time.
    pub events: u64,
    /// The measured time.
    pub elapsed: Duration,
    /// From the writing of a request to the arrival of its event.
    pub delays: Histogram,
    /// Writes in all.
    pub writes: u64,
    /// What was resident of the process that was to be looked at.
    pub idle_rss_bytes: Option<u64>,
}

/// What the tasks share.
#[derive(Debug)]
struct Shared {
    base: Instant,
    /// Events that have arrived in all.
    delivered: AtomicU64,
    /// Set when all expected events have arrived, or will not.
    over: AtomicBool,
    /// All watchers are there.
    opened: Barrier,
    /// The writer begins.
    ready: Barrier,
}

/// Runs the writer and its watchers.
///
/// # Errors
/// If a connection breaks, a watch or a write is refused, or events are lost.
pub async fn watch(load: WatchLoad) -> Result<WatchOutcome> {
    on_own_thread(move || watch_here(load)).await
}

async fn watch_here(load: WatchLoad) -> Result<WatchOutcome> {
    let connections = (load.endpoints.len() * CONNECTIONS_PER_ENDPOINT).min(load.watchers);
    let shared = Arc::new(Shared {
        base: Instant::now(),
        delivered: AtomicU64::new(0),
        over: AtomicBool::new(false),
        opened: Barrier::new(connections + 1),
        ready: Barrier::new(connections + 1),
    });
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..connections {
        let watchers = load.watchers / connections + usize::from(index < load.watchers % connections);
        let wire = Wire::connect(&load.endpoints[index % load.endpoints.len()]).await?;
        tasks.spawn(watch_on(wire, watchers, load.clone(), shared.clone()));
    }
    let idle_and_writes = async {
        shared.opened.wait().await;
        let idle_rss_bytes = match load.idle_process {
            Some(process) => {
                tokio::time::sleep(IDLE_SETTLE).await;
                Usage::of(process).map(|usage| usage.rss_bytes)
            }
            None => None,
        };
        anyhow::Ok((idle_rss_bytes, write(&load, &shared).await?))
    };
    let (idle_rss_bytes, writes) = tokio::select! {
        done = idle_and_writes => done?,
        Some(early) = tasks.join_next() => {
            early.context("a watcher")??;
            bail!("a watcher ended early");
        }
    };
    let mut outcome = WatchOutcome {
        elapsed: load.measured,
        writes,
        idle_rss_bytes,
        ..WatchOutcome::default()
    };
    while let Some(done) = tasks.join_next().await {
        let (events, delays) = done.context("a watcher")??;
        outcome.events += events;
        outcome.delays.merge(&delays);
    }
    let (arrived, expected) = (shared.delivered.load(Ordering::Relaxed), writes * load.watchers as u64);
    ensure!(arrived == expected, "{arrived} of {expected} events arrived");
    Ok(outcome)
}

/// Writes as fast as the watchers follow; gives the number of writes.
async fn write(load: &WatchLoad, shared: &Shared) -> Result<u64> {
    let mut wire = Wire::connect(&load.writer).await?;
    let (noise, mut dice) = (Noise::default(), Dice::new(1));
    shared.ready.wait().await;
    let end = Instant::now() + load.lead_in + load.measured;
    let (mut value, mut request) = (vec![0; load.value_bytes], Vec::new());
    let (mut writes, mut refused) = (0_u64, None);
    loop {
        let now = Instant::now();
        let all_delivered = |writes: u64| shared.delivered.load(Ordering::Relaxed) >= writes * load.watchers as u64;
        if now >= end && wire.in_flight() == 0 && (all_delivered(writes) || now >= end + DRAIN) {
            break;
        }
        while now < end && (writes < WRITES_AHEAD || all_delivered(writes + 1 - WRITES_AHEAD)) {
            value.copy_from_slice(noise.value(load.value_bytes, &mut dice));
            let stamp = (Instant::now() - shared.base).as_nanos() as u64;
            value[..8].copy_from_slice(&stamp.to_be_bytes());
            messages::put_request(&mut request, &work::key(writes % KEYS), &value);
            if !wire.has_room(request.len()) {
                break;
            }
            wire.request(messages::PUT, &request, now);
            writes += 1;
        }
        wire.flush()?;
        wire.turn(now + LOOK_PERIOD, |received| {
            if let Received::Ended { status, .. } = received
                && status != 0
            {
                refused = Some(status);
            }
        })
        .await?;
        ensure!(refused.is_none(), "a write was refused with status {refused:?}");
    }
    shared.over.store(true, Ordering::Relaxed);
    Ok(writes)
}

/// Watches on one connection until everything is over; gives events and delays of the measured time.
async fn watch_on(mut wire: Wire, watchers: usize, load: WatchLoad, shared: Arc<Shared>) -> Result<(u64, Histogram)> {
    let mut request = Vec::new();
    messages::watch_request(&mut request, &work::key(0), &work::key(KEYS));
    for _ in 0..watchers {
        wire.open_stream(messages::WATCH, &request, Instant::now());
    }
    wire.flush()?;
    let mut created = 0;
    let opening = async {
        while created < watchers {
            let deadline = Instant::now() + DRAIN;
            wire.turn(deadline, |received| {
                // The first message of a stream says that it was created and has no events.
                created += usize::from(matches!(received, Received::Message(_)));
            })
            .await?;
            ensure!(wire.in_flight() == watchers, "a watch was refused");
        }
        anyhow::Ok(())
    };
    timeout(DRAIN, opening).await.context("watches are not answered")??;
    shared.opened.wait().await;
    shared.ready.wait().await;
    let begin = Instant::now() + load.lead_in;
    let end = begin + load.measured;
    let (mut events, mut delays) = (0, Histogram::default());
    while !shared.over.load(Ordering::Relaxed) {
        let mut arrived = None;
        let mut broken = None;
        wire.turn(Instant::now() + END_LOOK_PERIOD, |received| {
            let now = *arrived.get_or_insert_with(Instant::now);
            let Received::Message(message) = received else {
                broken = Some("the stream ended");
                return;
            };
            let mut count = 0;
            let result = for_each_value(message, |value| {
                count += 1;
                if (begin..end).contains(&now) {
                    let stamp = value.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                    delays.record((now - shared.base).saturating_sub(Duration::from_nanos(stamp)));
                    events += 1;
                }
            });
            if result.is_none() {
                broken = Some("a message cannot be read");
            }
            shared.delivered.fetch_add(count, Ordering::Relaxed);
        })
        .await?;
        ensure!(broken.is_none(), "watching: {}", broken.unwrap_or_default());
    }
    Ok((events, delays))
}

/// Calls `take` with the value of each event in a watch's message; none if the message is broken.
fn for_each_value(message: &[u8], mut take: impl FnMut(&[u8])) -> Option<()> {
    let mut rest = message;
    while !rest.is_empty() {
        let (number, content) = take_field(&mut rest)?;
        // WatchResponse.events, Event.kv, KeyValue.value
        if number == 11 {
            let key_value = find_field(content, 2)?;
            take(find_field(key_value, 5)?);
        }
    }
    Some(())
}

fn find_field(mut message: &[u8], wanted: u64) -> Option<&[u8]> {
    while !message.is_empty() {
        let (number, content) = take_field(&mut message)?;
        if number == wanted {
            return Some(content);
        }
    }
    None
}

/// The next field's number and content; that of a number is empty.
fn take_field<'b>(rest: &mut &'b [u8]) -> Option<(u64, &'b [u8])> {
    let tag = take_varint(rest)?;
    let content = match tag & 7 {
        0 => {
            take_varint(rest)?;
            &rest[..0]
        }
        2 => {
            let length = usize::try_from(take_varint(rest)?).ok()?;
            let (content, behind) = rest.split_at_checked(length)?;
            *rest = behind;
            content
        }
        _ => return None,
    };
    Some((tag >> 3, content))
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use trireme_proto::etcd::{
        kv::{Event, KeyValue},
        server::{ResponseHeader, WatchResponse},
    };

    use super::*;

    #[test]
    fn the_values_of_all_events_are_found() {
        let event = |value: &[u8]| Event {
            kv: Some(KeyValue {
                key: b"key".to_vec().into(),
                mod_revision: 300,
                value: value.to_vec().into(),
                ..KeyValue::default()
            }),
            ..Event::default()
        };
        let message = WatchResponse {
            header: Some(ResponseHeader {
                revision: 1 << 40,
                ..ResponseHeader::default()
            }),
            events: vec![event(b"one"), event(&[7; 300])],
            ..WatchResponse::default()
        }
        .encode_to_vec();
        let mut values = Vec::new();
        for_each_value(&message, |value| values.push(value.to_vec())).unwrap();
        assert_eq!(values, [b"one".to_vec(), vec![7; 300]]);
        assert!(for_each_value(&message[..message.len() - 1], |_| ()).is_none());
    }
}
