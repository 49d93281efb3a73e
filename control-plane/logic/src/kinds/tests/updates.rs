//! What may change of an object, and what a change does to its generation and status.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{json_of, lines, object};
use crate::{field_error::FieldErrors, object::Object, validation::metadata};

/// The stored example of a kind, changed by a merge patch.
fn changed(kind: &str, patch: &Value) -> (Box<dyn Object>, Box<dyn Object>) {
    let example = super::defaults::examples()
        .into_iter()
        .find(|json| json["kind"] == kind)
        .expect("an example");
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

fn check(kind: &str, patch: &Value, expected: &Expect) {
    let (old, mut new) = changed(kind, patch);
    metadata::prepare_update(new.metadata_mut(), old.metadata());
    new.prepare_update(&*old);
    let mut errors = FieldErrors::default();
    metadata::validate_update(new.metadata(), old.metadata(), &mut errors);
    new.validate_update(&*old, &mut errors);
    expected.assert_eq(&lines(errors));
}

fn check_status(kind: &str, old_status: &Value, status: &Value, expected: &Expect) {
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
        ("ReplicaSet", json!({"spec": {"replicas": 5}}), 2),
        ("ReplicationController", json!({"spec": {"replicas": 5}}), 2),
        ("Pod", json!({"spec": {"activeDeadlineSeconds": 5}}), 2),
        ("Node", json!({"spec": {"unschedulable": true}}), 2),
        ("EndpointSlice", json!({"endpoints": []}), 2),
    ] {
        let (old, mut new) = changed(kind, &patch);
        metadata::prepare_update(new.metadata_mut(), old.metadata());
        new.prepare_update(&*old);
        assert_eq!(new.metadata().generation, generation, "{kind} {patch}");
    }
}

#[test]
fn the_two_halves_do_not_touch_each_other() {
    for ops in crate::kinds::KINDS
        .iter()
        .filter(|ops| ops.info().subresources.contains(&"status"))
    {
        let kind = ops.info().kind;
        let status = match kind {
            "ResourceQuota" => json!({"used": {"pods": "1"}}),
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
