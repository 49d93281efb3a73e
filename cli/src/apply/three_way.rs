//! Merges what the user wants now with what is there, knowing what the user wanted last time. Pure.
//!
//! Fields that the user names are set; fields that the user named last time and no longer does are removed;
//! every other field belongs to someone else and stays. Lists whose items have a key merge item by item.

use serde_json::{Map, Value};

/// How the items of a list are told apart.
struct ListKey {
    /// The field that holds the list.
    field: &'static str,
    /// The fields that make up the key; a second one may be left out of an item and then has this value.
    keys: &'static [(&'static str, Option<&'static str>)],
}

/// Kubernetes' lists with keys, by the name of their field. Where a field name is used for two lists, the first entry
/// whose key all items carry applies. These are facts of the object format, not of any kind in particular.
const LIST_KEYS: &[ListKey] = &[
    ListKey {
        field: "conditions",
        keys: &[("type", None)],
    },
    ListKey {
        field: "containers",
        keys: &[("name", None)],
    },
    ListKey {
        field: "env",
        keys: &[("name", None)],
    },
    ListKey {
        field: "ephemeralContainers",
        keys: &[("name", None)],
    },
    ListKey {
        field: "hostAliases",
        keys: &[("ip", None)],
    },
    ListKey {
        field: "imagePullSecrets",
        keys: &[("name", None)],
    },
    ListKey {
        field: "initContainers",
        keys: &[("name", None)],
    },
    ListKey {
        field: "ownerReferences",
        keys: &[("uid", None)],
    },
    ListKey {
        field: "ports",
        keys: &[("containerPort", None), ("protocol", Some("TCP"))],
    },
    ListKey {
        field: "ports",
        keys: &[("port", None), ("protocol", Some("TCP"))],
    },
    ListKey {
        field: "resourceClaims",
        keys: &[("name", None)],
    },
    ListKey {
        field: "secrets",
        keys: &[("name", None)],
    },
    ListKey {
        field: "topologySpreadConstraints",
        keys: &[("topologyKey", None), ("whenUnsatisfiable", Some(""))],
    },
    ListKey {
        field: "volumeDevices",
        keys: &[("devicePath", None)],
    },
    ListKey {
        field: "volumeMounts",
        keys: &[("mountPath", None)],
    },
    ListKey {
        field: "volumes",
        keys: &[("name", None)],
    },
];

/// Lists of plain values that merge as sets.
const SETS: &[&str] = &["finalizers"];

/// The wanted state: `live`, with the change from `original` (what was applied last) to `modified` (what is applied now).
pub(crate) fn merge(original: &Value, modified: &Value, live: &Value) -> Value {
    merge_value("", original, modified, live)
}

fn merge_value(field: &str, original: &Value, modified: &Value, live: &Value) -> Value {
    match (modified, live) {
        (Value::Object(modified), Value::Object(live)) => {
            let empty = Map::new();
            Value::Object(merge_map(original.as_object().unwrap_or(&empty), modified, live))
        }
        (Value::Array(modified), Value::Array(live)) => {
            let original = original.as_array().map(Vec::as_slice).unwrap_or_default();
            Value::Array(merge_list(field, original, modified, live))
        }
        _ => without_nulls(modified),
    }
}

fn merge_map(
    original: &Map<String, Value>,
    modified: &Map<String, Value>,
    live: &Map<String, Value>,
) -> Map<String, Value> {
    let mut result = live.clone();
    for key in original.keys().filter(|key| !modified.contains_key(*key)) {
        result.remove(key);
    }
    for (key, wanted) in modified {
        if wanted.is_null() {
            result.remove(key);
            continue;
        }
        let before = original.get(key).unwrap_or(&Value::Null);
        let present = live.get(key).unwrap_or(&Value::Null);
        result.insert(key.clone(), merge_value(key, before, wanted, present));
    }
    result
}

fn merge_list(field: &str, original: &[Value], modified: &[Value], live: &[Value]) -> Vec<Value> {
    if SETS.contains(&field) {
        return merge_by(original, modified, live, |item| Some(item.to_string()));
    }
    let lists = [original, modified, live];
    let fits =
        |key: &&ListKey| key.field == field && lists.iter().all(|list| list.iter().all(|i| key_of(key, i).is_some()));
    match LIST_KEYS.iter().find(fits) {
        Some(key) => merge_by(original, modified, live, |item| key_of(key, item)),
        None => modified.iter().map(without_nulls).collect(),
    }
}

/// Merges item by item: those that the user names in the user's order, then those that others added.
fn merge_by(
    original: &[Value],
    modified: &[Value],
    live: &[Value],
    key: impl Fn(&Value) -> Option<String>,
) -> Vec<Value> {
    let find = |list: &[Value], wanted: &Option<String>| list.iter().find(|item| key(item) == *wanted).cloned();
    let mut result: Vec<Value> = Vec::with_capacity(modified.len());
    for item in modified {
        let item_key = key(item);
        let before = find(original, &item_key).unwrap_or_default();
        result.push(match find(live, &item_key) {
            Some(present) => merge_value("", &before, item, &present),
            None => without_nulls(item),
        });
    }
    for item in live {
        let item_key = key(item);
        let mine = find(original, &item_key).is_some() || find(modified, &item_key).is_some();
        if !mine {
            result.push(item.clone());
        }
    }
    result
}

