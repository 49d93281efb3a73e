//! PersistentVolumeClaims: wishes for storage. Nothing in the cluster binds them; they are stored for those who do.

use trireme_proto::api::{
    core::v1::{
        PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus, TypedLocalObjectReference,
        TypedObjectReference,
    },
    meta::v1::{Quantity, Time},
};

use super::{
    columns::{AGE, age, column, wide},
    volumes::{self, CLASS_ANNOTATION, STORAGE, UNSET, VOLUME_MODES},
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::{AsJson, labels, names, quantities, report, unchanged},
};

/// How far a change of size can have come.
const RESIZE_STATES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];
/// The API group of the only objects beside claims that the older field may name to be filled from.
const SNAPSHOT_GROUP: &str = "snapshot.storage.k8s.io";

impl Kind for PersistentVolumeClaim {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "PersistentVolumeClaim",
        plural: "persistentvolumeclaims",
        singular: "persistentvolumeclaim",
        short_names: &["pvc"],
        categories: &[],
        namespaced: true,
        subresources: &["status"],
        columns: &[
            column("Status", "Its phase."),
            column("Volume", "The volume it is bound to."),
            column("Capacity", "How large that volume is."),
            column("Access Modes", "How that volume may be shared."),
            column("StorageClass", "Its class."),
            column("VolumeAttributesClass", "The class of its settings that can change."),
            AGE,
            wide("VolumeMode", "What it is presented as."),
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        let status = self.status.get_or_insert_default();
        if status.phase.is_empty() {
            status.phase = "Pending".into();
        }
        spec_defaults(self.spec.get_or_insert_default());
    }

