//! Losing servers: the leader dies in the middle of a rollout, a follower is removed for good, another one is added.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Child,
};
use trireme_tests::harness::{
    Cluster, ClusterOptions, PATIENCE, condition, free_ports, number, poll_until, text, wait_until,
};

use crate::manifests::deployment;

const REPLICAS: u32 = 4;

#[tokio::test]
async fn a_rollout_outlives_the_leader() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    cluster.with_logs(kill_the_leader(&cluster).await)
}

async fn kill_the_leader(cluster: &Cluster) -> Result<()> {
    // The first server leads, so that the CLI, which begins with it, loses its server too.
    cluster.ok(&["cluster", "transfer-leader", "server-1"]).await?;
    let leader = poll_until("server-1 to lead", PATIENCE, || async {
        let leader = cluster.leader().await?;
        Ok((leader.name == "server-1").then_some(leader))
    })
    .await?;
    cluster
        .ok(&["create", "configmap", "before", "--from-literal", "when=before"])
        .await?;
    let before = cluster.json(&["get", "configmap/before"]).await?;

    // One pod after the other, each waited for: the rollout cannot be over before the leader is dead.
    let mut slow = deployment("slow", REPLICAS);
    slow["spec"]["minReadySeconds"] = json!(1);
    slow["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    cluster.apply(&slow.to_string()).await?;
    cluster
        .ok(&["rollout", "status", "deploy/slow", "--timeout", "90s"])
        .await?;
    slow["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "COLOUR", "value": "blue"}]);
    cluster.apply(&slow.to_string()).await?;
    let mut status = cluster
        .command()
        .args(["rollout", "status", "deploy/slow", "--timeout", "90s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(status.stdout.take().context("the output was asked for")?);
    let mut first = String::new();
    tokio::time::timeout(PATIENCE, said.read_line(&mut first)).await??;
    ensure!(first.starts_with("Waiting for deployment"), "{first:?}");

    cluster.end_process("server-1", Signal::SIGKILL).await?;
    ensure!(
        status.try_wait()?.is_none(),
        "the rollout was over before the leader was dead"
    );
    let successor = cluster.leader_other_than(leader.id).await?;
    cluster
        .ok(&["create", "configmap", "between", "--from-literal", "when=between"])
        .await?;

    let mut rest = String::new();
    tokio::time::timeout(PATIENCE, said.read_to_string(&mut rest)).await??;
    let ended = status.wait_with_output().await?;
    ensure!(
        ended.status.success() && rest.contains("successfully rolled out"),
        "rollout status ended with {}:\n{rest}\n{}",
        ended.status,
        String::from_utf8_lossy(&ended.stderr)
    );
    pods_are_blue_and_running(cluster).await?;
    let told = cluster.json(&["cluster", "status"]).await?;
    ensure!(told["leaderId"] == json!(successor.id), "{told:#}");
    ensure!(number(&told, "/term") > 1, "{told:#}");

    // The dead server comes back as what it was, and has everything that it missed.
    cluster.up().await?;
    cluster.all_healthy().await?;
    let again = cluster.json(&["get", "configmap/before"]).await?;
    ensure!(again == before, "{again:#}");
    let between = cluster.json(&["get", "configmap/between"]).await?;
    ensure!(text(&between, "/data/when") == "between", "{between:#}");
    pods_are_blue_and_running(cluster).await?;
    states_agree(cluster, &BTreeSet::from([1, 2, 3])).await
}

async fn pods_are_blue_and_running(cluster: &Cluster) -> Result<()> {
    let mut pods = cluster.items(&["pods", "-l", "app=slow"]).await?;
    pods.retain(|pod| text(pod, "/metadata/deletionTimestamp").is_empty());
    ensure!(pods.len() == REPLICAS as usize, "{} pods", pods.len());
    for pod in &pods {
        ensure!(
            condition(pod, "Ready") == "True" && text(pod, "/status/phase") == "Running",
            "{pod:#}"
        );
        ensure!(text(pod, "/spec/containers/0/env/0/value") == "blue", "{pod:#}");
        ensure!(number(pod, "/status/containerStatuses/0/restartCount") == 0, "{pod:#}");
    }
    Ok(())
}

/// Waits until the cluster consists of exactly these servers, all healthy, with one state at one index.
async fn states_agree(cluster: &Cluster, ids: &BTreeSet<i64>) -> Result<()> {
    wait_until("the servers to agree", PATIENCE, || async {
        let told = cluster.json(&["cluster", "status"]).await?;
        let members = told["members"].as_array().context("a status has members")?;
        let found: BTreeSet<i64> = members.iter().map(|member| number(member, "/id")).collect();
        ensure!(found == *ids, "the servers are {found:?}, not {ids:?}");
        ensure!(members.iter().all(|m| text(m, "/health") == "Healthy"), "{told:#}");
        let voting = |m: &Value| matches!(text(m, "/role"), "Leader" | "Follower");
        ensure!(members.iter().all(voting), "{told:#}");
        let mut by_index: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
        for member in members {
            by_index
                .entry(number(member, "/appliedIndex"))
                .or_default()
                .insert(text(member, "/stateHash"));
        }
        ensure!(by_index.values().all(|hashes| hashes.len() == 1), "{told:#}");
        ensure!(by_index.len() == 1, "they are at {:?}", by_index.keys());
        Ok(true)
    })
    .await
}

#[tokio::test]
async fn servers_are_removed_and_added() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    cluster.with_logs(remove_and_add(&cluster).await)
}

async fn remove_and_add(cluster: &Cluster) -> Result<()> {
    cluster
        .ok(&["create", "configmap", "kept", "--from-literal", "a=b"])
        .await?;
    let leader = cluster.leader().await?;
    let members = cluster.members().await?;
    let victim = members
        .iter()
        .find(|member| member.id != leader.id)
        .context("there are followers")?;
    let unknown = cluster.run(&["cluster", "remove", "server-9"]).await?;
    ensure!(
        unknown.code == 4 && unknown.stderr.contains("the servers are"),
        "{unknown:?}"
    );

    let said = cluster.ok(&["cluster", "remove", &victim.name]).await?;
    ensure!(said.contains(&format!("id {}", victim.id)), "{said}");
    let left: BTreeSet<i64> = members
        .iter()
        .filter(|member| member.id != victim.id)
        .map(|member| i64::try_from(member.id).unwrap())
        .collect();
    states_agree(cluster, &left).await?;
    cluster
        .ok(&["create", "configmap", "without", "--from-literal", "a=b"])
        .await?;

    // Its folder is wiped, and it joins anew: under another id, with everything.
    if cluster.process_id(&victim.name).is_ok_and(trireme_tests::harness::runs) {
        cluster.end_process(&victim.name, Signal::SIGTERM).await?;
    }
    std::fs::remove_dir_all(cluster.server_dir(&victim.name))?;
    cluster.up().await?;
    let with_newcomer: BTreeSet<i64> = left.iter().copied().chain([4]).collect();
    states_agree(cluster, &with_newcomer).await?;

    // A fourth one, by the words that `cluster add` prints.
    let mut fourth = add_server(cluster, "server-4").await?;
    let with_fourth: BTreeSet<i64> = with_newcomer.iter().copied().chain([5]).collect();
    let grown = states_agree(cluster, &with_fourth).await;
    let shown = cluster.ok(&["cluster", "members"]).await?;
    cluster.ok(&["cluster", "remove", "server-4"]).await?;
    fourth.kill().await?;
    grown?;
    ensure!(shown.contains("server-4"), "{shown}");
    states_agree(cluster, &with_newcomer).await?;
    for name in ["kept", "without"] {
        cluster.ok(&["get", "configmap", name]).await?;
    }
    Ok(())
}

/// Starts another server as `cluster add` says; only the addresses are chosen, since all servers share this machine.
async fn add_server(cluster: &Cluster, name: &str) -> Result<Child> {
    let said = cluster.ok(&["cluster", "add", name]).await?;
    let line = said.lines().find_map(|line| line.trim().strip_prefix("trireme "));
    let port = free_ports(2)?;
    let child = cluster
        .command()
        .args(line.context("a command is shown")?.split_whitespace())
        .arg("--data-dir")
        .arg(cluster.data_dir().join("fourth"))
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--peer-listen", &format!("127.0.0.1:{}", port + 1)])
        .stdout(Stdio::null())
        .stderr(Stdio::from(std::fs::File::create(
            cluster.data_dir().join("logs/fourth.log"),
        )?))
        .spawn()?;
    Ok(child)
}
