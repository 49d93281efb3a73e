//! Tables of strategic merge patches.
#![allow(clippy::needless_pass_by_value, reason = "tables of `json!` values read better")]

use serde_json::{Value, json};

use super::super::{PatchError, PatchType, apply};
use crate::kinds::by_kind;

/// Applies a patch to the spec of a pod.
fn pod_spec(current: Value, patch: Value) -> Result<Value, PatchError> {
    let schema = by_kind("", "Pod").expect("a kind").schema();
    let (current, patch) = (json!({"spec": current}), json!({"spec": patch}));
    let patched = apply(
        schema,
        PatchType::StrategicMerge,
        &current,
        patch.to_string().as_bytes(),
    )?;
    Ok(patched["spec"].clone())
}

fn check(current: Value, patch: Value, expected: &Value) {
    let patched = pod_spec(current, patch.clone()).unwrap_or_else(|error| panic!("{patch}: {error}"));
    assert_eq!(patched.to_string(), expected.to_string(), "{patch}");
}

fn fails(current: Value, patch: Value, expected: &str) {
    let error = pod_spec(current, patch.clone()).expect_err("does not apply");
    assert!(error.is_bad_request());
    assert!(error.to_string().contains(expected), "{patch}: {error}");
}

/// Containers by name, with the image in common.
fn containers(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name, "image": "x"})).collect()
}

#[test]
fn fields_merge_and_null_removes() {
    check(
        json!({"nodeName": "n1", "hostname": "h", "securityContext": {"runAsUser": 1, "runAsGroup": 2}}),
        json!({"nodeName": "n2", "hostname": null, "absent": null, "securityContext": {"runAsUser": null, "fsGroup": 3}}),
        &json!({"nodeName": "n2", "securityContext": {"runAsGroup": 2, "fsGroup": 3}}),
    );
    check(
        json!({}),
        json!({"securityContext": {"runAsUser": null, "fsGroup": 3}}),
        &json!({"securityContext": {"fsGroup": 3}}),
    );
}

#[test]
fn lists_merge_by_their_key() {
    check(
        json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "1"}]}),
        json!({"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3", "command": null}]}),
        &json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "2"}, {"name": "c", "image": "3"}]}),
    );
    // Lists within merge by keys of their own.
    check(
        json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "3"}]}]}),
        &json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "3"}]}]}),
    );
}

#[test]
fn other_lists_are_replaced() {
    check(
        json!({"containers": [{"name": "a", "args": ["x", "y"]}], "tolerations": [{"key": "a"}]}),
        json!({"containers": [{"name": "a", "args": ["z"]}], "tolerations": [{"key": "b"}]}),
        &json!({"containers": [{"name": "a", "args": ["z"]}], "tolerations": [{"key": "b"}]}),
    );
}

#[test]
fn a_message_that_means_nothing_in_parts_is_replaced() {
    let schema = by_kind("policy", "PodDisruptionBudget").expect("a kind").schema();
    let current = json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web", "tier": "front"}}}});
    for (selector, expected) in [
        (
            json!({"matchLabels": {"app": "db"}}),
            json!({"matchLabels": {"app": "db"}}),
        ),
        (json!({}), json!({})),
        (
            json!({"matchLabels": {"app": null, "tier": "back"}}),
            json!({"matchLabels": {"tier": "back"}}),
        ),
    ] {
        let patch = json!({"spec": {"selector": selector}}).to_string();
        let patched = apply(schema, PatchType::StrategicMerge, &current, patch.as_bytes()).expect("applies");
        assert_eq!(
            patched,
            json!({"spec": {"minAvailable": 1, "selector": expected}}),
            "{patch}"
        );
    }
}

#[test]
fn items_can_be_deleted() {
    check(
        json!({"containers": containers(&["a", "b", "c"])}),
        json!({"containers": [{"name": "b", "$patch": "delete"}, {"name": "none", "$patch": "delete"}]}),
        &json!({"containers": containers(&["a", "c"])}),
    );
    check(
        json!({}),
        json!({"containers": [{"name": "b", "$patch": "delete"}]}),
        &json!({"containers": []}),
    );
    fails(
        json!({"containers": []}),
        json!({"containers": [{"$patch": "delete"}]}),
        "has no \"name\"",
    );
}

