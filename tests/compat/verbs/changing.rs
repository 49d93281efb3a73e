//! `set`, `edit`, `replace`, `diff`, `apply` and the steps of `rollout`.

use anyhow::{Result, ensure};

use crate::kubectl::Kubectl;

/// What is changed, in the namespace `changing`, and what is said of it.
const CHANGES: &[(&str, &str)] = &[
    (
        "set image deployment/web hello=trireme.local/hello:2",
        "deployment.apps/web image updated",
    ),
    (
        "set resources deployment/web --limits=cpu=100m --requests=cpu=50m",
        "deployment.apps/web resource requirements updated",
    ),
    ("set env deployment/web COLOUR=red", "deployment.apps/web env updated"),
    (
        "set env deployment/web --list",
        "# Deployment web, container hello\nCOLOUR=red",
    ),
    (
        "set serviceaccount deployment/web default",
        "deployment.apps/web serviceaccount updated",
    ),
    (
        "set selector service/web app=web,tier=front",
        "service/web selector updated",
    ),
    (
        "set subject rolebinding/readers --user=jane",
        "rolebinding.rbac.authorization.k8s.io/readers subjects updated",
    ),
    ("rollout resume deployment/web", "deployment.apps/web resumed"),
    ("rollout restart deployment/web", "deployment.apps/web restarted"),
    ("rollout pause deployment/web", "deployment.apps/web paused"),
    ("rollout resume deployment/web", "deployment.apps/web resumed"),
    ("edit configmap text", "configmap/text edited"),
    ("get configmap text -o jsonpath={.data.k}", "after-edit"),
];

/// What is applied, replaced and compared.
const TEXT: &str = "
apiVersion: v1
kind: ConfigMap
metadata:
  name: applied
  namespace: changing
data:
  k: v
";

pub(super) async fn changing(kubectl: &Kubectl) -> Result<()> {
    for command in [
        "create namespace changing",
        "create deployment web --image=trireme.local/hello:1 -n changing",
        "rollout pause deployment/web -n changing",
        "create service clusterip web --tcp=80:8080 -n changing",
        "create role reader --verb=get --resource=pods -n changing",
        "create rolebinding readers --role=reader --user=joe -n changing",
        "create configmap text --from-literal=k=before-edit -n changing",
    ] {
        kubectl.ok(command).await?;
    }
    for (command, said) in CHANGES {
        kubectl.says(&format!("{command} -n changing"), said).await?;
    }
    rollouts(kubectl).await?;
    applied(kubectl).await?;
    kubectl.ok("delete namespace changing --timeout=90s").await?;
    Ok(())
}

/// Steps back through the revisions of a deployment.
async fn rollouts(kubectl: &Kubectl) -> Result<()> {
    let history = kubectl.ok("rollout history deployment/web -n changing").await?;
    ensure!(
        history.lines().filter(|line| line.contains("<none>")).count() >= 2,
        "{history}"
    );
    kubectl
        .says(
            "rollout undo deployment/web -n changing",
            "deployment.apps/web rolled back",
        )
        .await?;
    let revisions = kubectl
        .ok("rollout history deployment/web --revision=3 -n changing")
        .await?;
    ensure!(revisions.contains("Image:"), "{revisions}");
    Ok(())
}

/// What would change: nothing, or one line.
async fn differences(kubectl: &Kubectl, changed: &str) -> Result<()> {
    let same = kubectl.run("diff -f -", TEXT).await?;
    if !kubectl.is_since(27) {
        // It does not follow the references by which parameters are described since then, also in Kubernetes.
        ensure!(
            same.code > 1 && same.stderr.contains("doesn't support dry-run"),
            "{}",
            same.stderr
        );
        return Ok(());
    }
    ensure!(
        same.code == 0 && same.stdout.is_empty(),
        "{}{}",
        same.stdout,
        same.stderr
    );
    let other = kubectl.run("diff -f -", changed).await?;
    ensure!(
        other.code == 1 && other.stdout.contains("-  k: v") && other.stdout.contains("+  k: w"),
        "{}{}",
        other.stdout,
        other.stderr
    );
    Ok(())
}

/// The ways of applying, and how they see what is there.
async fn applied(kubectl: &Kubectl) -> Result<()> {
    let changed = TEXT.replace("k: v", "k: w");
    let said = async |command: &str, input: &str, said: &str| -> Result<()> {
        let printed = kubectl.ok_with(command, input).await?;
        ensure!(printed.trim() == said, "kubectl {command} said: {printed}");
        Ok(())
    };
    said("apply -f -", TEXT, "configmap/applied created").await?;
    differences(kubectl, &changed).await?;
    said("apply -f -", &changed, "configmap/applied configured").await?;
    let last = kubectl
        .ok("apply view-last-applied configmap/applied -n changing")
        .await?;
    ensure!(last.contains("k: w"), "{last}");
    said("replace -f -", TEXT, "configmap/applied replaced").await?;
    said(
        "apply --server-side --field-manager=other --force-conflicts -f -",
        &changed,
        "configmap/applied serverside-applied",
    )
    .await?;
    let conflict = kubectl
        .run("apply --server-side --field-manager=third -f -", TEXT)
        .await?;
    ensure!(
        conflict.code == 1 && conflict.stderr.contains("conflict with \"other\": .data.k"),
        "{}{}",
        conflict.stdout,
        conflict.stderr
    );
    let replaced = kubectl.ok_with("replace --force -f -", TEXT).await?;
    ensure!(
        replaced.contains("\"applied\" deleted") && replaced.contains("configmap/applied replaced"),
        "{replaced}"
    );
    said("delete --wait -f - -o name", TEXT, "configmap/applied").await
}
