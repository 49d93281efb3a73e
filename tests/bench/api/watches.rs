//! Many watchers while many objects change: how much arrives, how late, and whether anybody is cut off.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem::Finder;
use prost::Message;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    sync::Barrier,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use trireme_proto::v1::{PatchRequest, PatchType, ResourceRef, WatchRequest, watch_event::Type};

use super::{namespace, pods, servers_cpu};
use crate::{
    bench::store::{
        drive::on_own_thread,
        histogram::Histogram,
        wire::{Received, Wire},
    },
    harness::Cluster,
};

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
/// How often a watcher looks whether everything is over.
const END_LOOK_PERIOD: Duration = Duration::from_millis(50);
/// Who changes pods: who also made them.
const MANAGER: &str = "trireme";
/// The call that watches.
const WATCH: &str = "/trireme.v1.Resources/Watch";
/// The call that changes.
const PATCH: &str = "/trireme.v1.Resources/Patch";

/// What a watcher follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Followed {
    /// The pods of a namespace.
    Namespace,
    /// The pods of a node, of all namespaces, as the agent of a node does.
    Node,
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(super) struct WatchLoad {
    /// What the watchers follow, each one of them.
    pub(super) followed: Followed,
    /// How many watchers there are.
    pub(super) watchers: usize,
    /// Nodes that pods are on.
    pub(super) nodes: usize,
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

/// Where the load goes.
#[derive(Debug, Clone)]
struct Servers {
    addresses: Vec<String>,
    tls: Arc<ClientConfig>,
    /// The watches begin behind it.
    revision: i64,
}

/// What the tasks share.
#[derive(Debug)]
struct Shared {
    base: Instant,
    /// Events that arrived in all.
    events: AtomicU64,
    /// Nobody waits for more.
    over: AtomicBool,
    /// All watchers are there.
    opened: Barrier,
}

/// Runs the writers and the watchers.
///
/// # Errors
/// If a watch cannot be begun, a change is refused, or events are lost though nobody was cut off.
pub(super) async fn watch(cluster: &Cluster, load: &WatchLoad) -> Result<WatchOutcome> {
    let members = cluster.members().await?;
    let servers = Servers {
        addresses: members.into_iter().map(|member| member.api_address).collect(),
        tls: tls(cluster)?,
        revision: super::revision(cluster).await?,
    };
    let cpu_before = servers_cpu(cluster).await?;
    let load = *load;
    let outcome = on_own_thread(move || watch_here(servers, load)).await?;
    let cpu = servers_cpu(cluster).await?.saturating_sub(cpu_before);
    Ok(WatchOutcome { cpu, ..outcome })
}

/// As the cluster's administrator connects.
fn tls(cluster: &Cluster) -> Result<Arc<ClientConfig>> {
    let config = cluster.client_config()?;
    let identity = config.identity.context("the administrator has a certificate")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(config.ca_pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.cert_pem.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain?, key)?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(tls))
}

