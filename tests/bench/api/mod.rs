//! `./x bench api`: three servers under the load of a large cluster, by the API that clients use.
//!
//! Clusters of real processes on one disk, one after the other, every write synced. Beside each figure stands that of a stock kube-apiserver
//! with one etcd on a like machine, which was measured once and is not run here.

pub mod creates;
mod lists;
pub mod pods;
mod rest;
mod watches;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{task::JoinSet, time::Instant};
use trireme_client::{Api, Client};
use trireme_proto::{
    api::core::v1::{Namespace, Node},
    api::meta::v1::ObjectMeta,
    v1::{ListRequest, ResourceRef, resources_client::ResourcesClient},
};

use self::{
    creates::{CLIENTS, Created, Door},
    lists::Asked,
    watches::{Followed, WatchLoad, WatchOutcome},
};
use super::{machine, report::Figure};
use crate::harness::{Cluster, ClusterOptions, poll_until};

/// Namespace of the short pods.
pub const NAMESPACE: &str = "default";
/// Namespaces over which the many pods are spread.
const NAMESPACES: usize = 20;
/// Pods whose list feels immediate.
const SHORT_PODS: usize = 10_000;
/// Pods, and nodes that they are on, while watchers are measured; beside that with the many pods.
const WATCHED_PODS: usize = 15_000;
const WATCHED_NODES: usize = 500;
/// Bytes of one of the many pods, in protobuf.
const POD_BYTES: usize = 2_048;
/// How long servers come to rest before their memory is read.
const SETTLE: Duration = Duration::from_secs(15);
/// How long anything may take that should take seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a small question is asked.
const QUESTIONS: usize = 50;
/// Readers at once.
const READERS: usize = 4;

/// What to measure.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// The program.
    pub trireme: PathBuf,
    /// Nodes.
    pub nodes: usize,
    /// The many pods.
    pub pods: usize,
    /// Watchers.
    pub watchers: usize,
    /// Changes a second while they watch.
    pub changes: usize,
    /// How long pods change.
    pub watched: Duration,
}

impl ApiOptions {
    /// The sizes that docs/BENCHMARKS.md is made with.
    pub fn full(trireme: PathBuf) -> Self {
        Self {
            trireme,
            nodes: 5_000,
            pods: 150_000,
            watchers: 1_000,
            changes: 2_000,
            watched: Duration::from_secs(15),
        }
    }

    /// A look that takes a minute or two.
    pub fn quick(trireme: PathBuf) -> Self {
        Self {
            nodes: WATCHED_NODES,
            pods: WATCHED_PODS,
            watched: Duration::from_secs(5),
            ..Self::full(trireme)
        }
    }
}

/// Measures everything, one after the other.
///
/// # Errors
/// If the cluster does not work.
pub async fn run(options: &ApiOptions) -> Result<Vec<Figure>> {
    let mut figures = small(options).await?;
    figures.extend(watched(options).await?);
    figures.extend(large(options).await?);
    Ok(figures)
}

/// Three servers that hold nothing yet.
async fn start(options: &ApiOptions) -> Result<Cluster> {
    let cluster = Cluster::start(ClusterOptions {
        trireme: options.trireme.clone(),
        agents: 0,
        ..ClusterOptions::default()
    })
    .await?;
    cluster.all_healthy().await?;
    Ok(cluster)
}

/// What is measured with few short pods.
async fn small(options: &ApiOptions) -> Result<Vec<Figure>> {
    let cluster = start(options).await?;
    let mut figures = Vec::new();
    tell("creating short pods over gRPC");
    let created = creates::create(&cluster, Door::Grpc, "grpc", SHORT_PODS).await?;
    figures.extend(created_figures("gRPC", &created, 5_000.0));
    tell("printing them as kubectl does");
    figures.push(table_figure(&cluster).await?);
    tell("creating short pods over REST");
    let created = creates::create(&cluster, Door::Rest, "rest", SHORT_PODS).await?;
    figures.extend(created_figures("REST, JSON", &created, 3_000.0));
    Ok(figures)
}

/// What many watchers are told of the changes of some pods, in a cluster that has no others.
async fn watched(options: &ApiOptions) -> Result<Vec<Figure>> {
    let cluster = start(options).await?;
    tell("loading some nodes and pods");
    fill(&cluster, WATCHED_NODES, WATCHED_PODS).await?;
    watch_figures(&cluster, options, WATCHED_NODES, WATCHED_PODS).await
}

/// What is measured with the many pods, in a cluster that has no others.
async fn large(options: &ApiOptions) -> Result<Vec<Figure>> {
    let cluster = start(options).await?;
    tell("loading nodes and pods");
    let mut figures = load(&cluster, options).await?;
    tell("listing");
    figures.extend(list_figures(&cluster, options).await?);
    // Among so few, watchers were measured already.
    if options.pods > WATCHED_PODS {
        figures.extend(watch_figures(&cluster, options, options.nodes, options.pods).await?);
    }
    Ok(figures)
}

fn tell(what: &str) {
    eprintln!("bench: {what}");
}

