//! What each kind is filled up with.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{json_of, object, pod};

fn check(given: &Value, expected: &Expect) {
    let mut object = object(given);
    object.set_defaults();
    let text = serde_json::to_string_pretty(&json_of(&*object)).expect("is JSON");
    expected.assert_eq(&text);
}

/// One object of every kind, as users write them.
pub(super) fn examples() -> Vec<Value> {
    let meta = json!({"name": "web", "namespace": "shop"});
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}});
    vec![
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "1"}, "binaryData": {"b": "AAE="}}),
        json!({"apiVersion": "v1", "kind": "Event", "metadata": meta, "involvedObject": {"kind": "Pod", "name": "web", "namespace": "shop"},
            "reason": "Started", "message": "it started", "type": "Normal", "count": 2}),
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta,
            "spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "100m", "memory": "1Mi"}}]}}),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {"capacity": {"cpu": "2"}}}),
        pod(json!({"containers": [{"name": "main", "image": "web", "resources": {"limits": {"cpu": "1"}}}]})),
        json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": meta, "spec": {"template": template}}),
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"pods": "3"}}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"a": "MQ=="}, "stringData": {"b": "2"}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}}),
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta,
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta,
            "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-01-02T03:04:05.000006Z"}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}),
    ]
}

#[test]
fn examples_name_every_kind_and_are_valid() {
    let given: Vec<String> = examples().iter().map(|json| json["kind"].as_str().unwrap_or_default().to_owned()).collect();
    let kinds: Vec<&str> = crate::kinds::KINDS.iter().map(|ops| ops.info().kind).collect();
    assert_eq!(given, kinds);
    for json in examples() {
        assert_eq!(super::complaints(&json), "", "{json}");
    }
}

#[test]
fn defaulting_twice_is_defaulting_once() {
    for given in examples() {
        let mut once = object(&given);
        once.set_defaults();
        // Through JSON and back, as clients do it.
        let mut twice = object(&json_of(&*once));
        twice.set_defaults();
        assert_eq!(json_of(&*twice), json_of(&*once));
    }
}

#[test]
fn pod_defaults() {
    check(
        &pod(json!({
            "hostNetwork": true,
            "serviceAccount": "robot",
            "containers": [{
                "name": "main",
                "image": "web",
                "ports": [{"containerPort": 80}],
                "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                "livenessProbe": {"httpGet": {"port": 80}},
                "readinessProbe": {"grpc": {"port": 80}, "periodSeconds": 3},
                "lifecycle": {"preStop": {"httpGet": {"port": "http"}}},
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
            }],
            "initContainers": [{"name": "init", "image": "init:2"}],
            "volumes": [
                {"name": "a"},
                {"name": "b", "secret": {"secretName": "s"}},
                {"name": "c", "configMap": {"name": "m"}},
                {"name": "d", "hostPath": {"path": "/d"}},
                {"name": "e", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            ],
        })),
        &expect![[]],
    );
}

#[test]
fn deployment_defaults() {
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
        {"name": "main", "image": "web:1", "resources": {"limits": {"cpu": "1"}}}]}});
    let spec = json!({"selector": {"matchLabels": {"app": "web"}}, "template": template});
    check(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}), &expect![[]]);
}

#[test]
fn recreate_has_no_rolling_update() {
    let given = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "strategy": {"type": "Recreate"}}});
    let mut deployment = object(&given);
    deployment.set_defaults();
    let spec = &json_of(&*deployment)["spec"];
    assert_eq!((&spec["strategy"], &spec["replicas"]), (&json!({"type": "Recreate"}), &json!(0)));
}

#[test]
fn replication_controller_takes_labels_and_selector_from_its_template() {
    let given = &examples()[6];
    let mut controller = object(given);
    controller.set_defaults();
    let json = json_of(&*controller);
    assert_eq!(json["spec"]["selector"], json!({"app": "web"}));
    assert_eq!(json["metadata"]["labels"], json!({"app": "web"}));
    assert_eq!(json["spec"]["replicas"], json!(1));
}

#[test]
fn service_defaults() {
    let service = |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec});
    check(&service(json!({"ports": [{"port": 80}]})), &expect![[]]);
    check(
        &service(json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{"port": 80, "targetPort": "http"}]})),
        &expect![[]],
    );
    check(&service(json!({"clusterIP": "None"})), &expect![[]]);
    check(&service(json!({"type": "ExternalName", "externalName": "example.com"})), &expect![[]]);
}

#[test]
fn other_defaults() {
    for (index, expected) in [
        (2, expect![[]]),
        (3, expect![[]]),
        (4, expect![[]]),
        (8, expect![[]]),
        (14, expect![[]]),
    ] {
        check(&examples()[index], &expected);
    }
}
