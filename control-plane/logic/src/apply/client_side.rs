//! From client-side apply to server-side apply.
//!
//! `kubectl apply` without the server keeps what it applied in an annotation, and owns it by an update. Once the same
//! configuration is applied through the server by `kubectl`, that must be no conflict with itself: whatever the annotation
//! says and the object still has is kubectl's to change. The annotation is then kept up to date, so that one can go back.

use serde_json::{Map, Value};

use super::{
    compare::Comparison,
    extract::{check_config, fields_of},
    field_set::FieldSet,
    types::Type,
    update::Change,
};
use crate::{json, limits};

/// The manager whose applies follow this rule; any other name opts out.
pub(super) const APPLIER: &str = "kubectl";
/// Where client-side apply keeps what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The fields that client-side apply set and that are still as it set them. `None` if it never did, or not in this version.
pub(super) fn allowed_conflicts(change: &Change<'_>, live: &Value) -> Option<FieldSet> {
    let text = live.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str()?;
    let last_applied = json::parse(text.as_bytes()).ok()?;
    if last_applied.get("apiVersion")?.as_str()? != change.api_version {
        return None;
    }
    let of_type = Type::root(change.schema);
    check_config(of_type, last_applied.as_object()?).ok()?;
    let fields = fields_of(of_type, &last_applied);
    let changed = Comparison::of(of_type, &last_applied, live);
    Some(fields.difference(&changed.set()).difference(&changed.removed))
}

/// Puts the configuration into the annotation, if the object has it.
pub(super) fn follow(object: &mut Value, config: &Map<String, Value>) {
    let Some(annotations) = object
        .get_mut("metadata")
        .and_then(|meta| meta.get_mut("annotations"))
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let has_some = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    if !annotations.get(LAST_APPLIED).is_some_and(has_some) {
        return;
    }
    let mut config = Value::Object(config.clone());
    if let Some(own) = config
        .get_mut("metadata")
        .and_then(|meta| meta.get_mut("annotations"))
        .and_then(Value::as_object_mut)
    {
        own.remove(LAST_APPLIED);
    }
    // The line end is part of what client-side apply writes.
    annotations.insert(LAST_APPLIED.to_owned(), format!("{config}\n").into());
    let size_bytes: usize = annotations
        .iter()
        .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len))
        .sum();
    if size_bytes > limits::ANNOTATIONS_SIZE_BYTES {
        annotations.remove(LAST_APPLIED);
    }
}