#[test]
fn lists_and_objects_can_be_replaced() {
    check(
        json!({"containers": containers(&["a", "b"])}),
        json!({"containers": [{"$patch": "replace"}, {"name": "c", "image": "y"}]}),
        &json!({"containers": [{"name": "c", "image": "y"}]}),
    );
    check(
        json!({"securityContext": {"runAsUser": 1}, "nodeName": "n1"}),
        json!({"securityContext": {"$patch": "replace", "fsGroup": 3}}),
        &json!({"securityContext": {"fsGroup": 3}, "nodeName": "n1"}),
    );
    check(
        json!({"securityContext": {"runAsUser": 1}}),
        json!({"securityContext": {"$patch": "delete"}}),
        &json!({"securityContext": {}}),
    );
    check(
        json!({"securityContext": {"runAsUser": 1}}),
        json!({"securityContext": {"$patch": "merge", "fsGroup": 3}}),
        &json!({"securityContext": {"runAsUser": 1, "fsGroup": 3}}),
    );
}

#[test]
fn volumes_retain_named_keys() {
    check(
        json!({"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "emptyDir": null, "secret": {"secretName": "s"}}]}),
        &json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
    );
    fails(
        json!({"volumes": [{"name": "v"}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "secret": {}}]}),
        "\"secret\" is set but not among its $retainKeys",
    );
}

#[test]
fn scalars_can_be_taken_out_of_lists() {
    let schema = by_kind("", "Pod").expect("a kind").schema();
    let current = json!({"metadata": {"finalizers": ["a/1", "b/2", "c/3"]}});
    let patch = |patch: Value| {
        apply(
            schema,
            PatchType::StrategicMerge,
            &current,
            patch.to_string().as_bytes(),
        )
        .expect("applies")["metadata"]["finalizers"]
            .clone()
    };
    // A new item stands where the patch has it: after `b/2`.
    assert_eq!(
        patch(json!({"metadata": {"finalizers": ["b/2", "d/4"]}})),
        json!(["a/1", "b/2", "d/4", "c/3"])
    );
    assert_eq!(
        patch(json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b/2"]}})),
        json!(["a/1", "c/3"])
    );
    assert_eq!(
        patch(
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b/2"], "finalizers": ["d/4"],
            "$setElementOrder/finalizers": ["d/4", "a/1"]}})
        ),
        json!(["d/4", "a/1", "c/3"])
    );
}

#[test]
fn order_follows_the_directive() {
    check(
        json!({"containers": containers(&["a", "b", "c"])}),
        json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}),
        &json!({"containers": containers(&["b", "c", "a"])}),
    );
    check(
        json!({"containers": containers(&["a", "b"])}),
        json!({"$setElementOrder/containers": [{"name": "n"}, {"name": "a"}, {"name": "b"}], "containers": [{"name": "n", "image": "x"}]}),
        &json!({"containers": containers(&["n", "a", "b"])}),
    );
    // What only the server has keeps its place before what it stood before.
    check(
        json!({"containers": containers(&["a", "server", "b"])}),
        json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b", "image": "x"}]}),
        &json!({"containers": containers(&["a", "server", "b"])}),
    );
    fails(
        json!({"containers": containers(&["a"])}),
        json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "z", "image": "x"}]}),
        "do not agree",
    );
}

/// The directives together, as the public description of strategic merge patches has them.
#[test]
fn directives_combine() {
    // To replace a list, the marker may stand anywhere in it, and deletions beside it say nothing.
    check(
        json!({"containers": containers(&["a", "b"])}),
        json!({"containers": [{"name": "c", "image": "y"}, {"$patch": "replace"}, {"name": "a", "$patch": "delete"}]}),
        &json!({"containers": [{"name": "c", "image": "y"}]}),
    );
    check(
        json!({"containers": containers(&["a", "b"])}),
        json!({"containers": [{"$patch": "replace"}]}),
        &json!({"containers": []}),
    );
    // What is deleted needs no place in the order, and what is new has one.
    check(
        json!({"containers": containers(&["a", "b", "c"])}),
        json!({
            "$setElementOrder/containers": [{"name": "d"}, {"name": "c"}, {"name": "b"}],
            "containers": [{"name": "d", "image": "x"}, {"name": "a", "$patch": "delete"}],
        }),
        &json!({"containers": containers(&["d", "c", "b"])}),
    );
    // A union's member is exchanged by the only keys that stay, within an item that merges and is put in order.
    check(
        json!({"volumes": [
            {"name": "a", "emptyDir": {}},
            {"name": "b", "hostPath": {"path": "/x"}},
        ]}),
        json!({
            "$setElementOrder/volumes": [{"name": "b"}, {"name": "a"}],
            "volumes": [{"name": "a", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}],
        }),
        &json!({"volumes": [
            {"name": "b", "hostPath": {"path": "/x"}},
            {"name": "a", "secret": {"secretName": "s"}},
        ]}),
    );
    // Directives in what is new leave no trace.
    check(
        json!({}),
        json!({"containers": [{
            "name": "a", "$retainKeys": ["name", "env"], "$setElementOrder/env": [{"name": "X"}],
            "env": [{"name": "X", "value": "1"}, {"name": "Y", "$patch": "delete"}],
        }]}),
        &json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]}),
    );
    fails(
        json!({"containers": containers(&["a"])}),
        json!({"containers": [{"name": "a", "$patch": true}]}),
        "unknown $patch directive true",
    );
}