async fn watch_here(servers: Servers, load: WatchLoad) -> Result<WatchOutcome> {
    let shared = Arc::new(Shared {
        base: Instant::now(),
        events: AtomicU64::new(0),
        over: AtomicBool::new(false),
        opened: Barrier::new(CONNECTIONS + 1),
    });
    let mut watchers = JoinSet::new();
    for index in 0..CONNECTIONS {
        let wire = servers.connect(index).await?;
        watchers.spawn(watch_on(wire, index, servers.revision, load, shared.clone()));
    }
    let opened = timeout(DRAIN, async {
        tokio::select! {
            _ = shared.opened.wait() => Ok(()),
            Some(early) = watchers.join_next() => match early? {
                Ok(_) => bail!("a watcher ended early"),
                Err(error) => Err(error),
            }
        }
    });
    opened.await.context("watches are not answered")??;
    let started = Instant::now();
    let (changes, expected) = change(&servers, load, &shared).await?;
    let elapsed = started.elapsed();
    let drained = timeout(DRAIN, async {
        while shared.events.load(Ordering::Relaxed) < expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let is_whole = drained.await.is_ok();
    shared.over.store(true, Ordering::Relaxed);
    let mut outcome = WatchOutcome {
        changes,
        elapsed,
        events: shared.events.load(Ordering::Relaxed),
        ..WatchOutcome::default()
    };
    while let Some(done) = watchers.join_next().await {
        let (delays, cut_off) = done??;
        outcome.delays.merge(&delays);
        outcome.cut_off += cut_off;
    }
    ensure!(
        is_whole || outcome.cut_off > 0,
        "{} of {expected} events arrived, and nobody was cut off",
        outcome.events
    );
    Ok(outcome)
}

impl Servers {
    /// The connection with a number, which is with each of them in turn.
    async fn connect(&self, index: usize) -> Result<Wire> {
        Wire::connect_tls(&self.addresses[index % self.addresses.len()], self.tls.clone()).await
    }
}

/// Watches on one connection until everything is over; gives the delays, and how many watchers were cut off.
async fn watch_on(
    mut wire: Wire,
    connection: usize,
    revision: i64,
    load: WatchLoad,
    shared: Arc<Shared>,
) -> Result<(Histogram, usize)> {
    let watchers: Vec<usize> = (connection..load.watchers).step_by(CONNECTIONS).collect();
    for watcher in &watchers {
        let request = WatchRequest {
            resource_version: revision,
            allow_bookmarks: true,
            ..load.request_of(*watcher)
        };
        wire.request_stream(WATCH, &framed(&request), Instant::now());
    }
    wire.flush()?;
    let mut opened = 0;
    while opened < watchers.len() {
        wire.turn(Instant::now() + DRAIN, |received| {
            opened += usize::from(matches!(received, Received::Opened));
        })
        .await?;
        ensure!(wire.in_flight() == watchers.len(), "a watch was refused");
    }
    shared.opened.wait().await;
    let (mut delays, mut cut_off, mut broken) = (Histogram::default(), 0, None);
    while !shared.over.load(Ordering::Relaxed) {
        let (mut arrived, mut events) = (None, 0);
        wire.turn(Instant::now() + END_LOOK_PERIOD, |received| match received {
            Received::Opened => {}
            Received::Ended { .. } => cut_off += 1,
            Received::Message(message) => {
                let now = *arrived.get_or_insert_with(|| shared.base.elapsed());
                match stamp_of(message) {
                    Ok(Some(stamp)) => {
                        delays.record(now.saturating_sub(stamp));
                        events += 1;
                    }
                    Ok(None) => {}
                    Err(error) => broken = Some(error),
                }
            }
        })
        .await?;
        shared.events.fetch_add(events, Ordering::Relaxed);
        if let Some(error) = broken {
            return Err(error);
        }
    }
    Ok((delays, cut_off))
}

impl WatchLoad {
    /// What a watcher asks for.
    fn request_of(&self, watcher: usize) -> WatchRequest {
        let (namespace, field_selector) = match self.followed {
            Followed::Namespace => (namespace(watcher % self.namespaces), String::new()),
            Followed::Node => {
                let node = pods::node_name(watcher % self.nodes);
                (String::new(), format!("spec.nodeName={node}"))
            }
        };
        WatchRequest {
            resource: Some(pods_of(namespace)),
            field_selector,
            ..WatchRequest::default()
        }
    }

    /// How many watchers follow a pod.
    fn watchers_of(&self, pod: usize) -> usize {
        let (place, places) = match self.followed {
            Followed::Namespace => (pod % self.namespaces, self.namespaces),
            Followed::Node => (pods::node_of(pod, self.nodes), self.nodes),
        };
        (place..self.watchers).step_by(places).count()
    }
}

/// Changes pods at a steady pace, whether or not the servers keep up; gives how many changes were acknowledged, and how many
/// events that makes.
async fn change(servers: &Servers, load: WatchLoad, shared: &Arc<Shared>) -> Result<(u64, u64)> {
    let mut writers = JoinSet::new();
    for index in 0..WRITERS {
        let wire = servers.connect(index).await?;
        writers.spawn(change_on(wire, index, load, shared.clone()));
    }
    let (mut changes, mut events) = (0, 0);
    while let Some(done) = writers.join_next().await {
        let done = done??;
        changes += done.0;
        events += done.1;
    }
    Ok((changes, events))
}

async fn change_on(mut wire: Wire, writer: usize, load: WatchLoad, shared: Arc<Shared>) -> Result<(u64, u64)> {
    let (end, step) = (Instant::now() + load.lasts, 7_919);
    let mut ticks = interval(Duration::from_secs_f64(WRITERS as f64 / load.changes as f64));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut done, mut events, mut number) = (0, 0, writer * step);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        if now >= end {
            return Ok((done, events));
        }
        number = (number + step * WRITERS) % load.pods;
        let stamp = format!("{STAMP}{:0STAMP_DIGITS$}", shared.base.elapsed().as_nanos());
        let request = PatchRequest {
            resource: Some(ResourceRef {
                name: pods::full_name(number),
                ..pods_of(namespace(number % load.namespaces))
            }),
            patch_type: PatchType::Merge.into(),
            patch: pods::change(&stamp).into(),
            field_manager: MANAGER.to_owned(),
            ..PatchRequest::default()
        };
        wire.request(PATCH, &framed(&request), now);
        wire.flush()?;
        while wire.in_flight() > 0 {
            let mut refused = None;
            wire.turn(now + DRAIN, |received| {
                if let Received::Ended { status, .. } = received
                    && status != 0
                {
                    refused = Some(status);
                }
            })
            .await?;
            ensure!(refused.is_none(), "a change was refused with status {refused:?}");
            ensure!(now.elapsed() < DRAIN, "a change is not answered");
        }
        done += 1;
        events += load.watchers_of(number) as u64;
    }
}

