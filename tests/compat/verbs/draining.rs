//! `drain` beside a disruption budget.

use anyhow::{Result, ensure};
use trireme_tests::harness::workspace;

use crate::kubectl::Kubectl;

/// The minor version of the first `kubectl` that makes budgets of `policy/v1`.
const BUDGETS_SINCE: u32 = 21;

pub(super) async fn drain(kubectl: &Kubectl) -> Result<()> {
    if !kubectl.is_since(BUDGETS_SINCE) {
        return Ok(());
    }
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
