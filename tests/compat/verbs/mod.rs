//! The verbs of `kubectl`: each journey is made with each version of it, on one cluster.

mod changing;
mod deployment;
mod draining;
mod looking;
mod making;
mod nodes;
mod object;

use anyhow::{Context, Result};
use trireme_tests::harness::{Cluster, ClusterOptions};

use crate::kubectl::Kubectl;

/// One server and so many agents.
pub(crate) async fn with_agents(agents: usize) -> Result<Cluster> {
    Cluster::start(ClusterOptions {
        servers: 1,
        agents,
        ..ClusterOptions::default()
    })
    .await
}

/// Makes a journey with each `kubectl` there is, one after the other on one cluster: it must leave nothing behind.
pub(crate) async fn with_each(agents: usize, journey: impl AsyncFn(&Kubectl) -> Result<()>) -> Result<()> {
    let cluster = with_agents(agents).await?;
    for kubectl in Kubectl::all(&cluster).await? {
        let made = journey(&kubectl).await.with_context(|| kubectl.version());
        cluster.with_logs(made)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_deployment_from_applying_to_deleting() -> Result<()> {
    with_each(1, deployment::deployment).await
}

#[tokio::test]
async fn one_object_through_every_verb() -> Result<()> {
    with_each(1, object::one_object).await
}

#[tokio::test]
async fn what_there_is_and_how_it_is() -> Result<()> {
    with_each(1, looking::looking).await
}

#[tokio::test]
async fn objects_are_made_of_words() -> Result<()> {
    with_each(1, making::making).await
}

#[tokio::test]
async fn objects_are_changed_by_words() -> Result<()> {
    with_each(1, changing::changing).await
}

#[tokio::test]
async fn nodes_are_emptied_and_asked_after() -> Result<()> {
    with_each(1, nodes::nodes).await
}

#[tokio::test]
async fn a_drain_keeps_to_a_budget() -> Result<()> {
    with_each(2, draining::drain).await
}
