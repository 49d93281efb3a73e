//! The three forms of patches, as functions from JSON to JSON.
//!
//! A patch is read within limits (invariant I9) and either applies whole or not at all: the present
//! object is never changed, a new one is returned. What the result must be is checked by whoever decodes it.

mod operations;
mod schema_lookup;
mod strategic;

use serde_json::{Map, Value};
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

/// A patch that was read.
#[derive(Debug, Clone)]
pub struct Patch {
    patch_type: PatchType,
    document: Value,
    twice: Vec<String>,
}

impl Patch {
    /// Reads a patch.
    pub fn read(patch_type: PatchType, text: &[u8]) -> Result<Self, PatchError> {
        if text.len() > limits::PATCH_SIZE_BYTES {
            return Err(PatchError::TooLarge(text.len()));
        }
        let (document, twice) = json::parse_last_wins(text).map_err(PatchError::Unreadable)?;
        if patch_type != PatchType::Json {
            must_be_object(&document)?;
        }
        Ok(Self {
            patch_type,
            document,
            twice,
        })
    }

    /// The paths of fields that stand twice in it. The last one counts.
    pub fn twice(&self) -> &[String] {
        &self.twice
    }

    /// The document that names all of an object that the patch depends on and changes; `None` if that may be anything.
    pub fn names(&self) -> Option<&Map<String, Value>> {
        match self.patch_type {
            // Its paths may lead anywhere, and its tests may be of anything.
            PatchType::Json => None,
            PatchType::Merge | PatchType::StrategicMerge => self.document.as_object(),
        }
    }

    /// The object that the patch makes of the present one. `schema` says how lists merge; without one, a strategic merge
    /// replaces lists whole.
    pub fn apply(&self, schema: Option<&'static MessageSchema>, current: &Value) -> Result<Value, PatchError> {
        let patched = match self.patch_type {
            PatchType::Json => operations::apply(current, self.document.clone())?,
            PatchType::Merge => {
                let mut patched = current.clone();
                json_patch::merge(&mut patched, &self.document);
                patched
            }
            PatchType::StrategicMerge => strategic::apply(schema, current, must_be_object(&self.document)?)?,
        };
        if json::value_depth(&patched) > limits::JSON_DEPTH {
            return Err(PatchError::ResultTooDeep);
        }
        Ok(patched)
    }
}

/// Reads a patch and applies it. See [`Patch`].
pub fn apply(
    schema: Option<&'static MessageSchema>,
    patch_type: PatchType,
    current: &Value,
    patch: &[u8],
) -> Result<Value, PatchError> {
    Patch::read(patch_type, patch)?.apply(schema, current)
}

fn must_be_object(patch: &Value) -> Result<&Map<String, Value>, PatchError> {
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
