//! Losing agents: pods outlive a restart of theirs, move away from a node that is lost, and end the way they should.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    sync::watch,
    task::JoinHandle,
};
use trireme_client::{Api, Client, TypedWatchItem};
use trireme_proto::api::core::v1::Pod;
use trireme_tests::harness::{Cluster, ClusterOptions, PATIENCE, condition, number, rows, text, wait_until};

use crate::manifests::{cluster_with_hello, deployment, pod};

/// What must stay the same of a pod's containers: which they are, when they began, how often they were restarted.
pub(crate) fn containers(pods: &[Value]) -> BTreeMap<String, Value> {
    let of_pod = |pod: &Value| {
        let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
        let one = |status: &Value| {
            json!({
                "id": status["containerID"],
                "startedAt": status["state"]["running"]["startedAt"],
                "restarts": status["restartCount"],
            })
        };
        Value::Array(statuses.into_iter().flatten().map(one).collect())
    };
    pods.iter()
        .map(|pod| (text(pod, "/metadata/name").to_owned(), of_pod(pod)))
        .collect()
}

/// Kills every agent, starts them again, and checks that they took over exactly what was running.
pub(crate) async fn agents_adopt(cluster: &Cluster) -> Result<()> {
    let before = containers(&cluster.items(&["pods", "-l", "app=hello"]).await?);
    ensure!(before.len() == 3, "{before:#?}");
    for node in ["node-1", "node-2"] {
        cluster.end_process(node, Signal::SIGKILL).await?;
    }
    cluster.up().await?;
    // A new pod on each node and the logs of the old ones can only come from the new agents.
    for node in ["node-1", "node-2"] {
        let name = format!("after-{node}");
        let mut fresh = pod(&name, &["sleep", "3600"]);
        fresh["spec"]["nodeName"] = json!(node);
        cluster.apply(&fresh.to_string()).await?;
        cluster
            .ok(&[
                "wait",
                &format!("pod/{name}"),
                "--for=condition=Ready",
                "--timeout",
                "90s",
            ])
            .await?;
    }
    for name in before.keys() {
        let log = cluster.ok(&["logs", name]).await?;
        ensure!(
            log.matches("hello: serving on").count() == 1,
            "{name} began more than once:\n{log}"
        );
    }
    let pods = cluster.items(&["pods", "-l", "app=hello"]).await?;
    ensure!(pods.iter().all(|pod| condition(pod, "Ready") == "True"), "{pods:#?}");
    let after = containers(&pods);
    ensure!(after == before, "before: {before:#?}\nafter: {after:#?}");
    Ok(())
}

#[tokio::test]
async fn pods_outlive_their_agent() -> Result<()> {
    let cluster = cluster_with_hello(ClusterOptions::default()).await?;
    let result = async {
        agents_adopt(&cluster).await?;
        // What was adopted is also ended like anything else.
        let victim = "after-node-1";
        cluster.ok(&["delete", "pod", victim, "--timeout", "60s"]).await?;
        cluster.ok(&["scale", "deploy/hello", "--replicas", "0"]).await?;
        wait_until("the adopted pods to be gone", PATIENCE, || async {
            Ok(cluster.items(&["pods", "-l", "app=hello"]).await?.is_empty())
        })
        .await
    };
    cluster.with_logs(result.await)
}

#[tokio::test]
async fn a_lost_node_is_replaced() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    cluster.with_logs(lose_a_node(&cluster).await)
}

