//! What may change of an object, and what a change does to its generation and status.

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use trireme_proto::api::apps::v1::ControllerRevision;

use super::{json_of, lines, object};
use crate::{field_error::FieldErrors, object::Object, validation::metadata};

/// The stored example of a kind, changed by a merge patch.
pub(super) fn changed(kind: &str, patch: &Value) -> (Box<dyn Object>, Box<dyn Object>) {
    let example = super::defaults::example(kind);
    let mut old = object(&example);
    old.set_defaults();
    old.prepare_create();
    old.metadata_mut().uid = "1".into();
    let mut json = json_of(&*old);
    json_patch::merge(&mut json, patch);
    let mut new = object(&json);
    new.set_defaults();
    (old, new)
}

pub(super) fn check(kind: &str, patch: &Value, expected: &Expect) {
    let (old, mut new) = changed(kind, patch);
    metadata::prepare_update(new.metadata_mut(), old.metadata());
    new.prepare_update(&*old);
    let mut errors = FieldErrors::default();
    metadata::validate_update(new.metadata(), old.metadata(), &mut errors);
    new.validate_update(&*old, &mut errors);
    expected.assert_eq(&lines(errors));
}

pub(super) fn check_status(kind: &str, old_status: &Value, status: &Value, expected: &Expect) {
    let (mut old, mut new) = changed(kind, &json!({"status": status}));
    let mut json = json_of(&*old);
    json["status"] = old_status.clone();
    old = object(&json);
    new.prepare_status_update(&*old);
    let mut errors = FieldErrors::default();
    new.validate_status_update(&*old, &mut errors);
    expected.assert_eq(&lines(errors));
}

#[test]
fn generation_counts_changes_of_the_spec() {
    for (kind, patch, generation) in [
        ("Deployment", json!({"spec": {"replicas": 5}}), 2),
        ("Deployment", json!({"metadata": {"labels": {"a": "b"}}}), 1),
        ("Deployment", json!({"status": {"replicas": 5}}), 1),
        ("Deployment", json!({"metadata": {"generation": 9}}), 1),
        ("CronJob", json!({"spec": {"suspend": true}}), 2),
        (
            "CronJob",
            json!({"status": {"lastScheduleTime": "2026-01-02T03:04:05Z"}}),
            1,
        ),
        ("DaemonSet", json!({"spec": {"minReadySeconds": 5}}), 2),
        ("Job", json!({"spec": {"parallelism": 5}}), 2),
        ("PodDisruptionBudget", json!({"spec": {"minAvailable": 5}}), 2),
        ("PodDisruptionBudget", json!({"status": {"disruptionsAllowed": 5}}), 1),
        ("StatefulSet", json!({"spec": {"replicas": 5}}), 2),
        ("ReplicaSet", json!({"spec": {"replicas": 5}}), 2),
        ("ReplicationController", json!({"spec": {"replicas": 5}}), 2),
        ("Pod", json!({"spec": {"activeDeadlineSeconds": 5}}), 2),
        ("Node", json!({"spec": {"unschedulable": true}}), 2),
        ("EndpointSlice", json!({"endpoints": []}), 2),
    ] {
        assert_eq!(generation_after(kind, &patch), generation, "{kind} {patch}");
    }
}

/// The generation after a patch of an example that was stored with generation 1, or none.
pub(super) fn generation_after(kind: &str, patch: &Value) -> i64 {
    let (old, mut new) = changed(kind, patch);
    metadata::prepare_update(new.metadata_mut(), old.metadata());
    new.prepare_update(&*old);
    new.metadata().generation
}

