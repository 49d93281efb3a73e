//! A deployment, from applying it to deleting it.

use anyhow::{Result, ensure};
use trireme_tests::harness::{PATIENCE, wait_until, workspace};

use crate::kubectl::Kubectl;

pub(super) async fn deployment(kubectl: &Kubectl) -> Result<()> {
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
    // Before it had words for this, people waited in loops.
    wait_until("one replica", PATIENCE, || async {
        let replicas = kubectl
            .ok("get deployment hello -o jsonpath={.status.replicas}")
            .await?;
        Ok(replicas == "1")
    })
    .await?;
    if kubectl.is_since(23) {
        kubectl
            .says(
                "wait --for=jsonpath={.status.replicas}=1 deployment/hello --timeout=30s",
                "deployment.apps/hello condition met",
            )
            .await?;
    }
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
