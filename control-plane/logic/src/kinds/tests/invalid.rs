//! What each kind refuses, with the path and the words.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{complaints, pod};
use crate::limits;

fn check(given: &Value, expected: &Expect) {
    expected.assert_eq(&complaints(given));
}

/// A spec of one good container with more fields.
fn with(more: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "main", "image": "web:1"}]});
    merge(&mut spec, more);
    pod(spec)
}

/// A pod whose container has more fields.
fn container(more: Value) -> Value {
    let mut one = json!({"name": "main", "image": "web:1"});
    merge(&mut one, more);
    pod(json!({"containers": [one]}))
}

fn merge(into: &mut Value, more: Value) {
    json_patch::merge(into, &more);
}

fn example(kind: &str, more: Value) -> Value {
    let mut found =
        super::defaults::examples().into_iter().find(|json| json["kind"] == kind).expect("an example of the kind");
    merge(&mut found, more);
    found
}

#[test]
fn metadata() {
    check(&example("ConfigMap", json!({"metadata": {"name": "Web_1"}})), &expect![[]]);
    check(&example("ConfigMap", json!({"metadata": {"name": null, "namespace": null}})), &expect![[]]);
    check(&example("Namespace", json!({"metadata": {"name": "a.b", "namespace": "x"}})), &expect![[]]);
    check(&example("Service", json!({"metadata": {"name": "1web"}})), &expect![[]]);
    check(
        &example("ConfigMap", json!({"metadata": {
            "generateName": "Web-",
            "labels": {"a/b/c": "ok", "good": "bad value"},
            "annotations": {"-x": "anything"},
            "finalizers": ["not good", "orphan", "foregroundDeletion"],
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1", "controller": true},
                {"apiVersion": "v1", "kind": "Pod", "name": "b", "uid": "", "controller": true},
                {"apiVersion": "v1", "kind": "Event", "name": "c", "uid": "3"},
            ],
        }})),
        &expect![[]],
    );
}

#[test]
fn limits_of_size() {
    let text = |bytes: usize| "x".repeat(bytes);
    for (good, bad) in [
        (
            example("ConfigMap", json!({"metadata": {"annotations": {"a": text(limits::ANNOTATIONS_SIZE_BYTES - 1)}}})),
            example("ConfigMap", json!({"metadata": {"annotations": {"a": text(limits::ANNOTATIONS_SIZE_BYTES)}}})),
        ),
        (
            example("ConfigMap", json!({"data": {"a": text(limits::DATA_SIZE_BYTES - 2)}})),
            example("ConfigMap", json!({"data": {"a": text(limits::DATA_SIZE_BYTES - 1)}})),
        ),
        (
            example("Secret", json!({"stringData": {"b": text(limits::DATA_SIZE_BYTES - 1)}})),
            example("Secret", json!({"stringData": {"b": text(limits::DATA_SIZE_BYTES)}})),
        ),
        (
            example("Event", json!({"message": text(limits::EVENT_MESSAGE_BYTES)})),
            example("Event", json!({"message": text(limits::EVENT_MESSAGE_BYTES + 1)})),
        ),
        (
            example("Event", json!({"reason": text(limits::EVENT_REASON_BYTES)})),
            example("Event", json!({"reason": text(limits::EVENT_REASON_BYTES + 1)})),
        ),
        (
            example("EndpointSlice", json!({"endpoints": vec![json!({"addresses": ["10.0.0.1"]}); limits::ENDPOINTS_PER_SLICE]})),
            example("EndpointSlice", json!({"endpoints": vec![json!({"addresses": ["10.0.0.1"]}); limits::ENDPOINTS_PER_SLICE + 1]})),
        ),
        (
            example("EndpointSlice", json!({"endpoints": [{"addresses": vec!["10.0.0.1"; limits::ADDRESSES_PER_ENDPOINT]}]})),
            example("EndpointSlice", json!({"endpoints": [{"addresses": vec!["10.0.0.1"; limits::ADDRESSES_PER_ENDPOINT + 1]}]})),
        ),
        (
            example("Service", json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": limits::AFFINITY_TIMEOUT_SECONDS}}}})),
            example("Service", json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": limits::AFFINITY_TIMEOUT_SECONDS + 1}}}})),
        ),
    ] {
        assert_eq!(complaints(&good), "");
        let complaints = complaints(&bad);
        assert!(complaints.contains("Too") || complaints.contains("must be between"), "{complaints}");
    }
}

#[test]
fn pod_containers() {
    check(&pod(json!({"containers": []})), &expect![[]]);
    check(
        &pod(json!({
            "containers": [{"name": "Main"}, {"name": "b", "image": " web"}],
            "initContainers": [{"name": "b", "image": "x:1", "readinessProbe": {"exec": {"command": ["a"]}}, "lifecycle": {}}],
        })),
        &expect![[]],
    );
    check(
        &container(json!({
            "imagePullPolicy": "Sometimes",
            "terminationMessagePolicy": "Loud",
            "ports": [{"containerPort": 0}, {"containerPort": 70000, "protocol": "ICMP", "name": "Http"}, {"containerPort": 1, "hostPort": -1, "hostIP": "x"}],
            "env": [{"name": ""}, {"name": "A=B"}, {"name": "C", "value": "1", "valueFrom": {}},
                {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "spec.colour"}, "secretKeyRef": {"name": "", "key": ""}}}],
            "envFrom": [{}, {"configMapRef": {}}],
            "volumeMounts": [{"name": "none", "mountPath": "/a"}, {"name": "", "mountPath": "/a", "subPath": "/x/../y"}],
        })),
        &expect![[]],
    );
    check(
        &container(json!({
            "livenessProbe": {"successThreshold": 2, "httpGet": {"port": "", "scheme": "FTP"}},
            "readinessProbe": {"periodSeconds": -1},
            "startupProbe": {"exec": {"command": []}, "tcpSocket": {"port": 0}},
            "lifecycle": {"postStart": {}},
            "securityContext": {"runAsUser": -1, "privileged": true, "allowPrivilegeEscalation": false},
        })),
        &expect![[]],
    );
}

