//! Durable creates: how many a second, how long each takes, and what it costs the servers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use tokio::{task::JoinSet, time::Instant};
use tonic::transport::Channel;
use trireme_client::{Api, Client};
use trireme_proto::api::core::v1::Pod;

use super::{NAMESPACE, clients, pods, rest, servers_cpu};
use crate::{bench::store::histogram::Histogram, harness::Cluster};

/// Concurrent clients.
pub const CLIENTS: usize = 64;
/// Connections that the clients share, evenly over the servers.
const CONNECTIONS: usize = 9;

/// Which door the objects go in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// gRPC, protobuf.
    Grpc,
    /// REST, JSON.
    Rest,
}

/// What creating came to.
#[derive(Debug, Clone)]
pub struct Created {
    /// How many.
    pub count: usize,
    /// How long all of it took.
    pub elapsed: Duration,
    /// How long each took.
    pub latencies: Histogram,
    /// Processor time of all servers.
    pub cpu: Duration,
}

impl Created {
    /// Creates a second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    /// Processor time of all servers for one create, in microseconds.
    pub fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.count as f64
    }
}

/// One connection, asked either way.
#[derive(Clone)]
struct Way {
    door: Door,
    client: Client,
    channel: Channel,
}

/// Creates `count` short pods by [`CLIENTS`] clients, spread over all servers as users' would be. `prefix` begins their names.
///
/// # Errors
/// If a create fails.
pub async fn create(cluster: &Cluster, door: Door, prefix: &str, count: usize) -> Result<Created> {
    let prefix = prefix.to_owned();
    create_each(cluster, door, count, move |number| {
        Ok(pods::short(NAMESPACE, &format!("{prefix}-{number}")))
    })
    .await
}

/// Creates the pods that `pod` makes of the numbers below `count`, none before it is wanted.
///
/// # Errors
/// If a create fails.
pub async fn create_each(
    cluster: &Cluster,
    door: Door,
    count: usize,
    pod: impl Fn(usize) -> Result<Pod> + Send + Sync + 'static,
) -> Result<Created> {
    let ways = ways(cluster, door).await?;
    let cpu_before = servers_cpu(cluster).await?;
    let (next, pod) = (Arc::new(AtomicUsize::new(0)), Arc::new(pod));
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for index in 0..CLIENTS {
        let (way, next, pod) = (ways[index % ways.len()].clone(), next.clone(), pod.clone());
        clients.spawn(async move {
            let mut latencies = Histogram::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(latencies);
                }
                let pod = pod(number)?;
                let began = Instant::now();
                way.create(&pod).await?;
                latencies.record(began.elapsed());
            }
        });
    }
    let mut latencies = Histogram::default();
    while let Some(done) = clients.join_next().await {
        latencies.merge(&done??);
    }
    let elapsed = started.elapsed();
    ensure!(
        latencies.total() == count as u64,
        "{} of {count} pods were created",
        latencies.total()
    );
    Ok(Created {
        count,
        elapsed,
        latencies,
        cpu: servers_cpu(cluster).await?.saturating_sub(cpu_before),
    })
}

async fn ways(cluster: &Cluster, door: Door) -> Result<Vec<Way>> {
    let mut ways = Vec::new();
    for client in clients(cluster, CONNECTIONS).await? {
        let channel = client.connection().link().await?.channel;
        ways.push(Way { door, client, channel });
    }
    Ok(ways)
}

impl Way {
    async fn create(&self, pod: &Pod) -> Result<()> {
        let namespace = pod.metadata.as_ref().map_or("", |metadata| &metadata.namespace);
        match self.door {
            Door::Grpc => {
                Api::namespaced(&self.client, namespace).create(pod).await?;
            }
            Door::Rest => {
                let path = format!("/api/v1/namespaces/{namespace}/pods");
                rest::create(&self.channel, &path, pods::json_of(pod)?).await?;
            }
        }
        Ok(())
    }
}
