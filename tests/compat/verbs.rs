//! The verbs of `kubectl`, one journey a test, on one cluster each.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trireme_tests::harness::{Cluster, ClusterOptions, workspace};

use crate::kubectl::Kubectl;

/// A small cluster, and `kubectl` for it.
async fn small() -> Result<(Cluster, Kubectl)> {
    with_agents(1).await
}

/// One server and so many agents, and `kubectl` for them.
async fn with_agents(agents: usize) -> Result<(Cluster, Kubectl)> {
    let options = ClusterOptions {
        servers: 1,
        agents,
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(options).await?;
    let kubectl = Kubectl::of(&cluster)?;
    Ok((cluster, kubectl))
}

#[tokio::test]
async fn a_deployment_from_applying_to_deleting() -> Result<()> {
    let (cluster, kubectl) = small().await?;
    cluster.with_logs(deployment(&kubectl).await)
}

async fn deployment(kubectl: &Kubectl) -> Result<()> {
    let hello = workspace().join("examples/hello.yaml").display().to_string();
    kubectl
        .says(
            &format!("apply -f {hello}"),
            "deployment.apps/hello created\nservice/hello created",
        )
        .await?;
    kubectl
        .says(
            &format!("apply -f {hello}"),
            "deployment.apps/hello unchanged\nservice/hello unchanged",
        )
        .await?;
    kubectl
        .says(
            "rollout status deployment/hello --timeout=90s",
            "...\ndeployment \"hello\" successfully rolled out",
        )
        .await?;
    kubectl
        .says(
            "get deployment hello",
            "NAME READY UP-TO-DATE AVAILABLE AGE\nhello 3/3 3 3 *s",
        )
        .await?;
    kubectl
        .says(
            "get pods -l app=hello -o wide",
            "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES
             hello-* 1/1 Running 0 *s * node-1 <none> <none>
             hello-* 1/1 Running 0 *s * node-1 <none> <none>
             hello-* 1/1 Running 0 *s * node-1 <none> <none>",
        )
        .await?;
    kubectl
        .says("get rs", "NAME DESIRED CURRENT READY AGE\nhello-* 3 3 3 *s")
        .await?;
    kubectl
        .says(
            "wait --for=condition=Available deployment/hello --timeout=30s",
            "deployment.apps/hello condition met",
        )
        .await?;
    kubectl
        .says("scale deployment/hello --replicas=1", "deployment.apps/hello scaled")
        .await?;
    kubectl
        .says(
            "wait --for=jsonpath={.status.replicas}=1 deployment/hello --timeout=30s",
            "deployment.apps/hello condition met",
        )
        .await?;
    kubectl
        .says(
            "describe deployment hello",
            "Name: hello
             Namespace: default
             ...
             Replicas: 1 desired | 1 updated | 1 total | 1 available | 0 unavailable
             StrategyType: RollingUpdate
             ...
             Events:
             Type Reason Age From Message
             ---- ------ ---- ---- -------
             ...",
        )
        .await?;
    let log = kubectl.ok("logs deployment/hello --tail=1").await?;
    ensure!(log.lines().count() == 1, "one line was asked for: {log:?}");
    kubectl
        .says(
            "rollout history deployment/hello",
            "deployment.apps/hello\nREVISION CHANGE-CAUSE\n1 <none>",
        )
        .await?;
    kubectl
        .says(
            &format!("delete -f {hello} --timeout=60s"),
            "deployment.apps \"hello\" deleted*\nservice \"hello\" deleted*",
        )
        .await
}

#[tokio::test]
async fn one_object_through_every_verb() -> Result<()> {
    let (cluster, kubectl) = small().await?;
    cluster.with_logs(one_object(&kubectl).await)
}

async fn one_object(kubectl: &Kubectl) -> Result<()> {
    kubectl.says("create namespace shop", "namespace/shop created").await?;
    kubectl
        .says("create configmap a -n shop --from-literal=k=v", "configmap/a created")
        .await?;
    kubectl
        .fails(
            "create configmap a -n shop",
            1,
            "error: failed to create configmap: configmaps \"a\" already exists",
        )
        .await?;
    kubectl.says("get configmap a -n shop", "NAME DATA AGE\na 1 *s").await?;
    kubectl.says("get configmaps -A -l tier=front", "").await?;
    kubectl
        .says("label configmap a -n shop tier=front", "configmap/a labeled")
        .await?;
    kubectl
        .fails(
            "label configmap a -n shop tier=back",
            1,
            "error: 'tier' already has a value (front), and --overwrite is false",
        )
        .await?;
    kubectl
        .says("annotate configmap a -n shop note=1", "configmap/a annotated")
        .await?;
    kubectl
        .says(
            "get configmaps -A -l tier=front",
            "NAMESPACE NAME DATA AGE\nshop a 1 *s",
        )
        .await?;
    kubectl
        .says(
            "get configmap a -n shop -o yaml",
            "apiVersion: v1
             data:
             k: v
             kind: ConfigMap
             metadata:
             annotations:
             note: \"1\"
             creationTimestamp: \"*\"
             labels:
             tier: front
             name: a
             namespace: shop
             resourceVersion: \"*\"
             uid: *",
        )
        .await?;
    kubectl
        .says(
            "patch configmap a -n shop -p '{\"data\":{\"k\":\"w\"}}'",
            "configmap/a patched",
        )
        .await?;
    kubectl
        .says(
            "patch configmap a -n shop --type=json -p '[{\"op\":\"add\",\"path\":\"/data/l\",\"value\":\"x\"}]'",
            "configmap/a patched",
        )
        .await?;
    kubectl
        .says("get configmap a -n shop -o jsonpath={.data.k}{.data.l}", "wx")
        .await?;
    kubectl
        .says(
            "describe configmap a -n shop",
            "Name: a\nNamespace: shop\nLabels: tier=front\nAnnotations: note: 1\nData\n====\n...",
        )
        .await?;
    let list: Value = serde_json::from_str(&kubectl.ok("get configmaps -n shop -o json").await?)?;
    ensure!(
        list["kind"] == "List" && list["items"][0]["kind"] == "ConfigMap",
        "kubectl names what is in a list: {list}"
    );
    kubectl
        .says("create configmap b -n shop --dry-run=server -o name", "configmap/b")
        .await?;
    kubectl
        .fails(
            "get configmap b -n shop",
            1,
            "Error from server (NotFound): configmaps \"b\" not found",
        )
        .await?;
    let typo = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\noars: 3\n";
    let refused = kubectl.run("create -f -", typo).await?;
    ensure!(
        refused.code == 1 && refused.stderr.contains("strict decoding error: unknown field \"oars\""),
        "{}",
        refused.stderr
    );
    let warned = kubectl.run("create --validate=warn -f -", typo).await?;
    ensure!(
        warned.code == 0 && warned.stderr.contains("Warning: unknown field \"oars\""),
        "{}{}",
        warned.stdout,
        warned.stderr
    );
    kubectl
        .says("delete configmap a -n shop", "configmap \"a\" deleted*")
        .await?;
    kubectl
        .says("delete namespace shop --timeout=60s", "namespace \"shop\" deleted*")
        .await?;
    kubectl
        .fails(
            "get namespace shop",
            1,
            "Error from server (NotFound): namespaces \"shop\" not found",
        )
        .await
}

#[tokio::test]
async fn a_drain_keeps_to_a_budget() -> Result<()> {
    let (cluster, kubectl) = with_agents(2).await?;
    cluster.with_logs(drain(&kubectl).await)
}

async fn drain(kubectl: &Kubectl) -> Result<()> {
    let hello = workspace().join("examples/hello.yaml").display().to_string();
    kubectl.ok(&format!("apply -f {hello}")).await?;
    kubectl.ok("rollout status deployment/hello --timeout=90s").await?;
    kubectl
        .says(
            "create pdb hello --selector=app=hello --min-available=3",
            "poddisruptionbudget.policy/hello created",
        )
        .await?;
    let counted = "wait --for=jsonpath={.status.currentHealthy}=3 pdb/hello --timeout=30s";
    kubectl.ok(counted).await?;
    kubectl
        .says(
            "get pdb hello",
            "NAME MIN AVAILABLE MAX UNAVAILABLE ALLOWED DISRUPTIONS AGE\nhello 3 N/A 0 *s",
        )
        .await?;
    let refused = kubectl.run("drain node-1 --timeout=3s", "").await?;
    ensure!(
        refused.code == 1 && refused.stderr.contains("would violate the pod's disruption budget"),
        "{}",
        refused.stderr
    );
    let here = "get pods -l app=hello --field-selector=spec.nodeName=node-1 -o name";
    ensure!(!kubectl.ok(here).await?.is_empty(), "nothing left node-1");
    kubectl
        .says(
            "patch pdb hello -p '{\"spec\":{\"minAvailable\":2}}'",
            "poddisruptionbudget.policy/hello patched",
        )
        .await?;
    // One after the other, each once the one before it was replaced.
    kubectl.ok("drain node-1 --timeout=90s").await?;
    let left = kubectl.ok(here).await?;
    ensure!(left.is_empty(), "a drained node has pods: {left}");
    kubectl.ok("rollout status deployment/hello --timeout=60s").await?;
    kubectl.ok(counted).await?;
    kubectl
        .says(
            "get pdb hello",
            "NAME MIN AVAILABLE MAX UNAVAILABLE ALLOWED DISRUPTIONS AGE\nhello 2 N/A 1 *s",
        )
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_there_is_and_how_it_is() -> Result<()> {
    let (cluster, kubectl) = small().await?;
    cluster.with_logs(looking(&kubectl).await)
}

async fn looking(kubectl: &Kubectl) -> Result<()> {
    let resources = kubectl.ok("api-resources --no-headers").await?;
    for line in [
        "bindings v1 true Binding",
        "configmaps cm v1 true ConfigMap",
        "nodes no v1 false Node",
        "deployments deploy apps/v1 true Deployment",
        "selfsubjectaccessreviews authorization.k8s.io/v1 false SelfSubjectAccessReview",
    ] {
        let found = resources
            .lines()
            .any(|known| known.split_whitespace().eq(line.split_whitespace()));
        ensure!(found, "{line} is not among\n{resources}");
    }
    let versions = kubectl.ok("api-versions").await?;
    ensure!(versions.lines().any(|line| line == "apps/v1"), "{versions}");
    let version: Value = serde_json::from_str(&kubectl.ok("version -o json").await?)?;
    ensure!(version["serverVersion"]["major"] == "1", "{version}");
    kubectl
        .says("get nodes", "NAME STATUS ROLES AGE VERSION\nnode-1 Ready <none> *s v*")
        .await?;
    kubectl
        .says(
            "get namespaces -o name",
            "namespace/default\nnamespace/kube-node-lease\nnamespace/kube-public\nnamespace/kube-system",
        )
        .await?;
    kubectl
        .says(
            "get --raw /readyz?verbose",
            "[+]ping ok\n[+]store ok\nreadyz check passed",
        )
        .await?;
    kubectl
        .says(
            "explain configmap.data",
            "KIND: ConfigMap\nVERSION: v1\nFIELD: data <map[string]string>\n...",
        )
        .await?;
    kubectl.says("cordon node-1", "node/node-1 cordoned").await?;
    kubectl
        .says(
            "get nodes",
            "NAME STATUS ROLES AGE VERSION\nnode-1 Ready,SchedulingDisabled <none> *s v*",
        )
        .await?;
    kubectl.says("uncordon node-1", "node/node-1 uncordoned").await?;
    kubectl
        .fails(
            "get ships",
            1,
            "error: the server doesn't have a resource type \"ships\"",
        )
        .await?;
    kubectl
        .fails(
            "get pod none",
            1,
            "Error from server (NotFound): pods \"none\" not found",
        )
        .await?;
    let first = kubectl.ok("get events -A -o name --chunk-size=1").await?;
    ensure!(first.lines().count() >= 1, "nodes tell what they do: {first}");
    let described = kubectl.ok("describe node node-1").await?;
    ensure!(described.contains("NodeReady"), "{described}");
    kubectl.ok("create configmap one").await?;
    let watched = kubectl
        .run("get configmaps --watch --output-watch-events --request-timeout=2s", "")
        .await?;
    let second = watched.stdout.lines().nth(1).context("an event")?;
    ensure!(
        second.starts_with("ADDED") && second.contains("one"),
        "{}",
        watched.stdout
    );
    Ok(())
}