async fn lose_a_node(cluster: &Cluster) -> Result<()> {
    let (stop, stopped) = watch::channel(false);
    let bindings = spawn_binding_watcher(cluster.client()?, stopped);
    let mut web = deployment("web", 2);
    let tolerate = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1});
    web["spec"]["template"]["spec"]["tolerations"] = json!([
        tolerate("node.kubernetes.io/not-ready"),
        tolerate("node.kubernetes.io/unreachable"),
    ]);
    cluster.apply(&web.to_string()).await?;
    cluster
        .ok(&["rollout", "status", "deploy/web", "--timeout", "90s"])
        .await?;
    let pods = cluster.items(&["pods", "-l", "app=web"]).await?;
    let on = |node: &str, pods: &[Value]| -> BTreeSet<String> {
        let there = pods.iter().filter(|pod| text(pod, "/spec/nodeName") == node);
        there.map(|pod| text(pod, "/metadata/uid").to_owned()).collect()
    };
    let (lost, stays) = (on("node-2", &pods), on("node-1", &pods));
    ensure!(lost.len() == 1 && stays.len() == 1, "{pods:#?}");

    cluster.end_process("node-2", Signal::SIGKILL).await?;
    let silent = |node: &Value| {
        let tainted = node["spec"]["taints"]
            .to_string()
            .contains("node.kubernetes.io/unreachable");
        tainted && condition(node, "Ready") == "Unknown"
    };
    cluster
        .until("the node to be found silent", &["node/node-2"], silent)
        .await?;
    let nodes = rows(&cluster.ok(&["get", "nodes"]).await?);
    ensure!(
        nodes[0]["STATUS"] == "Ready" && nodes[1]["STATUS"] == "NotReady",
        "{nodes:?}"
    );

    wait_until("the lost pod to be replaced", PATIENCE, || async {
        let pods = cluster.items(&["pods", "-l", "app=web"]).await?;
        let ready: Vec<Value> = pods
            .into_iter()
            .filter(|pod| condition(pod, "Ready") == "True")
            .collect();
        let here = on("node-1", &ready);
        ensure!(here.len() == 2 && here.is_superset(&stays), "on node-1 are {here:?}");
        Ok(true)
    })
    .await?;

    // The node comes back, ends what was evicted from it, and is used again.
    cluster.up().await?;
    wait_until("the evicted pod to be gone", PATIENCE, || async {
        let left = on("node-2", &cluster.items(&["pods", "-l", "app=web"]).await?);
        ensure!(left.is_disjoint(&lost), "{left:?} are left");
        Ok(true)
    })
    .await?;
    let back = cluster
        .until("the node to be ready", &["node/node-2"], |node| {
            condition(node, "Ready") == "True"
        })
        .await?;
    ensure!(
        back.pointer("/spec/taints").is_none_or(|taints| taints == &json!([])),
        "{back:#}"
    );

    stop.send_replace(true);
    let bindings = bindings.await??;
    ensure!(bindings.len() >= 3, "the watcher saw {bindings:?}");
    for (pod, nodes) in &bindings {
        ensure!(nodes.len() == 1, "pod {pod} was bound to {nodes:?}");
    }
    Ok(())
}

/// Watches all pods until told to stop; gives the nodes that each was ever bound to, by uid.
fn spawn_binding_watcher(
    client: Client,
    mut stop: watch::Receiver<bool>,
) -> JoinHandle<Result<BTreeMap<String, BTreeSet<String>>>> {
    tokio::spawn(async move {
        let api: Api<Pod> = Api::all(&client);
        let mut watch = api.watch("", "", 0).patient();
        let mut bindings: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        loop {
            let item = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(bindings),
                item = watch.next() => item?,
            };
            if let TypedWatchItem::Applied(pod, _) | TypedWatchItem::Deleted(pod, _) = item {
                let node = pod.spec.unwrap_or_default().node_name;
                if !node.is_empty() {
                    bindings
                        .entry(pod.metadata.unwrap_or_default().uid)
                        .or_default()
                        .insert(node);
                }
            }
        }
    })
}

#[tokio::test]
async fn containers_end_and_begin_again_as_their_policy_says() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions {
        servers: 1,
        agents: 1,
        ..ClusterOptions::default()
    })
    .await?;
    let result = async {
        crashes_are_backed_off(&cluster).await?;
        policies_hold(&cluster).await?;
        images_are_missed(&cluster).await?;
        a_pod_ends_gracefully(&cluster).await
    };
    cluster.with_logs(result.await)
}

pub(crate) async fn crashes_are_backed_off(cluster: &Cluster) -> Result<()> {
    cluster.apply(&pod("crash", &["log", "3"]).to_string()).await?;
    let backs_off = |pod: &Value| {
        text(pod, "/status/containerStatuses/0/state/waiting/reason") == "CrashLoopBackOff"
            && number(pod, "/status/containerStatuses/0/restartCount") >= 1
    };
    let crashed = cluster.until("the pod to back off", &["pod/crash"], backs_off).await?;
    let last = &crashed["status"]["containerStatuses"][0]["lastState"]["terminated"];
    ensure!(
        text(last, "/reason") == "Completed" && number(last, "/exitCode") == 0,
        "{crashed:#}"
    );
    ensure!(
        text(&crashed, "/status/phase") == "Running" && condition(&crashed, "Ready") == "False",
        "{crashed:#}"
    );
    let previous = cluster.ok(&["logs", "crash", "--previous"]).await?;
    ensure!(previous == "line 1\nline 2\nline 3\n", "{previous:?}");
    wait_until("get to show the reason", PATIENCE, || async {
        let table = rows(&cluster.ok(&["get", "pods"]).await?);
        let row = table
            .iter()
            .find(|row| row["NAME"] == "crash")
            .context("the pod is there")?;
        ensure!(row["STATUS"] == "CrashLoopBackOff", "{row:?}");
        Ok(true)
    })
    .await?;
    cluster.ok(&["delete", "pod", "crash", "--timeout", "60s"]).await?;
    let none = cluster.run(&["logs", "crash", "--previous"]).await?;
    ensure!(none.code == 4, "{none:?}");
    Ok(())
}