#[test]
fn lists_of_scalars_follow_their_directives() {
    let schema = by_kind("", "ConfigMap").expect("a kind").schema();
    let list = |letters: &str| letters.chars().map(|letter| format!("x/{letter}")).collect::<Value>();
    let check = |present: &str, patch: Value, expected: &str| {
        let current = json!({"metadata": {"finalizers": list(present)}});
        let patch = json!({"metadata": patch}).to_string();
        let patched = apply(schema, PatchType::StrategicMerge, &current, patch.as_bytes()).expect("applies");
        assert_eq!(patched["metadata"]["finalizers"], list(expected), "{patch}");
    };
    let (delete, order) = ("$deleteFromPrimitiveList/finalizers", "$setElementOrder/finalizers");
    // What the object has not is not known to stand behind anything.
    check("abc", json!({"finalizers": list("d")}), "dabc");
    check("abc", json!({delete: list("b")}), "ac");
    check("abc", json!({delete: list("z")}), "abc");
    check("abc", json!({order: list("cb")}), "acb");
    check("abc", json!({order: list("dca"), "finalizers": list("d")}), "dbca");
    check(
        "abc",
        json!({order: list("dca"), "finalizers": list("d"), delete: list("b")}),
        "dca",
    );
    check("aba", json!({"finalizers": list("b")}), "ab");
    // Deleting from a list that is not there makes none, and neither does its order.
    let patched = apply(
        schema,
        PatchType::StrategicMerge,
        &json!({"metadata": {}}),
        json!({"metadata": {delete: ["x/a"], "$setElementOrder/ownerReferences": []}})
            .to_string()
            .as_bytes(),
    );
    assert_eq!(patched.expect("applies"), json!({"metadata": {}}));
}

#[test]
fn two_ports_of_one_number_stay_two() {
    let ports = json!([{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]);
    check(
        json!({"containers": [{"name": "a", "ports": ports}]}),
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80}]}]}),
        &json!({"containers": [{"name": "a", "ports":
            [{"containerPort": 80}, {"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]}]}),
    );
}

#[test]
fn maps_and_unknown_fields_merge_plainly() {
    let schema = by_kind("", "ConfigMap").expect("a kind").schema();
    let current = json!({"data": {"a": "1", "b": "2"}, "odd": {"list": [1, 2], "x": 1}});
    let patch = json!({"data": {"a": null, "c": "3"}, "odd": {"list": [3]}});
    let patched = apply(
        schema,
        PatchType::StrategicMerge,
        &current,
        patch.to_string().as_bytes(),
    )
    .expect("applies");
    assert_eq!(
        patched,
        json!({"data": {"b": "2", "c": "3"}, "odd": {"list": [3], "x": 1}})
    );
}

#[test]
fn malformed_patches_are_refused() {
    let current = || json!({"containers": containers(&["a"])});
    fails(current(), json!({"containers": ["a"]}), "is no object");
    fails(current(), json!({"containers": [{"image": "x"}]}), "has no \"name\"");
    fails(current(), json!({"$patch": "explode"}), "unknown $patch directive");
    fails(current(), json!({"$setElementOrder/containers": "a"}), "must be a list");
    fails(
        json!({"securityContext": {}}),
        json!({"securityContext": {"$retainKeys": 1}}),
        "must be a list",
    );
}

#[test]
fn long_lists_merge_in_reasonable_time() {
    let names: Vec<String> = (0..20_000).map(|index| format!("c{index}")).collect();
    let list: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    let patched = pod_spec(
        json!({"containers": list}),
        json!({"containers": list, "$setElementOrder/containers": list}),
    )
    .expect("applies");
    assert_eq!(patched["containers"].as_array().map(Vec::len), Some(20_000));
}
