//! DaemonSets: a pod on every node, or on every node of some kind.

use trireme_proto::api::{
    apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus, DaemonSetUpdateStrategy, RollingUpdateDaemonSet},
    meta::v1::Time,
};

use super::{
    bump_generation,
    columns::{AGE, age, column, or_none},
    first_generation,
    workload::{self, CONTAINERS, IMAGES, SELECTOR},
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
    validation::{AsJson, labels, not_negative, shares, unchanged},
};

impl Kind for DaemonSet {
    const INFO: KindInfo = KindInfo {
        group: "apps",
        version: "v1",
        kind: "DaemonSet",
        plural: "daemonsets",
        singular: "daemonset",
        short_names: &["ds"],
        categories: &["all"],
        namespaced: true,
        subresources: &["status"],
        columns: &[
            column("Desired", "Nodes that should run a pod."),
            column("Current", "Nodes that run a pod and should."),
            column("Ready", "Nodes whose pod is ready."),
            column("Up-to-date", "Nodes whose pod is of the present template."),
            column("Available", "Nodes whose pod has been ready for long enough."),
            column("Node Selector", "Labels of the nodes that should run a pod."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.status.get_or_insert_default();
        let spec = self.spec.get_or_insert_default();
        spec.revision_history_limit
            .get_or_insert(limits::DEFAULT_REVISION_HISTORY);
        workload::template_defaults(&mut spec.template);
        let strategy = spec.update_strategy.get_or_insert_default();
        if strategy.r#type.is_empty() {
            strategy.r#type = "RollingUpdate".into();
        }
        if strategy.r#type == "RollingUpdate" {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.max_unavailable.get_or_insert_with(|| 1.into());
            rolling.max_surge.get_or_insert_with(|| 0.into());
        }
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
        self.status = Some(DaemonSetStatus::default());
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
        errors.field("spec", |errors| validate_spec(&spec, errors));
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        let selector = |object: &Self| object.spec.as_ref().and_then(|spec| spec.selector.clone());
        errors.field("spec.selector", |errors| {
            unchanged(&selector(self), &selector(old), errors);
        });
    }

    fn validate_status_update(&self, old: &Self, errors: &mut FieldErrors) {
        let status = self.status.clone().unwrap_or_default();
        let collisions_before = old.status.as_ref().and_then(|status| status.collision_count);
        errors.field("status", |errors| {
            for (field, value) in [
                ("currentNumberScheduled", status.current_number_scheduled.into()),
                ("numberMisscheduled", status.number_misscheduled.into()),
                ("desiredNumberScheduled", status.desired_number_scheduled.into()),
                ("numberReady", status.number_ready.into()),
                ("observedGeneration", status.observed_generation),
                ("updatedNumberScheduled", status.updated_number_scheduled.into()),
                ("numberAvailable", status.number_available.into()),
                ("numberUnavailable", status.number_unavailable.into()),
            ] {
                errors.field(field, |errors| not_negative(value, errors));
            }
            workload::validate_collisions(status.collision_count, collisions_before, errors);
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let (spec, status) = (self.spec.as_ref(), self.status.clone().unwrap_or_default());
        let template = spec.and_then(|spec| spec.template.as_ref());
        let node_selector = template
            .and_then(|template| template.spec.as_ref())
            .map(|spec| labels::map_text(&spec.node_selector))
            .unwrap_or_default();
        let [containers, images] = workload::template_cells(template);
        vec![
            status.desired_number_scheduled.to_string(),
            status.current_number_scheduled.to_string(),
            status.number_ready.to_string(),
            status.updated_number_scheduled.to_string(),
            status.number_available.to_string(),
            or_none(&node_selector),
            age(metadata_of(self), now),
            containers,
            images,
            workload::selector_cell(spec.and_then(|spec| spec.selector.as_ref())),
        ]
    }
}

fn validate_spec(spec: &DaemonSetSpec, errors: &mut FieldErrors) {
    let selector = spec.selector.as_ref();
    workload::validate_selector(selector, "empty selector is invalid for daemonset", errors);
    workload::validate_template(
        "DaemonSet",
        spec.template.as_ref(),
        |pod_labels| selector.is_none_or(|selector| labels::matches(selector, pod_labels)),
        errors,
    );
    errors.field("minReadySeconds", |errors| {
        not_negative(spec.min_ready_seconds.into(), errors);
    });
    if let Some(strategy) = &spec.update_strategy {
        errors.field("updateStrategy", |errors| validate_strategy(strategy, errors));
    }
    if let Some(limit) = spec.revision_history_limit {
        errors.field("revisionHistoryLimit", |errors| not_negative(limit.into(), errors));
    }
}

fn validate_strategy(strategy: &DaemonSetUpdateStrategy, errors: &mut FieldErrors) {
    match strategy.r#type.as_str() {
        "OnDelete" => {}
        "RollingUpdate" => errors.field("rollingUpdate", |errors| match &strategy.rolling_update {
            None => errors.required(""),
            Some(rolling) => validate_rolling_update(rolling, errors),
        }),
        _ => errors.not_supported(AsJson(strategy), &["RollingUpdate", "OnDelete"]),
    }
}

fn validate_rolling_update(rolling: &RollingUpdateDaemonSet, errors: &mut FieldErrors) {
    let (unavailable, surge) = (rolling.max_unavailable.as_ref(), rolling.max_surge.as_ref());
    for (field, value) in [("maxUnavailable", unavailable), ("maxSurge", surge)] {
        errors.field(field, |errors| {
            shares::number_or_percent(value, errors);
            shares::at_most_all(value, errors);
        });
    }
    match (shares::is_zero(unavailable), shares::is_zero(surge)) {
        (false, false) => errors.field("maxSurge", |errors| {
            errors.invalid(
                AsJson(&rolling.max_surge),
                "may not be set when maxUnavailable is non-zero",
            );
        }),
        (true, true) => errors.field("maxUnavailable", |errors| {
            errors.required("cannot be 0 when maxSurge is 0");
        }),
        (true, false) | (false, true) => {}
    }
}