#[test]
fn the_two_halves_do_not_touch_each_other() {
    for ops in crate::kinds::KINDS
        .iter()
        .filter(|ops| ops.info().subresources.contains(&"status"))
    {
        let kind = ops.info().kind;
        let status = match kind {
            "CronJob" => json!({"lastScheduleTime": "2026-01-02T03:04:05Z"}),
            "ResourceQuota" => json!({"used": {"pods": "1"}}),
            "Ingress" => json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}),
            "PersistentVolume" => json!({"phase": "Bound"}),
            "VolumeAttachment" => json!({"attached": true}),
            _ => json!({"conditions": [{"type": "A", "status": "True"}]}),
        };
        let (old, mut new) = changed(kind, &json!({"status": status}));
        new.prepare_update(&*old);
        assert_eq!(
            json_of(&*new)["status"],
            json_of(&*old)["status"],
            "{kind}: a plain update leaves the status"
        );
        let (old, mut new) = changed(kind, &json!({"spec": null}));
        new.prepare_status_update(&*old);
        assert_eq!(
            json_of(&*new)["spec"],
            json_of(&*old)["spec"],
            "{kind}: a status update leaves the spec"
        );
    }
}

#[test]
fn metadata_stays() {
    check(
        "ConfigMap",
        &json!({"metadata": {"name": "other", "uid": "2"}}),
        &expect![[r#"
        metadata.name: Invalid value: "other": field is immutable
        metadata.uid: Invalid value: "2": field is immutable
    "#]],
    );
    let (mut old, mut new) = changed(
        "ConfigMap",
        &json!({"metadata": {"finalizers": ["a.b/c"], "creationTimestamp": null}}),
    );
    old.metadata_mut().deletion_timestamp = Some(crate::testing::at(0));
    old.metadata_mut().creation_timestamp = Some(crate::testing::at(0));
    metadata::prepare_update(new.metadata_mut(), old.metadata());
    assert_eq!(new.metadata().creation_timestamp, Some(crate::testing::at(0)));
    assert_eq!(new.metadata().deletion_timestamp, Some(crate::testing::at(0)));
    let mut errors = FieldErrors::default();
    metadata::validate_update(new.metadata(), old.metadata(), &mut errors);
    expect![[r#"
        metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ["a.b/c"]
    "#]].assert_eq(&lines(errors));
}

#[test]
fn pods() {
    let container = |more: Value| {
        let mut one = json!({"name": "main", "image": "web:2", "imagePullPolicy": "Always",
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}});
        json_patch::merge(&mut one, &more);
        json!({"spec": {"containers": [one]}})
    };
    check("Pod", &container(json!({})), &expect![[""]]);
    check(
        "Pod",
        &container(json!({"command": ["sh"]})),
        &expect![[r#"
        spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
    "#]],
    );
    check(
        "Pod",
        &json!({"spec": {"nodeName": "n2"}}),
        &expect![[r#"
        spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
    "#]],
    );
    check(
        "Pod",
        &json!({"spec": {"activeDeadlineSeconds": 5, "tolerations": [{"key": "a", "operator": "Exists"}]}}),
        &expect![[""]],
    );
    check(
        "Pod",
        &json!({"spec": {"schedulingGates": [{"name": "a"}]}}),
        &expect![[r#"
        spec.schedulingGates: Forbidden: only deletion is allowed, but found new scheduling gate 'a'
    "#]],
    );
}

#[test]
fn tolerations_only_grow() {
    let update = |old: Value, new: Value| {
        let (old, new) = (
            super::pod(json!({"tolerations": old})),
            super::pod(json!({"tolerations": new})),
        );
        let (old, new) = (object(&old), object(&new));
        let mut errors = FieldErrors::default();
        new.validate_update(&*old, &mut errors);
        lines(errors)
    };
    let tolerates = |key: &str, seconds: i64| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
    assert_eq!(
        update(
            json!([tolerates("a", 1)]),
            json!([tolerates("b", 1), tolerates("a", 2)])
        ),
        ""
    );
    assert_eq!(
        update(json!([tolerates("a", 1)]), json!([tolerates("b", 1)])),
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds\n"
    );
}

#[test]
fn finished_pods_stay_finished() {
    check_status(
        "Pod",
        &json!({"phase": "Succeeded"}),
        &json!({"phase": "Running"}),
        &expect![[r#"
        status.phase: Invalid value: "Running": a pod that has Succeeded cannot change its phase
    "#]],
    );
    check_status(
        "Pod",
        &json!({"phase": "Running"}),
        &json!({"phase": "Asleep"}),
        &expect![[r#"
        status.phase: Unsupported value: "Asleep": supported values: "Pending", "Running", "Succeeded", "Failed", "Unknown"
    "#]],
    );
    check_status(
        "Pod",
        &json!({"phase": "Pending"}),
        &json!({"phase": "Running"}),
        &expect![[""]],
    );
}

#[test]
fn other_kinds() {
    check(
        "Deployment",
        &json!({"spec": {"selector": {"matchLabels": {"app": "b"}}}}),
        &expect![[r#"
        spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable
    "#]],
    );
    check(
        "ReplicaSet",
        &json!({"spec": {"selector": {"matchLabels": {"app": "b"}}}}),
        &expect![[r#"
        spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable
    "#]],
    );
    check(
        "EndpointSlice",
        &json!({"addressType": "IPv6"}),
        &expect![[r#"
        addressType: Invalid value: "IPv6": field is immutable
    "#]],
    );
    check(
        "Secret",
        &json!({"type": "other"}),
        &expect![[r#"
        type: Invalid value: "other": field is immutable
    "#]],
    );
    check(
        "ResourceQuota",
        &json!({"spec": {"scopes": ["BestEffort"]}}),
        &expect![[r#"
        spec.scopes: Invalid value: ["BestEffort"]: field is immutable
    "#]],
    );
    check_status(
        "ReplicaSet",
        &json!({}),
        &json!({"replicas": 1, "readyReplicas": 2, "availableReplicas": -1}),
        &expect![[r#"
        status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
    check_status(
        "Deployment",
        &json!({}),
        &json!({"replicas": -1}),
        &expect![[r#"
        status.replicas: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
}

#[test]
fn immutable_data_stays() {
    for kind in ["ConfigMap", "Secret"] {
        let (mut old, new) = changed(kind, &json!({"data": {"a": "MQ=="}, "immutable": null}));
        let mut json = json_of(&*old);
        json["immutable"] = json!(true);
        json["data"] = json!({"a": "Mg=="});
        old = object(&json);
        let mut errors = FieldErrors::default();
        new.validate_update(&*old, &mut errors);
        let text = lines(errors);
        assert!(
            text.contains("immutable: Forbidden: field is immutable when `immutable` is set"),
            "{text}"
        );
        assert!(
            text.contains("data: Forbidden: field is immutable when `immutable` is set"),
            "{text}"
        );
    }
}

#[test]
fn cluster_address_stays() {
    let (mut old, _) = changed("Service", &json!({}));
    let mut json = json_of(&*old);
    json["spec"]["clusterIP"] = json!("10.0.0.1");
    json["spec"]["clusterIPs"] = json!(["10.0.0.1"]);
    old = object(&json);
    let update = |spec: Value| {
        let mut json = json_of(&*old);
        json_patch::merge(&mut json, &json!({"spec": spec}));
        let mut new = object(&json);
        new.set_defaults();
        new.prepare_update(&*old);
        let mut errors = FieldErrors::default();
        new.validate_update(&*old, &mut errors);
        (json_of(&*new)["spec"]["clusterIP"].clone(), lines(errors))
    };
    assert_eq!(
        update(json!({"clusterIP": null, "clusterIPs": null})),
        (json!("10.0.0.1"), String::new())
    );
    let (_, errors) = update(json!({"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}));
    assert_eq!(
        errors,
        "spec.clusterIP: Invalid value: \"10.0.0.2\": field is immutable\n"
    );
}

#[test]
fn sets() {
    check(
        "DaemonSet",
        &json!({"spec": {"selector": {"matchLabels": {"app": "b"}}, "minReadySeconds": 3}}),
        &expect![[r#"
            spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable
        "#]],
    );
    check(
        "StatefulSet",
        &json!({"spec": {"replicas": 3, "minReadySeconds": 3, "revisionHistoryLimit": 3, "ordinals": {"start": 1},
            "updateStrategy": {"rollingUpdate": {"partition": 1}}, "template": {"metadata": {"annotations": {"a": "b"}}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}}),
        &expect![[""]],
    );
    for change in [
        json!({"serviceName": "other"}),
        json!({"podManagementPolicy": "Parallel"}),
        json!({"selector": {"matchLabels": {"app": "b"}}}),
        json!({"volumeClaimTemplates": []}),
    ] {
        let why = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                   'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                   'minReadySeconds' are forbidden\n";
        let (old, mut new) = changed("StatefulSet", &json!({"spec": change}));
        new.prepare_update(&*old);
        let mut errors = FieldErrors::default();
        new.validate_update(&*old, &mut errors);
        assert_eq!(lines(errors), why, "{change}");
    }
    check_status(
        "StatefulSet",
        &json!({"collisionCount": 2}),
        &json!({"replicas": 1, "readyReplicas": 2, "currentReplicas": -1, "updatedReplicas": 1, "availableReplicas": 3,
            "observedGeneration": -1, "collisionCount": 1}),
        &expect![[r#"
            status.currentReplicas: Invalid value: -1: must be greater than or equal to 0
            status.observedGeneration: Invalid value: -1: must be greater than or equal to 0
            status.collisionCount: Invalid value: 1: cannot be decremented
            status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas
            status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas
            status.availableReplicas: Invalid value: 3: cannot be greater than status.readyReplicas
        "#]],
    );
    check_status(
        "DaemonSet",
        &json!({"collisionCount": 2}),
        &json!({"numberReady": -1, "numberMisscheduled": -2, "observedGeneration": -3}),
        &expect![[r#"
            status.numberMisscheduled: Invalid value: -2: must be greater than or equal to 0
            status.numberReady: Invalid value: -1: must be greater than or equal to 0
            status.observedGeneration: Invalid value: -3: must be greater than or equal to 0
            status.collisionCount: Invalid value: 0: cannot be decremented
        "#]],
    );
}

#[test]
fn controller_revisions_keep_their_state() {
    check("ControllerRevision", &json!({"revision": 4}), &expect![[""]]);
    check(
        "ControllerRevision",
        &json!({"data": {"a": 1}}),
        &expect![[r#"
        data: Invalid value: {"a":1,"spec":{"template":{"a":null,"b":[1,"2"]}}}: field is immutable
    "#]],
    );
}

#[test]
fn a_state_may_be_spelt_otherwise() {
    let (old, new) = changed("ControllerRevision", &json!({}));
    let spelt = |revision: &dyn Object, raw: &'static [u8]| {
        let mut revision = revision.clone_object();
        let typed: &mut ControllerRevision = revision.downcast_mut().expect("a revision");
        typed.data.as_mut().expect("a state").raw = bytes::Bytes::from_static(raw);
        revision
    };
    let (old, new) = (spelt(&*old, br#"{"a": 1, "b": 2}"#), spelt(&*new, br#"{"b":2,"a":1}"#));
    let mut errors = FieldErrors::default();
    new.validate_update(&*old, &mut errors);
    assert_eq!(lines(errors), "");
}

#[test]
fn jobs() {
    check(
        "Job",
        &json!({"spec": {"parallelism": 5, "backoffLimit": 1, "activeDeadlineSeconds": 1, "suspend": true,
            "ttlSecondsAfterFinished": 1}}),
        &expect![[""]],
    );
    check(
        "Job",
        &json!({"spec": {"completions": 2, "completionMode": "Indexed", "managedBy": "a.b/c",
            "selector": {"matchLabels": {"a": "b"}}, "podFailurePolicy": {"rules": []},
            "successPolicy": {"rules": []}, "backoffLimitPerIndex": 1,
            "template": {"spec": {"nodeSelector": {"a": "b"}}}}}),
        &expect![[r#"
            spec.completions: Invalid value: 2: can only be modified in tandem with spec.parallelism
            spec.selector: Invalid value: {"matchLabels":{"a":"b","batch.kubernetes.io/controller-uid":""}}: field is immutable
            spec.template: Invalid value: {"metadata":{"labels":{"app":"web","batch.kubernetes.io/controller-uid":"","batch.kubernetes.io/job-name":"web","controller-uid":"","job-name":"web"}},"spec":{"containers":[{"name":"main","image":"web:1","resources":{},"terminationMessagePath":"/dev/termination-log","imagePullPolicy":"IfNotPresent","terminationMessagePolicy":"File"}],"restartPolicy":"OnFailure","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","nodeSelector":{"a":"b"},"securityContext":{},"schedulerName":"default-scheduler"}}: field is immutable
            spec.completionMode: Invalid value: "Indexed": field is immutable
            spec.podFailurePolicy: Invalid value: {"rules":[]}: field is immutable
            spec.backoffLimitPerIndex: Invalid value: 1: field is immutable
            spec.managedBy: Invalid value: "a.b/c": field is immutable
            spec.successPolicy: Invalid value: {"rules":[]}: field is immutable
        "#]],
    );
}

/// What is wrong with a change of a job that is suspended.
fn suspended_job(status: Value, change: Value) -> String {
    let (old, _) = changed("Job", &json!({"spec": {"suspend": true}}));
    let mut json = json_of(&*old);
    json["spec"]["suspend"] = json!(true);
    json["spec"]["template"]["spec"]["affinity"] = json!({"podAffinity": {}});
    json["status"] = status;
    let old = object(&json);
    json_patch::merge(&mut json, &json!({"spec": {"template": change}}));
    let mut new = object(&json);
    new.set_defaults();
    new.prepare_update(&*old);
    let mut errors = FieldErrors::default();
    new.validate_update(&*old, &mut errors);
    lines(errors)
}

#[test]
fn suspended_jobs_may_be_placed_anew() {
    let started = json!({"startTime": "2026-01-02T03:04:05Z"});
    let mut stopped = started.clone();
    stopped["conditions"] = json!([{"type": "Suspended", "status": "True"}]);
    let container = json!([{"name": "main", "image": "web:1", "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "resources": {"requests": {"cpu": "1"}}}]);
    let allowed = [
        json!({"metadata": {"annotations": {"a": "b"}, "labels": {"c": "d"}}}),
        json!({"spec": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}],
            "schedulingGates": [{"name": "a.b/c"}]}}),
        json!({"spec": {"affinity": {"nodeAffinity": {}}}}),
        json!({"spec": {"containers": container}}),
    ];
    for change in allowed {
        assert_eq!(suspended_job(json!({}), change.clone()), "", "{change}");
        assert_eq!(suspended_job(stopped.clone(), change.clone()), "", "{change}");
        assert!(
            suspended_job(started.clone(), change.clone()).contains("spec.template: Invalid value"),
            "{change}"
        );
    }
    for change in [
        json!({"spec": {"affinity": {"podAffinity": null, "podAntiAffinity": {}}}}),
        json!({"spec": {"dnsPolicy": "Default"}}),
    ] {
        assert!(
            suspended_job(json!({}), change.clone()).contains("spec.template: Invalid value"),
            "{change}"
        );
    }
}

#[test]
fn indexed_jobs_may_be_resized_as_a_whole() {
    let resize = |spec: Value| {
        let (old, _) = changed("Job", &json!({}));
        let mut json = json_of(&*old);
        json_patch::merge(
            &mut json,
            &json!({"spec": {"completionMode": "Indexed", "completions": 3, "parallelism": 3}}),
        );
        let old = object(&json);
        json_patch::merge(&mut json, &json!({"spec": spec}));
        let mut errors = FieldErrors::default();
        object(&json).validate_update(&*old, &mut errors);
        lines(errors)
    };
    assert_eq!(resize(json!({"completions": 5, "parallelism": 5})), "");
    assert_eq!(resize(json!({"parallelism": 1})), "");
    assert_eq!(
        resize(json!({"completions": 5})),
        "spec.completions: Invalid value: 5: can only be modified in tandem with spec.parallelism\n"
    );
}

#[test]
fn job_status() {
    let time = "2026-01-02T03:04:05Z";
    let holds = |kinds: &[&str]| -> Value {
        kinds
            .iter()
            .map(|kind| json!({"type": kind, "status": "True"}))
            .collect()
    };
    let complete = json!({"startTime": time, "completionTime": time, "succeeded": 1,
        "conditions": holds(&["SuccessCriteriaMet", "Complete"])});
    let failed = json!({"startTime": time, "failed": 1, "conditions": holds(&["FailureTarget", "Failed"])});
    for good in [&complete, &failed] {
        check_status("Job", &json!({}), good, &expect![[""]]);
        check_status("Job", good, good, &expect![[""]]);
    }
    check_status(
        "Job",
        &json!({}),
        &json!({"active": -1, "succeeded": -1, "failed": -1, "ready": 1, "terminating": -1, "completedIndexes": "0",
            "failedIndexes": "0", "completionTime": time,
            "uncountedTerminatedPods": {"succeeded": ["a", ""], "failed": ["a"]}}),
        &expect![[r#"
            status.active: Invalid value: -1: must be greater than or equal to 0
            status.succeeded: Invalid value: -1: must be greater than or equal to 0
            status.failed: Invalid value: -1: must be greater than or equal to 0
            status.terminating: Invalid value: -1: must be greater than or equal to 0
            status.uncountedTerminatedPods.succeeded[1]: Invalid value: "": must not be empty
            status.uncountedTerminatedPods.failed[0]: Duplicate value: "a"
            status.completionTime: Invalid value: "2026-01-02T03:04:05Z": cannot set completionTime when there is no Complete=True condition
            status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed completion mode
            status.failedIndexes: Invalid value: "0": cannot set non-null failedIndexes when backoffLimitPerIndex is null
            status.ready: Invalid value: 1: cannot set more ready pods than active
            status.failed: Invalid value: -1: cannot decrease the failed counter
            status.succeeded: Invalid value: -1: cannot decrease the succeeded counter
        "#]],
    );
    check_status(
        "Job",
        &json!({}),
        &json!({"active": 1, "terminating": 1, "uncountedTerminatedPods": {"failed": ["a"]},
            "conditions": holds(&["Complete", "Failed"])}),
        &expect![[r#"
            status.conditions: Invalid value: cannot set Complete=True and Failed=true conditions
            status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition
            status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition
            status.completionTime: Required value: completionTime is required for Complete jobs
            status.active: Invalid value: 1: active>0 is invalid for finished job
            status.startTime: Required value: startTime is required for finished job
            status.uncountedTerminatedPods: Invalid value: {"failed":["a"]}: uncountedTerminatedPods needs to be empty for finished job
            status.terminating: Invalid value: 1: terminating>0 is invalid for finished job
        "#]],
    );
    check_status(
        "Job",
        &json!({}),
        &json!({"startTime": time, "completionTime": "2026-01-02T03:04:04Z",
            "conditions": holds(&["Complete", "SuccessCriteriaMet", "FailureTarget"])}),
        &expect![[r#"
            status.conditions: Invalid value: cannot set Complete=True and FailureTarget=true conditions
            status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and FailureTarget=true conditions
            status.completionTime: Invalid value: "2026-01-02T03:04:04Z": completionTime cannot be set before startTime
        "#]],
    );
    check_status(
        "Job",
        &complete,
        &json!({"succeeded": 0}),
        &expect![[r#"
        status.conditions: Invalid value: cannot disable the terminal Complete=True condition
        status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition
        status.succeeded: Invalid value: 0: cannot decrease the succeeded counter
        status.startTime: Required value: startTime cannot be removed for unsuspended job
    "#]],
    );
    check_status(
        "Job",
        &failed,
        &json!({"failed": 0}),
        &expect![[r#"
        status.conditions: Invalid value: cannot disable the terminal Failed=True condition
        status.conditions: Invalid value: cannot disable the terminal FailureTarget=True condition
        status.failed: Invalid value: 0: cannot decrease the failed counter
        status.startTime: Required value: startTime cannot be removed for unsuspended job
    "#]],
    );
    let mut later = complete.clone();
    later["completionTime"] = json!("2026-01-02T03:04:06Z");
    check_status(
        "Job",
        &complete,
        &later,
        &expect![[r#"
        status.completionTime: Invalid value: "2026-01-02T03:04:06Z": completionTime cannot be mutated
    "#]],
    );
}

#[test]
fn job_status_lists_indexes() {
    let status = |status: Value| {
        let (old, _) = changed("Job", &json!({}));
        let mut json = json_of(&*old);
        json_patch::merge(
            &mut json,
            &json!({"spec": {"completionMode": "Indexed", "completions": 10, "backoffLimitPerIndex": 1}}),
        );
        let old = object(&json);
        json["status"] = status;
        let mut errors = FieldErrors::default();
        object(&json).validate_status_update(&*old, &mut errors);
        lines(errors)
    };
    assert_eq!(status(json!({"completedIndexes": "0-3,5", "failedIndexes": "4"})), "");
    assert_eq!(
        status(json!({"completedIndexes": "10", "failedIndexes": "4,x"})),
        "status.completedIndexes: Invalid value: \"10\": error parsing completedIndexes: too large index: \"10\"\n\
         status.failedIndexes: Invalid value: \"4,x\": error parsing failedIndexes: cannot convert string to integer for \
         index: \"x\"\n"
    );
    assert_eq!(
        status(json!({"completedIndexes": "0-5", "failedIndexes": "4-6"})),
        "status.failedIndexes: Invalid value: \"4-6\": failedIndexes and completedIndexes overlap at index: 4\n"
    );
}

#[test]
fn budgets_and_classes() {
    check(
        "PodDisruptionBudget",
        &json!({"spec": {"minAvailable": 1}}),
        &expect![[""]],
    );
    check_status(
        "PodDisruptionBudget",
        &json!({}),
        &json!({"disruptionsAllowed": -1, "currentHealthy": -1, "desiredHealthy": -1, "expectedPods": -1, "conditions": [
            {"type": "A", "status": "True", "reason": "B", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"},
            {"type": "A", "status": "Yes", "reason": "1", "message": "", "observedGeneration": -1},
            {"type": "b c", "status": "True", "reason": "", "message": ""},
        ]}),
        &expect![[r#"
            status.conditions[1].type: Duplicate value: "A"
            status.conditions[1].status: Unsupported value: "Yes": supported values: "False", "True", "Unknown"
            status.conditions[1].observedGeneration: Invalid value: -1: must be greater than or equal to zero
            status.conditions[1].lastTransitionTime: Required value: must be set
            status.conditions[1].reason: Invalid value: "1": a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')
            status.conditions[2].type: Invalid value: "b c": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            status.conditions[2].lastTransitionTime: Required value: must be set
            status.conditions[2].reason: Required value: must be set
            status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0
            status.currentHealthy: Invalid value: -1: must be greater than or equal to 0
            status.desiredHealthy: Invalid value: -1: must be greater than or equal to 0
            status.expectedPods: Invalid value: -1: must be greater than or equal to 0
        "#]],
    );
    check(
        "PriorityClass",
        &json!({"description": "d", "globalDefault": true}),
        &expect![[""]],
    );
    check(
        "PriorityClass",
        &json!({"value": 7, "preemptionPolicy": "Never"}),
        &expect![[r#"
            value: Forbidden: may not be changed in an update.
            preemptionPolicy: Invalid value: "Never": field is immutable
        "#]],
    );
    check_status(
        "HorizontalPodAutoscaler",
        &json!({}),
        &json!({"currentReplicas": -1, "desiredReplicas": -2, "currentMetrics": []}),
        &expect![[r#"
            status.currentReplicas: Invalid value: -1: must be greater than or equal to 0
            status.desiredReplicas: Invalid value: -2: must be greater than or equal to 0
        "#]],
    );
}
