//! What there is, and how it is.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::kubectl::Kubectl;

pub(super) async fn looking(kubectl: &Kubectl) -> Result<()> {
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
    // Older ones look for the events of a node only by its name in the place of its uid, as kubelets once wrote them.
    if kubectl.is_since(22) {
        ensure!(described.contains("NodeReady"), "{described}");
    }
    ensure!(described.contains("AgentReady"), "{described}");
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
    kubectl.says("delete configmap one", "configmap \"one\" deleted*").await
}
