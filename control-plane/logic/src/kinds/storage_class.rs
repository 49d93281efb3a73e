//! StorageClasses: kinds of volumes, and who makes them.

use std::collections::{BTreeMap, BTreeSet};

use trireme_proto::api::{
    core::v1::{TopologySelectorLabelRequirement, TopologySelectorTerm},
    meta::v1::Time,
    storage::v1::StorageClass,
};

use super::columns::{AGE, age, column};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
    validation::{names, report, unchanged},
};

/// Annotations that make a class the one of claims that name none; the second is the older one.
const DEFAULT_ANNOTATIONS: &[&str] = &[
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

impl Kind for StorageClass {
    const INFO: KindInfo = KindInfo {
        group: "storage.k8s.io",
        version: "v1",
        kind: "StorageClass",
        plural: "storageclasses",
        singular: "storageclass",
        short_names: &["sc"],
        categories: &[],
        namespaced: false,
        subresources: &[],
        columns: &[
            column("Name", "Its name, and whether it is the default."),
            column("Provisioner", "Who makes the volumes."),
            column("ReclaimPolicy", "What happens to the data once a claim is gone."),
            column("VolumeBindingMode", "When volumes are made."),
            column("AllowVolumeExpansion", "Whether volumes may be made larger."),
            AGE,
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.reclaim_policy.get_or_insert_with(|| "Delete".into());
        self.volume_binding_mode.get_or_insert_with(|| "Immediate".into());
    }

    fn validate(&self, errors: &mut FieldErrors) {
        errors.field("provisioner", |errors| match self.provisioner.as_str() {
            "" => errors.required(""),
            name => report(name, names::qualified_name(&name.to_lowercase()), errors),
        });
        errors.field("parameters", |errors| validate_parameters(&self.parameters, errors));
        if let Some(policy) = self.reclaim_policy.as_deref().filter(|policy| !policy.is_empty()) {
            errors.field("reclaimPolicy", |errors| {
                if !["Delete", "Retain"].contains(&policy) {
                    errors.not_supported(policy, &["Delete", "Retain"]);
                }
            });
        }
        errors.field("volumeBindingMode", |errors| {
            match self.volume_binding_mode.as_deref() {
                None => errors.required(""),
                Some("Immediate" | "WaitForFirstConsumer") => {}
                Some(other) => errors.not_supported(other, &["Immediate", "WaitForFirstConsumer"]),
            }
        });
        errors.field("allowedTopologies", |errors| {
            let mut seen = BTreeSet::new();
            for (index, term) in self.allowed_topologies.iter().enumerate() {
                errors.index(index, |errors| {
                    errors.field("matchLabelExpressions", |errors| {
                        if !seen.insert(validate_topology(term, errors)) {
                            errors.duplicate("");
                        }
                    });
                });
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        for (field, changed) in [
            ("parameters", self.parameters != old.parameters),
            ("provisioner", self.provisioner != old.provisioner),
            ("reclaimPolicy", self.reclaim_policy != old.reclaim_policy),
        ] {
            if changed {
                errors.field(field, |errors| {
                    errors.forbidden(format_args!("updates to {field} are forbidden."));
                });
            }
        }
        errors.field("volumeBindingMode", |errors| {
            unchanged(&self.volume_binding_mode, &old.volume_binding_mode, errors);
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let meta = metadata_of(self);
        let mark = if is_default(self) { " (default)" } else { "" };
        vec![
            format!("{}{mark}", meta.name),
            self.provisioner.clone(),
            self.reclaim_policy.clone().unwrap_or_else(|| "Delete".into()),
            self.volume_binding_mode.clone().unwrap_or_else(|| "Immediate".into()),
            self.allow_volume_expansion.unwrap_or(false).to_string(),
            age(meta, now),
        ]
    }
}

/// True if claims that name no class get this one.
pub fn is_default(class: &StorageClass) -> bool {
    let annotations = class.metadata.as_ref().map(|meta| &meta.annotations);
    annotations.is_some_and(|annotations| {
        DEFAULT_ANNOTATIONS
            .iter()
            .any(|name| annotations.get(*name).is_some_and(|value| value == "true"))
    })
}

fn validate_parameters(parameters: &BTreeMap<String, String>, errors: &mut FieldErrors) {
    if parameters.len() > limits::STORAGE_PARAMETERS {
        return errors.too_long(limits::STORAGE_PARAMETERS);
    }
    if parameters.contains_key("") {
        errors.invalid("", "field can not be empty.");
    }
    let size_bytes: usize = parameters.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size_bytes > limits::STORAGE_PARAMETERS_SIZE_BYTES {
        errors.too_long(limits::STORAGE_PARAMETERS_SIZE_BYTES);
    }
}

/// Checks one choice of places, and answers with what it comes to. The path is that of its requirements.
fn validate_topology<'a>(
    term: &'a TopologySelectorTerm,
    errors: &mut FieldErrors,
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut places = BTreeMap::new();
    for (index, requirement) in term.match_label_expressions.iter().enumerate() {
        errors.index(index, |errors| {
            let values = validate_place(requirement, errors);
            if places.insert(requirement.key.as_str(), values).is_some() {
                errors.field("key", |errors| errors.duplicate(&requirement.key));
            }
        });
    }
    places
}

fn validate_place<'a>(
    requirement: &'a TopologySelectorLabelRequirement,
    errors: &mut FieldErrors,
) -> BTreeSet<&'a str> {
    let mut values = BTreeSet::new();
    errors.field("values", |errors| {
        if requirement.values.is_empty() {
            errors.required("");
        }
        for (index, value) in requirement.values.iter().enumerate() {
            if !values.insert(value.as_str()) {
                errors.index(index, |errors| errors.duplicate(value));
            }
        }
    });
    errors.field("key", |errors| {
        report(&requirement.key, names::qualified_name(&requirement.key), errors);
    });
    values
}
