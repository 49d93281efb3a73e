//! ReplicationControllers: the older form of ReplicaSets, with a plain map as selector.

use trireme_proto::api::{
    core::v1::{ReplicationController, ReplicationControllerStatus},
    meta::v1::Time,
};

use super::{
    bump_generation,
    columns::or_none,
    first_generation,
    replicas::{self, Counts},
    workload,
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, Scale, metadata_of},
    validation::{labels, not_negative},
};

impl Kind for ReplicationController {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "ReplicationController",
        plural: "replicationcontrollers",
        singular: "replicationcontroller",
        short_names: &["rc"],
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
        if spec.template.is_none() {
            return;
        }
        workload::template_defaults(&mut spec.template);
        let template = spec.template.as_ref().and_then(|template| template.metadata.as_ref());
        let pod_labels = template.map(|metadata| metadata.labels.clone()).unwrap_or_default();
        if spec.selector.is_empty() {
            spec.selector.clone_from(&pod_labels);
        }
        let metadata = self.metadata.get_or_insert_default();
        if metadata.labels.is_empty() {
            metadata.labels = pod_labels;
        }
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
        self.status = Some(ReplicationControllerStatus::default());
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
            errors.field("replicas", |errors| {
                not_negative(spec.replicas.unwrap_or(0).into(), errors);
            });
            errors.field("minReadySeconds", |errors| {
                not_negative(spec.min_ready_seconds.into(), errors);
            });
            errors.field("selector", |errors| {
                if spec.selector.is_empty() {
                    errors.required("");
                }
                labels::labels(&spec.selector, errors);
            });
            let selects = |pod: &std::collections::BTreeMap<String, String>| {
                spec.selector.iter().all(|(key, value)| pod.get(key) == Some(value))
            };
            workload::validate_template("ReplicationController", spec.template.as_ref(), selects, errors);
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
        let selector = or_none(&spec.map(|spec| labels::map_text(&spec.selector)).unwrap_or_default());
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
            selector: spec.map(|spec| labels::map_text(&spec.selector)).unwrap_or_default(),
        })
    }

    fn set_replicas(&mut self, replicas: i32) {
        self.spec.get_or_insert_default().replicas = Some(replicas);
    }
}
