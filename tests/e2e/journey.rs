//! A person's day with a Deployment: apply it, look at it, scale it, change it, undo that, move it off a node, delete it.

use std::{collections::BTreeSet, process::Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use trireme_tests::harness::{Cluster, ClusterOptions, PATIENCE, condition, number, rows, text, wait_until};

use crate::manifests::{cluster_with_hello, deployment, hello_yaml, pod};

const HELLO: &str = "deploy/hello";

async fn names(cluster: &Cluster, arguments: &[&str]) -> Result<BTreeSet<String>> {
    let arguments = [&["get"], arguments, &["-o", "name"]].concat();
    Ok(cluster.ok(&arguments).await?.lines().map(str::to_owned).collect())
}

async fn rolled_out(cluster: &Cluster, deployment: &str) -> Result<()> {
    let status = cluster
        .ok(&["rollout", "status", deployment, "--timeout", "90s"])
        .await?;
    ensure!(status.contains("successfully rolled out"), "{status}");
    Ok(())
}

/// The pods that are to stay: a pod that is being deleted is none.
async fn live_pods(cluster: &Cluster, selector: &str) -> Result<Vec<Value>> {
    let mut pods = cluster.items(&["pods", "-l", selector]).await?;
    pods.retain(|pod| text(pod, "/metadata/deletionTimestamp").is_empty());
    Ok(pods)
}

/// The value of the variable `COLOUR` in a pod, if it has one.
fn colour(pod: &Value) -> &str {
    let variables = pod.pointer("/spec/containers/0/env").and_then(Value::as_array);
    let found = variables.into_iter().flatten().find(|v| text(v, "/name") == "COLOUR");
    found.map_or("", |variable| text(variable, "/value"))
}

#[tokio::test]
async fn hello_is_applied_and_looked_at() -> Result<()> {
    let cluster = cluster_with_hello(ClusterOptions::default()).await?;
    cluster.with_logs(look_at_hello(&cluster).await)
}

async fn look_at_hello(cluster: &Cluster) -> Result<()> {
    let again = cluster.ok(&["apply", "-f", &hello_yaml()]).await?;
    ensure!(
        again == "deployment.apps/hello unchanged\nservice/hello unchanged\n",
        "{again}"
    );

    let table = rows(&cluster.ok(&["get", "pods", "-o", "wide"]).await?);
    ensure!(table.len() == 3, "{table:?}");
    for row in &table {
        ensure!(
            row["STATUS"] == "Running" && row["READY"] == "1/1" && row["RESTARTS"] == "0",
            "{row:?}"
        );
        ensure!(row["NODE"].starts_with("node-"), "{row:?}");
        ensure!(row["IP"].parse::<std::net::Ipv4Addr>().is_ok(), "{row:?}");
    }
    let nodes: BTreeSet<&String> = table.iter().map(|row| &row["NODE"]).collect();
    ensure!(nodes.len() == 2, "three pods are not spread over two nodes: {table:?}");
    let addresses: BTreeSet<String> = table.iter().map(|row| row["IP"].clone()).collect();
    ensure!(addresses.len() == 3, "two pods share an address: {table:?}");

    // The same three in every format, and by every selector that fits them.
    let by_name = names(cluster, &["pods"]).await?;
    ensure!(
        by_name == table.iter().map(|row| format!("pod/{}", row["NAME"])).collect(),
        "{by_name:?}"
    );
    let pods = cluster.items(&["pods"]).await?;
    ensure!(
        pods.len() == 3 && pods.iter().all(|pod| condition(pod, "Ready") == "True"),
        "{pods:#?}"
    );
    let yaml = cluster.ok(&["get", "pods", "-o", "yaml"]).await?;
    ensure!(yaml.matches("  kind: Pod\n").count() == 3, "{yaml}");
    ensure!(names(cluster, &["pods", "-l", "app=hello"]).await? == by_name);
    ensure!(names(cluster, &["pods", "-l", "app!=hello"]).await?.is_empty());
    ensure!(names(cluster, &["pods", "-A", "--field-selector", "status.phase=Running"]).await? == by_name);
    ensure!(
        names(cluster, &["pods", "--field-selector", "status.phase=Failed"])
            .await?
            .is_empty()
    );
    let mut by_node = BTreeSet::new();
    for node in ["node-1", "node-2"] {
        by_node.extend(names(cluster, &["pods", "--field-selector", &format!("spec.nodeName={node}")]).await?);
    }
    ensure!(by_node == by_name, "{by_node:?}");

    look_at_logs(cluster, &by_name).await?;
    look_at_words(cluster, &by_name).await?;
    endpoints_are(cluster, &addresses).await?;

    cluster
        .ok(&["wait", HELLO, "--for=condition=Available", "--timeout", "90s"])
        .await?;
    cluster.ok(&["delete", "-f", &hello_yaml()]).await?;
    wait_until("everything of hello to be gone", PATIENCE, || async {
        let left = names(cluster, &["pods,replicasets,deployments,endpointslices"]).await?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(true)
    })
    .await
}

async fn look_at_logs(cluster: &Cluster, pods: &BTreeSet<String>) -> Result<()> {
    for pod in pods {
        let log = cluster.ok(&["logs", pod]).await?;
        ensure!(log.contains("hello: serving on http://"), "{pod} wrote {log:?}");
        ensure!(
            log.contains(pod.trim_start_matches("pod/")),
            "{pod} does not know its name: {log:?}"
        );
        let last = cluster.ok(&["logs", pod, "--tail", "1"]).await?;
        ensure!(
            last.lines().count() == 1 && log.ends_with(&last),
            "{last:?} does not end {log:?}"
        );
        ensure!(cluster.ok(&["logs", pod, "--tail", "0"]).await?.is_empty());
    }
    Ok(())
}

/// What describes, events and explain say.
async fn look_at_words(cluster: &Cluster, pods: &BTreeSet<String>) -> Result<()> {
    let told = cluster.ok(&["describe", HELLO]).await?;
    ensure!(
        told.contains("ScalingReplicaSet") && told.contains("MinimumReplicasAvailable"),
        "{told}"
    );
    let pod = pods.first().context("there is a pod")?;
    let told = cluster.ok(&["describe", pod]).await?;
    ensure!(
        told.contains("Scheduled") && told.contains("Successfully assigned default/"),
        "{told}"
    );
    let told = cluster.ok(&["describe", "node", "node-1"]).await?;
    ensure!(told.contains("NodeReady"), "{told}");
    let events = cluster.ok(&["events"]).await?;
    for reason in ["ScalingReplicaSet", "SuccessfulCreate", "Scheduled"] {
        ensure!(events.contains(reason), "{reason} is not among the events:\n{events}");
    }
    let of_one = cluster.ok(&["events", "--for", pod]).await?;
    ensure!(
        of_one.contains("Scheduled") && !of_one.contains("SuccessfulCreate"),
        "{of_one}"
    );
    let explained = cluster.ok(&["explain", "deployment.spec.replicas"]).await?;
    ensure!(
        explained.contains("integer") && explained.contains("How many pods"),
        "{explained}"
    );
    Ok(())
}

/// Waits until the Service's slices hold exactly these addresses, all ready.
async fn endpoints_are(cluster: &Cluster, wanted: &BTreeSet<String>) -> Result<()> {
    wait_until("the endpoints to be the pods", PATIENCE, || async {
        let slices = cluster
            .items(&["endpointslices", "-l", "kubernetes.io/service-name=hello"])
            .await?;
        let endpoints = slices.iter().filter_map(|s| s["endpoints"].as_array()).flatten();
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == json!(true));
        let addresses: BTreeSet<String> = ready.map(|e| text(e, "/addresses/0").to_owned()).collect();
        ensure!(addresses == *wanted, "they are {addresses:?}, not {wanted:?}");
        Ok(true)
    })
    .await
}

