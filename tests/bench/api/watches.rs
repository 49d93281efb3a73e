//! Many watchers while many objects change: how much arrives, how late, and whether anybody is cut off.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use trireme_client::Api;
use trireme_proto::{
    api::core::v1::Pod,
    v1::{PatchType, ResourceRef, WatchRequest, resources_client::ResourcesClient, watch_event::Type},
};

use super::{clients, namespace, pods, servers_cpu};
use crate::{bench::store::histogram::Histogram, harness::Cluster};

/// Connections of the watchers.
const CONNECTIONS: usize = 30;
/// Clients that change pods.
const WRITERS: usize = 64;
/// How long the last events may be awaited.
const DRAIN: Duration = Duration::from_secs(20);
/// Stands before the time at which a change was asked for, in the object itself.
const STAMP: &str = "changed-at=";
/// Digits of that time.
const STAMP_DIGITS: usize = 20;
/// What a client's messages may be at most.
const MESSAGE_MAX_BYTES: usize = 16 << 20;

/// What to run.
#[derive(Debug, Clone)]
pub(super) struct WatchLoad {
    /// Watchers; each follows the pods of one namespace.
    pub(super) watchers: usize,
    /// Namespaces that hold pods.
    pub(super) namespaces: usize,
    /// Pods that there are.
    pub(super) pods: usize,
    /// Changes a second, of all writers.
    pub(super) changes: usize,
    /// How long pods change.
    pub(super) lasts: Duration,
}

/// What it came to.
#[derive(Debug, Clone, Default)]
pub(super) struct WatchOutcome {
    /// Changes that were acknowledged.
    pub(super) changes: u64,
    /// How long they took.
    pub(super) elapsed: Duration,
    /// Events that arrived.
    pub(super) events: u64,
    /// From the asking for a change to the arrival of its event.
    pub(super) delays: Histogram,
    /// Watchers whose stream ended.
    pub(super) cut_off: usize,
    /// Processor time of all servers.
    pub(super) cpu: Duration,
}

struct Shared {
    base: Instant,
    /// Events that arrived in all.
    events: AtomicU64,
    /// Nobody waits for more.
    over: AtomicBool,
}

/// Runs the writers and the watchers.
///
/// # Errors
/// If a watch cannot be begun, a change is refused, or events are lost though nobody was cut off.
pub(super) async fn watch(cluster: &Cluster, load: &WatchLoad) -> Result<WatchOutcome> {
    let shared = Arc::new(Shared {
        base: Instant::now(),
        events: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    let mut watchers = begin_watches(cluster, load, &shared).await?;
    let cpu_before = servers_cpu(cluster).await?;
    let started = Instant::now();
    let changes = change(cluster, load, &shared).await?;
    let elapsed = started.elapsed();
    // Every change goes to the watchers of one namespace.
    let expected = changes * (load.watchers / load.namespaces) as u64;
    let drained = timeout(DRAIN, async {
        while shared.events.load(Ordering::Relaxed) < expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let is_whole = drained.await.is_ok();
    let cpu = servers_cpu(cluster).await?.saturating_sub(cpu_before);
    shared.over.store(true, Ordering::Relaxed);
    let mut outcome = WatchOutcome {
        changes,
        elapsed,
        events: shared.events.load(Ordering::Relaxed),
        cpu,
        ..WatchOutcome::default()
    };
    while let Some(done) = watchers.join_next().await {
        let (delays, is_cut_off) = done?;
        outcome.delays.merge(&delays);
        outcome.cut_off += usize::from(is_cut_off);
    }
    ensure!(
        is_whole || outcome.cut_off > 0,
        "{} of {expected} events arrived, and nobody was cut off",
        outcome.events
    );
    Ok(outcome)
}

async fn begin_watches(
    cluster: &Cluster,
    load: &WatchLoad,
    shared: &Arc<Shared>,
) -> Result<JoinSet<(Histogram, bool)>> {
    let mut channels = Vec::new();
    for client in clients(cluster, CONNECTIONS).await? {
        channels.push(client.connection().link().await?.channel);
    }
    let revision = super::revision(cluster).await?;
    let mut watchers = JoinSet::new();
    for index in 0..load.watchers {
        let mut client =
            ResourcesClient::new(channels[index % channels.len()].clone()).max_decoding_message_size(MESSAGE_MAX_BYTES);
        let request = WatchRequest {
            resource: Some(ResourceRef {
                version: "v1".to_owned(),
                resource: "pods".to_owned(),
                namespace: namespace(index % load.namespaces),
                ..ResourceRef::default()
            }),
            resource_version: revision,
            allow_bookmarks: true,
            ..WatchRequest::default()
        };
        let mut events = client.watch(request).await.context("beginning a watch")?.into_inner();
        let shared = shared.clone();
        watchers.spawn(async move {
            let mut delays = Histogram::default();
            while !shared.over.load(Ordering::Relaxed) {
                let next = match timeout(Duration::from_millis(100), events.next()).await {
                    Err(_) => continue,
                    Ok(None | Some(Err(_))) => return (delays, true),
                    Ok(Some(Ok(event))) => event,
                };
                if next.r#type() != Type::Modified {
                    continue;
                }
                let now = shared.base.elapsed();
                if let Some(stamp) = next.item.as_ref().and_then(|item| stamp_of(&item.object)) {
                    delays.record(now.saturating_sub(stamp));
                    shared.events.fetch_add(1, Ordering::Relaxed);
                }
            }
            (delays, false)
        });
    }
    Ok(watchers)
}

/// Changes pods at a steady pace, whether or not the servers keep up; gives how many changes were acknowledged.
async fn change(cluster: &Cluster, load: &WatchLoad, shared: &Arc<Shared>) -> Result<u64> {
    let mut writers = JoinSet::new();
    let period = Duration::from_secs_f64(WRITERS as f64 / load.changes as f64);
    let (end, step) = (Instant::now() + load.lasts, 7_919);
    for (index, client) in clients(cluster, WRITERS).await?.into_iter().enumerate() {
        let (shared, load) = (shared.clone(), load.clone());
        writers.spawn(async move {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let (mut done, mut number) = (0_u64, index * step);
            loop {
                ticks.tick().await;
                if Instant::now() >= end {
                    return anyhow::Ok(done);
                }
                number = (number + step * WRITERS) % load.pods;
                let pods: Api<Pod> = Api::namespaced(&client, &namespace(number % load.namespaces));
                let message = format!("{STAMP}{:0STAMP_DIGITS$}", shared.base.elapsed().as_nanos());
                pods.patch(&pods::full_name(number), PatchType::Merge, &pods::change(&message))
                    .await
                    .context("changing a pod")?;
                done += 1;
            }
        });
    }
    let mut changes = 0;
    while let Some(done) = writers.join_next().await {
        changes += done??;
    }
    Ok(changes)
}

/// When the change was asked for that an object shows.
fn stamp_of(object: &[u8]) -> Option<Duration> {
    let at = memchr::memmem::find(object, STAMP.as_bytes())? + STAMP.len();
    let digits = std::str::from_utf8(object.get(at..at + STAMP_DIGITS)?).ok()?;
    digits.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_again() {
        let text = format!("abc{STAMP}{:0STAMP_DIGITS$}def", 1_234_567);
        assert_eq!(stamp_of(text.as_bytes()), Some(Duration::from_nanos(1_234_567)));
        assert_eq!(stamp_of(b"abc changed-at=12"), None);
    }
}
