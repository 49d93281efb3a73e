//! One chaos run, top to bottom.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{sync::watch, time::Instant};
use trireme_client::{Api, Client};
use trireme_proto::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};

use super::{
    check::{Violation, violations},
    faults::Fault,
    history::{FinalObject, History},
    workload::{
        DEPLOYMENT, NAMESPACE, Progress, WRITER_LABEL, revision_of, scale, spawn_pod_watcher, spawn_scaler,
        spawn_watcher, spawn_writer,
    },
};
use crate::harness::{Cluster, ClusterOptions, poll_until, wait_until};

/// How long anything may take that should take seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// Writes that must be acknowledged between two faults, so that a run tests something.
const WRITES_BETWEEN_FAULTS: u64 = 200;
/// What the Deployment is told to have at the end.
const FINAL_REPLICAS: i32 = 4;

/// What to do.
#[derive(Debug, Clone)]
pub struct ChaosOptions {
    /// The cluster.
    pub cluster: ClusterOptions,
    /// How often the leader is broken.
    pub faults: usize,
    /// How.
    pub fault: Fault,
    /// What the leader must have logged before it is broken, such as that a planted bug is at work; empty for nothing.
    pub logged: &'static str,
    /// Concurrent writers.
    pub writers: usize,
    /// Leave the broken leader broken, and judge what the survivors show. For one fault only.
    pub leave_broken: bool,
    /// Say what happens.
    pub verbose: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct ChaosReport {
    /// Broken promises; empty if all is well.
    pub violations: Vec<Violation>,
    /// Writes that were acknowledged, and those whose outcome was unknown.
    pub acknowledged: u64,
    /// Writes whose outcome was unknown.
    pub unknown: u64,
    /// Changes that the watcher saw.
    pub watched: usize,
    /// For each fault: from the fault to the first write acknowledged after it.
    pub write_gaps: Vec<Duration>,
    /// Where the data of a failed run is kept.
    pub kept: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// If the cluster does not start, does not come back after a fault, or a client breaks. A broken promise is not an
/// error but a [`Violation`].
pub async fn run(options: &ChaosOptions) -> Result<ChaosReport> {
    let mut cluster = Cluster::start(options.cluster.clone()).await?;
    let result = run_on(&cluster, options).await;
    let kept = match &result {
        Ok(report) if report.violations.is_empty() => None,
        _ => Some(cluster.keep()),
    };
    match result {
        Ok(report) => Ok(ChaosReport { kept, ..report }),
        Err(error) => {
            let kept = kept.unwrap_or_default();
            Err(error.context(format!(
                "the run's data is kept in {}\n{}",
                kept.display(),
                cluster.logs_tail()
            )))
        }
    }
}

async fn run_on(cluster: &Cluster, options: &ChaosOptions) -> Result<ChaosReport> {
    let say = |line: String| {
        if options.verbose {
            eprintln!("chaos: {line}");
        }
    };
    let client = cluster.client()?;
    create_deployment(cluster).await?;
    let config_maps: Api<ConfigMap> = Api::namespaced(&client, NAMESPACE);
    let watch_start = config_maps.list("", "").await?.revision;

    let (stop, stopped) = watch::channel(false);
    let (until, watched_until) = watch::channel(None);
    let progress = Arc::new(Progress::default());
    let watcher = spawn_watcher(cluster.client()?, watch_start, watched_until);
    let pod_watcher = spawn_pod_watcher(cluster.client()?, stopped.clone());
    let scaler = spawn_scaler(cluster.client()?, stopped.clone());
    let writers = (0..options.writers)
        .map(|writer| {
            Ok(spawn_writer(
                cluster.client()?,
                writer,
                progress.clone(),
                stopped.clone(),
            ))
        })
        .collect::<Result<Vec<_>>>()?;

    let mut write_gaps = Vec::new();
    for fault in 0..options.faults {
        let leader = cluster.leader().await?;
        wait_until(
            &format!("{:?} in the leader's log", options.logged),
            PATIENCE,
            || async { Ok(cluster.log(&leader.name).contains(options.logged)) },
        )
        .await?;
        wait_for_writes(&progress, WRITES_BETWEEN_FAULTS).await?;
        let leader = cluster.leader().await?;
        options.fault.strike(cluster, &leader)?;
        let struck = Instant::now();
        // One write may have been on its way back when the fault struck; the second was made after it.
        wait_for_writes(&progress, options.writers as u64 + 1).await?;
        let gap = struck.elapsed();
        write_gaps.push(gap);
        let successor = cluster.leader_other_than(leader.id).await?;
        say(format!(
            "fault {} of {}: {:?} of {}; {} leads, writes again after {} ms",
            fault + 1,
            options.faults,
            options.fault,
            leader.name,
            successor.name,
            gap.as_millis()
        ));
        if !options.leave_broken {
            options.fault.mend(cluster, &leader).await?;
            cluster.all_healthy().await?;
        }
    }
    wait_for_writes(&progress, WRITES_BETWEEN_FAULTS).await?;
    stop.send_replace(true);
    let mut history = History {
        watch_start,
        ..History::default()
    };
    for writer in writers {
        history.writes.extend(writer.await?);
    }
    scaler.await?;
    scale(&client, FINAL_REPLICAS).await?;
    // A node that was told falsely that its report is stored makes no other, so a broken promise can show here.
    history.unsettled = deployment_settles(&client).await.err().map(|why| format!("{why:#}"));

    // Everything that was written is at or below this revision.
    let end = config_maps.list("", "").await?.revision;
    until.send_replace(Some(end));
    history.watched = tokio::time::timeout(PATIENCE, watcher)
        .await
        .with_context(|| format!("the watcher did not reach revision {end}"))???;
    history.pods = pod_watcher.await??;
    read_final_state(cluster, options.leave_broken, &mut history).await?;

    let found = violations(&history);
    let unknown = history
        .writes
        .iter()
        .filter(|write| write.outcome == super::history::WriteOutcome::Unknown)
        .count() as u64;
    Ok(ChaosReport {
        violations: found,
        acknowledged: progress.acknowledged(),
        unknown,
        watched: history.watched.len(),
        write_gaps,
        kept: None,
    })
}

async fn create_deployment(cluster: &Cluster) -> Result<()> {
    let manifest = format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"{DEPLOYMENT}"}},
        "spec":{{"replicas":3,"selector":{{"matchLabels":{{"app":"{DEPLOYMENT}"}}}},
        "template":{{"metadata":{{"labels":{{"app":"{DEPLOYMENT}"}}}},
        "spec":{{"terminationGracePeriodSeconds":1,"containers":[{{"name":"hello","image":"trireme.local/hello:1"}}]}}}}}}}}"#
    );
    let output = cluster.run_with_input(&["apply", "-f", "-"], &manifest).await?;
    if output.code != 0 {
        bail!("the Deployment was not created: {}{}", output.stdout, output.stderr);
    }
    Ok(())
}