#[tokio::test]
async fn a_deployment_is_scaled_changed_and_rolled_back() -> Result<()> {
    let cluster = cluster_with_hello(ClusterOptions::default()).await?;
    cluster.with_logs(scale_and_roll(&cluster).await)
}

async fn scale_and_roll(cluster: &Cluster) -> Result<()> {
    for count in [5, 2] {
        cluster.ok(&["scale", HELLO, "--replicas", &count.to_string()]).await?;
        rolled_out(cluster, HELLO).await?;
        let pods = live_pods(cluster, "app=hello").await?;
        ensure!(pods.len() == count, "{} pods instead of {count}", pods.len());
        let addresses = pods.iter().map(|pod| text(pod, "/status/podIP").to_owned()).collect();
        endpoints_are(cluster, &addresses).await?;
    }

    // Another template makes another revision, and all pods are made anew.
    let blue = with_colour(&hello_deployment(cluster).await?, "blue");
    let said = cluster.apply(&blue.to_string()).await?;
    ensure!(said == "deployment.apps/hello configured\n", "{said}");
    settles_on(cluster, "blue").await?;
    ensure!(revisions(cluster).await? == ["1", "2"]);
    let template = cluster.ok(&["rollout", "history", HELLO, "--revision", "2"]).await?;
    ensure!(template.contains("blue"), "{template}");

    cluster.ok(&["rollout", "undo", HELLO]).await?;
    settles_on(cluster, "").await?;
    ensure!(
        revisions(cluster).await? == ["2", "3"],
        "going back makes a revision of the old template"
    );
    cluster.ok(&["rollout", "undo", HELLO, "--to-revision", "2"]).await?;
    settles_on(cluster, "blue").await?;

    pause_and_resume(cluster).await?;

    let before = uids(&live_pods(cluster, "app=hello").await?);
    cluster.ok(&["rollout", "restart", HELLO]).await?;
    settles_on(cluster, "green").await?;
    let after = uids(&live_pods(cluster, "app=hello").await?);
    ensure!(before.is_disjoint(&after), "a pod survived the restart");
    Ok(())
}