    fn prepare_create(&mut self) {
        self.status = Some(PersistentVolumeClaimStatus {
            phase: "Pending".into(),
            ..PersistentVolumeClaimStatus::default()
        });
        align_data_sources(self.spec.get_or_insert_default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| validate_spec(&spec, errors));
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        let (mut new_spec, old_spec) = (
            self.spec.clone().unwrap_or_default(),
            old.spec.clone().unwrap_or_default(),
        );
        let annotation = |claim: &Self| metadata_of(claim).annotations.get(CLASS_ANNOTATION).cloned();
        let (class_now, class_before) = (annotation(self), annotation(old));
        let takes_over_annotation = old_spec.storage_class_name.is_none()
            && class_before.is_some()
            && new_spec.storage_class_name == class_before
            && (class_now.is_none() || class_now == class_before);
        if !takes_over_annotation && class_now != class_before {
            errors.field("metadata", |errors| {
                errors.field("annotations", |errors| {
                    errors.index(CLASS_ANNOTATION, |errors| {
                        unchanged(
                            &class_now.clone().unwrap_or_default(),
                            &class_before.clone().unwrap_or_default(),
                            errors,
                        );
                    });
                });
            });
        }
        let may_name_class = class_before.is_none() || class_before == new_spec.storage_class_name;
        if old_spec.storage_class_name.is_none() && may_name_class {
            new_spec.storage_class_name = None;
        }
        if old_spec.volume_name.is_empty() {
            new_spec.volume_name.clear();
        }
        if self.status.as_ref().is_some_and(|status| status.phase == "Bound") {
            keep_what_may_change(&mut new_spec, &old_spec);
        }
        if new_spec != old_spec {
            errors.field("spec", |errors| {
                errors.forbidden(
                    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
                );
            });
        }
        let new_spec = self.spec.clone().unwrap_or_default();
        validate_size_change(&new_spec, &old_spec, old.status.as_ref(), errors);
        errors.field("volumeMode", |errors| {
            unchanged(&new_spec.volume_mode, &old_spec.volume_mode, errors);
        });
        validate_attributes_class_change(&new_spec, &old_spec, errors);
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut FieldErrors) {
        let status = self.status.clone().unwrap_or_default();
        errors.field("status", |errors| {
            errors.field("capacity", |errors| volumes::reported_sizes(&status.capacity, errors));
            errors.field("allocatedResourceStatus", |errors| {
                for (name, state) in &status.allocated_resource_statuses {
                    resource_name(name, errors);
                    if !RESIZE_STATES.contains(&state.as_str()) {
                        errors.not_supported(name, RESIZE_STATES);
                    }
                }
            });
            errors.field("allocatedResources", |errors| {
                for name in status.allocated_resources.keys() {
                    resource_name(name, errors);
                }
                volumes::reported_sizes(&status.allocated_resources, errors);
            });
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let (spec, status) = (
            self.spec.clone().unwrap_or_default(),
            self.status.clone().unwrap_or_default(),
        );
        let meta = metadata_of(self);
        let phase = match meta.deletion_timestamp {
            Some(_) => "Terminating",
            None => &status.phase,
        };
        let (mut capacity, mut access_modes) = (String::new(), String::new());
        if !spec.volume_name.is_empty() {
            capacity = volumes::size_cell(&status.capacity);
            access_modes = volumes::access_modes_cell(&status.access_modes);
        }
        vec![
            phase.to_owned(),
            spec.volume_name.clone(),
            capacity,
            access_modes,
            storage_class(self).unwrap_or_default().to_owned(),
            spec.volume_attributes_class_name
                .clone()
                .unwrap_or_else(|| UNSET.into()),
            age(meta, now),
            spec.volume_mode.clone().unwrap_or_else(|| UNSET.into()),
        ]
    }
}

/// The class that a claim names, by the older annotation or the field; an empty one is a wish for none.
pub fn storage_class(claim: &PersistentVolumeClaim) -> Option<&str> {
    let field = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    match &claim.metadata {
        Some(meta) => volumes::class(meta, field),
        None => field.map(String::as_str),
    }
}

/// How much storage a claim takes up: what it asks for, or more if more has been set apart for it already.
pub fn storage_of(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let asked = resources.and_then(|resources| resources.requests.get(STORAGE))?;
    let set_apart = claim
        .status
        .as_ref()
        .and_then(|status| status.allocated_resources.get(STORAGE));
    set_apart
        .filter(|set_apart| quantities::compare(set_apart, asked).is_gt())
        .or(Some(asked))
}

/// What the spec of a claim is filled up with, also one in a template.
pub(crate) fn spec_defaults(spec: &mut PersistentVolumeClaimSpec) {
    spec.volume_mode.get_or_insert_with(|| "Filesystem".into());
    spec.resources.get_or_insert_default();
}

/// Makes the two fields that say what a volume is filled from say the same, as far as the older one can.
fn align_data_sources(spec: &mut PersistentVolumeClaimSpec) {
    let is_old_style = |source: &TypedLocalObjectReference| match source.api_group.as_deref() {
        None | Some("") => source.kind == "PersistentVolumeClaim",
        Some(SNAPSHOT_GROUP) => source.kind == "VolumeSnapshot",
        Some(_) => false,
    };
    if !spec.data_source.as_ref().is_some_and(is_old_style) {
        spec.data_source = None;
    }
    // To be filled from another namespace needs a grant, which nothing here can give.
    let crosses = |source: &TypedObjectReference| source.namespace.as_ref().is_some_and(|name| !name.is_empty());
    if spec.data_source_ref.as_ref().is_some_and(crosses) {
        spec.data_source_ref = None;
    }
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(source), None) => {
            spec.data_source_ref = Some(TypedObjectReference {
                api_group: source.api_group.clone(),
                kind: source.kind.clone(),
                name: source.name.clone(),
                ..TypedObjectReference::default()
            });
        }
        (None, Some(source)) => {
            spec.data_source = Some(TypedLocalObjectReference {
                api_group: source.api_group.clone(),
                kind: source.kind.clone(),
                name: source.name.clone(),
            });
        }
        _ => {}
    }
}

