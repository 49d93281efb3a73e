//! A controller built with `kube`, and watchers beside it, while leaders are killed.
//!
//! The controller is level-triggered by its watches alone and never asks again on its own, so that an event that it is not told
//! of leaves an object wrong. The watchers' records are compared with the history of each server and with what was acknowledged.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::{Controller, controller::Action, watcher},
};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::{sync::oneshot, task::JoinHandle};
use trireme_tests::harness::{Cluster, ClusterOptions, poll_until, wait_until};

use super::{
    client,
    record::{Change, END, Record, Soon, follow, in_order, outcome, replay},
};
use crate::balancer::Balancer;

/// Where all of it happens.
const NAMESPACE: &str = "controlled";

/// Objects that each have a copy, which the controller keeps.
const SOURCES: usize = 6;

/// Leaders that are killed.
const KILLS: usize = 2;

/// Rounds of writes that must be through before a leader is killed, and again before it comes back.
const ROUNDS_BETWEEN: usize = 20;

/// How long a round of writes takes at least, so that the history stays small.
const ROUND: Duration = Duration::from_millis(20);

/// How long anything may take that should take seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the controller and whoever writes its sources share with the test.
#[derive(Default)]
struct Progress {
    rounds: AtomicUsize,
    is_over: AtomicBool,
    /// Revisions that a server told of, as those of a write that it had done.
    acknowledged: Mutex<BTreeSet<u64>>,
}

impl Progress {
    fn acknowledge(&self, object: &ConfigMap) {
        let revision: Result<u64, _> = object.resource_version().unwrap_or_default().parse();
        let mut acknowledged = self.acknowledged.lock().expect("nobody panics with it");
        acknowledged.extend(revision.ok());
    }

    async fn rounds(&self, more: usize) -> Result<()> {
        let until = self.rounds.load(Ordering::Relaxed) + more;
        wait_until("writes to go on", PATIENCE, || async {
            Ok(self.rounds.load(Ordering::Relaxed) >= until)
        })
        .await
    }
}

#[tokio::test]
async fn a_controller_and_watchers_miss_nothing_while_leaders_are_killed() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions {
        agents: 1,
        ..ClusterOptions::default()
    })
    .await?;
    cluster.with_logs(scenario(&cluster).await)
}

async fn scenario(cluster: &Cluster) -> Result<()> {
    let servers: Vec<String> = cluster
        .all_healthy()
        .await?
        .into_iter()
        .map(|member| member.api_address)
        .collect();
    let balancer = Balancer::start(servers.clone()).await?;
    balancer.prefer(&cluster.leader().await?.api_address).await;
    let client = client::at(cluster, &balancer.address()).await?;
    client::namespace(&client, NAMESPACE).await?;
    let api = configmaps(&client);
    let before = api.list(&ListParams::default()).await?.metadata.resource_version;
    let before = before.context("a list has a resourceVersion")?;

    // One that is led on to another server when its own dies, and one a server that waits for its own to come back.
    let mut watchers = vec![attached(&api).await?];
    let mut replicas = Vec::new();
    for server in &servers {
        let replica = configmaps(&client::at(cluster, server).await?);
        watchers.push(attached(&replica).await?);
        replicas.push(replica);
    }

    let progress = Arc::new(Progress::default());
    let controller = tokio::spawn(control(client.clone(), Arc::clone(&progress)));
    let writer = tokio::spawn(write(api.clone(), Arc::clone(&progress)));
    for _ in 0..KILLS {
        progress.rounds(ROUNDS_BETWEEN).await?;
        let leader = cluster.leader().await?;
        balancer.prefer(&leader.api_address).await;
        cluster.signal(&leader, Signal::SIGKILL)?;
        cluster.leader_other_than(leader.id).await?;
        progress.rounds(ROUNDS_BETWEEN).await?;
        cluster.up().await?;
        cluster.all_healthy().await?;
    }
    progress.rounds(ROUNDS_BETWEEN).await?;
    progress.is_over.store(true, Ordering::Relaxed);
    let last = writer.await??;
    copies_are_right(&api, last).await?;

    // What has lost its owner goes, and the controller does not make it again.
    api.delete("source-0", &DeleteParams::default()).await?;
    wait_until("the copy to go with its source", PATIENCE, || async {
        Ok(api.get_opt("source-0-copy").await?.is_none())
    })
    .await?;
    controller.abort();
    // It had made what it was making; its last request, if any, is over before the end is made.
    let _ = controller.await;
    let end = client::object(json!({"metadata": {"name": END}}))?;
    api.create(&PostParams::default(), &end).await?;

    ensure!(balancer.led_to().await >= 2, "the kills met the connections");
    let mut records = Vec::new();
    for watcher in watchers {
        records.push(tokio::time::timeout(PATIENCE, watcher).await.context("the end")???);
    }
    nothing_lost_or_repeated(&records, &replicas, &before, &progress).await
}

fn configmaps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// A watcher that has its list, and what it will have been told in the end.
async fn attached(api: &Api<ConfigMap>) -> Result<JoinHandle<Result<Record>>> {
    let (begun, has_begun) = oneshot::channel();
    let task = tokio::spawn(follow(api.clone(), begun));
    tokio::time::timeout(PATIENCE, has_begun)
        .await
        .context("a watcher to begin")??;
    Ok(task)
}