fn key_of(list_key: &ListKey, item: &Value) -> Option<String> {
    let part = |(name, default): &(&str, Option<&str>)| match item.get(name) {
        Some(value @ (Value::String(_) | Value::Number(_))) => Some(value.to_string()),
        Some(_) => None,
        None => item.as_object().and(*default).map(|text| Value::from(text).to_string()),
    };
    let parts: Option<Vec<String>> = list_key.keys.iter().map(part).collect();
    parts.map(|parts| parts.join("/"))
}

/// A value without the nulls in its maps: to name a field with null is to not have it.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, v)| !v.is_null());
            Value::Object(kept.map(|(k, v)| (k.clone(), without_nulls(v))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[allow(clippy::needless_pass_by_value, reason = "the calls read better")]
    fn check(what: &str, original: Value, modified: Value, live: Value, expected: Value) {
        assert_eq!(merge(&original, &modified, &live), expected, "{what}");
        let again = merge(&modified, &modified, &expected);
        assert_eq!(again, expected, "{what}: to apply again changes nothing");
    }

    #[test]
    fn maps() {
        check(
            "set",
            json!({}),
            json!({"a": 1}),
            json!({"b": 2}),
            json!({"a": 1, "b": 2}),
        );
        check(
            "changed",
            json!({"a": 1}),
            json!({"a": 2}),
            json!({"a": 1, "b": 2}),
            json!({"a": 2, "b": 2}),
        );
        check(
            "taken out",
            json!({"a": 1, "b": 1}),
            json!({"a": 1}),
            json!({"a": 1, "b": 1, "c": 1}),
            json!({"a": 1, "c": 1}),
        );
        check(
            "drifted",
            json!({"a": 1}),
            json!({"a": 1}),
            json!({"a": 5}),
            json!({"a": 1}),
        );
        check(
            "never mine",
            json!({}),
            json!({}),
            json!({"replicas": 5}),
            json!({"replicas": 5}),
        );
        check(
            "another type",
            json!({"a": 1}),
            json!({"a": {"b": 1}}),
            json!({"a": 1}),
            json!({"a": {"b": 1}}),
        );
    }

    #[test]
    fn null_removes() {
        let merged = merge(
            &json!({}),
            &json!({"a": null, "n": {"x": null, "y": 1}}),
            &json!({"a": 1}),
        );
        assert_eq!(merged, json!({"n": {"y": 1}}));
    }

    #[test]
    fn lists_with_keys() {
        let image = |name: &str, image: &str| json!({"name": name, "image": image});
        check(
            "an item keeps what the server filled in",
            json!({"containers": [image("a", "1")]}),
            json!({"containers": [image("a", "2")]}),
            json!({"containers": [{"name": "a", "image": "1", "imagePullPolicy": "Always"}]}),
            json!({"containers": [{"name": "a", "image": "2", "imagePullPolicy": "Always"}]}),
        );
        check(
            "an item of others stays, one that was taken out goes",
            json!({"containers": [image("a", "1"), image("b", "1")]}),
            json!({"containers": [image("b", "1")]}),
            json!({"containers": [image("a", "1"), image("b", "1"), image("sidecar", "9")]}),
            json!({"containers": [image("b", "1"), image("sidecar", "9")]}),
        );
        check(
            "the user's order",
            json!({"env": [{"name": "a"}, {"name": "b"}]}),
            json!({"env": [{"name": "c"}, {"name": "b"}, {"name": "a"}]}),
            json!({"env": [{"name": "a"}, {"name": "b"}]}),
            json!({"env": [{"name": "c"}, {"name": "b"}, {"name": "a"}]}),
        );
        check(
            "ports: a node port that the server chose stays; protocols are told apart",
            json!({"ports": [{"port": 53, "protocol": "UDP"}]}),
            json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}),
            json!({"ports": [{"port": 53, "protocol": "UDP", "nodePort": 30001}]}),
            json!({"ports": [{"port": 53, "protocol": "UDP", "nodePort": 30001}, {"port": 53}]}),
        );
    }

    #[test]
    fn other_lists_are_replaced() {
        check(
            "plain",
            json!({"args": ["a"]}),
            json!({"args": ["b"]}),
            json!({"args": ["a", "x"]}),
            json!({"args": ["b"]}),
        );
        check(
            "items without the key",
            json!({"ports": []}),
            json!({"ports": [{"weight": 1}]}),
            json!({"ports": [{"port": 1}]}),
            json!({"ports": [{"weight": 1}]}),
        );
        check(
            "sets",
            json!({"finalizers": ["a", "b"]}),
            json!({"finalizers": ["a"]}),
            json!({"finalizers": ["b", "other", "a"]}),
            json!({"finalizers": ["a", "other"]}),
        );
    }
}