/// A paused Deployment takes a change, but makes no pods of it until it is resumed.
async fn pause_and_resume(cluster: &Cluster) -> Result<()> {
    cluster.ok(&["rollout", "pause", HELLO]).await?;
    let green = with_colour(&hello_deployment(cluster).await?, "green");
    cluster.apply(&green.to_string()).await?;
    let generation = number(&hello_deployment(cluster).await?, "/metadata/generation");
    let seen = |deployment: &Value| number(deployment, "/status/observedGeneration") >= generation;
    cluster.until("the change to be seen", &[HELLO], seen).await?;
    let pods = live_pods(cluster, "app=hello").await?;
    ensure!(pods.iter().all(|pod| colour(pod) == "blue"), "a paused rollout went on");
    let refused = cluster.run(&["rollout", "restart", HELLO]).await?;
    ensure!(refused.code == 5 && refused.stderr.contains("is paused"), "{refused:?}");
    cluster.ok(&["rollout", "resume", HELLO]).await?;
    settles_on(cluster, "green").await
}

async fn hello_deployment(cluster: &Cluster) -> Result<Value> {
    cluster.json(&["get", HELLO]).await
}

/// A manifest of the live object with another variable.
fn with_colour(live: &Value, colour: &str) -> Value {
    let mut manifest = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"}});
    manifest["spec"] = live["spec"].clone();
    manifest["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "COLOUR", "value": colour}]);
    manifest
}

/// Waits until the rollout is done and only pods of one colour are left.
async fn settles_on(cluster: &Cluster, wanted: &str) -> Result<()> {
    rolled_out(cluster, HELLO).await?;
    let pods = live_pods(cluster, "app=hello").await?;
    let colours: Vec<&str> = pods.iter().map(colour).collect();
    ensure!(
        colours == [wanted, wanted],
        "the rollout is done, but the pods are {colours:?}"
    );
    Ok(())
}

async fn revisions(cluster: &Cluster) -> Result<Vec<String>> {
    let history = cluster.ok(&["rollout", "history", HELLO]).await?;
    let table: Vec<&str> = history.lines().skip(1).collect();
    Ok(rows(&table.join("\n"))
        .iter()
        .map(|row| row["REVISION"].clone())
        .collect())
}

fn uids(objects: &[Value]) -> BTreeSet<String> {
    objects
        .iter()
        .map(|object| text(object, "/metadata/uid").to_owned())
        .collect()
}

#[tokio::test]
async fn a_node_is_emptied_and_given_back() -> Result<()> {
    let cluster = cluster_with_hello(ClusterOptions::default()).await?;
    cluster.with_logs(cordon_and_drain(&cluster).await)
}

async fn cordon_and_drain(cluster: &Cluster) -> Result<()> {
    let on_node = ["pods", "--field-selector", "spec.nodeName=node-1"];
    let before = names(cluster, &on_node).await?;
    ensure!(!before.is_empty(), "no pod is on node-1");

    // A cordoned node keeps what it has and gets nothing new.
    cluster.ok(&["cordon", "node-1"]).await?;
    let nodes = rows(&cluster.ok(&["get", "nodes"]).await?);
    let status = |name: &str| {
        nodes
            .iter()
            .find(|row| row["NAME"] == name)
            .map(|row| row["STATUS"].clone())
    };
    ensure!(
        status("node-1").as_deref() == Some("Ready,SchedulingDisabled"),
        "{nodes:?}"
    );
    ensure!(status("node-2").as_deref() == Some("Ready"), "{nodes:?}");
    cluster.ok(&["scale", HELLO, "--replicas", "6"]).await?;
    rolled_out(cluster, HELLO).await?;
    ensure!(names(cluster, &on_node).await? == before, "a cordoned node got a pod");

    // A bare pod would be lost, so drain wants to be told.
    let mut bare = pod("bare", &["sleep", "3600"]);
    bare["spec"]["nodeName"] = json!("node-1");
    cluster.apply(&bare.to_string()).await?;
    let refused = cluster.run(&["drain", "node-1", "--timeout", "60s"]).await?;
    ensure!(refused.code == 5, "{refused:?}");
    ensure!(
        refused.stderr.contains("default/bare") && refused.stderr.contains("--force"),
        "{refused:?}"
    );
    cluster.ok(&["get", "pod/bare"]).await?;

    cluster.ok(&["drain", "node-1", "--force", "--timeout", "90s"]).await?;
    ensure!(names(cluster, &on_node).await?.is_empty(), "a drained node has pods");
    rolled_out(cluster, HELLO).await?;
    ensure!(live_pods(cluster, "app=hello").await?.len() == 6);

    cluster.ok(&["uncordon", "node-1"]).await?;
    cluster.ok(&["scale", HELLO, "--replicas", "9"]).await?;
    rolled_out(cluster, HELLO).await?;
    ensure!(
        !names(cluster, &on_node).await?.is_empty(),
        "an uncordoned node gets no pods"
    );
    Ok(())
}

#[tokio::test]
async fn a_pending_pod_says_why() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    cluster.with_logs(ask_why(&cluster).await)
}

