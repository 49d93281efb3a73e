//! What a new object begins as: clients set no status.

use serde_json::{Value, json};

use super::{json_of, object, pod};

fn created(given: &Value) -> Value {
    let mut object = object(given);
    object.set_defaults();
    object.prepare_create();
    json_of(&*object)
}

fn container(resources: Value) -> Value {
    pod(json!({"containers": [{"name": "main", "image": "web:1", "resources": resources}]}))
}

#[test]
fn pods_begin_pending() {
    let mut given = container(json!({}));
    given["status"] = json!({"phase": "Running", "podIP": "10.0.0.1"});
    let made = created(&given);
    assert_eq!(made["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    assert_eq!(made["metadata"]["generation"], 1);
}

#[test]
fn gated_pods_say_so() {
    let mut given = container(json!({}));
    given["spec"]["schedulingGates"] = json!([{"name": "example.com/wait"}]);
    let condition = &created(&given)["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"], &condition["reason"]),
        (&json!("PodScheduled"), &json!("False"), &json!("SchedulingGated"))
    );
}

#[test]
fn quality_of_service() {
    for (resources, class) in [
        (json!({}), "BestEffort"),
        (json!({"requests": {"cpu": "0"}}), "BestEffort"),
        (json!({"requests": {"cpu": "1"}}), "Burstable"),
        (json!({"limits": {"cpu": "1"}}), "Burstable"),
        (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed"),
        (
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}),
            "Guaranteed",
        ),
        (
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}),
            "Burstable",
        ),
    ] {
        assert_eq!(
            created(&container(resources.clone()))["status"]["qosClass"],
            class,
            "{resources}"
        );
    }
}

#[test]
fn workloads_begin_without_a_status() {
    for example in super::defaults::examples() {
        let mut given = example.clone();
        if !matches!(
            given["kind"].as_str(),
            Some("Deployment" | "ReplicaSet" | "ReplicationController")
        ) {
            continue;
        }
        given["status"] = json!({"replicas": 7});
        let made = created(&given);
        assert!(made["status"]["replicas"].as_i64().unwrap_or(0) == 0, "{made}");
        assert_eq!(made["metadata"]["generation"], 1);
    }
}

#[test]
fn namespaces_are_held_by_their_finalizer() {
    let made = created(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    assert_eq!(made["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(made["status"], json!({"phase": "Active"}));
    assert_eq!(
        made["metadata"]["labels"],
        json!({"kubernetes.io/metadata.name": "shop"})
    );
}

#[test]
fn grace_of_pods() {
    let graceful = |node: &str, phase: &str, requested: Option<i64>| {
        let mut given = container(json!({}));
        given["spec"]["nodeName"] = json!(node);
        given["status"] = json!({"phase": phase});
        let mut pod = object(&given);
        pod.set_defaults();
        pod.graceful_deletion_seconds(requested)
    };
    for (node, phase, requested, expected) in [
        ("n1", "Running", None, 30),
        ("n1", "Running", Some(5), 5),
        ("n1", "Running", Some(0), 0),
        ("n1", "Running", Some(-1), 1),
        ("", "Pending", Some(30), 0),
        ("n1", "Succeeded", None, 0),
        ("n1", "Failed", Some(30), 0),
    ] {
        assert_eq!(
            graceful(node, phase, requested),
            Some(expected),
            "{node:?} {phase} {requested:?}"
        );
    }
    assert_eq!(
        object(&super::defaults::examples()[0]).graceful_deletion_seconds(None),
        None
    );
}
