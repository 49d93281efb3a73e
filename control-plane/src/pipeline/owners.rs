//! Who owns which fields of what will be stored.
//!
//! A writer with a manager owns what it makes or changes. A writer without one owns nothing, so that what the loops make
//! stays small, but what it changes is taken from others. An object whose owners are not known is not looked at any closer,
//! until somebody applies to it.

use serde_json::Value;
use trireme_logic::{
    apply::{self, Change, Part},
    kind::KindInfo,
    kinds,
    object::{KindOps, Object},
};
use trireme_proto::{
    api::meta::v1::{ManagedFieldsEntry, Time},
    json::transcode,
    parts::{self, Difference},
    schema::MessageSchema,
};

use super::Subresource;
use crate::status::ApiError;

/// What is known of who owns the fields of an object that will be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Nothing yet: it follows from what changed.
    ToBeFound,
    /// It was applied, and its metadata says it.
    Settled,
}

/// The part of an object that goes by a subresource.
pub(crate) fn part_of(info: &KindInfo, subresource: Subresource) -> Part {
    match subresource {
        Subresource::None => Part::Object {
            status_apart: info.subresources.contains(&Subresource::Status.as_str()),
        },
        Subresource::Status => Part::Status,
        other => Part::Other(other.as_str()),
    }
}

/// Makes the creator of an object, which has its defaults, the owner of what it has.
///
/// # Errors
/// `BadRequest` if the object has no JSON: a time that cannot be said.
pub(crate) fn own_new(manager: Option<&str>, object: &mut dyn Object, now: Time) -> Result<(), ApiError> {
    // What a client says of owners counts for nothing before there is an object.
    object.metadata_mut().managed_fields.clear();
    let Some(manager) = manager else { return Ok(()) };
    let fields = object
        .new_fields()
        .map_err(|error| ApiError::bad_request(format!("the object has no JSON: {error}")))?;
    let info = object.info();
    let api_version = kinds::api_version(info);
    let change = Change {
        schema: None,
        api_version: &api_version,
        part: part_of(info, Subresource::None),
        now,
    };
    object.metadata_mut().managed_fields = apply::owners_of_new(&change, manager, fields);
    Ok(())
}

/// Makes whoever changed an object the owner of what is not as it was; nobody, if that has no manager. What the new version
/// itself says of owners is taken for what was before.
pub(crate) fn own_changed(
    manager: Option<&str>,
    old: &dyn Object,
    object: &mut dyn Object,
    subresource: Subresource,
    now: Time,
) {
    own_part(manager, old, object, part_of(old.info(), subresource), now);
}

/// The same for what the registry itself changes of an object, in any part of it.
pub(crate) fn own_by_registry(old: &dyn Object, object: &mut dyn Object, now: Time) {
    let whole = Part::Object { status_apart: false };
    own_part(None, old, object, whole, now);
}

fn own_part(manager: Option<&str>, old: &dyn Object, object: &mut dyn Object, part: Part, now: Time) {
    let info = old.info();
    let entries = apply::owners_before(part, old.metadata(), object.metadata());
    object.metadata_mut().managed_fields.clear();
    if entries.is_empty() {
        return;
    }
    if manager.is_none() && part == Part::Status && !entries.iter().any(is_of_status) {
        // The commonest write of all, the state of a pod, changes what nobody owns.
        object.metadata_mut().managed_fields = entries;
        return;
    }
    let api_version = kinds::api_version(info);
    let change = Change {
        schema: old.ops().schema(),
        api_version: &api_version,
        part,
        now,
    };
    // Owners in another version of the kind need all of both, to be said in that.
    let one_version = entries.iter().all(|entry| entry.api_version == api_version);
    let versions = one_version.then(|| differing(&change, old, object)).flatten();
    let versions = versions.or_else(|| Some((without_owners(old.ops(), old)?, without_owners(old.ops(), object)?)));
    let owners = match versions {
        Some((before, after)) => apply::owners_of_changed(&change, manager, &entries, &before, &after),
        // What has no JSON has been compared with nothing: better old owners than none.
        None => entries,
    };
    object.metadata_mut().managed_fields = owners;
}