async fn ask_why(cluster: &Cluster) -> Result<()> {
    cluster.ok(&["cordon", "node-2"]).await?;
    let mut big = pod("big", &["sleep", "3600"]);
    big["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "900"}});
    cluster.apply(&big.to_string()).await?;
    let waits = |pod: &Value| condition(pod, "PodScheduled") == "False";
    cluster.until("the scheduler to say why", &["pod/big"], waits).await?;
    wait_until("describe to name both reasons", PATIENCE, || async {
        let told = cluster.ok(&["describe", "pod/big"]).await?;
        let named = told.contains("FailedScheduling")
            && told.contains("0/2 nodes are available")
            && told.contains("Insufficient cpu")
            && told.contains("unschedulable");
        ensure!(named, "{told}");
        Ok(true)
    })
    .await?;
    ensure!(rows(&cluster.ok(&["get", "pods"]).await?)[0]["STATUS"] == "Pending");

    // What was in the way goes, and the pod runs: nobody has to touch it.
    cluster.ok(&["delete", "pod/big"]).await?;
    cluster.ok(&["cordon", "node-1"]).await?;
    cluster.apply(&pod("small", &["sleep", "3600"]).to_string()).await?;
    cluster.until("the pod to wait", &["pod/small"], waits).await?;
    cluster.ok(&["uncordon", "node-2"]).await?;
    cluster
        .ok(&["wait", "pod/small", "--for=condition=Ready", "--timeout", "90s"])
        .await?;
    let placed = cluster.json(&["get", "pod/small"]).await?;
    ensure!(text(&placed, "/spec/nodeName") == "node-2", "{placed:#}");
    Ok(())
}

#[tokio::test]
async fn objects_are_marked_watched_and_waited_for() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    cluster.with_logs(mark_and_watch(&cluster).await)
}