/// The pods of a namespace.
fn pods_of(namespace: String) -> ResourceRef {
    ResourceRef {
        version: "v1".to_owned(),
        resource: "pods".to_owned(),
        namespace,
        ..ResourceRef::default()
    }
}

/// A message with its prefix of gRPC.
fn framed(message: &impl Message) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend_from_slice(&(message.encoded_len() as u32).to_be_bytes());
    framed.extend_from_slice(&message.encode_to_vec());
    framed
}

/// When the change was asked for that an event tells; none if it is of another kind. It is looked for where it stands: a copy
/// of each object would be a part of what is measured.
fn stamp_of(event: &[u8]) -> Result<Option<Duration>> {
    if Head::decode(event)?.r#type != Type::Modified as i32 {
        return Ok(None);
    }
    let at = FINDER.find(event).context("the object has no stamp")?;
    let digits = event.get(at + STAMP.len()..at + STAMP.len() + STAMP_DIGITS);
    let digits = std::str::from_utf8(digits.context("the stamp is cut off")?)?;
    Ok(Some(Duration::from_nanos(digits.parse()?)))
}

/// Finds [`STAMP`].
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(STAMP));

/// The beginning of a `WatchEvent`.
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(enumeration = "Type", tag = "1")]
    r#type: i32,
}

#[cfg(test)]
mod tests {
    use trireme_proto::v1::{Item, WatchEvent};

    use super::*;

    #[test]
    fn a_stamp_is_found_again() {
        let stamp_in = |r#type: Type, text: &str| {
            let item = Item {
                object: text.as_bytes().to_vec().into(),
                ..Item::default()
            };
            let event = WatchEvent {
                r#type: r#type.into(),
                item: Some(item),
                ..WatchEvent::default()
            };
            stamp_of(&event.encode_to_vec())
        };
        let text = format!("abc{STAMP}{:0STAMP_DIGITS$}def", 1_234_567);
        let found = stamp_in(Type::Modified, &text).expect("a stamp");
        assert_eq!(found, Some(Duration::from_nanos(1_234_567)));
        assert_eq!(stamp_in(Type::Bookmark, &text).expect("no change"), None);
        stamp_in(Type::Modified, "abc changed-at=12").expect_err("no stamp");
    }
}
