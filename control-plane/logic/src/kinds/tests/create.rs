//! What a new object begins as: clients set no status.

use serde_json::{Value, json};

use super::{json_of, object, pod};

pub(super) fn created(given: &Value) -> Value {
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
            Some("Deployment" | "ReplicaSet" | "ReplicationController" | "StatefulSet")
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
fn other_kinds_begin_without_a_status() {
    for (kind, status, generation) in [
        ("CronJob", json!({"lastScheduleTime": "2026-01-02T03:04:05Z"}), json!(1)),
        ("DaemonSet", json!({"numberReady": 7}), json!(1)),
        ("HorizontalPodAutoscaler", json!({"desiredReplicas": 7}), json!(null)),
        ("Job", json!({"active": 7}), json!(1)),
        ("PodDisruptionBudget", json!({"disruptionsAllowed": 7}), json!(1)),
    ] {
        let mut given = super::defaults::example(kind);
        let empty = created(&given)["status"].clone();
        given["status"] = status.clone();
        let made = created(&given);
        assert_ne!(status, empty, "{kind}");
        assert_eq!(made["status"], empty, "{kind}");
        assert_eq!(made["metadata"]["generation"], generation, "{kind}");
    }
    let class = created(&super::defaults::example("PriorityClass"));
    assert_eq!(class["metadata"]["generation"], 1);
}

/// A job with a uid, as the registry hands it to its kind.
fn job(more: Value) -> Box<dyn crate::object::Object> {
    let mut given = super::defaults::example("Job");
    given["metadata"]["uid"] = json!("u-1");
    json_patch::merge(&mut given, &more);
    let mut job = object(&given);
    job.set_defaults();
    job
}

#[test]
fn jobs_select_their_pods_by_uid() {
    let mut made = job(json!({}));
    made.prepare_create();
    let spec = json_of(&*made)["spec"].clone();
    assert_eq!(
        spec["selector"],
        json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}})
    );
    assert_eq!(
        spec["template"]["metadata"]["labels"],
        json!({"app": "web", "job-name": "web", "batch.kubernetes.io/job-name": "web",
            "controller-uid": "u-1", "batch.kubernetes.io/controller-uid": "u-1"})
    );
}

#[test]
fn jobs_may_select_by_hand() {
    let by_hand = json!({"spec": {"manualSelector": true, "selector": {"matchLabels": {"app": "web"}}}});
    let mut made = job(by_hand);
    let before = json_of(&*made)["spec"].clone();
    made.prepare_create();
    assert_eq!(json_of(&*made)["spec"], before);
    made.forget_identity();
    assert_eq!(json_of(&*made)["spec"], before);
}

#[test]
fn a_job_can_be_given_another_identity() {
    let mut made = job(json!({}));
    made.prepare_create();
    made.forget_identity();
    made.metadata_mut().uid = "u-2".into();
    made.metadata_mut().name = "other".into();
    made.set_defaults();
    made.prepare_create();
    let mut afresh = job(json!({"metadata": {"uid": "u-2", "name": "other"}}));
    afresh.prepare_create();
    assert_eq!(json_of(&*made), json_of(&*afresh));
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
        object(&super::defaults::example("ConfigMap")).graceful_deletion_seconds(None),
        None
    );
}
