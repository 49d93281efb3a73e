//! Takes a local cluster down: agents first, then what they run, then the servers. Nothing stays running.

use anyhow::{Context, Result};
use trireme_node_agent::AgentConfig;

use crate::command::agent::choose;
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::local::layout::Layout;
use crate::local::plan::Plan;
use crate::local::process::ProcessRecord;
use crate::local::progress::Progress;
use crate::output::warn;

/// Stops everything of the cluster.
pub(crate) async fn down(layout: &Layout, wipe: bool) -> Result<()> {
    let Some(plan) = Plan::read(layout)? else {
        let message = format!("there is no local cluster in {}", layout.root().display());
        return Err(Failure::new(Exit::NotFound, message)
            .help("pass the --data-dir that `trireme up` was given")
            .into());
    };
    let progress = Progress::start();
    let agents: Vec<&str> = plan.agents.iter().map(|agent| agent.name.as_str()).collect();
    let servers: Vec<&str> = plan.servers.iter().map(|server| server.name.as_str()).collect();
    futures::future::join_all(agents.iter().map(|name| stop(layout, name, &progress))).await;
    let torn_down = futures::future::join_all(agents.iter().map(|name| end_pods(layout, &plan, name, &progress))).await;
    futures::future::join_all(servers.iter().map(|name| stop(layout, name, &progress))).await;
    let left: Vec<&str> = agents
        .iter()
        .zip(torn_down)
        .filter(|(_, ended)| !ended)
        .map(|(name, _)| *name)
        .collect();
    if !left.is_empty() {
        return Err(pods_left(layout, &left, wipe).into());
    }
    if wipe {
        delete(layout)?;
        progress.step(format!("the data in {} is deleted", layout.root().display()));
    }
    Ok(())
}

/// Pods that may still run are told loudly: nothing would look after them.
fn pods_left(layout: &Layout, nodes: &[&str], wipe: bool) -> Failure {
    let kept = if wipe { ", so their data is kept" } else { "" };
    let message = format!("pods of {} may still run{kept}", nodes.join(", "));
    let wipe = if wipe { " --wipe" } else { "" };
    let root = layout.root().display();
    Failure::new(Exit::Local, message).help(format!(
        "see the warnings above for the cause, then run `trireme down{wipe} --data-dir {root}` again"
    ))
}

/// Stops one process, if it runs.
async fn stop(layout: &Layout, name: &str, progress: &Progress) {
    let path = layout.pid(name);
    let Some(record) = ProcessRecord::read(&path) else {
        return;
    };
    if record.is_alive() {
        let willing = record.stop(limits::DOWN_TIMEOUT).await;
        progress.step(format!(
            "{name} {}",
            if willing {
                "stopped"
            } else {
                "killed: it did not stop by itself"
            }
        ));
    }
    // Left over, it would only be found to name no living process.
    let _ = std::fs::remove_file(path);
}

/// Ends the pods that an agent left running, and its container runtime. Returns whether nothing is left.
async fn end_pods(layout: &Layout, plan: &Plan, name: &str, progress: &Progress) -> bool {
    let data_dir = layout.agent(name);
    if !data_dir.exists() {
        return true;
    }
    let mut config = AgentConfig::new(name, data_dir, plan.addresses());
    config.runtime = choose(plan.runtime, None);
    match tokio::time::timeout(limits::DOWN_TIMEOUT, trireme_node_agent::teardown(&config)).await {
        Ok(Ok(())) => {
            progress.step(format!("the pods of {name} ended"));
            true
        }
        Ok(Err(error)) => {
            warn(format!(
                "the pods of {name} may still run: {:#}",
                anyhow::Error::new(error)
            ));
            false
        }
        Err(_) => {
            warn(format!(
                "the pods of {name} may still run: they did not end within {} s",
                limits::DOWN_TIMEOUT.as_secs()
            ));
            false
        }
    }
}

/// Deletes what `up` made, and the folder if nothing else is in it.
fn delete(layout: &Layout) -> Result<()> {
    for name in ["servers", "agents", "logs", "run"] {
        let path = layout.root().join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot delete {}", path.display()))?;
        }
    }
    for path in [layout.kubeconfig(), layout.plan()] {
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| format!("cannot delete {}", path.display()))?;
        }
    }
    // The user may keep things of their own beside ours.
    let _ = std::fs::remove_dir(layout.root());
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::path::Path;

    #[tokio::test]
    async fn no_cluster_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).unwrap();
        let failure = Failure::of(&down(&layout, true).await.unwrap_err());
        assert_eq!(failure.exit, Exit::NotFound);
    }

    #[test]
    fn pods_that_may_run_are_told_with_the_remedy() {
        let layout = Layout::new(Path::new("/tmp/one")).unwrap();
        for (wipe, message, command) in [
            (
                false,
                "pods of node-1, node-2 may still run",
                "`trireme down --data-dir /tmp/one`",
            ),
            (
                true,
                "pods of node-1, node-2 may still run, so their data is kept",
                "`trireme down --wipe --data-dir /tmp/one`",
            ),
        ] {
            let failure = pods_left(&layout, &["node-1", "node-2"], wipe);
            assert_eq!((failure.exit, failure.message.as_str()), (Exit::Local, message));
            assert!(failure.help.contains(command));
        }
    }

    #[test]
    fn only_what_is_ours_is_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).unwrap();
        layout.create().unwrap();
        std::fs::write(directory.path().join("notes"), "mine").unwrap();
        delete(&layout).unwrap();
        let left: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["notes"]);
    }
}
