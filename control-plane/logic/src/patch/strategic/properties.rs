//! What holds for any pod and any strategic merge patch of it.

use proptest::{collection::btree_map, collection::vec, option, prelude::*, sample::select, test_runner::RngSeed};
use serde_json::{Map, Value, json};

use super::super::{PatchError, PatchType, apply};
use crate::kinds::by_kind;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn patched(current: &Value, patch: &Value) -> Result<Value, PatchError> {
    let schema = by_kind("", "Pod").expect("a kind").schema();
    apply(schema, PatchType::StrategicMerge, current, patch.to_string().as_bytes())
}

fn name() -> impl Strategy<Value = &'static str> {
    select(NAMES.to_vec())
}

/// Scalars, some of them twice.
fn words() -> impl Strategy<Value = Value> {
    vec(name(), 0..4).prop_map(|words| json!(words))
}

/// Items that are told apart by `name`, each name once.
fn items(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<Value>> {
    btree_map(name(), inner, 0..4).prop_map(|items| {
        let named = |(name, mut item): (&str, Value)| {
            item["name"] = name.into();
            item
        };
        items.into_iter().map(named).collect()
    })
}

fn env() -> impl Strategy<Value = Value> {
    items(name().prop_map(|value| json!({"value": value}))).prop_map(Value::from)
}

/// The object's containers; of a list that merges by key, of one that merges within and of one that is replaced.
fn containers() -> impl Strategy<Value = Value> {
    let container = (option::of(words()), option::of(env())).prop_map(|(args, env)| {
        let mut container = json!({});
        if let Some(args) = args {
            container["args"] = args;
        }
        if let Some(env) = env {
            container["env"] = env;
        }
        container
    });
    items(container).prop_map(Value::from)
}

/// A pod, or what there is of one.
fn pod() -> impl Strategy<Value = Value> {
    (option::of(words()), option::of(containers()), option::of(name())).prop_map(|(finalizers, containers, node)| {
        let mut pod = json!({"metadata": {}});
        if let Some(finalizers) = finalizers {
            pod["metadata"]["finalizers"] = finalizers;
        }
        if let Some(containers) = containers {
            pod["spec"] = json!({"containers": containers, "securityContext": {"runAsUser": 1}});
        }
        if let Some(node) = node {
            pod["spec"]["nodeName"] = node.into();
        }
        pod
    })
}

/// Any JSON whose names are those of fields and directives.
fn any_patch() -> impl Strategy<Value = Value> {
    const FIELDS: [&str; 16] = [
        "metadata",
        "spec",
        "finalizers",
        "labels",
        "containers",
        "env",
        "args",
        "securityContext",
        "name",
        "value",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$setElementOrder/finalizers",
        "$deleteFromPrimitiveList/finalizers",
        "$deleteFromPrimitiveList/args",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        name().prop_map(Value::from),
        select(vec!["replace", "delete", "merge"]).prop_map(Value::from),
        Just(json!(1)),
    ];
    let any = leaf.prop_recursive(6, 60, 4, |inner| {
        prop_oneof![
            3 => btree_map(select(FIELDS.to_vec()), inner.clone(), 0..5).prop_map(|fields| json!(fields)),
            2 => vec(inner, 0..4).prop_map(Value::from),
        ]
    });
    any.prop_map(|value| {
        if value.is_object() {
            value
        } else {
            json!({"spec": value})
        }
    })
}

/// A patch as clients make them, of several lists and directives at once.
fn good_patch() -> impl Strategy<Value = Value> {
    let item = prop_oneof![
        4 => env().prop_map(|env| json!({"env": env})),
        1 => words().prop_map(|args| json!({"args": args, "command": null})),
        1 => Just(json!({"$patch": "delete"})),
        1 => Just(json!({"$patch": "merge", "image": "x"})),
    ];
    let containers = (items(item), any::<bool>(), any::<bool>()).prop_map(|(mut items, reverse, replace)| {
        if reverse {
            items.reverse();
        }
        if replace {
            items.push(json!({"$patch": "replace"}));
        }
        items
    });
    let scalars = (option::of(words()), option::of(words()));
    (option::of(containers), scalars, any::<bool>()).prop_map(|(containers, (added, deleted), ordered)| {
        let (mut metadata, mut spec) = (Map::new(), Map::new());
        if let Some(items) = containers {
            if ordered {
                let kept = items
                    .iter()
                    .filter(|item| item["$patch"].is_null() || item["$patch"] == "merge");
                let order: Value = kept.map(|item| json!({"name": item["name"]})).collect();
                spec.insert("$setElementOrder/containers".to_owned(), order);
            }
            spec.insert("containers".to_owned(), items.into());
        }
        if let Some(added) = added {
            metadata.insert("finalizers".to_owned(), added);
        }
        if let Some(deleted) = deleted {
            metadata.insert("$deleteFromPrimitiveList/finalizers".to_owned(), deleted);
        }
        json!({"metadata": metadata, "spec": spec})
    })
}

fn names_of(list: &Value) -> Vec<String> {
    let items = list.as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["name"].to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn applying_twice_is_applying_once(pod in pod(), patch in good_patch()) {
        let once = patched(&pod, &patch).expect("such a patch applies");
        prop_assert_eq!(patched(&once, &patch).expect("again"), once);
    }

    #[test]
    fn so_it_is_for_patches_that_nobody_meant(pod in pod(), patch in any_patch()) {
        if let Ok(once) = patched(&pod, &patch) {
            prop_assert_eq!(patched(&once, &patch).expect("again"), once);
        }
    }

    #[test]
    fn no_directive_is_ever_stored(pod in pod(), patch in any_patch()) {
        if let Ok(once) = patched(&pod, &patch) {
            let text = once.to_string();
            prop_assert!(["\"$patch\":", "\"$retainKeys\":", "\"$setElementOrder/", "\"$deleteFrom"]
                .iter().all(|directive| !text.contains(directive)), "{}", text);
        }
    }

    /// What was added is deleted again, and the rest stands as it stood.
    #[test]
    fn adding_and_deleting_restores(pod in pod(), env in env()) {
        let containers = &pod["spec"]["containers"];
        prop_assume!(containers.is_array());
        let add = json!({"spec": {"containers": [{"name": "new", "env": env}]}, "metadata": {"finalizers": ["new"]}});
        let with = patched(&pod, &add).expect("applies");
        prop_assert_eq!(names_of(&with["spec"]["containers"]).len(), names_of(containers).len() + 1);
        let remove = json!({
            "spec": {"containers": [{"name": "new", "$patch": "delete"}]},
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["new"]},
        });
        let without = patched(&with, &remove).expect("applies");
        prop_assert_eq!(&without["spec"], &pod["spec"]);
        // A list that there was not is empty afterwards, and what stood in it twice stands there once.
        let mut finalizers = pod["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let mut seen = Vec::new();
        finalizers.retain(|item| !seen.contains(item) && { seen.push(item.clone()); true });
        prop_assert_eq!(&without["metadata"]["finalizers"], &Value::from(finalizers));
    }

    /// The whole of an object as a patch makes it of another one, whatever was there: what is asked for is there, in its order.
    #[test]
    fn order_is_kept(pod in pod(), wanted in containers()) {
        let order: Value = names_of(&wanted).iter().map(|name| json!({"name": name.trim_matches('"')})).collect();
        let patch = json!({"spec": {"containers": wanted, "$setElementOrder/containers": order}});
        let made = patched(&pod, &patch).expect("applies");
        let (made, wanted) = (names_of(&made["spec"]["containers"]), names_of(&patch["spec"]["containers"]));
        let shown: Vec<_> = made.into_iter().filter(|name| wanted.contains(name)).collect();
        prop_assert_eq!(shown, wanted);
    }
}
