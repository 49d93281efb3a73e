//! Deployments: pods kept at a count and replaced step by step when their template changes.

use trireme_proto::api::{
    apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, DeploymentStrategy, RollingUpdateDeployment},
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
    limits,
    validation::{labels, not_negative, shares, unchanged},
};

/// Pods that may be missing, and too many, while a rolling update goes on.
const DEFAULT_ROLLING_PERCENT: &str = "25%";

impl Kind for Deployment {
    const INFO: KindInfo = KindInfo {
        group: "apps",
        version: "v1",
        kind: "Deployment",
        plural: "deployments",
        singular: "deployment",
        short_names: &["deploy"],
        categories: &["all"],
        namespaced: true,
        subresources: &["status", "scale"],
        columns: &[
            column("Ready", "Pods that are ready, of those wanted."),
            column("Up-to-date", "Pods of the present template."),
            column("Available", "Pods that have been ready for long enough."),
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
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit
            .get_or_insert(limits::DEFAULT_REVISION_HISTORY);
        spec.progress_deadline_seconds
            .get_or_insert(limits::DEFAULT_PROGRESS_DEADLINE_SECONDS);
        workload::template_defaults(&mut spec.template);
        let strategy = spec.strategy.get_or_insert_default();
        if strategy.r#type.is_empty() {
            strategy.r#type = "RollingUpdate".into();
        }
        if strategy.r#type == "RollingUpdate" {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling
                .max_unavailable
                .get_or_insert_with(|| DEFAULT_ROLLING_PERCENT.into());
            rolling.max_surge.get_or_insert_with(|| DEFAULT_ROLLING_PERCENT.into());
        }
    }

    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
        self.status = Some(DeploymentStatus::default());
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

    fn validate_status_update(&self, _old: &Self, errors: &mut FieldErrors) {
        let status = self.status.clone().unwrap_or_default();
        errors.field("status", |errors| {
            for (field, value) in [
                ("replicas", status.replicas),
                ("updatedReplicas", status.updated_replicas),
                ("readyReplicas", status.ready_replicas),
                ("availableReplicas", status.available_replicas),
                ("unavailableReplicas", status.unavailable_replicas),
            ] {
                errors.field(field, |errors| not_negative(value.into(), errors));
            }
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let (spec, status) = (self.spec.as_ref(), self.status.clone().unwrap_or_default());
        let [containers, images] = workload::template_cells(spec.and_then(|spec| spec.template.as_ref()));
        vec![
            format!(
                "{}/{}",
                status.ready_replicas,
                spec.and_then(|spec| spec.replicas).unwrap_or(0)
            ),
            status.updated_replicas.to_string(),
            status.available_replicas.to_string(),
            age(metadata_of(self), now),
            containers,
            images,
            workload::selector_cell(spec.and_then(|spec| spec.selector.as_ref())),
        ]
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

fn validate_spec(spec: &DeploymentSpec, errors: &mut FieldErrors) {
    workload::validate(
        spec.replicas,
        spec.min_ready_seconds,
        spec.selector.as_ref(),
        spec.template.as_ref(),
        errors,
    );
    if let Some(strategy) = &spec.strategy {
        errors.field("strategy", |errors| validate_strategy(strategy, errors));
    }
    if let Some(limit) = spec.revision_history_limit {
        errors.field("revisionHistoryLimit", |errors| not_negative(limit.into(), errors));
    }
    if let Some(deadline) = spec.progress_deadline_seconds {
        errors.field("progressDeadlineSeconds", |errors| {
            not_negative(deadline.into(), errors);
            if deadline <= spec.min_ready_seconds {
                errors.invalid(deadline, "must be greater than minReadySeconds");
            }
        });
    }
}

fn validate_strategy(strategy: &DeploymentStrategy, errors: &mut FieldErrors) {
    match strategy.r#type.as_str() {
        "Recreate" => {
            if strategy.rolling_update.is_some() {
                errors.field("rollingUpdate", |errors| {
                    errors.forbidden("may not be specified when strategy `type` is 'Recreate'");
                });
            }
        }
        "RollingUpdate" => errors.field("rollingUpdate", |errors| match &strategy.rolling_update {
            None => errors.required("this should be defaulted and never be nil"),
            Some(rolling) => validate_rolling_update(rolling, errors),
        }),
        other => errors.field("type", |errors| {
            errors.not_supported(other, &["Recreate", "RollingUpdate"]);
        }),
    }
}

fn validate_rolling_update(rolling: &RollingUpdateDeployment, errors: &mut FieldErrors) {
    let (unavailable, surge) = (rolling.max_unavailable.as_ref(), rolling.max_surge.as_ref());
    errors.field("maxUnavailable", |errors| {
        shares::number_or_percent(unavailable, errors);
    });
    errors.field("maxSurge", |errors| shares::number_or_percent(surge, errors));
    errors.field("maxUnavailable", |errors| {
        if shares::is_zero(unavailable) && shares::is_zero(surge) {
            errors.invalid(0, "may not be 0 when `maxSurge` is 0");
        }
        shares::at_most_all(unavailable, errors);
    });
}
