//! HorizontalPodAutoscalers: how many pods a workload has, by what is measured of them.
//!
//! Stored is version 2; version 1, which knows but one measure, is converted to and from it.

mod behavior;
mod columns;
mod metrics;
mod v1;

use trireme_proto::api::{
    autoscaling::v2::{
        CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec,
        HorizontalPodAutoscalerStatus, MetricSpec, MetricTarget, ResourceMetricSource,
    },
    meta::v1::Time,
};

use super::columns::{AGE, column};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule},
    limits,
    validation::{names, not_negative, report},
};

impl Kind for HorizontalPodAutoscaler {
    const INFO: KindInfo = KindInfo {
        group: "autoscaling",
        version: "v2",
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
        singular: "horizontalpodautoscaler",
        short_names: &["hpa"],
        categories: &["all"],
        namespaced: true,
        subresources: &["status"],
        columns: &[
            column("Reference", "The workload that is scaled."),
            column("Targets", "What was measured, and what it should be."),
            column("MinPods", "The fewest pods."),
            column("MaxPods", "The most pods."),
            column("Replicas", "Pods that there were when it last looked."),
            AGE,
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.status.get_or_insert_default();
        let spec = self.spec.get_or_insert_default();
        spec.scale_target_ref.get_or_insert_default();
        spec.min_replicas.get_or_insert(1);
        if spec.metrics.is_empty() {
            spec.metrics = vec![cpu_utilization(limits::DEFAULT_CPU_UTILIZATION_PERCENT)];
        }
        spec.metrics.iter_mut().for_each(metrics::set_defaults);
        if let Some(behavior) = &mut spec.behavior {
            behavior::set_defaults(behavior);
        }
    }

    fn prepare_create(&mut self) {
        self.status = Some(HorizontalPodAutoscalerStatus::default());
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

    fn validate_status_update(&self, _old: &Self, errors: &mut FieldErrors) {
        let status = self.status.clone().unwrap_or_default();
        errors.field("status", |errors| {
            for (field, value) in [
                ("currentReplicas", status.current_replicas),
                ("desiredReplicas", status.desired_replicas),
            ] {
                errors.field(field, |errors| not_negative(value.into(), errors));
            }
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        columns::cells(self, now)
    }
}

/// A measure of the processor time that pods use, in percent of what they ask for.
pub(super) fn cpu_utilization(percent: i32) -> MetricSpec {
    MetricSpec {
        r#type: "Resource".into(),
        resource: Some(ResourceMetricSource {
            name: "cpu".into(),
            target: Some(MetricTarget {
                r#type: "Utilization".into(),
                average_utilization: Some(percent),
                ..MetricTarget::default()
            }),
        }),
        ..MetricSpec::default()
    }
}

fn validate_spec(spec: &HorizontalPodAutoscalerSpec, errors: &mut FieldErrors) {
    let fewest = spec.min_replicas.unwrap_or(1);
    if fewest < 1 {
        errors.field("minReplicas", |errors| {
            errors.invalid(fewest, "must be greater than or equal to 1");
        });
    }
    errors.field("maxReplicas", |errors| {
        if spec.max_replicas < 1 {
            errors.invalid(spec.max_replicas, "must be greater than 0");
        }
        if spec.max_replicas < fewest {
            errors.invalid(spec.max_replicas, "must be greater than or equal to `minReplicas`");
        }
    });
    let target = spec.scale_target_ref.clone().unwrap_or_default();
    errors.field("scaleTargetRef", |errors| object_reference(&target, errors));
    errors.field("metrics", |errors| {
        for (index, metric) in spec.metrics.iter().enumerate() {
            errors.index(index, |errors| metrics::validate(metric, errors));
        }
    });
    if let Some(behavior) = &spec.behavior {
        errors.field("behavior", |errors| behavior::validate(behavior, errors));
    }
}

/// Checks the name of an object of any kind.
fn object_reference(reference: &CrossVersionObjectReference, errors: &mut FieldErrors) {
    for (field, text) in [("kind", &reference.kind), ("name", &reference.name)] {
        errors.field(field, |errors| {
            if text.is_empty() {
                errors.required("");
            }
            report(text, names::path_segment(text), errors);
        });
    }
    if reference.api_version.matches('/').count() > 1 {
        errors.field("apiVersion", |errors| {
            errors.invalid(
                &reference.api_version,
                format_args!("unexpected GroupVersion string: {}", reference.api_version),
            );
        });
    }
}