/// Checks the spec of a claim, also one in a template. The path is that of the spec.
pub(crate) fn validate_spec(spec: &PersistentVolumeClaimSpec, errors: &mut FieldErrors) {
    errors.field("accessModes", |errors| {
        volumes::access_modes(&spec.access_modes, "at least 1 access mode is required", errors);
    });
    if let Some(selector) = &spec.selector {
        errors.field("selector", |errors| labels::label_selector(selector, errors));
    }
    errors.field("resources", |errors| {
        errors.index(STORAGE, |errors| {
            match spec
                .resources
                .as_ref()
                .and_then(|resources| resources.requests.get(STORAGE))
            {
                None => errors.required(""),
                Some(quantity) => volumes::size(quantity, errors),
            }
        });
    });
    if let Some(class) = spec.storage_class_name.as_deref().filter(|class| !class.is_empty()) {
        errors.field("storageClassName", |errors| volumes::class_name(class, errors));
    }
    if let Some(mode) = spec.volume_mode.as_deref().filter(|mode| !VOLUME_MODES.contains(mode)) {
        errors.field("volumeMode", |errors| errors.not_supported(mode, VOLUME_MODES));
    }
    if let Some(source) = &spec.data_source {
        errors.field("dataSource", |errors| {
            validate_source(source.api_group.as_deref(), &source.kind, &source.name, errors);
        });
    }
    if let Some(source) = &spec.data_source_ref {
        errors.field("dataSourceRef", |errors| {
            validate_source(source.api_group.as_deref(), &source.kind, &source.name, errors);
            if let Some(namespace) = source.namespace.as_deref().filter(|name| !name.is_empty()) {
                errors.field("namespace", |errors| {
                    report(namespace, names::dns_label(namespace), errors);
                });
            }
        });
    }
    if let (Some(source), Some(reference)) = (&spec.data_source, &spec.data_source_ref) {
        let crosses = reference.namespace.as_ref().is_some_and(|name| !name.is_empty());
        let differs =
            (&source.api_group, &source.kind, &source.name) != (&reference.api_group, &reference.kind, &reference.name);
        if crosses {
            errors.invalid(
                AsJson(source),
                "may not be specified when dataSourceRef.namespace is specified",
            );
        } else if differs {
            errors.invalid(AsJson(source), "must match dataSourceRef");
        }
    }
    if let Some(class) = spec
        .volume_attributes_class_name
        .as_deref()
        .filter(|class| !class.is_empty())
    {
        errors.field("volumeAttributesClassName", |errors| volumes::class_name(class, errors));
    }
}

fn validate_source(group: Option<&str>, kind: &str, name: &str, errors: &mut FieldErrors) {
    for (field, value) in [("name", name), ("kind", kind)] {
        if value.is_empty() {
            errors.field(field, |errors| errors.required(""));
        }
    }
    match group {
        None | Some("") if kind != "PersistentVolumeClaim" => {
            errors.invalid(
                kind,
                "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            );
        }
        None | Some("") => {}
        Some(group) => errors.field("apiGroup", |errors| report(group, names::dns_subdomain(group), errors)),
    }
}

/// Takes over from the old spec what may change of a bound claim, so that the rest can be compared.
fn keep_what_may_change(new: &mut PersistentVolumeClaimSpec, old: &PersistentVolumeClaimSpec) {
    let size = old
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.get(STORAGE));
    if let (Some(resources), Some(size)) = (&mut new.resources, size)
        && !resources.requests.is_empty()
    {
        resources.requests.insert(STORAGE.into(), size.clone());
    }
    if new.volume_attributes_class_name.is_some() {
        new.volume_attributes_class_name
            .clone_from(&old.volume_attributes_class_name);
    }
}

/// A claim may grow. It may shrink only while it has not got what it asked for, and not below what it has.
fn validate_size_change(
    new: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaimSpec,
    status: Option<&PersistentVolumeClaimStatus>,
    errors: &mut FieldErrors,
) {
    let size = |spec: &PersistentVolumeClaimSpec| {
        let resources = spec.resources.as_ref();
        resources
            .and_then(|resources| resources.requests.get(STORAGE))
            .map(quantities::amount)
            .unwrap_or_default()
    };
    let has = status
        .and_then(|status| status.capacity.get(STORAGE))
        .map(quantities::amount)
        .unwrap_or_default();
    if size(new) < size(old) && size(new) <= has {
        errors.field("spec.resources.requests.storage", |errors| {
            errors.forbidden("field can not be less than status.capacity");
        });
    }
}

fn validate_attributes_class_change(
    new: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaimSpec,
    errors: &mut FieldErrors,
) {
    if old.volume_attributes_class_name.is_none() {
        return;
    }
    errors.field("spec.volumeAttributesClassName", |errors| {
        match new.volume_attributes_class_name.as_deref() {
            None => errors.forbidden("update from non-nil value to nil is forbidden"),
            Some("") if new.volume_attributes_class_name != old.volume_attributes_class_name => {
                errors.forbidden("update from non-nil value to an empty string is forbidden");
            }
            Some(_) => {}
        }
    });
}

/// Checks the name of a resource of a claim. Of those without a domain there is only one.
fn resource_name(name: &str, errors: &mut FieldErrors) {
    report(name, names::qualified_name(name), errors);
    if name != STORAGE && (!name.contains('/') || name.contains("kubernetes.io/")) {
        errors.not_supported(name, &[STORAGE]);
    }
}