async fn mark_and_watch(cluster: &Cluster) -> Result<()> {
    cluster
        .ok(&["create", "configmap", "settings", "--from-literal", "mode=slow"])
        .await?;
    let mut watch = cluster
        .command()
        .args([
            "get",
            "configmaps",
            "settings",
            "-w",
            "-o",
            "jsonpath={.metadata.labels.tier}-{.data.mode}|",
        ])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut seen = BufReader::new(watch.stdout.take().context("the output was asked for")?);
    let mut next = async || -> Result<String> {
        let mut bytes = Vec::new();
        tokio::time::timeout(PATIENCE, seen.read_until(b'|', &mut bytes)).await??;
        Ok(String::from_utf8(bytes)?.trim().to_owned())
    };
    ensure!(next().await? == "-slow|");
    cluster.ok(&["label", "configmap/settings", "tier=web"]).await?;
    ensure!(next().await? == "web-slow|");
    let refused = cluster.run(&["label", "configmap/settings", "tier=db"]).await?;
    ensure!(
        refused.code == 5 && refused.stderr.contains("--overwrite"),
        "{refused:?}"
    );
    cluster
        .ok(&["label", "configmap/settings", "tier=db", "--overwrite"])
        .await?;
    ensure!(next().await? == "db-slow|", "the refused change was seen");
    cluster.ok(&["label", "configmap/settings", "tier-"]).await?;
    ensure!(next().await? == "-slow|");
    watch.kill().await?;

    cluster
        .ok(&["annotate", "configmap/settings", "note=two words"])
        .await?;
    let marked = cluster.json(&["get", "configmap/settings"]).await?;
    ensure!(text(&marked, "/metadata/annotations/note") == "two words", "{marked:#}");
    ensure!(marked.pointer("/metadata/labels/tier").is_none(), "{marked:#}");

    let in_vain = cluster
        .run(&[
            "wait",
            "configmap/settings",
            "--for",
            "jsonpath={.data.mode}=fast",
            "--timeout",
            "1s",
        ])
        .await?;
    ensure!(in_vain.code == 3, "{in_vain:?}");
    let gone = cluster
        .command()
        .args(["wait", "configmap/settings", "--for", "delete"])
        .output();
    let (gone, deleted) = tokio::join!(gone, cluster.ok(&["delete", "configmap/settings"]));
    deleted?;
    ensure!(gone?.status.success());
    Ok(())
}

#[tokio::test]
async fn a_namespace_takes_everything_in_it_along() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    cluster.with_logs(fill_and_delete_namespace(&cluster).await)
}

async fn fill_and_delete_namespace(cluster: &Cluster) -> Result<()> {
    cluster.ok(&["create", "namespace", "shop"]).await?;
    let mut web = deployment("web", 2);
    web["metadata"]["namespace"] = json!("shop");
    cluster.apply(&web.to_string()).await?;
    cluster
        .ok(&["create", "configmap", "settings", "-n", "shop", "--from-literal", "a=b"])
        .await?;
    cluster
        .ok(&[
            "create",
            "secret",
            "generic",
            "keys",
            "-n",
            "shop",
            "--from-literal",
            "a=b",
        ])
        .await?;
    cluster
        .ok(&["create", "configmap", "bystander", "--from-literal", "a=b"])
        .await?;
    cluster
        .ok(&["rollout", "status", "deploy/web", "-n", "shop", "--timeout", "90s"])
        .await?;
    ensure!(names(cluster, &["pods", "-n", "shop"]).await?.len() == 2);
    ensure!(
        names(cluster, &["pods"]).await?.is_empty(),
        "a pod is in the wrong namespace"
    );
    ensure!(names(cluster, &["pods", "-A"]).await?.len() == 2);

    cluster.ok(&["delete", "namespace", "shop", "--timeout", "90s"]).await?;
    let missing = cluster.run(&["get", "namespace/shop"]).await?;
    ensure!(missing.code == 4, "{missing:?}");
    let kinds = "pods,replicasets,deployments,configmaps,secrets,events";
    ensure!(
        names(cluster, &[kinds, "-n", "shop"]).await?.is_empty(),
        "something outlived its namespace"
    );
    ensure!(names(cluster, &["configmaps"]).await? == BTreeSet::from(["configmap/bystander".to_owned()]));
    let refused = cluster
        .run(&["create", "configmap", "late", "-n", "shop", "--from-literal", "a=b"])
        .await?;
    ensure!(refused.code == 4, "{refused:?}");
    Ok(())
}
