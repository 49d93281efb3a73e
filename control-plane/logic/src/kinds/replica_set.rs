//! ReplicaSets: pods of one template kept at a count.

use trireme_proto::api::{
    apps::v1::{ReplicaSet, ReplicaSetStatus},
    meta::v1::Time,
};

use super::{
    bump_generation, first_generation,
    replicas::{self, Counts},
    workload,
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, Scale, metadata_of},
    validation::{labels, unchanged},
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
        columns: replicas::COLUMNS,
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
        errors.field("status", |errors| Counts::from(&self.status).validate(errors));
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let spec = self.spec.as_ref();
        let (wanted, template) = (
            spec.and_then(|spec| spec.replicas),
            spec.and_then(|spec| spec.template.as_ref()),
        );
        let selector = workload::selector_cell(spec.and_then(|spec| spec.selector.as_ref()));
        Counts::from(&self.status).cells(wanted, metadata_of(self), template, selector, now)
    }

    fn selectable_field(&self, path: &str) -> Option<String> {
        (path == "status.replicas").then(|| Counts::from(&self.status).replicas.to_string())
    }

    fn scale(&self) -> Option<Scale> {
        let spec = self.spec.as_ref();
        Some(Scale {
            spec_replicas: spec.and_then(|spec| spec.replicas).unwrap_or(0),
            status_replicas: Counts::from(&self.status).replicas,
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
