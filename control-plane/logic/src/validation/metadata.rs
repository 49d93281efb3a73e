//! Metadata, which all kinds have alike: what clients may set, what is checked, what stays.
//!
//! Names, uids, revisions and times come from the registry; the functions here only carry them over and
//! refuse changes to them.

use std::collections::{BTreeMap, BTreeSet};

use trireme_proto::api::meta::v1::{ObjectMeta, OwnerReference};

use super::{AsJson, IMMUTABLE, labels, names, not_negative, report};
use crate::{field_error::FieldErrors, kind::KindInfo, limits};

/// Drops what the server alone sets. Name, namespace, labels and the like stay as given.
pub fn prepare_create(meta: &mut ObjectMeta) {
    meta.uid.clear();
    meta.self_link.clear();
    meta.resource_version.clear();
    meta.creation_timestamp = None;
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    meta.generation = 0;
}

/// Carries over from `old` what a client may leave out or may not change.
pub fn prepare_update(meta: &mut ObjectMeta, old: &ObjectMeta) {
    if meta.uid.is_empty() {
        meta.uid.clone_from(&old.uid);
    }
    if meta.namespace.is_empty() {
        meta.namespace.clone_from(&old.namespace);
    }
    meta.creation_timestamp.clone_from(&old.creation_timestamp);
    meta.deletion_timestamp.clone_from(&old.deletion_timestamp);
    meta.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    meta.generate_name.clone_from(&old.generate_name);
    meta.generation = old.generation;
    meta.self_link.clear();
}

/// Checks the metadata of an object. Its name has been made by now, if it was to be made.
pub fn validate(info: &KindInfo, meta: &ObjectMeta, errors: &mut FieldErrors) {
    errors.field("metadata", |errors| {
        if !meta.generate_name.is_empty() {
            let prefix = &meta.generate_name;
            errors.field("generateName", |errors| {
                report(prefix, names::object_name_prefix(info.name_rule, prefix), errors);
            });
        }
        errors.field("name", |errors| match meta.name.as_str() {
            "" => errors.required("name or generateName is required"),
            name => report(name, names::object_name(info.name_rule, name), errors),
        });
        errors.field("namespace", |errors| namespace(info, &meta.namespace, errors));
        errors.field("generation", |errors| not_negative(meta.generation, errors));
        errors.field("labels", |errors| labels::labels(&meta.labels, errors));
        errors.field("annotations", |errors| annotations(&meta.annotations, errors));
        errors.field("ownerReferences", |errors| {
            owner_references(&meta.owner_references, errors);
        });
        errors.field("finalizers", |errors| finalizers(&meta.finalizers, errors));
    });
}

/// Checks a change of metadata.
pub fn validate_update(meta: &ObjectMeta, old: &ObjectMeta, errors: &mut FieldErrors) {
    errors.field("metadata", |errors| {
        for (field, new, old) in [
            ("name", &meta.name, &old.name),
            ("namespace", &meta.namespace, &old.namespace),
            ("uid", &meta.uid, &old.uid),
        ] {
            if new != old {
                errors.field(field, |errors| errors.invalid(new, IMMUTABLE));
            }
        }
        let before: BTreeSet<&String> = old.finalizers.iter().collect();
        let added: Vec<&String> = meta.finalizers.iter().filter(|name| !before.contains(name)).collect();
        if old.deletion_timestamp.is_some() && !added.is_empty() {
            errors.field("finalizers", |errors| {
                errors.forbidden(format_args!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
                ));
            });
        }
    });
}

/// Checks annotations: keys by the rule of labels but in any case, values by their size together.
pub fn annotations(annotations: &BTreeMap<String, String>, errors: &mut FieldErrors) {
    for key in annotations.keys() {
        report(key, names::qualified_name(&key.to_lowercase()), errors);
    }
    let size_bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size_bytes > limits::ANNOTATIONS_SIZE_BYTES {
        errors.too_long(limits::ANNOTATIONS_SIZE_BYTES);
    }
}

fn namespace(info: &KindInfo, namespace: &str, errors: &mut FieldErrors) {
    match (info.namespaced, namespace) {
        (true, "") => errors.required(""),
        (true, name) => report(name, names::dns_label(name), errors),
        (false, "") => {}
        (false, _) => errors.forbidden("not allowed on this type"),
    }
}

fn owner_references(owners: &[OwnerReference], errors: &mut FieldErrors) {
    let mut controller: Option<&OwnerReference> = None;
    for (index, owner) in owners.iter().enumerate() {
        errors.index(index, |errors| owner_reference(owner, errors));
        if owner.controller != Some(true) {
            continue;
        }
        match controller {
            Some(first) => errors.invalid(
                AsJson(&owner.name),
                format_args!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {}/{} and {}/{}",
                    first.kind, first.name, owner.kind, owner.name
                ),
            ),
            None => controller = Some(owner),
        }
    }
}

fn owner_reference(owner: &OwnerReference, errors: &mut FieldErrors) {
    for (field, value) in [
        ("apiVersion", &owner.api_version),
        ("kind", &owner.kind),
        ("name", &owner.name),
        ("uid", &owner.uid),
    ] {
        if value.is_empty() {
            errors.field(field, |errors| errors.required("must not be empty"));
        }
    }
    if owner.api_version.matches('/').count() > 1 || owner.api_version.ends_with('/') {
        errors.field("apiVersion", |errors| {
            errors.invalid(&owner.api_version, "must be <group>/<version> or <version>");
        });
    }
    if owner.api_version == "v1" && owner.kind == "Event" {
        errors.invalid(AsJson(&owner.name), "/v1, Kind=Event is disallowed from being an owner");
    }
}

fn finalizers(finalizers: &[String], errors: &mut FieldErrors) {
    for name in finalizers {
        report(name, names::qualified_name(name), errors);
    }
    if ["orphan", "foregroundDeletion"]
        .iter()
        .all(|name| finalizers.iter().any(|given| given == name))
    {
        errors.invalid(
            AsJson(&finalizers),
            "finalizer orphan and foregroundDeletion cannot be both set",
        );
    }
}