/// Writes all sources again and again, and deletes one copy a round, until it is told to stop; gives the last round.
async fn write(api: Api<ConfigMap>, progress: Arc<Progress>) -> Result<usize> {
    let manager = PatchParams::apply("writer").force();
    let mut pace = tokio::time::interval(ROUND);
    let mut round = 0;
    while !progress.is_over.load(Ordering::Relaxed) {
        pace.tick().await;
        round += 1;
        for index in 0..SOURCES {
            let name = format!("source-{index}");
            let source = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "labels": {"role": "source"}},
                "data": {"round": round.to_string()},
            });
            let written = poll_until("a write to be taken", PATIENCE, || async {
                let patch = Patch::Apply(&source);
                Ok(Some(api.patch(&name, &manager, &patch).await?))
            })
            .await?;
            progress.acknowledge(&written);
        }
        let victim = format!("source-{}-copy", round % SOURCES);
        poll_until("a deletion to be taken", PATIENCE, || async {
            match api.delete(&victim, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Some(())),
                result => Ok(result.map(|_| Some(()))?),
            }
        })
        .await?;
        progress.rounds.store(round, Ordering::Relaxed);
    }
    Ok(round)
}

/// The controller: each source has a copy, which says what its source does.
async fn control(client: Client, progress: Arc<Progress>) {
    let api = configmaps(&client);
    let role = |role| watcher::Config::default().labels(&format!("role={role}"));
    let context = Arc::new((api.clone(), progress));
    Controller::new(api.clone(), role("source"))
        .owns(api, role("copy"))
        .trigger_backoff(Soon)
        .run(
            |source, context| async move { reconcile(&source, &context.0, &context.1).await },
            |_, _, _| Action::requeue(Duration::from_millis(100)),
            context,
        )
        // Failures are what the kills are for; it must get over them.
        .for_each(|_| async {})
        .await;
}

async fn reconcile(source: &ConfigMap, api: &Api<ConfigMap>, progress: &Progress) -> kube::Result<Action> {
    let name = format!("{}-copy", source.name_any());
    let copy = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": {"role": "copy"},
            "ownerReferences": [source.controller_owner_ref(&())],
        },
        "data": source.data,
    });
    let manager = PatchParams::apply("copier").force();
    let kept = api.patch(&name, &manager, &Patch::Apply(copy)).await?;
    progress.acknowledge(&kept);
    Ok(Action::await_change())
}

/// Waits until each source says what was written last, and each copy what its source says.
async fn copies_are_right(api: &Api<ConfigMap>, round: usize) -> Result<()> {
    let right = Some([("round".to_owned(), round.to_string())].into());
    wait_until("all copies to be right", PATIENCE, || async {
        for index in 0..SOURCES {
            let source = api.get(&format!("source-{index}")).await?;
            let copy = api.get(&format!("source-{index}-copy")).await?;
            ensure!(source.data == right, "source {index}: {:?}", source.data);
            ensure!(copy.data == right, "copy {index}: {:?}", copy.data);
        }
        Ok(true)
    })
    .await
}

/// Each watcher was told the whole history, once and in order, and the history is what was acknowledged and what is left.
async fn nothing_lost_or_repeated(
    records: &[Record],
    replicas: &[Api<ConfigMap>],
    before: &str,
    progress: &Progress,
) -> Result<()> {
    let history = replay(&replicas[0], before).await?;
    in_order(&history)?;
    for replica in &replicas[1..] {
        ensure!(
            replay(replica, before).await? == history,
            "two servers' histories differ"
        );
        let list = replica.list(&ListParams::default()).await?;
        let listed = list
            .iter()
            .map(|object| {
                Ok((
                    object.name_any(),
                    object.resource_version().unwrap_or_default().parse()?,
                ))
            })
            .collect::<Result<Vec<(String, u64)>>>()?;
        let mut expected = outcome(&history);
        // What was there before is in the list alone.
        let first: u64 = before.parse()?;
        expected.extend(listed.iter().filter(|(_, revision)| *revision <= first).cloned());
        ensure!(
            listed.into_iter().collect::<std::collections::BTreeMap<_, _>>() == expected,
            "the history leads to {expected:?}"
        );
    }
    let happened: BTreeSet<u64> = history.iter().map(|change| change.revision).collect();
    let acknowledged = progress.acknowledged.lock().expect("nobody panics with it").clone();
    let lost: Vec<&u64> = acknowledged.difference(&happened).collect();
    ensure!(lost.is_empty(), "acknowledged, but not in the history: {lost:?}");
    ensure!(
        acknowledged.len() > SOURCES * ROUNDS_BETWEEN * KILLS,
        "too little happened: {}",
        acknowledged.len()
    );
    for (index, record) in records.iter().enumerate() {
        ensure!(
            record.beginnings == 1,
            "watcher {index} began {} times",
            record.beginnings
        );
        if record.changes != history {
            let told: BTreeSet<u64> = record.changes.iter().map(|change| change.revision).collect();
            let lost: Vec<&Change> = history
                .iter()
                .filter(|change| !told.contains(&change.revision))
                .collect();
            anyhow::bail!(
                "watcher {index} was told {} of {} changes; it missed {lost:?}",
                record.changes.len(),
                history.len()
            );
        }
    }
    Ok(())
}
