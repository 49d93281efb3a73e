//! Objects in tables: the headings and cells that users of `kubectl` know.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::object;
use crate::testing::{CREATED_AT_SECONDS, at};

/// Seconds from the creation of every object to the moment of the table.
const AGE_SECONDS: i64 = 3 * 3600;

/// One line a column, wide ones marked by `*`.
pub(super) fn check(given: &Value, expected: &Expect) {
    let mut json = given.clone();
    json["metadata"]["creationTimestamp"] = json!(at(0).to_string());
    let object = object(&json);
    let cells = object.cells(at(AGE_SECONDS));
    let lines: String = object
        .info()
        .columns
        .iter()
        .zip(cells)
        .map(|(column, cell)| {
            format!(
                "{}{}: {cell}\n",
                if column.priority > 0 { "*" } else { "" },
                column.name
            )
        })
        .collect();
    expected.assert_eq(&lines);
}

fn example(kind: &str, more: Value) -> Value {
    let mut found = super::defaults::example(kind);
    json_patch::merge(&mut found, &more);
    found
}

/// Restarts and status of a pod of a status.
fn pod_status(spec: Value, status: Value) -> String {
    let pod = object(&example("Pod", json!({"spec": spec, "status": status})));
    let cells = pod.cells(at(AGE_SECONDS));
    format!("{} {} {}", cells[0], cells[1], cells[2])
}

fn time(seconds: i64) -> String {
    assert!(seconds < CREATED_AT_SECONDS);
    at(seconds).to_string()
}

