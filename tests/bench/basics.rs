//! `./x bench basics`: starting, failing over, memory at rest, and the rate of durable creates.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::time::Instant;
use trireme_client::{Api, Client, ClientConfig, TypedWatchItem};
use trireme_proto::api::{
    core::v1::{ConfigMap, Pod},
    meta::v1::ObjectMeta,
};

use super::{
    api::{
        NAMESPACE,
        creates::{self, CLIENTS, Door},
        pods,
    },
    machine,
    report::{Figure, percentile},
};
use crate::harness::{Cluster, ClusterOptions, poll_until};

/// How long anything may take that should take seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the leader is killed.
const KILLS: usize = 20;
/// Pods created by [`CLIENTS`].
const CREATE_PODS: usize = 10_000;
/// How long the cluster is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(10);

/// What to measure.
#[derive(Debug, Clone)]
pub struct BasicsOptions {
    /// The program.
    pub trireme: PathBuf,
    /// How often the leader is killed.
    pub kills: usize,
    /// How many pods are created.
    pub pods: usize,
}

impl BasicsOptions {
    /// The lengths that docs/BENCHMARKS.md is made with.
    pub fn full(trireme: PathBuf) -> Self {
        Self {
            trireme,
            kills: KILLS,
            pods: CREATE_PODS,
        }
    }
}

/// Measures everything, one after the other.
///
/// # Errors
/// If a cluster does not work.
pub async fn run(options: &BasicsOptions) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    eprintln!("bench: starting a cluster");
    let started = Instant::now();
    let cluster_options = ClusterOptions {
        trireme: options.trireme.clone(),
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(cluster_options).await?;
    figures.push(Figure::at_most(
        "`trireme up` to three servers in quorum and two nodes Ready",
        started.elapsed(),
        Duration::from_secs(5),
    ));
    eprintln!("bench: memory at rest");
    figures.extend(memory_at_rest(&cluster).await?);
    eprintln!("bench: creating {} pods", options.pods);
    figures.extend(create_rate(&cluster, options.pods).await?);
    eprintln!("bench: killing the leader {} times", options.kills);
    figures.extend(failover(&cluster, options.kills).await?);
    Ok(figures)
}

async fn memory_at_rest(cluster: &Cluster) -> Result<Vec<Figure>> {
    cluster.all_healthy().await?;
    tokio::time::sleep(SETTLE).await;
    let members = cluster.members().await?;
    let mut servers = Vec::new();
    for member in &members {
        servers.push(machine::resident_bytes(member.process_id)?);
    }
    let agents = agent_processes(&cluster.data_dir())?
        .into_iter()
        .map(machine::resident_bytes)
        .collect::<Result<Vec<u64>>>()?;
    Ok(vec![
        memory_figure("resident memory of an idle server", &servers, 120),
        memory_figure("resident memory of an idle agent", &agents, 40),
    ])
}

fn memory_figure(name: &str, bytes: &[u64], target_mb: u64) -> Figure {
    let largest = bytes.iter().copied().max().unwrap_or(0);
    Figure {
        name: format!("{name} (largest of {})", bytes.len()),
        value: format!("{:.1} MB", largest as f64 / 1e6),
        target: format!("{target_mb} MB or less"),
        reached: Some(!bytes.is_empty() && largest <= target_mb * 1_000_000),
    }
}

/// The process ids of the agents of the cluster in `data_dir`: those whose command line says so.
fn agent_processes(data_dir: &Path) -> Result<Vec<i64>> {
    let folder = data_dir.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i64>() else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments: Vec<String> = line
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let is_agent = arguments.get(1).is_some_and(|word| word == "agent");
        if is_agent && arguments.iter().any(|word| word.contains(&folder)) {
            found.push(pid);
        }
    }
    Ok(found)
}

async fn create_rate(cluster: &Cluster, pods: usize) -> Result<Vec<Figure>> {
    let created = creates::create(cluster, Door::Grpc, "bench", pods).await?;
    Ok(vec![
        Figure::rate(
            format!("{pods} pods created by {CLIENTS} clients over gRPC, three servers, fsync on"),
            created.rate(),
            3_000.0,
        ),
        Figure::plain(
            "latency of those creates",
            format!(
                "p50 {} ms, p99 {} ms",
                created.latencies.percentile(50.0).as_millis(),
                created.latencies.percentile(99.0).as_millis()
            ),
        ),
        Figure::plain(
            "processor time of all three servers for one create",
            format!("{:.0} µs", created.cpu_micros()),
        ),
    ])
}

