//! What an autoscaler measures: defaults and checks.

use trireme_proto::api::{
    autoscaling::v2::{
        ContainerResourceMetricSource, ExternalMetricSource, MetricIdentifier, MetricSpec, MetricTarget,
        ObjectMetricSource, PodsMetricSource, ResourceMetricSource,
    },
    meta::v1::Quantity,
};

use super::object_reference;
use crate::{
    field_error::FieldErrors,
    validation::{names, quantities, report},
};

const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
const BOTH_TARGETS: &str = "may not set both a target raw value and a target utilization";
const NO_TARGET: &str = "must set either a target raw value or a target utilization";

/// Gives a measure the parts that are always written.
pub(super) fn set_defaults(metric: &mut MetricSpec) {
    if let Some(source) = &mut metric.object {
        source.described_object.get_or_insert_default();
        source.metric.get_or_insert_default();
        source.target.get_or_insert_default();
    }
    if let Some(source) = &mut metric.pods {
        source.metric.get_or_insert_default();
        source.target.get_or_insert_default();
    }
    if let Some(source) = &mut metric.external {
        source.metric.get_or_insert_default();
        source.target.get_or_insert_default();
    }
    if let Some(source) = &mut metric.resource {
        source.target.get_or_insert_default();
    }
    if let Some(source) = &mut metric.container_resource {
        source.target.get_or_insert_default();
    }
}

/// Checks one measure. The path is that of the measure.
pub(super) fn validate(metric: &MetricSpec, errors: &mut FieldErrors) {
    errors.field("type", |errors| {
        if metric.r#type.is_empty() {
            errors.required("must specify a metric source type");
        } else if !TYPES.contains(&metric.r#type.as_str()) {
            errors.not_supported(&metric.r#type, TYPES);
        }
    });
    let given = [
        ("Object", "object", metric.object.is_some()),
        ("External", "external", metric.external.is_some()),
        ("Pods", "pods", metric.pods.is_some()),
        ("Resource", "resource", metric.resource.is_some()),
        (
            "ContainerResource",
            "containerResource",
            metric.container_resource.is_some(),
        ),
    ];
    // Of several only the first is looked at; the others are too many anyway.
    match given.iter().find(|(_, _, given)| *given) {
        Some((_, field @ "object", _)) => errors.field(field, |errors| {
            metric.object.iter().for_each(|source| object(source, errors));
        }),
        Some((_, field @ "external", _)) => errors.field(field, |errors| {
            metric.external.iter().for_each(|source| external(source, errors));
        }),
        Some((_, field @ "pods", _)) => errors.field(field, |errors| {
            metric.pods.iter().for_each(|source| pods(source, errors));
        }),
        Some((_, field @ "resource", _)) => errors.field(field, |errors| {
            metric.resource.iter().for_each(|source| resource(source, errors));
        }),
        Some((_, field, _)) => errors.field(field, |errors| {
            metric
                .container_resource
                .iter()
                .for_each(|source| container_resource(source, errors));
        }),
        None => {}
    }
    let mut count = 0;
    for (kind, field, given) in given {
        let wanted = metric.r#type == kind;
        count += usize::from(given);
        if wanted && !given {
            errors.field(field, |errors| {
                errors.required("must populate information for the given metric source");
            });
        }
    }
    if count > 1 {
        for (kind, field, given) in given {
            if given && metric.r#type != kind {
                errors.field(field, |errors| {
                    errors.forbidden("must populate the given metric source only");
                });
            }
        }
    }
}

fn object(source: &ObjectMetricSource, errors: &mut FieldErrors) {
    errors.field("describedObject", |errors| {
        object_reference(&source.described_object.clone().unwrap_or_default(), errors);
    });
    identifier(source.metric.as_ref(), errors);
    let target = target(source.target.as_ref(), errors);
    if target.value.is_none() && target.average_value.is_none() {
        errors.field("target.averageValue", |errors| {
            errors.required("must set either a target value or averageValue");
        });
    }
}