#[test]
fn pod_resources() {
    check(
        &container(json!({"resources": {
            "requests": {"cpu": "2", "memory": "-1", "gpu": "1", "example.com/gpu": "1"},
            "limits": {"cpu": "1500m", "example.com/gpu": "500m", "hugepages-2Mi": "4Mi"},
        }})),
        &expect![[]],
    );
}

#[test]
fn pod_policies() {
    check(
        &with(json!({
            "restartPolicy": "Perhaps",
            "dnsPolicy": "None",
            "terminationGracePeriodSeconds": -1,
            "activeDeadlineSeconds": 0,
            "nodeName": "N1",
            "hostname": "a.b",
            "serviceAccountName": "_",
            "nodeSelector": {"a b": "c"},
            "tolerations": [
                {"effect": "Never"},
                {"key": "a", "operator": "Exists", "value": "b"},
                {"key": "a", "tolerationSeconds": 1},
                {"key": "a", "operator": "Near"},
            ],
            "hostAliases": [{"ip": "x", "hostnames": ["_"]}],
        })),
        &expect![[]],
    );
    check(
        &with(json!({
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "a", "operator": "In"}, {"key": "a", "operator": "Gt", "values": ["1", "2"]}, {"key": "", "operator": "Is"}]},
                        {"matchFields": [{"key": "spec.x", "operator": "Exists"}]},
                    ]},
                    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 101, "preference": {}}],
                },
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}]},
            },
            "topologySpreadConstraints": [
                {"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Cry"},
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
                {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
            ],
        })),
        &expect![[]],
    );
}

#[test]
fn pod_volumes_and_host_ports() {
    check(
        &with(json!({"volumes": [
            {"name": "A"},
            {"name": "a", "emptyDir": {"sizeLimit": "-1"}, "hostPath": {"path": "/a/../b", "type": "Pipe"}},
            {"name": "a", "secret": {"defaultMode": 512, "items": [{"key": "", "path": "/x"}]}},
            {"name": "c", "configMap": {}},
            {"name": "d", "persistentVolumeClaim": {"claimName": ""}},
            {"name": "e", "projected": {"sources": [{"downwardAPI": {"items": [{"path": ".."}]}}]}},
        ]})),
        &expect![[]],
    );
    check(
        &pod(json!({"hostNetwork": true, "containers": [
            {"name": "a", "image": "a:1", "ports": [{"containerPort": 80, "hostPort": 81}]},
            {"name": "b", "image": "b:1", "ports": [{"containerPort": 81}]},
        ]})),
        &expect![[]],
    );
}