async fn policies_hold(cluster: &Cluster) -> Result<()> {
    for (name, policy, code, phase) in [
        ("never-fails", "Never", "3", "Failed"),
        ("never-succeeds", "Never", "0", "Succeeded"),
        ("on-failure-succeeds", "OnFailure", "0", "Succeeded"),
    ] {
        let mut one = pod(name, &["exit", code]);
        one["spec"]["restartPolicy"] = json!(policy);
        cluster.apply(&one.to_string()).await?;
        let ended = |pod: &Value| text(pod, "/status/phase") == phase;
        let pod = cluster
            .until(&format!("{name} to be {phase}"), &["pod", name], ended)
            .await?;
        let status = &pod["status"]["containerStatuses"][0];
        ensure!(
            status["state"]["terminated"]["exitCode"] == json!(code.parse::<i64>()?),
            "{pod:#}"
        );
        ensure!(number(status, "/restartCount") == 0, "{pod:#}");
    }
    let mut again = pod("on-failure-fails", &["exit", "3"]);
    again["spec"]["restartPolicy"] = json!("OnFailure");
    cluster.apply(&again.to_string()).await?;
    let restarted = |pod: &Value| {
        number(pod, "/status/containerStatuses/0/restartCount") >= 1
            && number(pod, "/status/containerStatuses/0/lastState/terminated/exitCode") == 3
    };
    cluster
        .until("the failure to be tried again", &["pod/on-failure-fails"], restarted)
        .await?;
    cluster.ok(&["delete", "pods", "--all", "--timeout", "60s"]).await?;
    Ok(())
}

/// An image that is nowhere: the pod waits and says so, and is deleted like any other.
async fn images_are_missed(cluster: &Cluster) -> Result<()> {
    let mut lacking = pod("lacking", &["pause"]);
    lacking["spec"]["containers"][0]["image"] = json!("trireme.local/nowhere:1");
    cluster.apply(&lacking.to_string()).await?;
    let waits = |pod: &Value| {
        let reason = text(pod, "/status/containerStatuses/0/state/waiting/reason");
        matches!(reason, "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull")
    };
    let pod = cluster
        .until("the missing image to be told", &["pod/lacking"], waits)
        .await?;
    ensure!(pod["status"].to_string().contains("trireme.local/nowhere:1"), "{pod:#}");
    cluster.ok(&["delete", "pod", "lacking", "--timeout", "60s"]).await?;
    Ok(())
}

/// A pod that is deleted hears SIGTERM, has its say, and only then is gone; whoever follows its log hears it.
pub(crate) async fn a_pod_ends_gracefully(cluster: &Cluster) -> Result<()> {
    cluster.apply(&pod("sleeper", &["sleep", "3600"]).to_string()).await?;
    cluster
        .ok(&["wait", "pod/sleeper", "--for=condition=Ready", "--timeout", "90s"])
        .await?;
    let mut follow = cluster
        .command()
        .args(["logs", "-f", "sleeper"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut log = BufReader::new(follow.stdout.take().context("the output was asked for")?);
    let mut first = String::new();
    tokio::time::timeout(PATIENCE, log.read_line(&mut first)).await??;
    ensure!(first == "hello: sleeping for 3600 s\n", "{first:?}");
    cluster.ok(&["delete", "pod", "sleeper", "--timeout", "60s"]).await?;
    let mut rest = String::new();
    tokio::time::timeout(PATIENCE, log.read_to_string(&mut rest)).await??;
    let ended = follow.wait_with_output().await?;
    ensure!(rest == "hello: terminated while asleep\n", "{rest:?}, {ended:?}");
    let gone = cluster.run(&["get", "pod/sleeper"]).await?;
    ensure!(gone.code == 4, "{gone:?}");
    Ok(())
}
