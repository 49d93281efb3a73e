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
    let mut found = super::defaults::examples()
        .into_iter()
        .find(|json| json["kind"] == kind)
        .expect("an example of the kind");
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