/// Kills the leader again and again. Measures from the kill to the first write that was begun and acknowledged after
/// it, and to the first new pod that was placed after it.
async fn failover(cluster: &Cluster, kills: usize) -> Result<Vec<Figure>> {
    let mut writes = Vec::new();
    let mut placements = Vec::new();
    for kill in 0..kills {
        cluster.all_healthy().await?;
        let leader = cluster.leader().await?;
        let config = cluster.client_config()?;
        let survivors = others(&config, &leader.api_address);
        let client = Client::new(ClientConfig {
            endpoints: survivors,
            ..config
        })?;
        client
            .discover()
            .await
            .context("connecting to a survivor before the kill")?;
        let placed = watch_placement(&client, &format!("failover-{kill}"));
        cluster.signal(&leader, Signal::SIGKILL)?;
        let killed = Instant::now();
        let written = first_write(&client, kill, killed);
        let (written, placed) = tokio::join!(written, create_and_wait(&client, kill, killed, placed));
        writes.push(written?);
        placements.push(placed?);
        cluster.up().await?;
    }
    writes.sort();
    placements.sort();
    let spread = |values: &[Duration]| {
        format!(
            "median {} ms, worst {} ms",
            percentile(values, 50).as_millis(),
            percentile(values, 100).as_millis()
        )
    };
    Ok(vec![
        Figure::at_most(
            format!("leader killed: first acknowledged write after it, p99 of {kills}"),
            percentile(&writes, 99),
            Duration::from_millis(1_500),
        ),
        Figure::plain("the same", spread(&writes)),
        Figure::at_most(
            format!("leader killed: first new pod placed after it, p99 of {kills}"),
            percentile(&placements, 99),
            Duration::from_secs(2),
        ),
        Figure::plain("the same", spread(&placements)),
    ])
}

fn others(config: &ClientConfig, leader: &str) -> Vec<String> {
    config
        .endpoints
        .iter()
        .filter(|endpoint| *endpoint != leader)
        .cloned()
        .collect()
}

async fn first_write(client: &Client, kill: usize, killed: Instant) -> Result<Duration> {
    let api: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
    for attempt in 0.. {
        let object = ConfigMap {
            metadata: Some(ObjectMeta {
                name: format!("failover-{kill}-{attempt}"),
                namespace: NAMESPACE.to_owned(),
                ..ObjectMeta::default()
            }),
            ..ConfigMap::default()
        };
        match api.create(&object).await {
            Ok(_) => return Ok(killed.elapsed()),
            Err(error) if killed.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => {}
        }
    }
    unreachable!("the loop ends by return only")
}

type Placement = tokio::task::JoinHandle<Result<Instant>>;

/// Watches for the pod `name` to be bound, and says when it was.
fn watch_placement(client: &Client, name: &str) -> Placement {
    let api: Api<Pod> = Api::namespaced(client, NAMESPACE);
    let mut watch = api.watch("", &format!("metadata.name={name}"), 0).patient();
    tokio::spawn(async move {
        loop {
            if let TypedWatchItem::Applied(pod, _) = watch.next().await?
                && pod.spec.is_some_and(|spec| !spec.node_name.is_empty())
            {
                return Ok(Instant::now());
            }
        }
    })
}

async fn create_and_wait(client: &Client, kill: usize, killed: Instant, placed: Placement) -> Result<Duration> {
    let api: Api<Pod> = Api::namespaced(client, NAMESPACE);
    let mut pod = pods::short(NAMESPACE, &format!("failover-{kill}"));
    pod.spec.get_or_insert_default().scheduler_name = String::new();
    poll_until("the pod to be created", PATIENCE, || async {
        match api.create(&pod).await {
            Ok(_) => Ok(Some(())),
            Err(_) => Ok(api.get_opt(&format!("failover-{kill}")).await?.map(drop)),
        }
    })
    .await?;
    let at = tokio::time::timeout(PATIENCE, placed)
        .await
        .context("the pod was not placed")???;
    Ok(at.saturating_duration_since(killed))
}
