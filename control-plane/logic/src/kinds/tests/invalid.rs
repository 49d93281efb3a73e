//! What each kind refuses, with the path and the words.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{complaints, pod};
use crate::limits;

pub(super) fn check(given: &Value, expected: &Expect) {
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

pub(super) fn example(kind: &str, more: Value) -> Value {
    let mut found = super::defaults::example(kind);
    merge(&mut found, more);
    found
}

#[test]
fn metadata() {
    check(
        &example("ConfigMap", json!({"metadata": {"name": "Web_1"}})),
        &expect![[r#"
        metadata.name: Invalid value: "Web_1": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]],
    );
    check(
        &example("ConfigMap", json!({"metadata": {"name": null, "namespace": null}})),
        &expect![[r#"
        metadata.name: Required value: name or generateName is required
        metadata.namespace: Required value
    "#]],
    );
    check(
        &example("Namespace", json!({"metadata": {"name": "a.b", "namespace": "x"}})),
        &expect![[r#"
        metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        metadata.namespace: Forbidden: not allowed on this type
    "#]],
    );
    check(
        &example("Service", json!({"metadata": {"name": "1web"}})),
        &expect![[r#"
        metadata.name: Invalid value: "1web": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
    "#]],
    );
    check(
        &example(
            "ConfigMap",
            json!({"metadata": {
                "generateName": "Web-",
                "labels": {"a/b/c": "ok", "good": "bad value"},
                "annotations": {"-x": "anything"},
                "finalizers": ["not good", "orphan", "foregroundDeletion"],
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1", "controller": true},
                    {"apiVersion": "v1", "kind": "Pod", "name": "b", "uid": "", "controller": true},
                    {"apiVersion": "v1", "kind": "Event", "name": "c", "uid": "3"},
                ],
            }}),
        ),
        &expect![[r#"
            metadata.generateName: Invalid value: "Web-": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            metadata.labels: Invalid value: "a/b/c": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
            metadata.labels: Invalid value: "bad value": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            metadata.annotations: Invalid value: "-x": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            metadata.ownerReferences[1].uid: Required value: must not be empty
            metadata.ownerReferences: Invalid value: "b": Only one reference can have Controller set to true. Found "true" in references for Pod/a and Pod/b
            metadata.ownerReferences[2]: Invalid value: "c": /v1, Kind=Event is disallowed from being an owner
            metadata.finalizers: Invalid value: "not good": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            metadata.finalizers: Invalid value: ["not good","orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set
        "#]],
    );
}

#[test]
fn limits_of_size() {
    let text = |bytes: usize| "x".repeat(bytes);
    for (good, bad) in [
        (
            example(
                "ConfigMap",
                json!({"metadata": {"annotations": {"a": text(limits::ANNOTATIONS_SIZE_BYTES - 1)}}}),
            ),
            example(
                "ConfigMap",
                json!({"metadata": {"annotations": {"a": text(limits::ANNOTATIONS_SIZE_BYTES)}}}),
            ),
        ),
        (
            example("ConfigMap", json!({"data": {"a": text(limits::DATA_SIZE_BYTES - 2)}})),
            example("ConfigMap", json!({"data": {"a": text(limits::DATA_SIZE_BYTES - 1)}})),
        ),
        (
            example(
                "Secret",
                json!({"stringData": {"b": text(limits::DATA_SIZE_BYTES - 1)}}),
            ),
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
            example(
                "EndpointSlice",
                json!({"endpoints": vec![json!({"addresses": ["10.0.0.1"]}); limits::ENDPOINTS_PER_SLICE]}),
            ),
            example(
                "EndpointSlice",
                json!({"endpoints": vec![json!({"addresses": ["10.0.0.1"]}); limits::ENDPOINTS_PER_SLICE + 1]}),
            ),
        ),
        (
            example(
                "EndpointSlice",
                json!({"endpoints": [{"addresses": vec!["10.0.0.1"; limits::ADDRESSES_PER_ENDPOINT]}]}),
            ),
            example(
                "EndpointSlice",
                json!({"endpoints": [{"addresses": vec!["10.0.0.1"; limits::ADDRESSES_PER_ENDPOINT + 1]}]}),
            ),
        ),
        (
            example(
                "Service",
                json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": limits::AFFINITY_TIMEOUT_SECONDS}}}}),
            ),
            example(
                "Service",
                json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": limits::AFFINITY_TIMEOUT_SECONDS + 1}}}}),
            ),
        ),
    ] {
        assert_eq!(complaints(&good), "");
        let complaints = complaints(&bad);
        assert!(
            complaints.contains("Too") || complaints.contains("must be between"),
            "{complaints}"
        );
    }
}

#[test]
fn ports_of_a_slice_are_bounded() {
    let ports = |count: usize| -> Value {
        (0..count)
            .map(|index| json!({"name": format!("p{index}"), "port": 1}))
            .collect()
    };
    let slice = |count| complaints(&example("EndpointSlice", json!({"ports": ports(count)})));
    assert_eq!(slice(limits::ENDPOINT_PORTS_PER_SLICE), "");
    assert!(slice(limits::ENDPOINT_PORTS_PER_SLICE + 1).contains("ports: Too many"));
}

#[test]
fn pod_containers() {
    check(
        &pod(json!({"containers": []})),
        &expect![[r#"
        spec.containers: Required value
    "#]],
    );
    check(
        &pod(json!({
            "containers": [{"name": "Main"}, {"name": "b", "image": " web"}],
            "initContainers": [{"name": "b", "image": "x:1", "readinessProbe": {"exec": {"command": ["a"]}}, "lifecycle": {}}],
        })),
        &expect![[r#"
            spec.containers[0].name: Invalid value: "Main": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.containers[0].image: Required value
            spec.containers[1].image: Invalid value: " web": must not have leading or trailing whitespace
            spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always
            spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always
            spec.initContainers[0].name: Duplicate value: "b"
        "#]],
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
        &expect![[r#"
            spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"
            spec.containers[0].terminationMessagePolicy: Unsupported value: "Loud": supported values: "File", "FallbackToLogsOnError"
            spec.containers[0].ports[0].containerPort: Required value
            spec.containers[0].ports[1].name: Invalid value: "Http": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
            spec.containers[0].ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
            spec.containers[0].ports[2].hostPort: Invalid value: -1: must be between 1 and 65535, inclusive
            spec.containers[0].ports[2].hostIP: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            spec.containers[0].env[0].name: Required value
            spec.containers[0].env[1].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='
            spec.containers[0].env[2].valueFrom: Invalid value: "": may not be specified when `value` is not empty
            spec.containers[0].env[2].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`
            spec.containers[0].env[3].valueFrom: Invalid value: "": may not have more than one field specified at a time
            spec.containers[0].env[3].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.colour": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.podIP", "status.hostIPs", "status.podIPs"
            spec.containers[0].env[3].valueFrom.secretKeyRef.name: Required value
            spec.containers[0].env[3].valueFrom.secretKeyRef.key: Required value
            spec.containers[0].envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`
            spec.containers[0].envFrom[1].configMapRef.name: Required value
            spec.containers[0].volumeMounts[0].name: Not found: "none"
            spec.containers[0].volumeMounts[1].name: Required value
            spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique
            spec.containers[0].volumeMounts[1].subPath: Invalid value: "/x/../y": must be a relative path
            spec.containers[0].volumeMounts[1].subPath: Invalid value: "/x/../y": must not contain '..'
        "#]],
    );
    check(
        &container(json!({
            "livenessProbe": {"successThreshold": 2, "httpGet": {"port": "", "scheme": "FTP"}},
            "readinessProbe": {"periodSeconds": -1},
            "startupProbe": {"exec": {"command": []}, "tcpSocket": {"port": 0}},
            "lifecycle": {"postStart": {}},
            "securityContext": {"runAsUser": -1, "privileged": true, "allowPrivilegeEscalation": false},
        })),
        &expect![[r#"
            spec.containers[0].livenessProbe.httpGet.port: Invalid value: "": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.containers[0].livenessProbe.httpGet.port: Invalid value: "": must contain at least one letter (a-z)
            spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"
            spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
            spec.containers[0].readinessProbe: Required value: must specify a handler type
            spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0
            spec.containers[0].startupProbe.exec.command: Required value
            spec.containers[0].startupProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.containers[0].startupProbe: Forbidden: may not specify more than 1 handler type
            spec.containers[0].lifecycle.postStart: Required value: must specify a handler type
            spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive
            spec.containers[0].securityContext.allowPrivilegeEscalation: Invalid value: false: cannot set `allowPrivilegeEscalation` to false and `privileged` to true
        "#]],
    );
}

#[test]
fn pod_resources() {
    check(
        &container(json!({"resources": {
            "requests": {"cpu": "2", "memory": "-1", "gpu": "1", "example.com/gpu": "1"},
            "limits": {"cpu": "1500m", "example.com/gpu": "500m", "hugepages-2Mi": "4Mi"},
        }})),
        &expect![[r#"
            spec.containers[0].resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer
            spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers
            spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0
            spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1500m
            spec.containers[0].resources.requests: Invalid value: "1": must be less than or equal to example.com/gpu limit of 500m
            spec.containers[0].resources.requests: Required value: Limit must be set for non overcommitable resources
        "#]],
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
        &expect![[r#"
            spec.restartPolicy: Unsupported value: "Perhaps": supported values: "Always", "OnFailure", "Never"
            spec.dnsConfig: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None
            spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0
            spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
            spec.nodeName: Invalid value: "N1": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.serviceAccountName: Invalid value: "_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.hostname: Invalid value: "a.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            spec.hostAliases[0].hostnames[0]: Invalid value: "_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.nodeSelector: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.tolerations[0].operator: Invalid value: "": operator must be Exists when `key` is empty, which means "match all values and all keys"
            spec.tolerations[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
            spec.tolerations[1].operator: Invalid value: "b": value must be empty when `operator` is 'Exists'
            spec.tolerations[2].effect: Invalid value: "": effect must be 'NoExecute' when `tolerationSeconds` is set
            spec.tolerations[3].operator: Unsupported value: "Near": supported values: "Equal", "Exists"
        "#]],
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
        &expect![[r#"
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[2].operator: Invalid value: "Is": not a valid selector operator
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[2].key: Invalid value: "": name part must be non-empty
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[2].key: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[1].matchFields[0].key: Invalid value: "spec.x": not a valid field selector key
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[1].matchFields[0].operator: Unsupported value: "Exists": supported values: "In", "NotIn"
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[1].matchFields[0].values: Required value: must have one element
            spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be between 1 and 100, inclusive
            spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'
            spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty
            spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero
            spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty
            spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Cry": supported values: "DoNotSchedule", "ScheduleAnyway"
            spec.topologySpreadConstraints[2]: Duplicate value: "{zone, DoNotSchedule}"
        "#]],
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
        &expect![[r#"
            spec.volumes[0].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.volumes[1]: Forbidden: may not specify more than 1 volume type
            spec.volumes[1].hostPath.path: Invalid value: "/a/../b": must not contain '..'
            spec.volumes[1].hostPath.type: Unsupported value: "Pipe": supported values: "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"
            spec.volumes[1].emptyDir.sizeLimit: Invalid value: "-1": must be greater than or equal to 0
            spec.volumes[2].name: Duplicate value: "a"
            spec.volumes[2].secret.secretName: Required value
            spec.volumes[2].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive
            spec.volumes[2].secret.items[0].key: Required value
            spec.volumes[2].secret.items[0].path: Invalid value: "/x": must be a relative path
            spec.volumes[3].configMap.name: Required value
            spec.volumes[4].persistentVolumeClaim.claimName: Required value
            spec.volumes[5].projected.sources[0].downwardAPI.items[0].path: Invalid value: "..": must not contain '..'
            spec.volumes[5].projected.sources[0].downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required
        "#]],
    );
    check(
        &pod(json!({"hostNetwork": true, "containers": [
            {"name": "a", "image": "a:1", "ports": [{"containerPort": 80, "hostPort": 81}]},
            {"name": "b", "image": "b:1", "ports": [{"containerPort": 81}]},
        ]})),
        &expect![[r#"
            spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true
            spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//81"
        "#]],
    );
}

#[test]
fn deployments() {
    check(
        &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "b"}}),
        &expect![[r#"
        spec.selector: Required value
        spec.template.spec.containers: Required value
    "#]],
    );
    check(
        &example(
            "Deployment",
            json!({"spec": {
                "replicas": -1,
                "minReadySeconds": 700,
                "revisionHistoryLimit": -1,
                "selector": {"matchLabels": {"app": "other"}},
                "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}},
                "template": {"spec": {"restartPolicy": "Never"}},
            }}),
        ),
        &expect![[r#"
            spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
            spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
            spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0
            spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0
            spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds
        "#]],
    );
    check(
        &example(
            "Deployment",
            json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": "half", "maxUnavailable": "101%"}}}}),
        ),
        &expect![[r#"
            spec.strategy.rollingUpdate.maxSurge: Invalid value: "half": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
            spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%
        "#]],
    );
    check(
        &example(
            "Deployment",
            json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {}}, "selector": {"matchLabels": null}}}),
        ),
        &expect![[r#"
            spec.selector: Invalid value: {}: empty selector is invalid
            spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'
        "#]],
    );
    check(
        &example("Deployment", json!({"spec": {"strategy": {"type": "Quick"}}})),
        &expect![[r#"
        spec.strategy.type: Unsupported value: "Quick": supported values: "Recreate", "RollingUpdate"
    "#]],
    );
}

#[test]
fn replica_sets_and_controllers() {
    check(
        &example("ReplicaSet", json!({"spec": {"replicas": -1, "selector": null}})),
        &expect![[r#"
        spec.replicas: Invalid value: -1: must be greater than or equal to 0
        spec.selector: Required value
    "#]],
    );
    check(
        &example("ReplicationController", json!({"spec": {"selector": {"app": "other"}}})),
        &expect![[r#"
        spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
    "#]],
    );
    check(
        &example("ReplicationController", json!({"spec": {"template": null}})),
        &expect![[r#"
        spec.selector: Required value
        spec.template: Required value
    "#]],
    );
}

#[test]
fn services() {
    check(
        &example(
            "Service",
            json!({"spec": {"type": "Magic", "ports": [], "sessionAffinity": "Cookie"}}),
        ),
        &expect![[r#"
        spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"
        spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"
        spec.ports: Required value
    "#]],
    );
    check(
        &example(
            "Service",
            json!({"spec": {"clusterIP": "10.0.0", "externalIPs": ["x"], "ports": [
                {"port": 80, "nodePort": 30000},
                {"port": 80, "name": "A", "targetPort": "Web"},
                {"port": 0, "name": "b", "protocol": "ICMP"},
            ]}}),
        ),
        &expect![[r#"
            spec.ports[0].name: Required value
            spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'
            spec.ports[1].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.ports[1].targetPort: Invalid value: "Web": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.ports[1]: Duplicate value: "80/TCP"
            spec.ports[2].port: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.ports[2].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
            spec.ports[2].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.clusterIP: Invalid value: "10.0.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            spec.externalIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        "#]],
    );
    check(
        &example("Service", json!({"spec": {"type": "NodePort", "clusterIP": "None"}})),
        &expect![[r#"
        spec.clusterIP: Invalid value: "None": may not be set to 'None' for NodePort services
    "#]],
    );
    check(
        &example(
            "Service",
            json!({"spec": {"type": "ExternalName", "clusterIP": "10.0.0.1"}}),
        ),
        &expect![[r#"
        spec.clusterIP: Forbidden: may not be set for ExternalName services
        spec.externalName: Required value
    "#]],
    );
    check(
        &example(
            "Service",
            json!({"spec": {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Far"}}),
        ),
        &expect![[r#"
        spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services
        spec.internalTrafficPolicy: Unsupported value: "Far": supported values: "Cluster", "Local"
    "#]],
    );
}

#[test]
fn other_kinds() {
    check(
        &example(
            "ConfigMap",
            json!({"data": {"a b": "1", "b": "2"}, "binaryData": {"..": "AA=="}}),
        ),
        &expect![[r#"
        data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        data[b]: Invalid value: "b": duplicate of key present in binaryData
        binaryData[..]: Invalid value: "..": must not be '..'
    "#]],
    );
    check(
        &example(
            "Secret",
            json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "AA==", "a/b": ""}}),
        ),
        &expect![[r#"
        data[a/b]: Invalid value: "a/b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        data[tls.key]: Required value
    "#]],
    );
    check(
        &example("Secret", json!({"type": "kubernetes.io/service-account-token"})),
        &expect![[r#"
        metadata.annotations[kubernetes.io/service-account.name]: Required value
    "#]],
    );
    check(
        &example(
            "Event",
            json!({"involvedObject": {"namespace": "other"}, "type": "Odd"}),
        ),
        &expect![[r#"
        involvedObject.namespace: Invalid value: "other": does not match event.namespace
        type: Unsupported value: "Odd": supported values: "Normal", "Warning"
    "#]],
    );
    check(
        &example(
            "Lease",
            json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}}),
        ),
        &expect![[r#"
        spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0
        spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
    check(
        &example(
            "EndpointSlice",
            json!({"addressType": "IPv6", "endpoints": [{"addresses": []}, {"addresses": ["10.0.0.1"], "nodeName": "N"}],
            "ports": [{"name": "a", "protocol": "ICMP"}, {"name": "a"}]}),
        ),
        &expect![[r#"
            endpoints[0].addresses: Required value: must contain at least 1 address
            endpoints[1].addresses[0]: Invalid value: "10.0.0.1": must be an IPv6 address
            endpoints[1].nodeName: Invalid value: "N": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
            ports[1].name: Duplicate value: "a"
        "#]],
    );
    check(
        &example(
            "ResourceQuota",
            json!({"spec": {"hard": {"pods": "1.5", "cpu": "-1", "a b": "1", "requests.cpu": "500m"},
            "scopes": ["BestEffort", "NotBestEffort", "Big"]}}),
        ),
        &expect![[r#"
            spec.hard[a b]: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.hard[cpu]: Invalid value: "-1": must be greater than or equal to 0
            spec.hard[pods]: Invalid value: "1500m": must be an integer
            spec.scopes: Invalid value: "Big": unsupported scope
            spec.scopes: Invalid value: ["BestEffort", "NotBestEffort", "Big"]: conflicting scopes
        "#]],
    );
    check(
        &example(
            "LimitRange",
            json!({"spec": {"limits": [
                {"type": "Ship"},
                {"type": "Pod", "default": {"cpu": "1"}},
                {"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}},
                {"type": "Container", "max": {"memory": "-1"}},
            ]}}),
        ),
        &expect![[r#"
            spec.limits[0].type: Unsupported value: "Ship": supported values: "Container", "PersistentVolumeClaim", "Pod"
            spec.limits[1].default: Forbidden: may not be specified when `type` is 'Pod'
            spec.limits[2].min[cpu]: Invalid value: "2": min value 2 is greater than defaultRequest value 1
            spec.limits[2].min[cpu]: Invalid value: "2": min value 2 is greater than default value 1
            spec.limits[2].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1
            spec.limits[3].defaultRequest[memory]: Invalid value: "-1": must be greater than or equal to 0
            spec.limits[3].default[memory]: Invalid value: "-1": must be greater than or equal to 0
            spec.limits[3].max[memory]: Invalid value: "-1": must be greater than or equal to 0
            spec.limits[3].type: Duplicate value: "Container"
        "#]],
    );
    check(
        &example(
            "Node",
            json!({"spec": {"podCIDRs": ["10.0.0.0"], "taints": [
            {"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}, {"key": "b c", "value": "d e", "effect": ""}]},
            "status": {"capacity": {"cpu": "-1", "pods": "1.5"}}}),
        ),
        &expect![[r#"
            spec.taints[1]: Duplicate value: "a:NoSchedule"
            spec.taints[2].key: Invalid value: "b c": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.taints[2].value: Invalid value: "d e": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            spec.taints[2].effect: Required value
            spec.podCIDRs[0]: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            status.capacity[cpu]: Invalid value: "-1": must be greater than or equal to 0
            status.capacity[pods]: Invalid value: "1500m": must be an integer
            status.allocatable[cpu]: Invalid value: "-1": must be greater than or equal to 0
            status.allocatable[pods]: Invalid value: "1500m": must be an integer
        "#]],
    );
}

#[test]
fn controller_revisions() {
    let with_data = |data: Value| example("ControllerRevision", json!({"data": data, "revision": -1}));
    check(
        &with_data(json!(null)),
        &expect![[r#"
        revision: Invalid value: -1: must be greater than or equal to 0
        data: Required value: data is mandatory
    "#]],
    );
    check(
        &with_data(json!([1])),
        &expect![[r#"
        revision: Invalid value: -1: must be greater than or equal to 0
        data: Required value: data must be a valid JSON object
    "#]],
    );
}

#[test]
fn daemon_sets() {
    check(
        &example(
            "DaemonSet",
            json!({"spec": {"minReadySeconds": -1, "revisionHistoryLimit": -1, "selector": {"matchLabels": {"app": "other"}},
                "template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 5}},
                "updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}}}),
        ),
        &expect![[r#"
            spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
            spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
            spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported
            spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
            spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0
            spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0
        "#]],
    );
    check(
        &example(
            "DaemonSet",
            json!({"spec": {"selector": {"matchLabels": null},
                "updateStrategy": {"rollingUpdate": {"maxUnavailable": "101%", "maxSurge": "half"}}}}),
        ),
        &expect![[r#"
            spec.selector: Invalid value: {}: empty selector is invalid for daemonset
            spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%
            spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "half": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
            spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "half": may not be set when maxUnavailable is non-zero
        "#]],
    );
    check(
        &example("DaemonSet", json!({"spec": {"updateStrategy": {"type": "Quick"}}})),
        &expect![[r#"
            spec.updateStrategy: Unsupported value: {"type":"Quick"}: supported values: "RollingUpdate", "OnDelete"
        "#]],
    );
}

#[test]
fn stateful_sets() {
    check(
        &example(
            "StatefulSet",
            json!({"spec": {"replicas": -1, "minReadySeconds": -1, "revisionHistoryLimit": -1, "ordinals": {"start": -1},
                "serviceName": "Web", "podManagementPolicy": "Random", "selector": {"matchLabels": {"app": "other"}},
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Burn", "whenScaled": "Burn"},
                "template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 5}},
                "updateStrategy": {"rollingUpdate": {"partition": -1, "maxUnavailable": "0%"}}}}),
        ),
        &expect![[r#"
            spec.podManagementPolicy: Invalid value: "Random": must be 'OrderedReady' or 'Parallel'
            spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0
            spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "0%": cannot be 0
            spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "Burn": supported values: "Retain", "Delete"
            spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Burn": supported values: "Retain", "Delete"
            spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
            spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0
            spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0
            spec.serviceName: Invalid value: "Web": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
            spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
            spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported
        "#]],
    );
    check(
        &example(
            "StatefulSet",
            json!({"spec": {"selector": {"matchLabels": null}, "updateStrategy": {"type": "Quick"}, "volumeClaimTemplates": null}}),
        ),
        &expect![[r#"
            spec.updateStrategy: Invalid value: {"type":"Quick"}: must be 'RollingUpdate' or 'OnDelete'
            spec.selector: Invalid value: {}: empty selector is invalid for statefulset
            spec.template.spec.containers[0].volumeMounts[0].name: Not found: "data"
        "#]],
    );
    check(
        &example(
            "StatefulSet",
            json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}}),
        ),
        &expect![[r#"
            spec.updateStrategy.rollingUpdate: Invalid value: {"partition":1}: only allowed for updateStrategy 'RollingUpdate'
        "#]],
    );
    check(
        &example(
            "StatefulSet",
            json!({"spec": {"volumeClaimTemplates": [
                {"metadata": {"name": "data"}, "spec": {"volumeMode": "Tape", "dataSource": {"kind": "PersistentVolumeClaim"}}}]}}),
        ),
        &expect![[r#"
            spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required
            spec.volumeClaimTemplates[0].spec.resources[storage]: Required value
            spec.volumeClaimTemplates[0].spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"
            spec.volumeClaimTemplates[0].spec.dataSource.name: Required value
        "#]],
    );
}

#[test]
fn jobs() {
    check(
        &example(
            "Job",
            json!({"spec": {"parallelism": -1, "completions": -1, "activeDeadlineSeconds": -1, "backoffLimit": -1,
                "ttlSecondsAfterFinished": -1, "maxFailedIndexes": -1, "managedBy": "me", "completionMode": "Odd",
                "podReplacementPolicy": "Never", "template": {"spec": {"restartPolicy": "Always"}}}}),
        ),
        &expect![[r#"
            spec.parallelism: Invalid value: -1: must be greater than or equal to 0
            spec.completions: Invalid value: -1: must be greater than or equal to 0
            spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0
            spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0
            spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0
            spec.maxFailedIndexes: Invalid value: -1: must be greater than or equal to 0
            spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified
            spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")
            spec.completionMode: Unsupported value: "Odd": supported values: "NonIndexed", "Indexed"
            spec.podReplacementPolicy: Unsupported value: "Never": supported values: "Failed", "TerminatingOrFailed"
            spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
        "#]],
    );
    check(
        &example(
            "Job",
            json!({"spec": {"backoffLimitPerIndex": 1, "successPolicy": {"rules": []}, "managedBy": "A/b",
                "template": {"metadata": {"labels": {"job-name": "other"}}, "spec": {"restartPolicy": "Sometimes"}}}}),
        ),
        &expect![[r#"
            spec.managedBy: Invalid value: "A/b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode
            spec.successPolicy: Invalid value: {"rules":[]}: requires indexed completion mode
            spec.template.spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"
            spec.template.spec.restartPolicy: Unsupported value: "Sometimes": supported values: "OnFailure", "Never"
            spec.template.metadata.labels[job-name]: Invalid value: {"app":"web","batch.kubernetes.io/controller-uid":"","batch.kubernetes.io/job-name":"web","controller-uid":"","job-name":"other"}: must be 'web'
        "#]],
    );
    check(
        &example("Job", json!({"spec": {"selector": {"matchLabels": {"app": "web"}}}})),
        &expect![[r#"
            spec.selector: Invalid value: {"matchLabels":{"app":"web","batch.kubernetes.io/controller-uid":""}}: `selector` not auto-generated
        "#]],
    );
    check(
        &example("Job", json!({"spec": {"manualSelector": true}})),
        &expect![[r#"
            spec.selector: Required value
        "#]],
    );
}

#[test]
fn indexed_jobs() {
    let indexed = |more: Value| {
        let mut job = example("Job", json!({"spec": {"completionMode": "Indexed", "parallelism": 1}}));
        merge(&mut job, json!({"spec": more}));
        job
    };
    check(
        &indexed(json!({"maxFailedIndexes": 1})),
        &expect![[r#"
        spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified
        spec.completions: Required value: when completion mode is Indexed
    "#]],
    );
    check(
        &indexed(json!({"completions": 100_001, "backoffLimitPerIndex": 1, "parallelism": 100_001})),
        &expect![[r#"
            spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed
            spec.maxFailedIndexes: Required value: must be specified when completions is above 100000
            spec.parallelism: Invalid value: 100001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index
        "#]],
    );
    check(
        &indexed(
            json!({"completions": 100_001, "backoffLimitPerIndex": 1, "parallelism": 10_001, "maxFailedIndexes": 100_002}),
        ),
        &expect![[r#"
            spec.maxFailedIndexes: Invalid value: 100002: must be less than or equal to 100000
            spec.maxFailedIndexes: Invalid value: 100002: must be less than or equal to completions
            spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index
            spec.maxFailedIndexes: Invalid value: 100002: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index
        "#]],
    );
    let mut long = indexed(json!({"completions": 11}));
    long["metadata"]["name"] = json!("a".repeat(61));
    check(
        &long,
        &expect![[r#"
        metadata.name: Invalid value: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": will not able to create pod with invalid DNS label: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-10
    "#]],
    );
}

#[test]
fn job_policies() {
    check(
        &example(
            "Job",
            json!({"spec": {"podReplacementPolicy": "TerminatingOrFailed", "podFailurePolicy": {"rules": [
                {"action": "", "onExitCodes": {"operator": "", "values": []}},
                {"action": "Odd", "onExitCodes": {"operator": "Odd", "values": [3, 1, 1]}},
                {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [0], "containerName": "side"},
                    "onPodConditions": [{"type": "a b", "status": "Maybe"}]},
                {"action": "Ignore"},
            ]}}}),
        ),
        &expect![[r#"
            spec.podFailurePolicy.rules[0].action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]
            spec.podFailurePolicy.rules[0].onExitCodes.operator: Required value: valid values: ["In" "NotIn"]
            spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: []: at least one value is required
            spec.podFailurePolicy.rules[1].action: Unsupported value: "Odd": supported values: "Count", "FailIndex", "FailJob", "Ignore"
            spec.podFailurePolicy.rules[1].onExitCodes.operator: Unsupported value: "Odd": supported values: "In", "NotIn"
            spec.podFailurePolicy.rules[1].onExitCodes.values[2]: Duplicate value: 1
            spec.podFailurePolicy.rules[1].onExitCodes.values: Invalid value: [3,1,1]: must be ordered
            spec.podFailurePolicy.rules[2].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set
            spec.podFailurePolicy.rules[2].onExitCodes.containerName: Invalid value: "side": must be one of the container or initContainer names in the pod template
            spec.podFailurePolicy.rules[2].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator
            spec.podFailurePolicy.rules[2].onPodConditions[0].type: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.podFailurePolicy.rules[2].onPodConditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"
            spec.podFailurePolicy.rules[2]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported
            spec.podFailurePolicy.rules[3]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required
            spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"
            spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is specified
        "#]],
    );
    check(
        &example(
            "Job",
            json!({"spec": {"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": [
                {}, {"succeededIndexes": "0-2", "succeededCount": 4}, {"succeededCount": 6}, {"succeededIndexes": "9"}, {"succeededCount": -1},
            ]}}}),
        ),
        &expect![[r#"
            spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified
            spec.successPolicy.rules[1].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of indexes in the specified succeededIndexes field)
            spec.successPolicy.rules[2].succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)
            spec.successPolicy.rules[3].succeededIndexes: Invalid value: "9": error parsing succeededIndexes: too large index: "9"
            spec.successPolicy.rules[4].succeededCount: Invalid value: -1: must be greater than or equal to 0
        "#]],
    );
    check(
        &example(
            "Job",
            json!({"spec": {"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": []}}}),
        ),
        &expect![[r#"
            spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified
        "#]],
    );
}

#[test]
fn job_limits() {
    let failure = |rules: usize, codes: usize, conditions: usize| {
        let mut rule = json!({"action": "Count"});
        if codes > 0 {
            let values: Vec<usize> = (1..=codes).collect();
            rule["onExitCodes"] = json!({"operator": "In", "values": values});
        }
        if conditions > 0 {
            rule["onPodConditions"] = json!(vec![json!({"type": "A"}); conditions]);
        }
        let job = example(
            "Job",
            json!({"spec": {"podFailurePolicy": {"rules": vec![rule; rules]}, "template": {"spec": {"restartPolicy": "Never"}}}}),
        );
        complaints(&job)
    };
    let success = |rules: usize, bytes: usize| {
        let mut rule = json!({"succeededCount": 1});
        if bytes > 0 {
            rule["succeededIndexes"] = json!(format!("{}1", "0".repeat(bytes - 1)));
        }
        let job = example(
            "Job",
            json!({"spec": {"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": vec![rule; rules]}}}),
        );
        complaints(&job)
    };
    let manager = |bytes: usize| {
        let name = format!("a.b/{}", "c".repeat(bytes - 4));
        complaints(&example("Job", json!({"spec": {"managedBy": name}})))
    };
    let indexed = |more: Value| {
        let mut job = example(
            "Job",
            json!({"spec": {"completionMode": "Indexed", "backoffLimitPerIndex": 1}}),
        );
        merge(&mut job, json!({"spec": more}));
        complaints(&job)
    };
    let (parallelism, failed) = (limits::INDEXED_JOB_PARALLELISM, limits::FAILED_INDEXES);
    let many = limits::MANY_COMPLETIONS + 1;
    let (many_parallel, many_failed) = (
        limits::MANY_COMPLETIONS_PARALLELISM,
        limits::MANY_COMPLETIONS_FAILED_INDEXES,
    );
    for (good, bad) in [
        (
            failure(limits::JOB_POLICY_RULES, 1, 0),
            failure(limits::JOB_POLICY_RULES + 1, 1, 0),
        ),
        (
            failure(1, limits::EXIT_CODES_PER_RULE, 0),
            failure(1, limits::EXIT_CODES_PER_RULE + 1, 0),
        ),
        (
            failure(1, 0, limits::CONDITIONS_PER_RULE),
            failure(1, 0, limits::CONDITIONS_PER_RULE + 1),
        ),
        (
            success(limits::JOB_POLICY_RULES, 0),
            success(limits::JOB_POLICY_RULES + 1, 0),
        ),
        (
            success(1, limits::SUCCEEDED_INDEXES_BYTES),
            success(1, limits::SUCCEEDED_INDEXES_BYTES + 1),
        ),
        (manager(limits::MANAGED_BY_BYTES), manager(limits::MANAGED_BY_BYTES + 1)),
        (
            indexed(json!({"completions": 5, "parallelism": parallelism})),
            indexed(json!({"completions": 5, "parallelism": parallelism + 1})),
        ),
        (
            indexed(json!({"completions": limits::MANY_COMPLETIONS, "parallelism": 1, "maxFailedIndexes": failed})),
            indexed(json!({"completions": many, "parallelism": 1, "maxFailedIndexes": failed + 1})),
        ),
        (
            indexed(json!({"completions": many, "parallelism": many_parallel, "maxFailedIndexes": 1})),
            indexed(json!({"completions": many, "parallelism": many_parallel + 1, "maxFailedIndexes": 1})),
        ),
        (
            indexed(json!({"completions": many, "parallelism": 1, "maxFailedIndexes": many_failed})),
            indexed(json!({"completions": many, "parallelism": 1, "maxFailedIndexes": many_failed + 1})),
        ),
    ] {
        assert_eq!(good, "");
        assert!(
            bad.contains("Too ") || bad.contains("must be less than or equal to"),
            "{bad}"
        );
    }
}

#[test]
fn cron_jobs() {
    check(
        &example(
            "CronJob",
            json!({"spec": {"schedule": "60 * * * *", "startingDeadlineSeconds": -1, "timeZone": "Europe/Atlantis",
                "concurrencyPolicy": "Queue", "successfulJobsHistoryLimit": -1, "failedJobsHistoryLimit": -1,
                "jobTemplate": {"spec": {"selector": {}, "manualSelector": true, "parallelism": -1,
                    "template": {"spec": {"restartPolicy": "Always"}}}}}}),
        ),
        &expect![[r#"
            spec.schedule: Invalid value: "60 * * * *": end of range (60) above maximum (59): 60
            spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0
            spec.timeZone: Invalid value: "Europe/Atlantis": unknown time zone Europe/Atlantis
            spec.concurrencyPolicy: Unsupported value: "Queue": supported values: "Allow", "Forbid", "Replace"
            spec.jobTemplate.spec.parallelism: Invalid value: -1: must be greater than or equal to 0
            spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
            spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated
            spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"
            spec.successfulJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0
            spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0
        "#]],
    );
    check(
        &example("CronJob", json!({"spec": {"schedule": "TZ=Etc/UTC * * * * *"}})),
        &expect![[r#"
            spec.schedule: Invalid value: "TZ=Etc/UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead
        "#]],
    );
    check(
        &example("CronJob", json!({"spec": {"schedule": ""}})),
        &expect![[r#"
        spec.schedule: Required value
    "#]],
    );
    let zone = |name: &str| complaints(&example("CronJob", json!({"spec": {"timeZone": name}})));
    for good in [
        "Etc/UTC",
        "Europe/Vienna",
        "America/Argentina/Buenos_Aires",
        "Etc/GMT+5",
    ] {
        assert_eq!(zone(good), "", "{good}");
    }
    for bad in [
        "",
        "Local",
        "local",
        "europe/vienna",
        "../etc/passwd",
        "Europe/",
        "-x",
        "A B",
    ] {
        assert!(
            zone(bad).starts_with("spec.timeZone: Invalid value"),
            "{bad}: {}",
            zone(bad)
        );
    }
    let named = |bytes: usize| complaints(&example("CronJob", json!({"metadata": {"name": "a".repeat(bytes)}})));
    assert_eq!(named(limits::CRON_JOB_NAME_BYTES), "");
    assert!(named(limits::CRON_JOB_NAME_BYTES + 1).contains("must be no more than 52 characters"));
}

#[test]
fn autoscalers() {
    check(
        &example(
            "HorizontalPodAutoscaler",
            json!({"spec": {"minReplicas": 0, "maxReplicas": -1, "scaleTargetRef": {"kind": "", "name": "a/b", "apiVersion": "a/b/c"},
                "behavior": {"scaleUp": {"stabilizationWindowSeconds": -1, "selectPolicy": "Odd", "tolerance": "-1",
                        "policies": [{"type": "Odd", "value": 0, "periodSeconds": 1801}]},
                    "scaleDown": {"stabilizationWindowSeconds": 3601}}}}),
        ),
        &expect![[r#"
            spec.minReplicas: Invalid value: 0: must be greater than or equal to 1
            spec.maxReplicas: Invalid value: -1: must be greater than 0
            spec.maxReplicas: Invalid value: -1: must be greater than or equal to `minReplicas`
            spec.scaleTargetRef.kind: Required value
            spec.scaleTargetRef.name: Invalid value: "a/b": may not contain '/'
            spec.scaleTargetRef.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c
            spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: -1: must be greater than or equal to zero
            spec.behavior.scaleUp.selectPolicy: Unsupported value: "Odd": supported values: "Disabled", "Max", "Min"
            spec.behavior.scaleUp.policies[0].type: Unsupported value: "Odd": supported values: "Percent", "Pods"
            spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero
            spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800
            spec.behavior.scaleUp.tolerance: Invalid value: "-1": must be greater than or equal to 0
            spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600
        "#]],
    );
    let metric = json!({"name": "m"});
    let target = json!({"type": "Value", "value": "1"});
    check(
        &example(
            "HorizontalPodAutoscaler",
            json!({"spec": {"metrics": [
                {"type": ""},
                {"type": "Odd"},
                {"type": "Pods"},
                {"type": "Pods", "pods": {"metric": metric, "target": target}, "resource": {"name": "cpu"}},
                {"type": "Object", "object": {"metric": {"name": "a/b"}, "target": {"type": "Value"}}},
                {"type": "External", "external": {"metric": metric, "target": {"type": "Value", "value": "0", "averageValue": "-1"}}},
                {"type": "Resource", "resource": {"target": {"type": "Odd"}}},
                {"type": "ContainerResource", "containerResource": {"name": "gpu", "container": "A",
                    "target": {"type": "Utilization", "averageUtilization": 0, "averageValue": "1"}}},
            ]}}),
        ),
        &expect![[r#"
            spec.metrics[0].type: Required value: must specify a metric source type
            spec.metrics[1].type: Unsupported value: "Odd": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"
            spec.metrics[2].pods: Required value: must populate information for the given metric source
            spec.metrics[3].pods.target.averageValue: Required value: must specify a positive target averageValue
            spec.metrics[3].resource: Forbidden: must populate the given metric source only
            spec.metrics[4].object.describedObject.kind: Required value
            spec.metrics[4].object.describedObject.name: Required value
            spec.metrics[4].object.metric.name: Invalid value: "a/b": may not contain '/'
            spec.metrics[4].object.target.averageValue: Required value: must set either a target value or averageValue
            spec.metrics[5].external.target.value: Invalid value: "0": must be positive
            spec.metrics[5].external.target.averageValue: Invalid value: "-1": must be positive
            spec.metrics[5].external.target.value: Forbidden: may not set both a target value for metric and a per-pod target
            spec.metrics[6].resource.name: Required value: must specify a resource name
            spec.metrics[6].resource.target.type: Invalid value: "Odd": must be either Utilization, Value, or AverageValue
            spec.metrics[6].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization
            spec.metrics[7].containerResource.name: Invalid value: "gpu": must be a standard resource for containers
            spec.metrics[7].containerResource.container: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.metrics[7].containerResource.target.averageUtilization: Invalid value: 0: must be greater than 0
            spec.metrics[7].containerResource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization
        "#]],
    );
    let window = |seconds: i32| {
        complaints(&example(
            "HorizontalPodAutoscaler",
            json!({"spec": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": seconds}}}}),
        ))
    };
    assert_eq!(window(limits::STABILIZATION_WINDOW_SECONDS), "");
    assert!(window(limits::STABILIZATION_WINDOW_SECONDS + 1).contains("must be less than or equal to 3600"));
    let period = |seconds: i32| {
        complaints(&example(
            "HorizontalPodAutoscaler",
            json!({"spec": {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": seconds}]}}}}),
        ))
    };
    assert_eq!(period(limits::SCALING_PERIOD_SECONDS), "");
    assert!(period(limits::SCALING_PERIOD_SECONDS + 1).contains("must be less than or equal to 1800"));
}

#[test]
fn budgets() {
    check(
        &example(
            "PodDisruptionBudget",
            json!({"spec": {"minAvailable": -1, "maxUnavailable": "101%", "unhealthyPodEvictionPolicy": "Odd",
                "selector": {"matchExpressions": [{"key": "a", "operator": "Odd"}]}}}),
        ),
        &expect![[r#"
            spec: Invalid value: {"minAvailable":-1,"selector":{"matchLabels":{"app":"web"},"matchExpressions":[{"key":"a","operator":"Odd"}]},"maxUnavailable":"101%","unhealthyPodEvictionPolicy":"Odd"}: minAvailable and maxUnavailable cannot be both set
            spec.minAvailable: Invalid value: -1: must be greater than or equal to 0
            spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%
            spec.selector.matchExpressions[0].operator: Invalid value: "Odd": not a valid selector operator
            spec.unhealthyPodEvictionPolicy: Unsupported value: "Odd": supported values: "AlwaysAllow", "IfHealthyBudget"
        "#]],
    );
    check(
        &example(
            "PodDisruptionBudget",
            json!({"spec": {"minAvailable": "half", "selector": null}}),
        ),
        &expect![[r#"
            spec.minAvailable: Invalid value: "half": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
        "#]],
    );
}

#[test]
fn priority_classes() {
    let class = |name: &str, value: i32, more: Value| {
        let mut class = example("PriorityClass", json!({"metadata": {"name": name}, "value": value}));
        merge(&mut class, more);
        class
    };
    assert_eq!(complaints(&class("high", limits::USER_PRIORITY, json!({}))), "");
    assert_eq!(complaints(&class("low", -5, json!({"preemptionPolicy": "Never"}))), "");
    assert_eq!(complaints(&class("system-node-critical", 2_000_001_000, json!({}))), "");
    assert_eq!(
        complaints(&class("system-cluster-critical", 2_000_000_000, json!({}))),
        ""
    );
    check(
        &class("high", limits::USER_PRIORITY + 1, json!({"preemptionPolicy": "Odd"})),
        &expect![[r#"
            value: Forbidden: maximum allowed value of a user defined priority is 1000000000
            preemptionPolicy: Unsupported value: "Odd": supported values: "Never", "PreemptLowerPriority"
        "#]],
    );
    check(
        &class("system-mine", 1, json!({})),
        &expect![[r#"
        metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class
    "#]],
    );
    check(
        &class("system-node-critical", 1, json!({})),
        &expect![[r#"
        metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000
    "#]],
    );
    check(
        &class("system-node-critical", 2_000_001_000, json!({"globalDefault": true})),
        &expect![[r#"
            metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: globalDefault of system-node-critical PriorityClass must be false
        "#]],
    );
}

#[test]
fn conditions_are_bounded() {
    let status = |reason: usize, message: usize| {
        let condition = json!({"type": "A", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z",
            "reason": "A".repeat(reason), "message": "x".repeat(message)});
        let budget = example("PodDisruptionBudget", json!({"status": {"conditions": [condition]}}));
        let budget = super::object(&budget);
        let mut errors = crate::field_error::FieldErrors::default();
        budget.validate_status_update(&*budget, &mut errors);
        super::lines(errors)
    };
    let (reason, message) = (limits::CONDITION_REASON_BYTES, limits::CONDITION_MESSAGE_BYTES);
    assert_eq!(status(reason, message), "");
    assert!(status(reason + 1, 0).contains("reason: Too long"));
    assert!(status(1, message + 1).contains("message: Too long"));
}
