//! The `kube` crate: its clients, its watchers, and a controller built with it.

mod apply;
mod client;
mod controller;
mod dynamic;
mod record;
mod typed;
mod watching;

use anyhow::{Context, Result};
use trireme_tests::harness::{Cluster, ClusterOptions};

/// One cluster for all that leaves it whole; each part has a namespace of its own.
#[tokio::test]
async fn clients_and_watchers_of_the_kube_crate() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions {
        agents: 1,
        ..ClusterOptions::default()
    })
    .await?;
    cluster.with_logs(every_client(&cluster).await)
}

async fn every_client(cluster: &Cluster) -> Result<()> {
    let client = client::of(cluster).await?;
    typed::objects(&client).await.context("typed objects")?;
    typed::workload(&client).await.context("a workload")?;
    dynamic::discovery(&client).await.context("discovery")?;
    dynamic::objects(&client).await.context("dynamic objects")?;
    apply::owners(&client).await.context("server-side apply")?;
    apply::parts(&client).await.context("applying through subresources")?;
    watching::watchers(&client).await.context("watchers")?;
    watching::a_reflector(&client).await.context("a reflector")
}
