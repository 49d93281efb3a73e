//! The JSON merge patch (RFC 7386) between two values. Pure.

use serde_json::{Map, Value};

/// The patch that makes `after` of `before`; an empty map if they are equal. Neither may hold nulls in maps, which a
/// merge patch cannot express.
pub(crate) fn merge_patch(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, wanted) in after {
        match (before.get(key), wanted) {
            (Some(present), wanted) if present == wanted => {}
            (Some(Value::Object(present)), Value::Object(wanted)) => {
                patch.insert(key.clone(), Value::Object(merge_patch(present, wanted)));
            }
            _ => {
                patch.insert(key.clone(), wanted.clone());
            }
        }
    }
    patch
}

/// The patch between two whole objects.
pub(crate) fn between(before: &Value, after: &Value) -> Value {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => Value::Object(merge_patch(before, after)),
        _ => after.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn applying_the_patch_gives_the_other_value() {
        for (before, after, expected) in [
            (json!({}), json!({}), json!({})),
            (json!({"a": 1}), json!({"a": 1}), json!({})),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), json!({"b": null})),
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": 3}}),
                json!({"a": {"b": 3, "c": null}}),
            ),
            (json!({"a": [1, 2]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"a": 1}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}})),
        ] {
            let patch = between(&before, &after);
            assert_eq!(patch, expected);
            let mut patched = before;
            json_patch::merge(&mut patched, &patch);
            assert_eq!(patched, after);
        }
    }
}