fn created_figures(door: &str, created: &Created, least: f64) -> Vec<Figure> {
    let (median, p99) = (created.latencies.percentile(50.0), created.latencies.percentile(99.0));
    vec![
        Figure::rate(
            format!(
                "{} pods created by {CLIENTS} clients over {door} [kube-apiserver 771]",
                created.count
            ),
            created.rate(),
            least,
        ),
        Figure::millis(
            format!("the same, p99 of one create (p50 {} ms) [175 ms]", median.as_millis()),
            p99,
            100,
        ),
        Figure::plain(
            "the same, processor time of all servers a create",
            format!("{:.0} µs", created.cpu_micros()),
        ),
    ]
}

async fn table_figure(cluster: &Cluster) -> Result<Figure> {
    let member = cluster.leader().await?;
    let asked = Asked::connect(cluster, &member).await?;
    let mut best = None;
    for _ in 0..3 {
        let (rows, elapsed, cpu) = asked.table("/api/v1/pods").await?;
        ensure!(rows == SHORT_PODS, "{rows} rows");
        best = best.min(Some((elapsed, cpu))).or(Some((elapsed, cpu)));
    }
    let (elapsed, cpu) = best.context("it was asked")?;
    Ok(Figure::millis(
        format!(
            "`kubectl get pods -A` of {SHORT_PODS} pods: time of all pages (processor {} ms)",
            cpu.as_millis()
        ),
        elapsed,
        150,
    ))
}

/// The namespace with a number.
pub(crate) fn namespace(number: usize) -> String {
    format!("bench-{number:02}")
}

