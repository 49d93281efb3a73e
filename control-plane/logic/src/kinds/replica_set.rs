//! ReplicaSets: pods of one template kept at a count.

use trireme_proto::api::{
    apps::v1::{ReplicaSet, ReplicaSetStatus},
    meta::v1::Time,
};

use super::{
    bump_generation,
    columns::{AGE, age, column},
    first_generation,
    workload::{self, CONTAINERS, IMAGES, SELECTOR},
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, Scale, metadata_of},
    validation::{labels, not_negative, unchanged},
};

impl Kind for ReplicaSet {
    const INFO: KindInfo = KindInfo {
        group: "apps",
        version: "v1",
        kind: "ReplicaSet",
        plural: "replicasets",
        singular: "replicaset",
        short_names: &["rs"],
        categories: &["all"],
        namespaced: true,
        subresources: &["status", "scale"],
        columns: &[
            column("Desired", "Pods that are wanted."),
            column("Current", "Pods that exist."),
            column("Ready", "Pods that are ready."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        selectable_fields: &["status.replicas"],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.status.get_or_insert_default();
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        workload::template_defaults(&mut spec.template);
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
        self.status = Some(ReplicaSetStatus::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        bump_generation(&mut self.metadata, self.spec != old.spec);
    }

    fn prepare_status_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| {
            let (selector, template) = (spec.selector.as_ref(), spec.template.as_ref());
            workload::validate(spec.replicas, spec.min_ready_seconds, selector, template, errors);
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        let selector = |object: &Self| object.spec.as_ref().and_then(|spec| spec.selector.clone());
        errors.field("spec.selector", |errors| {
            unchanged(&selector(self), &selector(old), errors);
        });
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut FieldErrors) {
        let status = self.status.clone().unwrap_or_default();
        let counts = (
            status.replicas,
            status.fully_labeled_replicas,
            status.ready_replicas,
            status.available_replicas,
        );
        errors.field("status", |errors| {
            validate_counts(counts, status.observed_generation, errors);
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let (spec, status) = (self.spec.as_ref(), self.status.clone().unwrap_or_default());
        let [containers, images] = workload::template_cells(spec.and_then(|spec| spec.template.as_ref()));
        vec![
            spec.and_then(|spec| spec.replicas).unwrap_or(0).to_string(),
            status.replicas.to_string(),
            status.ready_replicas.to_string(),
            age(metadata_of(self), now),
            containers,
            images,
            workload::selector_cell(spec.and_then(|spec| spec.selector.as_ref())),
        ]
    }

    fn selectable_field(&self, path: &str) -> Option<String> {
        (path == "status.replicas").then(|| self.status.as_ref().map_or(0, |status| status.replicas).to_string())
    }

    fn scale(&self) -> Option<Scale> {
        let spec = self.spec.as_ref();
        Some(Scale {
            spec_replicas: spec.and_then(|spec| spec.replicas).unwrap_or(0),
            status_replicas: self.status.as_ref().map_or(0, |status| status.replicas),
            selector: spec
                .and_then(|spec| spec.selector.as_ref())
                .map(labels::selector_text)
                .unwrap_or_default(),
        })
    }

    fn set_replicas(&mut self, replicas: i32) {
        self.spec.get_or_insert_default().replicas = Some(replicas);
    }
}

/// Checks the counts of a status: all, fully labelled, ready, available. The path is that of the status.
pub(super) fn validate_counts(counts: (i32, i32, i32, i32), observed_generation: i64, errors: &mut FieldErrors) {
    let (replicas, labelled, ready, available) = counts;
    errors.field("observedGeneration", |errors| not_negative(observed_generation, errors));
    for (field, value) in [
        ("replicas", replicas),
        ("fullyLabeledReplicas", labelled),
        ("readyReplicas", ready),
        ("availableReplicas", available),
    ] {
        errors.field(field, |errors| {
            not_negative(value.into(), errors);
            if value > replicas {
                errors.invalid(value, "cannot be greater than status.replicas");
            }
        });
    }
    if available > ready {
        errors.field("availableReplicas", |errors| {
            errors.invalid(available, "cannot be greater than readyReplicas");
        });
    }
}