fn external(source: &ExternalMetricSource, errors: &mut FieldErrors) {
    identifier(source.metric.as_ref(), errors);
    let target = target(source.target.as_ref(), errors);
    match (&target.value, &target.average_value) {
        (None, None) => errors.field("target.averageValue", |errors| {
            errors.required("must set either a target value for metric or a per-pod target");
        }),
        (Some(_), Some(_)) => errors.field("target.value", |errors| {
            errors.forbidden("may not set both a target value for metric and a per-pod target");
        }),
        (Some(_), None) | (None, Some(_)) => {}
    }
}

fn pods(source: &PodsMetricSource, errors: &mut FieldErrors) {
    identifier(source.metric.as_ref(), errors);
    if target(source.target.as_ref(), errors).average_value.is_none() {
        errors.field("target.averageValue", |errors| {
            errors.required("must specify a positive target averageValue");
        });
    }
}

fn resource(source: &ResourceMetricSource, errors: &mut FieldErrors) {
    if source.name.is_empty() {
        errors.field("name", |errors| errors.required("must specify a resource name"));
    }
    resource_target(source.target.as_ref(), errors);
}

fn container_resource(source: &ContainerResourceMetricSource, errors: &mut FieldErrors) {
    errors.field("name", |errors| {
        if source.name.is_empty() {
            errors.required("must specify a resource name");
        } else {
            quantities::container_resource_name(&source.name, errors);
        }
    });
    errors.field("container", |errors| {
        if source.container.is_empty() {
            errors.required("must specify a container");
        } else {
            report(&source.container, names::dns_label(&source.container), errors);
        }
    });
    resource_target(source.target.as_ref(), errors);
}

/// Checks the target of a resource: either an amount or a share.
fn resource_target(given: Option<&MetricTarget>, errors: &mut FieldErrors) {
    let target = target(given, errors);
    match (target.average_utilization, &target.average_value) {
        (None, None) => errors.field("target.averageUtilization", |errors| {
            errors.required(NO_TARGET);
        }),
        (Some(_), Some(_)) => errors.field("target.averageValue", |errors| {
            errors.forbidden(BOTH_TARGETS);
        }),
        (Some(_), None) | (None, Some(_)) => {}
    }
}

/// Checks what is alike in all targets, and returns the target.
fn target(given: Option<&MetricTarget>, errors: &mut FieldErrors) -> MetricTarget {
    let target = given.cloned().unwrap_or_default();
    errors.field("target", |errors| {
        errors.field("type", |errors| {
            if target.r#type.is_empty() {
                errors.required("must specify a metric target type");
            }
            if !["Utilization", "Value", "AverageValue"].contains(&target.r#type.as_str()) {
                errors.invalid(&target.r#type, "must be either Utilization, Value, or AverageValue");
            }
        });
        for (field, amount) in [("value", &target.value), ("averageValue", &target.average_value)] {
            if let Some(amount) = amount {
                errors.field(field, |errors| positive(amount, errors));
            }
        }
        if let Some(percent) = target.average_utilization.filter(|percent| *percent < 1) {
            errors.field("averageUtilization", |errors| {
                errors.invalid(percent, "must be greater than 0");
            });
        }
    });
    target
}

fn positive(amount: &Quantity, errors: &mut FieldErrors) {
    let is_positive = amount
        .amount()
        .is_ok_and(|amount| !amount.is_zero() && !amount.is_negative());
    if !is_positive {
        errors.invalid(&amount.string, "must be positive");
    }
}

fn identifier(given: Option<&MetricIdentifier>, errors: &mut FieldErrors) {
    let name = given.map_or("", |metric| &metric.name);
    errors.field("metric.name", |errors| {
        if name.is_empty() {
            errors.required("must specify a metric name");
        }
        report(name, names::path_segment(name), errors);
    });
}