/// The JSON of what two versions of an object differ in, beside who owns what; `None` if that cannot be told from their bytes.
/// `object` says nothing of owners.
fn differing(change: &Change<'_>, old: &dyn Object, object: &mut dyn Object) -> Option<(Value, Value)> {
    let schema = change.schema?;
    let owners = old.metadata().managed_fields.clone();
    object.metadata_mut().managed_fields = owners;
    let new = object.to_protobuf();
    object.metadata_mut().managed_fields.clear();
    let Difference { old, new } = parts::difference(schema, &old.to_protobuf(), &new)?;
    Some((json_of(schema, &old)?, json_of(schema, &new)?))
}

fn json_of(schema: &'static MessageSchema, protobuf: &[u8]) -> Option<Value> {
    let mut text = Vec::new();
    transcode(schema, protobuf, true, &mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn is_of_status(entry: &ManagedFieldsEntry) -> bool {
    entry.subresource == Subresource::Status.as_str()
}

/// An object's JSON in a version of its kind, without who owns what.
pub(crate) fn without_owners(ops: &dyn KindOps, object: &dyn Object) -> Option<Value> {
    let mut json = if kinds::is_same(ops.info(), object.info()) {
        object.to_json_value().ok()?
    } else {
        serde_json::from_slice(&ops.json_of(object).ok()?).ok()?
    };
    if let Some(meta) = json.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
    }
    Some(json)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}, "annotations": {"note": "x"}},
            "spec": {
                "containers": [{"name": "main", "image": "web:1", "env": [{"name": "A", "value": "1"}]}],
                "securityContext": {"runAsUser": 7},
                "tolerations": [{"operator": "Exists"}],
            },
        })
    }

    fn object(json: &Value) -> Box<dyn Object> {
        let ops = kinds::by_api_version("v1", "Pod").expect("served");
        ops.from_json_value(json.clone()).expect("a pod")
    }

    /// What differs is found in the bytes, and the owners are those that a comparison of everything gives.
    #[test]
    fn owners_follow_from_what_differs() {
        let mut old = object(&pod());
        own_new(Some("creator"), &mut *old, Time::default()).expect("JSON");
        let set = |path: &'static str, value: Value| {
            let mut changed = pod();
            *changed.pointer_mut(path).expect("a value") = value;
            changed
        };
        let mut owners_seen = Vec::new();
        for changed in [
            pod(),
            set("/metadata/annotations", json!({"note": "y"})),
            set("/metadata/annotations", json!({})),
            set("/metadata/labels/app", json!("shop")),
            set("/spec/containers/0/image", json!("web:2")),
            set("/spec/containers/0/env", json!([{"name": "B"}])),
            set("/spec/securityContext", json!(null)),
            set("/spec/securityContext", json!({"fsGroup": 7})),
            set("/spec/tolerations", json!([])),
            set("/spec", json!({"containers": [], "hostname": "web"})),
            set("/spec", json!(null)),
        ] {
            let mut new = object(&changed);
            let change = Change {
                schema: old.ops().schema(),
                api_version: "v1",
                part: Part::Object { status_apart: true },
                now: Time::default(),
            };
            let (before, after) = differing(&change, &*old, &mut *new).expect("told from the bytes");
            let whole = |object: &dyn Object| without_owners(old.ops(), object).expect("JSON");
            let entries = &old.metadata().managed_fields;
            let owners = |before: &Value, after: &Value| {
                apply::owners_of_changed(&change, Some("editor"), entries, before, after)
            };
            let found = owners(&before, &after);
            assert_eq!(found, owners(&whole(&*old), &whole(&*new)), "{changed}");
            assert!(new.metadata().managed_fields.is_empty());
            owners_seen.push(format!("{found:?}"));
        }
        owners_seen.sort();
        owners_seen.dedup();
        assert!(owners_seen.len() > 8, "they differ: {}", owners_seen.len());
    }
}