/// Makes nodes, namespaces and pods of full size.
async fn fill(cluster: &Cluster, nodes: usize, pods: usize) -> Result<Created> {
    let client = cluster.client()?;
    for number in 0..NAMESPACES {
        let api: Api<Namespace> = Api::all(&client);
        let metadata = ObjectMeta {
            name: namespace(number),
            ..ObjectMeta::default()
        };
        let object = Namespace {
            metadata: Some(metadata),
            ..Namespace::default()
        };
        api.create(&object).await?;
    }
    let mut tasks = JoinSet::new();
    for index in 0..CLIENTS {
        let api: Api<Node> = Api::all(&client);
        tasks.spawn(async move {
            for number in (index..nodes).step_by(CLIENTS) {
                api.create(&pods::node(number)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    creates::create_each(cluster, Door::Grpc, pods, move |number| {
        let node = pods::node_name(pods::node_of(number, nodes));
        pods::full(&namespace(number % NAMESPACES), number, &node, POD_BYTES)
    })
    .await
}

async fn load(cluster: &Cluster, options: &ApiOptions) -> Result<Vec<Figure>> {
    let before = resident(cluster).await?;
    let created = fill(cluster, options.nodes, options.pods).await?;
    tokio::time::sleep(SETTLE).await;
    let after = resident(cluster).await?;
    let largest = after.iter().copied().max().unwrap_or(0);
    let growth = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after.saturating_sub(*before))
        .max();
    let a_pod = growth.unwrap_or(0) as f64 / options.pods as f64;
    let all: Vec<String> = after.iter().map(|bytes| format!("{}", bytes / 1_000_000)).collect();
    Ok(vec![
        Figure::plain(
            format!("{} pods of 2 KB loaded over gRPC", options.pods),
            format!(
                "{:.0} a second, p99 {} ms, {:.0} µs of processor time each",
                created.rate(),
                created.latencies.percentile(99.0).as_millis(),
                created.cpu_micros()
            ),
        ),
        Figure {
            name: format!(
                "memory that {} nodes and {} pods take on a server, a pod [85 to 160 KB]",
                options.nodes, options.pods
            ),
            value: format!("{:.1} KB", a_pod / 1_000.0),
            target: "8 KB or less".to_owned(),
            reached: Some(a_pod <= 8_192.0),
        },
        Figure::plain(
            "resident memory of each server then",
            format!("{} MB (largest {} MB)", all.join(", "), largest / 1_000_000),
        ),
    ])
}

async fn list_figures(cluster: &Cluster, options: &ApiOptions) -> Result<Vec<Figure>> {
    let leader = cluster.leader().await?;
    let members = cluster.members().await?;
    let follower = members.iter().find(|member| member.id != leader.id);
    let asked = Asked::connect(cluster, follower.context("there are three servers")?).await?;
    let all = options.pods;
    // The first reading warms what is cached, for whoever reads.
    asked.list("/api/v1/pods", 1).await?;
    let one = asked.list("/api/v1/pods", 1).await?;
    ensure!(one.objects == all, "{} objects", one.objects);
    let many = asked.list("/api/v1/pods", READERS).await?;
    let number = options.pods / 2;
    let labelled = format!(
        "/api/v1/pods?labelSelector={}%3D{number}",
        pods::NUMBER_LABEL.replace('/', "%2F")
    );
    let by_label = asked.select(&labelled, 1, QUESTIONS).await?;
    let on_node = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", pods::node_name(7));
    let of_node = (0..options.pods)
        .filter(|number| pods::node_of(*number, options.nodes) == 7)
        .count();
    let by_node = asked.select(&on_node, of_node, QUESTIONS).await?;
    let rate = one.bytes as f64 / 1e6 / one.elapsed.as_secs_f64();
    Ok(vec![
        Figure {
            name: format!(
                "list of {all} pods over REST, JSON, from a follower ({} MB)",
                one.bytes / 1_000_000
            ),
            value: format!(
                "{:.2} s ({rate:.0} MB/s, processor {:.2} s)",
                one.elapsed.as_secs_f64(),
                one.cpu.as_secs_f64()
            ),
            target: "2 s or less".to_owned(),
            reached: Some(one.elapsed <= Duration::from_secs(2)),
        },
        Figure {
            name: format!("memory that a reader of it takes ({READERS} at once)"),
            value: format!(
                "{:.1} MB ({:.1} MB)",
                one.extra_bytes as f64 / 1e6,
                many.extra_bytes as f64 / 1e6 / READERS as f64
            ),
            target: "50 MB or less".to_owned(),
            reached: Some(one.extra_bytes.max(many.extra_bytes / READERS as u64) <= 50_000_000),
        },
        Figure::millis("list of one pod by a label, p50", by_label.percentile(50.0), 20),
        Figure::millis(
            format!("list of {of_node} pods by their node, p50"),
            by_node.percentile(50.0),
            20,
        ),
    ])
}

async fn watch_figures(cluster: &Cluster, options: &ApiOptions, nodes: usize, pods: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (followed, places) in [(Followed::Namespace, NAMESPACES), (Followed::Node, nodes)] {
        tell("watching");
        let load = WatchLoad {
            followed,
            watchers: options.watchers,
            nodes,
            namespaces: NAMESPACES,
            pods,
            changes: options.changes,
            lasts: options.watched,
        };
        let outcome = watches::watch(cluster, &load).await?;
        let each = match followed {
            Followed::Namespace => format!("one of {places} namespaces"),
            Followed::Node => format!("one of {places} nodes"),
        };
        figures.extend(watched_figures(&load, &each, &outcome));
    }
    Ok(figures)
}

fn watched_figures(load: &WatchLoad, each: &str, outcome: &WatchOutcome) -> Vec<Figure> {
    let rate = |count: u64| count as f64 / outcome.elapsed.as_secs_f64();
    vec![
        Figure {
            name: format!(
                "{} watchers, each of {each}, while of {} pods some change: cut off [43 to 68]",
                load.watchers, load.pods
            ),
            value: outcome.cut_off.to_string(),
            target: "none".to_owned(),
            reached: Some(outcome.cut_off == 0),
        },
        Figure::rate(
            "the same, pods changed".to_owned(),
            rate(outcome.changes),
            load.changes as f64 * 0.98,
        ),
        Figure::plain(
            "the same, events delivered",
            format!(
                "{:.0} a second, {:.1} µs of processor time each",
                rate(outcome.events),
                outcome.cpu.as_secs_f64() * 1e6 / outcome.events.max(1) as f64
            ),
        ),
        Figure::millis(
            format!(
                "the same, p99 from asking for a change to its event (p50 {} ms)",
                outcome.delays.percentile(50.0).as_millis()
            ),
            outcome.delays.percentile(99.0),
            100,
        ),
    ]
}

/// So many clients, each with a connection of its own, evenly over the servers.
async fn clients(cluster: &Cluster, count: usize) -> Result<Vec<Client>> {
    let members = cluster.members().await?;
    let each = members.iter().cycle().take(count);
    each.map(|member| cluster.client_of(member)).collect()
}

/// Resident memory of every server.
async fn resident(cluster: &Cluster) -> Result<Vec<u64>> {
    let members = cluster.members().await?;
    members
        .iter()
        .map(|member| machine::resident_bytes(member.process_id))
        .collect()
}

/// Processor time of all servers.
pub(super) async fn servers_cpu(cluster: &Cluster) -> Result<Duration> {
    let members = cluster.members().await?;
    members.iter().map(|member| machine::cpu_time(member.process_id)).sum()
}

/// The revision of everything that was acknowledged so far, once every server has it.
async fn revision(cluster: &Cluster) -> Result<i64> {
    let started = Instant::now();
    let request = ListRequest {
        resource: Some(ResourceRef {
            resource: "namespaces".to_owned(),
            ..ResourceRef::default()
        }),
        limit: 1,
        ..ListRequest::default()
    };
    let mut revision = 0;
    for member in cluster.members().await? {
        let client = cluster.client_of(&member)?;
        let listed = poll_until(
            "a server to answer",
            PATIENCE.saturating_sub(started.elapsed()),
            || async {
                let channel = client.connection().link().await?.channel;
                Ok(Some(
                    ResourcesClient::new(channel).list(request.clone()).await?.into_inner(),
                ))
            },
        );
        revision = revision.max(listed.await?.revision);
    }
    Ok(revision)
}
