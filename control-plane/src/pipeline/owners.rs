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
use trireme_proto::api::meta::v1::{ManagedFieldsEntry, Time};

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
    let owners = match (without_owners(old.ops(), old), without_owners(old.ops(), object)) {
        (Some(before), Some(after)) => apply::owners_of_changed(&change, manager, &entries, &before, &after),
        // What has no JSON has been compared with nothing: better old owners than none.
        _ => entries,
    };
    object.metadata_mut().managed_fields = owners;
}

fn is_of_status(entry: &ManagedFieldsEntry) -> bool {
    entry.subresource == Subresource::Status.as_str()
}

/// An object's JSON in a version of its kind, without who owns what.
pub(crate) fn without_owners(ops: &dyn KindOps, object: &dyn Object) -> Option<Value> {
    let is_stored_version = ops.info().version == object.info().version && ops.info().group == object.info().group;
    let mut json = if is_stored_version {
        object.to_json_value().ok()?
    } else {
        serde_json::from_slice(&ops.json_of(object).ok()?).ok()?
    };
    if let Some(meta) = json.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
    }
    Some(json)
}