#[test]
fn pod_columns() {
    check(
        &example(
            "Pod",
            json!({
                "spec": {"nodeName": "n1", "readinessGates": [{"conditionType": "a.b/c"}, {"conditionType": "d"}]},
                "status": {
                    "phase": "Running", "podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}],
                    "conditions": [{"type": "a.b/c", "status": "True"}],
                    "containerStatuses": [{"name": "main", "ready": true, "restartCount": 3, "state": {"running": {}},
                        "lastState": {"terminated": {"exitCode": 1, "finishedAt": time(AGE_SECONDS - 120)}}}],
                },
            }),
        ),
        &expect![[r#"
            Ready: 1/1
            Status: Running
            Restarts: 3 (2m ago)
            Age: 3h
            *IP: 10.0.0.7
            *Node: n1
            *Nominated Node: <none>
            *Readiness Gates: 1/2
        "#]],
    );
    check(
        &example("Pod", json!({"status": {"phase": "Pending"}})),
        &expect![[r#"
        Ready: 0/1
        Status: Pending
        Restarts: 0
        Age: 3h
        *IP: <none>
        *Node: <none>
        *Nominated Node: <none>
        *Readiness Gates: <none>
    "#]],
    );
}

#[test]
fn pod_status_says_what_matters() {
    let running = json!({"name": "a", "ready": true, "state": {"running": {}}});
    let ended =
        |reason: &str, code: i32| json!({"name": "b", "state": {"terminated": {"reason": reason, "exitCode": code}}});
    let waiting = |reason: &str| json!({"name": "b", "restartCount": 4, "state": {"waiting": {"reason": reason}}});
    let statuses = |list: Vec<Value>| json!({"phase": "Running", "containerStatuses": list});
    let none = || json!({});
    let init = json!({"initContainers": [{"name": "i1", "image": "x:1"}, {"name": "i2", "image": "x:1"}]});
    let sidecar = json!({"initContainers": [{"name": "i1", "image": "x:1", "restartPolicy": "Always"}]});
    let table = [
        (none(), json!({"phase": "Pending"}), "0/1 Pending 0"),
        (none(), json!({"phase": "Failed", "reason": "Evicted"}), "0/1 Evicted 0"),
        (
            none(),
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            "0/1 SchedulingGated 0",
        ),
        (none(), statuses(vec![running.clone()]), "1/1 Running 0"),
        (
            none(),
            statuses(vec![waiting("CrashLoopBackOff")]),
            "0/1 CrashLoopBackOff 4",
        ),
        (none(), statuses(vec![ended("Completed", 0)]), "0/1 Completed 0"),
        (
            none(),
            statuses(vec![running.clone(), ended("Completed", 0)]),
            "1/1 NotReady 0",
        ),
        (
            none(),
            statuses(vec![ended("Completed", 0), running.clone()]),
            "1/1 NotReady 0",
        ),
        (none(), statuses(vec![ended("", 3)]), "0/1 ExitCode:3 0"),
        (
            none(),
            statuses(vec![
                json!({"name": "b", "state": {"terminated": {"signal": 9, "exitCode": 137}}}),
            ]),
            "0/1 Signal:9 0",
        ),
        (
            init.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i1", "state": {"running": {}}}]}),
            "0/1 Init:0/2 0",
        ),
        (
            init.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [ended("Completed", 0), {"name": "i2", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
            "0/1 Init:1/2 0",
        ),
        (
            init.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i1", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            "0/1 Init:CrashLoopBackOff 2",
        ),
        (
            init.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [ended("Error", 1)]}),
            "0/1 Init:Error 0",
        ),
        (
            init,
            json!({"phase": "Pending", "initContainerStatuses": [ended("", 1)]}),
            "0/1 Init:ExitCode:1 0",
        ),
        (
            sidecar,
            json!({"phase": "Running",
            "initContainerStatuses": [{"name": "i1", "ready": true, "started": true, "restartCount": 1, "state": {"running": {}}}],
            "containerStatuses": [running.clone()]}),
            "2/2 Running 1",
        ),
    ];
    for (spec, status, expected) in table {
        assert_eq!(pod_status(spec, status.clone()), expected, "{status}");
    }
    let mut ready = statuses(vec![ended("Completed", 0), running]);
    ready["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    assert_eq!(pod_status(none(), ready), "1/1 Running 0");
}

#[test]
fn deleted_pods_are_terminating() {
    for (phase, reason, expected) in [
        ("Running", "", "Terminating"),
        ("Running", "NodeLost", "Unknown"),
        ("Succeeded", "", "Succeeded"),
    ] {
        let pod = object(&example(
            "Pod",
            json!({"metadata": {"deletionTimestamp": time(0)}, "status": {"phase": phase, "reason": reason}}),
        ));
        assert_eq!(pod.cells(at(0))[1], expected, "{phase} {reason}");
    }
}

#[test]
fn node_columns() {
    check(
        &example(
            "Node",
            json!({
                "metadata": {"labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}},
                "spec": {"unschedulable": true},
                "status": {
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                    "nodeInfo": {"kubeletVersion": "v0.1.0", "osImage": "Debian", "kernelVersion": "6.1"},
                },
            }),
        ),
        &expect![[r#"
            Status: Ready,SchedulingDisabled
            Roles: edge,worker
            Age: 3h
            Version: v0.1.0
            *Internal-IP: 10.0.0.1
            *External-IP: <none>
            *OS-Image: Debian
            *Kernel-Version: 6.1
            *Container-Runtime: <unknown>
        "#]],
    );
    for (status, cell) in [("True", "Ready"), ("False", "NotReady"), ("Unknown", "NotReady")] {
        let node = object(&example(
            "Node",
            json!({"status": {"conditions": [{"type": "Ready", "status": status}]}}),
        ));
        assert_eq!(node.cells(at(0))[0], cell);
    }
    assert_eq!(object(&example("Node", json!({}))).cells(at(0))[0], "Unknown");
}

#[test]
fn workload_columns() {
    check(
        &example(
            "Deployment",
            json!({"spec": {"replicas": 3}, "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2}}),
        ),
        &expect![[r#"
            Ready: 2/3
            Up-to-date: 1
            Available: 2
            Age: 3h
            *Containers: main
            *Images: web:1
            *Selector: app=web
        "#]],
    );
    check(
        &example(
            "ReplicaSet",
            json!({"spec": {"replicas": 3}, "status": {"replicas": 2, "readyReplicas": 1}}),
        ),
        &expect![[r#"
        Desired: 3
        Current: 2
        Ready: 1
        Age: 3h
        *Containers: main
        *Images: web:1
        *Selector: app=web
    "#]],
    );
    check(
        &example(
            "ReplicationController",
            json!({"spec": {"replicas": 3, "selector": {"a": "b", "c": "d"}}}),
        ),
        &expect![[r#"
        Desired: 3
        Current: 0
        Ready: 0
        Age: 3h
        *Containers: main
        *Images: web:1
        *Selector: a=b,c=d
    "#]],
    );
}

#[test]
fn service_columns() {
    check(
        &example(
            "Service",
            json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}),
        ),
        &expect![[r#"
        Type: ClusterIP
        Cluster-IP: 10.0.0.1
        External-IP: <none>
        Port(s): 80/TCP,53/UDP
        Age: 3h
        *Selector: app=web
    "#]],
    );
    check(
        &example(
            "Service",
            json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}], "selector": null}}),
        ),
        &expect![[r#"
        Type: LoadBalancer
        Cluster-IP: <none>
        External-IP: <pending>
        Port(s): 80:30080/TCP
        Age: 3h
        *Selector: <none>
    "#]],
    );
    check(
        &example(
            "Service",
            json!({"spec": {"type": "ExternalName", "externalName": "example.com", "ports": null}}),
        ),
        &expect![[r#"
        Type: ExternalName
        Cluster-IP: <none>
        External-IP: example.com
        Port(s): <none>
        Age: 3h
        *Selector: app=web
    "#]],
    );
}

#[test]
fn other_columns() {
    check(
        &example(
            "EndpointSlice",
            json!({"endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}, {"addresses": ["10.0.0.3"]}, {"addresses": ["10.0.0.4"]}, {"addresses": ["10.0.0.5"]}]}),
        ),
        &expect![[r#"
            AddressType: IPv4
            Ports: 80
            Endpoints: 10.0.0.1,10.0.0.2,10.0.0.3 + 2 more...
            Age: 3h
        "#]],
    );
    check(
        &example("EndpointSlice", json!({"endpoints": [], "ports": []})),
        &expect![[r#"
        AddressType: IPv4
        Ports: <unset>
        Endpoints: <unset>
        Age: 3h
    "#]],
    );
    check(
        &example("ConfigMap", json!({})),
        &expect![[r#"
        Data: 2
        Age: 3h
    "#]],
    );
    check(
        &example("Secret", json!({"type": "Opaque"})),
        &expect![[r#"
        Type: Opaque
        Data: 1
        Age: 3h
    "#]],
    );
    check(
        &example(
            "Event",
            json!({"firstTimestamp": time(AGE_SECONDS - 300), "lastTimestamp": time(AGE_SECONDS - 5), "involvedObject": {"fieldPath": "spec.containers{main}"}, "source": {"component": "kubelet", "host": "n1"}}),
        ),
        &expect![[r#"
            Last Seen: 5s
            Type: Normal
            Reason: Started
            Object: pod/web
            *Subobject: spec.containers{main}
            *Source: kubelet, n1
            Message: it started
            *First Seen: 5m
            *Count: 2
            *Name: web
        "#]],
    );
    check(
        &example(
            "Event",
            json!({"count": null, "eventTime": "2023-11-14T22:13:20.000000Z", "reportingComponent": "scheduler"}),
        ),
        &expect![[r#"
            Last Seen: 3h
            Type: Normal
            Reason: Started
            Object: pod/web
            *Subobject: 
            *Source: scheduler
            Message: it started
            *First Seen: 3h
            *Count: 1
            *Name: web
        "#]],
    );
    check(
        &example("Namespace", json!({"status": {"phase": "Terminating"}})),
        &expect![[r#"
        Status: Terminating
        Age: 3h
    "#]],
    );
    check(
        &example("Lease", json!({})),
        &expect![[r#"
        Holder: a
        Age: 3h
    "#]],
    );
    check(
        &example(
            "ResourceQuota",
            json!({"status": {"hard": {"pods": "3", "limits.cpu": "2", "requests.cpu": "1"}, "used": {"pods": "1", "requests.cpu": "500m"}}}),
        ),
        &expect![[r#"
            Request: pods: 1/3, requests.cpu: 500m/1
            Limit: limits.cpu: 0/2
            Age: 3h
        "#]],
    );
    check(
        &example("LimitRange", json!({})),
        &expect![[r#"
        Created At: 2023-11-14T22:13:20Z
    "#]],
    );
    check(
        &example("ServiceAccount", json!({"secrets": [{"name": "a"}]})),
        &expect![[r#"
        Secrets: 1
        Age: 3h
    "#]],
    );
}

#[test]
fn set_columns() {
    check(
        &example(
            "DaemonSet",
            json!({"spec": {"template": {"spec": {"nodeSelector": {"disk": "ssd", "arch": "arm"}}}},
                "status": {"desiredNumberScheduled": 5, "currentNumberScheduled": 4, "numberReady": 3, "updatedNumberScheduled": 2, "numberAvailable": 1}}),
        ),
        &expect![[r#"
            Desired: 5
            Current: 4
            Ready: 3
            Up-to-date: 2
            Available: 1
            Node Selector: arch=arm,disk=ssd
            Age: 3h
            *Containers: main
            *Images: web:1
            *Selector: app=web
        "#]],
    );
    check(
        &example(
            "StatefulSet",
            json!({"spec": {"replicas": 3}, "status": {"readyReplicas": 2}}),
        ),
        &expect![[r#"
            Ready: 2/3
            Age: 3h
            *Containers: main
            *Images: web:1
        "#]],
    );
    check(
        &example(
            "ControllerRevision",
            json!({"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "1", "controller": true}]}}),
        ),
        &expect![[r#"
            Controller: statefulset.apps/web
            Revision: 3
            Age: 3h
        "#]],
    );
    assert_eq!(
        object(&example("ControllerRevision", json!({}))).cells(at(0))[0],
        "<none>"
    );
}

#[test]
fn job_columns() {
    check(
        &example(
            "Job",
            json!({"spec": {"completions": 3, "selector": {"matchLabels": {"a": "b"}}},
                "status": {"succeeded": 2, "startTime": time(60)}}),
        ),
        &expect![[r#"
            Status: Running
            Completions: 2/3
            Duration: 179m
            Age: 3h
            *Containers: main
            *Images: web:1
            *Selector: a=b
        "#]],
    );
    check(
        &example("Job", json!({})),
        &expect![[r#"
        Status: Running
        Completions: 0/1
        Duration: 
        Age: 3h
        *Containers: main
        *Images: web:1
        *Selector: <none>
    "#]],
    );
    check(
        &example(
            "CronJob",
            json!({"spec": {"timeZone": "Etc/UTC", "suspend": true},
                "status": {"active": [{"name": "web-1"}], "lastScheduleTime": time(AGE_SECONDS - 90)}}),
        ),
        &expect![[r#"
            Schedule: */5 * * * *
            Timezone: Etc/UTC
            Suspend: True
            Active: 1
            Last Schedule: 90s
            Age: 3h
            *Containers: main
            *Images: web:1
            *Selector: <none>
        "#]],
    );
    check(
        &example("CronJob", json!({})),
        &expect![[r#"
        Schedule: */5 * * * *
        Timezone: <none>
        Suspend: <unset>
        Active: 0
        Last Schedule: <none>
        Age: 3h
        *Containers: main
        *Images: web:1
        *Selector: <none>
    "#]],
    );
}

#[test]
fn job_status_says_how_it_is() {
    let cells = |more: Value| {
        let cells = object(&example("Job", more)).cells(at(AGE_SECONDS));
        format!("{} {} {}", cells[0], cells[1], cells[2])
    };
    let holds = |kinds: &[&str]| -> Value {
        kinds
            .iter()
            .map(|kind| json!({"type": kind, "status": "True"}))
            .collect()
    };
    for (kinds, expected) in [
        (&[][..], "Running"),
        (&["Suspended"], "Suspended"),
        (&["FailureTarget"], "FailureTarget"),
        (&["FailureTarget", "Failed"], "Failed"),
        (&["SuccessCriteriaMet"], "SuccessCriteriaMet"),
        (&["SuccessCriteriaMet", "Complete"], "Complete"),
    ] {
        let status = json!({"status": {"conditions": holds(kinds)}});
        assert_eq!(cells(status), format!("{expected} 0/1 "), "{kinds:?}");
    }
    assert_eq!(
        cells(json!({"metadata": {"deletionTimestamp": time(0)}})),
        "Terminating 0/1 "
    );
    assert_eq!(
        cells(json!({"spec": {"parallelism": 3}, "status": {"succeeded": 1}})),
        "Running 1/1 of 3 "
    );
    let ended = json!({"status": {"startTime": time(60), "completionTime": time(90)}});
    assert_eq!(cells(ended), "Running 0/1 30s");
}

#[test]
fn autoscaler_columns() {
    check(
        &example(
            "HorizontalPodAutoscaler",
            json!({"spec": {"minReplicas": 2, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]},
                "status": {"currentReplicas": 3, "desiredReplicas": 3, "currentMetrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 35}}}]}}),
        ),
        &expect![[r#"
            Reference: Deployment/web
            Targets: cpu: 35%/80%
            MinPods: 2
            MaxPods: 5
            Replicas: 3
            Age: 3h
        "#]],
    );
    let targets = |metrics: Value, current: Value| {
        let autoscaler = example(
            "HorizontalPodAutoscaler",
            json!({"spec": {"metrics": metrics}, "status": {"currentMetrics": current}}),
        );
        object(&autoscaler).cells(at(0))[1].clone()
    };
    let metric = json!({"name": "m"});
    let pods = json!({"type": "Pods", "pods": {"metric": metric, "target": {"averageValue": "100"}}});
    let resource = json!({"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "1Gi"}}});
    for (spec, status, expected) in [
        (pods.clone(), json!({}), "<unknown>/100"),
        (
            pods.clone(),
            json!({"pods": {"metric": metric, "current": {"averageValue": "120"}}}),
            "120/100",
        ),
        (resource.clone(), json!({}), "memory: <unknown>/1Gi"),
        (
            resource.clone(),
            json!({"resource": {"name": "memory", "current": {"averageValue": "2Gi"}}}),
            "memory: 2Gi/1Gi",
        ),
        (
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {}}}),
            json!({}),
            "cpu: <unknown>/<auto>",
        ),
        (
            json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": {"averageUtilization": 5}}}),
            json!({"containerResource": {"name": "cpu", "container": "c", "current": {"averageUtilization": 6}}}),
            "cpu: 6%/5%",
        ),
        (
            json!({"type": "External", "external": {"metric": metric, "target": {"averageValue": "7"}}}),
            json!({"external": {"metric": metric, "current": {"averageValue": "8"}}}),
            "8/7 (avg)",
        ),
        (
            json!({"type": "Object", "object": {"metric": metric, "target": {"value": "7"}}}),
            json!({"object": {"metric": metric, "current": {"value": "8"}}}),
            "8/7",
        ),
        (json!({"type": "Odd"}), json!({}), "<unknown type>"),
    ] {
        assert_eq!(targets(json!([spec]), json!([status])), expected, "{spec}");
    }
    assert_eq!(targets(json!([]), json!([])), "<none>");
    assert_eq!(
        targets(json!([pods, resource, pods, pods]), json!([])),
        "<unknown>/100, memory: <unknown>/1Gi + 2 more..."
    );
    let unset = object(&example("HorizontalPodAutoscaler", json!({})));
    assert_eq!(unset.cells(at(0))[2], "<unset>");
}

#[test]
fn budget_and_class_columns() {
    check(
        &example("PodDisruptionBudget", json!({"status": {"disruptionsAllowed": 1}})),
        &expect![[r#"
            Min Available: 50%
            Max Unavailable: N/A
            Allowed Disruptions: 1
            Age: 3h
        "#]],
    );
    check(
        &example(
            "PodDisruptionBudget",
            json!({"spec": {"minAvailable": null, "maxUnavailable": 0}}),
        ),
        &expect![[r#"
            Min Available: N/A
            Max Unavailable: 0
            Allowed Disruptions: 0
            Age: 3h
        "#]],
    );
    check(
        &example(
            "PriorityClass",
            json!({"globalDefault": true, "preemptionPolicy": "Never"}),
        ),
        &expect![[r#"
            Value: 1000
            Global-Default: true
            Age: 3h
            PreemptionPolicy: Never
        "#]],
    );
}
