//! Manifests that the journeys share.

use serde_json::{Value, json};
use trireme_tests::harness::{Cluster, ClusterOptions, workspace};

/// The image of the example program.
pub(crate) const IMAGE: &str = "trireme.local/hello:1";

/// The path of the demonstration's manifest.
pub(crate) fn hello_yaml() -> String {
    workspace().join("examples/hello.yaml").display().to_string()
}

/// A pod of one container that runs the example program in a mode.
pub(crate) fn pod(name: &str, mode: &[&str]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 10,
            "containers": [{"name": "main", "image": IMAGE, "args": mode}],
        },
    })
}

/// A pod of two containers that serve HTTP, each on a port of its own.
pub(crate) fn two_containers(name: &str) -> Value {
    let container = |name: &str, port: &str| json!({"name": name, "image": IMAGE, "args": ["serve"], "env": [{"name": "PORT", "value": port}]});
    let mut pod = pod(name, &[]);
    pod["spec"]["containers"] = json!([container("first", "8081"), container("second", "8082")]);
    pod
}

/// A Deployment of the example program, asleep.
pub(crate) fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{"name": "main", "image": IMAGE, "args": ["sleep", "3600"]}],
                },
            },
        },
    })
}

/// A cluster with the demonstration running in it.
pub(crate) async fn cluster_with_hello(options: ClusterOptions) -> anyhow::Result<Cluster> {
    let cluster = Cluster::start(options).await?;
    cluster.ok(&["apply", "-f", &hello_yaml()]).await?;
    cluster
        .ok(&["rollout", "status", "deploy/hello", "--timeout", "90s"])
        .await?;
    Ok(cluster)
}
