//! The three forms of patches, as functions from JSON to JSON.
//!
//! A patch is read within limits (invariant I9) and either applies whole or not at all: the present
//! object is never changed, a new one is returned. What the result must be is checked by whoever decodes it.

mod operations;
mod schema_lookup;
mod strategic;

use serde_json::Value;
use trireme_proto::schema::MessageSchema;

use crate::{json, limits};

/// The form of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902: a list of operations.
    Json,
    /// RFC 7386: what is given replaces, `null` removes.
    Merge,
    /// Kubernetes' own: as a merge, but lists of objects merge by their key.
    StrategicMerge,
}

/// Why a patch did not apply. The first three are bad requests; the rest say that the patch does not
/// fit the object as it is.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The patch is larger than any object.
    #[error("the patch has {0} bytes, more than {limit}", limit = limits::PATCH_SIZE_BYTES)]
    TooLarge(usize),
    /// The patch is not JSON, or nests too deep.
    #[error("the patch cannot be read: {0}")]
    Unreadable(#[source] json::ParseError),
    /// The patch is JSON, but not a patch of this form.
    #[error("the patch is malformed: {0}")]
    Malformed(String),
    /// A JSON patch has too many operations.
    #[error("the patch has {0} operations, more than {limit}", limit = limits::PATCH_OPERATIONS)]
    TooManyOperations(usize),
    /// The copies of a JSON patch add too much.
    #[error("the copies of the patch add more than {} bytes", limits::PATCH_COPIED_BYTES)]
    CopiesTooMuch,
    /// The result would nest too deep.
    #[error("the patched object would nest deeper than {} levels", limits::JSON_DEPTH)]
    ResultTooDeep,
    /// An operation does not fit the object: a path that is not there, a test that failed.
    #[error("the patch does not apply: {0}")]
    DoesNotApply(String),
}

impl PatchError {
    /// True if the request itself is at fault, whatever the object; else the object does not allow the patch.
    pub fn is_bad_request(&self) -> bool {
        matches!(
            self,
            Self::TooLarge(_)
                | Self::Unreadable(_)
                | Self::Malformed(_)
                | Self::TooManyOperations(_)
                | Self::CopiesTooMuch
        )
    }
}

/// The object that a patch makes of the present one. `schema` says how lists merge; without one, a
/// strategic merge replaces lists whole.
pub fn apply(
    schema: Option<&'static MessageSchema>,
    patch_type: PatchType,
    current: &Value,
    patch: &[u8],
) -> Result<Value, PatchError> {
    if patch.len() > limits::PATCH_SIZE_BYTES {
        return Err(PatchError::TooLarge(patch.len()));
    }
    let patch = json::parse(patch).map_err(PatchError::Unreadable)?;
    let patched = match patch_type {
        PatchType::Json => operations::apply(current, patch)?,
        PatchType::Merge => {
            must_be_object(&patch)?;
            let mut patched = current.clone();
            json_patch::merge(&mut patched, &patch);
            patched
        }
        PatchType::StrategicMerge => strategic::apply(schema, current, must_be_object(&patch)?)?,
    };
    if json::value_depth(&patched) > limits::JSON_DEPTH {
        return Err(PatchError::ResultTooDeep);
    }
    Ok(patched)
}

fn must_be_object(patch: &Value) -> Result<&serde_json::Map<String, Value>, PatchError> {
    patch
        .as_object()
        .ok_or_else(|| PatchError::Malformed("it must be a JSON object".into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check_merge(current: &Value, patch: &Value, expected: &Value) {
        let patched = apply(None, PatchType::Merge, current, patch.to_string().as_bytes()).expect("applies");
        assert_eq!(&patched, expected, "{patch}");
    }

    #[test]
    fn merge_patches_follow_rfc_7386() {
        check_merge(
            &json!({"a": {"b": 1, "c": 2}}),
            &json!({"a": {"b": null}}),
            &json!({"a": {"c": 2}}),
        );
        check_merge(&json!({"a": [1, 2]}), &json!({"a": [3]}), &json!({"a": [3]}));
        check_merge(
            &json!({"a": 1}),
            &json!({"b": {"c": null, "d": 1}}),
            &json!({"a": 1, "b": {"d": 1}}),
        );
        check_merge(&json!({"a": {"x": 1}}), &json!({"a": "text"}), &json!({"a": "text"}));
    }

    #[test]
    fn bad_patches_are_named() {
        let fail = |patch_type, patch: &[u8]| apply(None, patch_type, &json!({}), patch).expect_err("fails");
        assert!(matches!(fail(PatchType::Merge, b"[]"), PatchError::Malformed(_)));
        assert!(matches!(
            fail(PatchType::StrategicMerge, b"1"),
            PatchError::Malformed(_)
        ));
        assert!(matches!(fail(PatchType::Merge, b"{"), PatchError::Unreadable(_)));
        let most = [b"{}".to_vec(), vec![b' '; limits::PATCH_SIZE_BYTES - 2]].concat();
        apply(None, PatchType::Merge, &json!({}), &most).expect("at the limit");
        let large = vec![b' '; limits::PATCH_SIZE_BYTES + 1];
        assert!(matches!(fail(PatchType::Merge, &large), PatchError::TooLarge(_)));
        let deep = format!("{}1{}", r#"{"a":"#.repeat(65), "}".repeat(65));
        assert!(matches!(
            fail(PatchType::Merge, deep.as_bytes()),
            PatchError::Unreadable(json::ParseError::TooDeep)
        ));
    }
}
