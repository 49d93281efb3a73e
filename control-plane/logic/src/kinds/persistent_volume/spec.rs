//! Checks of what a volume is, apart from where its data is.

use trireme_proto::api::core::v1::{PersistentVolumeSource, PersistentVolumeSpec, VolumeNodeAffinity};

use super::source;
use crate::{
    field_error::FieldErrors,
    kinds::{
        pod_spec,
        volumes::{self, STORAGE, VOLUME_MODES},
    },
    validation::AsJson,
};

/// Checks a volume of the cluster. The path is that of the spec.
pub(super) fn validate(spec: &PersistentVolumeSpec, errors: &mut FieldErrors) {
    errors.field("accessModes", |errors| {
        volumes::access_modes(&spec.access_modes, "", errors);
    });
    errors.field("capacity", |errors| {
        if spec.capacity.is_empty() {
            errors.required("");
        }
        if spec.capacity.len() != 1 || !spec.capacity.contains_key(STORAGE) {
            errors.not_supported(AsJson(&spec.capacity), &[STORAGE]);
        }
        for (name, quantity) in &spec.capacity {
            errors.index(name, |errors| volumes::size(quantity, errors));
        }
    });
    errors.field("persistentVolumeReclaimPolicy", |errors| {
        let policies = ["Delete", "Recycle", "Retain"];
        let policy = spec.persistent_volume_reclaim_policy.as_str();
        if !policy.is_empty() && !policies.contains(&policy) {
            errors.not_supported(policy, &policies);
        }
    });
    if let Some(affinity) = &spec.node_affinity {
        errors.field("nodeAffinity", |errors| validate_node_affinity(affinity, errors));
    }
    let place = spec.persistent_volume_source.clone().unwrap_or_default();
    source::validate(&place, errors);
    if place.local.is_some() && spec.node_affinity.is_none() {
        errors.field("nodeAffinity", |errors| {
            errors.required("Local volume requires node affinity");
        });
    }
    if recycles_everything(spec, &place) {
        errors.field("persistentVolumeReclaimPolicy", |errors| {
            errors.forbidden("may not be 'recycle' for a hostPath mount of '/'");
        });
    }
    if !spec.storage_class_name.is_empty() {
        errors.field("storageClassName", |errors| {
            volumes::class_name(&spec.storage_class_name, errors);
        });
    }
    if let Some(mode) = spec.volume_mode.as_deref().filter(|mode| !VOLUME_MODES.contains(mode)) {
        errors.field("volumeMode", |errors| errors.not_supported(mode, VOLUME_MODES));
    }
    validate_attributes_class(spec, &place, errors);
}

/// Checks a volume that an attachment tells of in line. The path is that of the spec.
pub(in crate::kinds) fn validate_inline(spec: &PersistentVolumeSpec, errors: &mut FieldErrors) {
    let why = "may not be specified in the context of inline volumes";
    let place = spec.persistent_volume_source.clone().unwrap_or_default();
    for (field, given) in [
        ("claimRef", spec.claim_ref.is_some()),
        ("capacity", !spec.capacity.is_empty()),
    ] {
        if given {
            errors.field(field, |errors| errors.forbidden(why));
        }
    }
    if place.csi.is_none() {
        errors.field("csi", |errors| {
            errors.required("has to be specified in the context of inline volumes");
        });
    }
    errors.field("accessModes", |errors| {
        volumes::access_modes(&spec.access_modes, "", errors);
    });
    if !matches!(spec.persistent_volume_reclaim_policy.as_str(), "" | "Retain") {
        errors.field("persistentVolumeReclaimPolicy", |errors| {
            errors.forbidden("may only be Retain in the context of inline volumes");
        });
    }
    if spec.node_affinity.is_some() {
        errors.field("nodeAffinity", |errors| errors.forbidden(why));
    }
    source::validate(&place, errors);
    if !spec.storage_class_name.is_empty() {
        errors.field("storageClassName", |errors| errors.forbidden(why));
    }
    if spec.volume_mode.as_deref().is_some_and(|mode| mode != "Filesystem") {
        errors.field("volumeMode", |errors| {
            errors.forbidden("may not specify volumeMode other than Filesystem in the context of inline volumes");
        });
    }
}

fn validate_node_affinity(affinity: &VolumeNodeAffinity, errors: &mut FieldErrors) {
    errors.field("required", |errors| match &affinity.required {
        None => errors.required("must specify required node constraints"),
        Some(selector) => pod_spec::validate_node_selector(selector, errors),
    });
}

fn validate_attributes_class(spec: &PersistentVolumeSpec, place: &PersistentVolumeSource, errors: &mut FieldErrors) {
    let Some(class) = &spec.volume_attributes_class_name else {
        return;
    };
    errors.field("volumeAttributesClassName", |errors| match class.as_str() {
        "" => errors.required("an empty string is disallowed"),
        class => volumes::class_name(class, errors),
    });
    if place.csi.is_none() {
        errors.field("csi", |errors| {
            errors.required("has to be specified when using volumeAttributesClassName");
        });
    }
}

/// To recycle a volume is to delete what is in it; that must not be a whole machine.
fn recycles_everything(spec: &PersistentVolumeSpec, place: &PersistentVolumeSource) -> bool {
    spec.persistent_volume_reclaim_policy == "Recycle"
        && place
            .host_path
            .as_ref()
            .is_some_and(|host| host.path.starts_with('/') && host.path.trim_matches(['/', '.']).is_empty())
}
