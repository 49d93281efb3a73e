//! Which fields a configuration, a new object and a change have.

use super::*;

fn of_type(group: &str, kind: &str) -> types::Type {
    types::Type::root(kinds::by_kind(group, kind).expect("a kind").schema())
}

fn text(set: &FieldSet) -> String {
    String::from_utf8(to_json(set)).expect("is text")
}

#[test]
fn a_configuration_owns_values_and_items_but_no_messages() {
    for (kind, config, expected) in [
        ("ConfigMap", json!({"data": {"a": "1"}}), r#"{"f:data":{"f:a":{}}}"#),
        ("ConfigMap", json!({"data": {}}), r#"{"f:data":{}}"#),
        ("ConfigMap", json!({"data": null}), r#"{"f:data":{}}"#),
        (
            "ConfigMap",
            json!({"metadata": {"finalizers": ["b/2", "a/1"]}}),
            r#"{"f:metadata":{"f:finalizers":{"v:\"a/1\"":{},"v:\"b/2\"":{}}}}"#,
        ),
        ("ConfigMap", json!({"metadata": {"finalizers": []}}), "{}"),
        (
            "Pod",
            json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}], "args": ["x"], "resources": {}}]}}),
            concat!(
                r#"{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:args":{},"f:name":{},"f:ports":"#,
                r#"{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}},"f:resources":{}}}}}"#
            ),
        ),
        (
            "Pod",
            json!({"spec": {"nodeSelector": {"a": "1"}, "tolerations": [], "securityContext": {"runAsUser": null}}}),
            r#"{"f:spec":{"f:nodeSelector":{},"f:securityContext":{"f:runAsUser":{}},"f:tolerations":{}}}"#,
        ),
        (
            "Pod",
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}}),
            r#"{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{},"k:{\"name\":\"b\"}":{".":{},"f:name":{}}}}}"#,
        ),
    ] {
        let set = extract::fields_of(of_type("", kind), &config);
        assert_eq!(text(&set), expected, "{config}");
    }
}

/// What is found in one pass is what comparing with an empty object finds.
#[test]
fn a_new_object_is_compared_with_an_empty_one() {
    let pod_spec = json!({
        "containers": [{
            "name": "a", "image": "x", "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {"limits": {"cpu": "1"}}, "imagePullPolicy": "Always",
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        }],
        "volumes": [{"name": "v", "emptyDir": {}}], "tolerations": [{"key": "a"}], "nodeSelector": {"a": "b"},
        "securityContext": {}, "terminationGracePeriodSeconds": 0, "hostNetwork": true,
    });
    let labels = json!({"app": "a"});
    let meta = json!({"name": "it", "labels": labels, "annotations": {"a": ""}, "finalizers": ["a/b"]});
    let empty_spec = json!({"containers": null});
    for (group, kind, object, empty) in [
        (
            "",
            "Pod",
            json!({"metadata": meta, "spec": pod_spec, "status": {"phase": "Running"}}),
            json!({"metadata": {}, "spec": empty_spec, "status": {}}),
        ),
        (
            "apps",
            "Deployment",
            json!({
                "metadata": meta,
                "spec": {
                    "replicas": 0, "selector": {"matchLabels": labels}, "strategy": {"type": "Recreate"},
                    "template": {"metadata": {"labels": labels}, "spec": pod_spec},
                },
            }),
            json!({
                "metadata": {},
                "spec": {"selector": null, "strategy": {}, "template": {"metadata": {}, "spec": empty_spec}},
                "status": {},
            }),
        ),
        (
            "",
            "ConfigMap",
            json!({"metadata": meta, "data": {"a": ""}, "binaryData": {"b": "YQ=="}}),
            json!({"metadata": {}}),
        ),
    ] {
        let ops = kinds::by_kind(group, kind).expect("a kind");
        let compared = Comparison::of(of_type(group, kind), &empty, &object);
        let fields = new_fields(ops.schema(), &object).expect("has JSON");
        assert_eq!(text(&fields), text(&compared.set()), "{kind}");
        // The object itself says the same as its JSON.
        let typed = ops.from_json_value(object.clone()).expect("decodes");
        let as_json: Value = serde_json::from_slice(&typed.to_json().expect("has JSON")).expect("is JSON");
        let of_json = new_fields(ops.schema(), &as_json).expect("has JSON");
        assert_eq!(
            text(&typed.new_fields().expect("has JSON")),
            text(&of_json),
            "{kind}: {as_json}"
        );
    }
}

#[test]
fn a_change_is_added_modified_or_removed() {
    let config_map = |data| json!({"metadata": {"name": "it"}, "data": data});
    let compare = |old, new| Comparison::of(of_type("", "ConfigMap"), &old, &new);
    let change = compare(
        config_map(json!({"a": "1", "b": "1", "c": "1"})),
        config_map(json!({"a": "1", "b": "2", "d": "1"})),
    );
    assert_eq!(text(&change.added), r#"{"f:data":{"f:d":{}}}"#);
    assert_eq!(text(&change.modified), r#"{"f:data":{"f:b":{}}}"#);
    assert_eq!(text(&change.removed), r#"{"f:data":{"f:c":{}}}"#);
    let gone = compare(config_map(json!({"a": "1"})), json!({"metadata": {"name": "it"}}));
    assert_eq!(text(&gone.removed), r#"{"f:data":{".":{},"f:a":{}}}"#);
    assert!(gone.added.is_empty() && gone.modified.is_empty());
    let same = config_map(json!({"a": "1"}));
    assert!(compare(same.clone(), same).is_same());
}

#[test]
fn items_that_share_a_name_are_one_value() {
    let pod = |names: &[(&str, &str)]| {
        let containers: Value = names
            .iter()
            .map(|(name, image)| json!({"name": name, "image": image}))
            .collect();
        json!({"spec": {"containers": containers}})
    };
    let compare = |old, new| Comparison::of(of_type("", "Pod"), &old, &new);
    let once = pod(&[("a", "1")]);
    let twice = pod(&[("a", "1"), ("a", "2")]);
    let item = r#"{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":"#;
    let more = compare(once.clone(), twice.clone());
    assert_eq!(text(&more.added), format!("{item}{{}}}}}}}}"));
    assert_eq!(
        text(&more.removed),
        format!("{item}{{\"f:image\":{{}},\"f:name\":{{}}}}}}}}}}")
    );
    let fewer = compare(twice.clone(), once);
    assert_eq!(text(&fewer.removed), format!("{item}{{}}}}}}}}"));
    let other = compare(twice.clone(), pod(&[("a", "1"), ("a", "3")]));
    assert_eq!(text(&other.modified), format!("{item}{{}}}}}}}}"));
    assert!(compare(twice.clone(), twice).is_same());
}

#[test]
fn removal_leaves_no_empty_messages() {
    let set =
        from_json(br#"{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{}}}}"#);
    let set = set.expect("a set");
    let object = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
    let expected = json!({"metadata": {"labels": null}, "spec": {"containers": [{"name": "b"}]}});
    assert_eq!(remove::remove(of_type("", "Pod"), &object, &set), expected);
    let above = remove::with_fields_above(of_type("", "Pod"), &set);
    let expected = r#"{"f:metadata":{".":{},"f:labels":{".":{},"f:a":{}}},"f:spec":{".":{},"f:containers":{".":{},"k:{\"name\":\"a\"}":{}}}}"#;
    assert_eq!(text(&above), expected);
}