#[test]
fn deployments() {
    check(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "b"}}), &expect![[]]);
    check(
        &example("Deployment", json!({"spec": {
            "replicas": -1,
            "minReadySeconds": 700,
            "revisionHistoryLimit": -1,
            "selector": {"matchLabels": {"app": "other"}},
            "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}},
            "template": {"spec": {"restartPolicy": "Never"}},
        }})),
        &expect![[]],
    );
    check(
        &example("Deployment", json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": "half", "maxUnavailable": "101%"}}}})),
        &expect![[]],
    );
    check(
        &example("Deployment", json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {}}, "selector": {"matchLabels": null}}})),
        &expect![[]],
    );
    check(&example("Deployment", json!({"spec": {"strategy": {"type": "Quick"}}})), &expect![[]]);
}

#[test]
fn replica_sets_and_controllers() {
    check(&example("ReplicaSet", json!({"spec": {"replicas": -1, "selector": null}})), &expect![[]]);
    check(&example("ReplicationController", json!({"spec": {"selector": {"app": "other"}}})), &expect![[]]);
    check(&example("ReplicationController", json!({"spec": {"template": null}})), &expect![[]]);
}

#[test]
fn services() {
    check(&example("Service", json!({"spec": {"type": "Magic", "ports": [], "sessionAffinity": "Cookie"}})), &expect![[]]);
    check(
        &example("Service", json!({"spec": {"clusterIP": "10.0.0", "externalIPs": ["x"], "ports": [
            {"port": 80, "nodePort": 30000},
            {"port": 80, "name": "A", "targetPort": "Web"},
            {"port": 0, "name": "b", "protocol": "ICMP"},
        ]}})),
        &expect![[]],
    );
    check(&example("Service", json!({"spec": {"type": "NodePort", "clusterIP": "None"}})), &expect![[]]);
    check(&example("Service", json!({"spec": {"type": "ExternalName", "clusterIP": "10.0.0.1"}})), &expect![[]]);
    check(&example("Service", json!({"spec": {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Far"}})), &expect![[]]);
}

#[test]
fn other_kinds() {
    check(&example("ConfigMap", json!({"data": {"a b": "1", "b": "2"}, "binaryData": {"..": "AA=="}})), &expect![[]]);
    check(&example("Secret", json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "AA==", "a/b": ""}})), &expect![[]]);
    check(&example("Secret", json!({"type": "kubernetes.io/service-account-token"})), &expect![[]]);
    check(&example("Event", json!({"involvedObject": {"namespace": "other"}, "type": "Odd"})), &expect![[]]);
    check(&example("Lease", json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}})), &expect![[]]);
    check(
        &example("EndpointSlice", json!({"addressType": "IPv6", "endpoints": [{"addresses": []}, {"addresses": ["10.0.0.1"], "nodeName": "N"}],
            "ports": [{"name": "a", "protocol": "ICMP"}, {"name": "a"}]})),
        &expect![[]],
    );
    check(
        &example("ResourceQuota", json!({"spec": {"hard": {"pods": "1.5", "cpu": "-1", "a b": "1", "requests.cpu": "500m"},
            "scopes": ["BestEffort", "NotBestEffort", "Big"]}})),
        &expect![[]],
    );
    check(
        &example("LimitRange", json!({"spec": {"limits": [
            {"type": "Ship"},
            {"type": "Pod", "default": {"cpu": "1"}},
            {"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}},
            {"type": "Container", "max": {"memory": "-1"}},
        ]}})),
        &expect![[]],
    );
    check(
        &example("Node", json!({"spec": {"podCIDRs": ["10.0.0.0"], "taints": [
            {"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}, {"key": "b c", "value": "d e", "effect": ""}]},
            "status": {"capacity": {"cpu": "-1", "pods": "1.5"}}})),
        &expect![[]],
    );
}
