//! JSON patches (RFC 6902), one operation at a time so that each can be bounded.
//!
//! The `copy` operation can double an object again and again, so what all copies add together is counted
//! before each is done, and so is how deep an inserted value would nest (invariant I9).

use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::Value;

use super::PatchError;
use crate::{json, limits};

/// Applies a list of operations to a copy of the object.
pub(super) fn apply(current: &Value, patch: Value) -> Result<Value, PatchError> {
    let Value::Array(operations) = patch else {
        return Err(PatchError::Malformed("it must be a list of operations".into()));
    };
    if operations.len() > limits::PATCH_OPERATIONS {
        return Err(PatchError::TooManyOperations(operations.len()));
    }
    let mut patched = current.clone();
    let mut copied_bytes = 0;
    for (index, operation) in operations.into_iter().enumerate() {
        let operation: PatchOperation = serde_json::from_value(operation)
            .map_err(|error| PatchError::Malformed(format!("operation {index}: {error}")))?;
        bound(&patched, &operation, &mut copied_bytes)?;
        // Work is done on a copy of the object, so a failure in the middle leaves nothing behind.
        json_patch::patch_unsafe(&mut patched, std::slice::from_ref(&operation))
            .map_err(|error| PatchError::DoesNotApply(describe(index, &operation, &error.kind)))?;
    }
    Ok(patched)
}

/// Refuses an operation that would make the object too large or too deep.
fn bound(object: &Value, operation: &PatchOperation, copied_bytes: &mut usize) -> Result<(), PatchError> {
    let inserted = match operation {
        PatchOperation::Add(add) => Some(&add.value),
        PatchOperation::Replace(replace) => Some(&replace.value),
        PatchOperation::Move(from) => object.pointer(from.from.as_str()),
        PatchOperation::Copy(copy) => {
            let source = object.pointer(copy.from.as_str());
            *copied_bytes += source.map_or(0, json::value_size);
            if *copied_bytes > limits::PATCH_COPIED_BYTES {
                return Err(PatchError::CopiesTooMuch);
            }
            source
        }
        PatchOperation::Remove(_) | PatchOperation::Test(_) => None,
    };
    let depth = operation.path().tokens().count() + inserted.map_or(0, json::value_depth);
    if depth > limits::JSON_DEPTH {
        Err(PatchError::ResultTooDeep)
    } else {
        Ok(())
    }
}

fn describe(index: usize, operation: &PatchOperation, why: &PatchErrorKind) -> String {
    let verb = match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    };
    format!("operation {index}, {verb} {:?}: {why}", operation.path().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    #[test]
    fn operations_apply_in_order() {
        let current = json!({"spec": {"replicas": 1, "ports": [{"port": 80}]}});
        let patch = json!([
            {"op": "test", "path": "/spec/replicas", "value": 1},
            {"op": "replace", "path": "/spec/replicas", "value": 3},
            {"op": "add", "path": "/spec/ports/-", "value": {"port": 81}},
            {"op": "copy", "from": "/spec/ports/0", "path": "/spec/ports/0"},
            {"op": "remove", "path": "/spec/ports/1"},
            {"op": "move", "from": "/spec/ports", "path": "/ports"},
        ]);
        let expected = json!({"spec": {"replicas": 3}, "ports": [{"port": 80}, {"port": 81}]});
        assert_eq!(apply(&current, patch).expect("applies"), expected);
    }

    #[test]
    fn failures_name_the_operation() {
        let fail = |patch| apply(&json!({"a": 1}), patch).expect_err("fails").to_string();
        assert_eq!(
            fail(json!([{"op": "test", "path": "/a", "value": 2}])),
            "the patch does not apply: operation 0, test \"/a\": value did not match"
        );
        assert!(fail(json!([{"op": "remove", "path": "/b"}])).contains("operation 0, remove \"/b\""));
        assert!(fail(json!([{"op": "fly", "path": "/b"}])).starts_with("the patch is malformed: operation 0"));
        assert!(fail(json!({})).contains("list of operations"));
    }

    #[test]
    fn count_of_operations_is_bounded() {
        let test = json!({"op": "test", "path": "/a", "value": 1});
        let many = |count| Value::Array(vec![test.clone(); count]);
        assert!(apply(&json!({"a": 1}), many(limits::PATCH_OPERATIONS)).is_ok());
        let error = apply(&json!({"a": 1}), many(limits::PATCH_OPERATIONS + 1)).expect_err("too many");
        assert!(matches!(error, PatchError::TooManyOperations(10_001)));
    }

    #[test]
    fn the_bound_of_copies_is_met_exactly() {
        // A text counts with its quotes.
        let third = limits::PATCH_COPIED_BYTES / 3;
        let current = json!({"text": "x".repeat(third - 2)});
        let copies =
            |count: usize| (0..count).map(|index| json!({"op": "copy", "from": "/text", "path": format!("/{index}")}));
        let most: Value = copies(3).collect();
        assert_eq!(
            apply(&current, most).expect("at the bound").as_object().map(Map::len),
            Some(4)
        );
        let more: Value = copies(3)
            .chain([json!({"op": "copy", "from": "/absent", "path": "/y"})])
            .collect();
        assert!(matches!(
            apply(&current, more).expect_err("not there"),
            PatchError::DoesNotApply(_)
        ));
        let current = json!({"text": "x".repeat(third - 1)});
        let error = apply(&current, copies(3).collect()).expect_err("over it");
        assert!(matches!(error, PatchError::CopiesTooMuch), "{error}");
    }

    #[test]
    fn copies_cannot_amplify() {
        let double = json!({"op": "copy", "from": "/a", "path": "/a/-"});
        let current = json!({"a": ["x".repeat(1000)]});
        let error = apply(&current, Value::Array(vec![double; 50])).expect_err("grows without end");
        assert!(
            matches!(error, PatchError::CopiesTooMuch | PatchError::ResultTooDeep),
            "{error}"
        );
        let flat = json!({"op": "copy", "from": "/a/0", "path": "/a/-"});
        let error = apply(&current, Value::Array(vec![flat; 4000])).expect_err("grows without end");
        assert!(matches!(error, PatchError::CopiesTooMuch), "{error}");
    }
}