/// Waits until `count` more writes have been acknowledged.
async fn wait_for_writes(progress: &Progress, count: u64) -> Result<()> {
    let target = progress.acknowledged() + count;
    wait_until(&format!("{count} more acknowledged writes"), PATIENCE, || async {
        Ok(progress.acknowledged() >= target)
    })
    .await
}

/// Waits until the Deployment has its final count of pods, all ready.
async fn deployment_settles(client: &Client) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(client, NAMESPACE);
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    poll_until("the Deployment to reach its count", PATIENCE, || async {
        let deployment = api.get(DEPLOYMENT).await?;
        let generation = deployment.metadata.as_ref().map_or(0, |meta| meta.generation);
        let status = deployment.status.unwrap_or_default();
        let present = pods.list(&format!("app={DEPLOYMENT}"), "").await?.items;
        let settled = status.observed_generation == generation
            && status.ready_replicas == FINAL_REPLICAS
            && status.replicas == FINAL_REPLICAS
            && present.len() == FINAL_REPLICAS as usize;
        if !settled {
            bail!("{} pods are there, the status is {status:?}", present.len());
        }
        Ok(Some(()))
    })
    .await
}

/// Reads what each server itself shows, once all have applied the same.
async fn read_final_state(cluster: &Cluster, survivors_only: bool, history: &mut History) -> Result<()> {
    let members = poll_until("all servers to show one state at one index", PATIENCE, || async {
        let members = if survivors_only {
            let members = cluster.members().await?;
            members.into_iter().filter(|member| member.process_id != 0).collect()
        } else {
            cluster.all_healthy().await?
        };
        let indexes: BTreeSet<u64> = members.iter().map(|member| member.applied_index).collect();
        if indexes.len() > 1 {
            bail!("the servers have applied up to {indexes:?}");
        }
        Ok(Some(members))
    })
    .await?;
    for member in &members {
        history
            .hashes
            .insert(member.name.clone(), (member.applied_index, member.state_hash.clone()));
        let api: Api<ConfigMap> = Api::namespaced(&cluster.client_of(member)?, NAMESPACE);
        let objects = api.list(&format!("app={WRITER_LABEL}"), "").await?.items;
        let objects = objects
            .into_iter()
            .map(|object| {
                let revision = revision_of(object.metadata.as_ref());
                let name = object.metadata.unwrap_or_default().name;
                FinalObject {
                    name,
                    value: object.data.get("value").cloned().unwrap_or_default(),
                    revision,
                }
            })
            .collect();
        history.finals.insert(member.name.clone(), objects);
    }
    Ok(())
}
