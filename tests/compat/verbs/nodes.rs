//! `taint`, `drain`, `top`, `auth`, `events`, `certificate`, and what is not served yet.

use anyhow::{Result, ensure};

use crate::kubectl::Kubectl;

/// A request for a certificate of a user's, whose key nobody kept.
const REQUEST: &str = "
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata:
  name: jane
spec:
  request: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIS01IRUNBUUF3RHpFTk1Bc0dBMVVFQXd3RWFtRnVaVEJaTUJNR0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSApBMElBQkZONHBMRWlmREJFcUs5RDZ2M3p0ajNzY3dFekxTN2VnVWZ6enFUQWI2b0hlUGxzTDdyRWhNb1dVZEk2CkRsd1p4Y3FtaXJ3UTd2aU9FMXlWckwyYXhmZWdBREFLQmdncWhrak9QUVFEQWdOSkFEQkdBaUVBODZFS1U3TFkKQ0hBVHVUS2w3UHlxbG9SZWpKOXZQYjk3dzZOZ0ZpK2JDUUVDSVFDQVFsazJTa1VuQjNjOHVsSGJjQTE3ZDIwcgptVnM2UmV5RWxYSmRCcnYrZ3c9PQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K
  signerName: kubernetes.io/kube-apiserver-client
  usages: [client auth]
";

pub(super) async fn nodes(kubectl: &Kubectl) -> Result<()> {
    kubectl
        .says("taint node node-1 only=some:NoSchedule", "node/node-1 tainted")
        .await?;
    kubectl.says("taint node node-1 only-", "node/node-1 untainted").await?;
    kubectl.ok("create namespace emptied").await?;
    kubectl
        .ok("create deployment web --image=trireme.local/hello:1 -n emptied")
        .await?;
    kubectl
        .ok("rollout status deployment/web --timeout=90s -n emptied")
        .await?;
    let drained = kubectl
        .ok("drain node-1 --force --ignore-daemonsets --delete-emptydir-data --grace-period=1 --timeout=90s")
        .await?;
    let last = kubectl.words("node/node-1 evicted", 23, "node/node-1 drained");
    ensure!(drained.lines().any(|line| line == last), "{drained}");
    ensure!(drained.contains("pod/web-"), "{drained}");
    kubectl.ok("uncordon node-1").await?;
    kubectl
        .ok("rollout status deployment/web --timeout=90s -n emptied")
        .await?;
    access(kubectl).await?;
    certificates(kubectl).await?;
    not_served(kubectl).await?;
    kubectl.ok("delete namespace emptied --timeout=90s").await?;
    Ok(())
}

/// Who may what, by the one rule that there is until there are roles.
async fn access(kubectl: &Kubectl) -> Result<()> {
    kubectl.says("auth can-i create pods", "yes").await?;
    kubectl.says("auth can-i '*' '*' --all-namespaces", "yes").await?;
    let list = kubectl.ok("auth can-i --list").await?;
    ensure!(list.contains("[*]"), "{list}");
    if kubectl.is_since(28) {
        let whoami = kubectl.ok("auth whoami").await?;
        ensure!(whoami.contains("Username"), "{whoami}");
    }
    let role =
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r, namespace: emptied}\nrules: []\n";
    let reconciled = kubectl.ok_with("auth reconcile -f -", role).await?;
    ensure!(
        reconciled.contains("role.rbac.authorization.k8s.io/r reconciled"),
        "{reconciled}"
    );
    if kubectl.is_since(26) {
        let events = kubectl.ok("events -n emptied --for=deployment/web").await?;
        ensure!(events.contains("ScalingReplicaSet"), "{events}");
    }
    let info = kubectl.ok("cluster-info").await?;
    ensure!(info.contains("is running at"), "{info}");
    Ok(())
}

async fn certificates(kubectl: &Kubectl) -> Result<()> {
    kubectl.ok_with("create -f -", REQUEST).await?;
    let approved = kubectl.ok("certificate approve jane").await?;
    ensure!(
        approved.contains("certificatesigningrequest.certificates.k8s.io/jane approved"),
        "{approved}"
    );
    kubectl
        .says(
            "get csr jane",
            "NAME AGE SIGNERNAME REQUESTOR REQUESTEDDURATION CONDITION
             jane *s kubernetes.io/kube-apiserver-client * <none> Approved",
        )
        .await?;
    kubectl.ok("delete csr jane").await?;
    Ok(())
}

/// What has its route and no more yet says so, and nothing hangs.
async fn not_served(kubectl: &Kubectl) -> Result<()> {
    let pod = kubectl
        .ok("get pods -n emptied -o jsonpath={.items[0].metadata.name}")
        .await?;
    let not_yet = "is not served by this server yet";
    for (command, said) in [
        (format!("exec {pod} -n emptied -- true"), not_yet),
        (format!("attach {pod} -n emptied"), not_yet),
        (format!("cp /etc/hostname emptied/{pod}:/tmp/name"), not_yet),
        (format!("port-forward {pod} 18080:80 -n emptied"), not_yet),
        ("top node".to_owned(), "Metrics API not available"),
    ] {
        refused(kubectl, &command, said).await?;
    }
    if kubectl.is_since(24) {
        refused(kubectl, "create token default -n emptied", not_yet).await?;
    }
    // Older ones debug by a kind that Kubernetes has given up.
    if kubectl.is_since(22) {
        kubectl
            .ok(&format!("debug {pod} -n emptied --image=trireme.local/hello:1 -- true"))
            .await?;
        let debuggers = kubectl
            .ok(&format!(
                "get pod {pod} -n emptied -o jsonpath={{.spec.ephemeralContainers[*].image}}"
            ))
            .await?;
        ensure!(debuggers == "trireme.local/hello:1", "{debuggers}");
    }
    Ok(())
}

async fn refused(kubectl: &Kubectl, command: &str, said: &str) -> Result<()> {
    let ended = kubectl.run(command, "").await?;
    ensure!(
        ended.code == 1 && ended.stderr.contains(said),
        "kubectl {command} ended with {}:\n{}{}",
        ended.code,
        ended.stdout,
        ended.stderr
    );
    Ok(())
}
