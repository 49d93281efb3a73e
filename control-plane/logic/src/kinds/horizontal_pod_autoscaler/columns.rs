//! The table row of an autoscaler.

use trireme_proto::api::{
    autoscaling::v2::{HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus},
    meta::v1::{Quantity, Time},
};

use crate::{
    kind::metadata_of,
    kinds::columns::{NONE, UNKNOWN, age},
};

/// How many measures a cell names; more are counted.
const SHOWN: usize = 2;

/// The cells of an autoscaler.
pub(super) fn cells(autoscaler: &HorizontalPodAutoscaler, now: Time) -> Vec<String> {
    let (spec, status) = (
        autoscaler.spec.clone().unwrap_or_default(),
        autoscaler.status.clone().unwrap_or_default(),
    );
    let target = spec.scale_target_ref.clone().unwrap_or_default();
    vec![
        format!("{}/{}", target.kind, target.name),
        targets(&spec.metrics, &status.current_metrics),
        spec.min_replicas
            .map_or_else(|| "<unset>".to_owned(), |fewest| fewest.to_string()),
        spec.max_replicas.to_string(),
        status.current_replicas.to_string(),
        age(metadata_of(autoscaler), now),
    ]
}

/// `cpu: 35%/80%, 120/100 + 1 more...`
fn targets(specs: &[MetricSpec], statuses: &[MetricStatus]) -> String {
    if specs.is_empty() {
        return NONE.into();
    }
    let shown: Vec<String> = specs
        .iter()
        .enumerate()
        .take(SHOWN)
        .map(|(index, spec)| one(spec, statuses.get(index)))
        .collect();
    let text = shown.join(", ");
    match specs.len().checked_sub(SHOWN) {
        None | Some(0) => text,
        Some(more) => format!("{text} + {more} more..."),
    }
}

fn one(spec: &MetricSpec, status: Option<&MetricStatus>) -> String {
    let of = |target: Option<&MetricTarget>| target.cloned().unwrap_or_default();
    match spec.r#type.as_str() {
        "External" => {
            let target = of(spec.external.as_ref().and_then(|source| source.target.as_ref()));
            let current = status.and_then(|status| status.external.as_ref());
            amount(
                &target,
                current.map(|metric| metric.current.clone().unwrap_or_default()),
            )
        }
        "Object" => {
            let target = of(spec.object.as_ref().and_then(|source| source.target.as_ref()));
            let current = status.and_then(|status| status.object.as_ref());
            amount(
                &target,
                current.map(|metric| metric.current.clone().unwrap_or_default()),
            )
        }
        "Pods" => {
            let target = of(spec.pods.as_ref().and_then(|source| source.target.as_ref()));
            let current = status.and_then(|status| status.pods.as_ref());
            let current = current.and_then(|metric| metric.current.as_ref());
            format!(
                "{}/{}",
                quantity(current.and_then(|current| current.average_value.as_ref())),
                quantity(target.average_value.as_ref())
            )
        }
        "Resource" => {
            let source = spec.resource.clone().unwrap_or_default();
            let current = status.and_then(|status| status.resource.as_ref());
            let current = current.and_then(|metric| metric.current.as_ref());
            format!("{}: {}", source.name, resource(&of(source.target.as_ref()), current))
        }
        "ContainerResource" => {
            let source = spec.container_resource.clone().unwrap_or_default();
            let current = status.and_then(|status| status.container_resource.as_ref());
            let current = current.and_then(|metric| metric.current.as_ref());
            format!("{}: {}", source.name, resource(&of(source.target.as_ref()), current))
        }
        _ => "<unknown type>".into(),
    }
}

/// A measure that has an amount in all, or one for each pod.
fn amount(target: &MetricTarget, current: Option<MetricValueStatus>) -> String {
    let current = current.unwrap_or_default();
    if target.average_value.is_some() {
        return format!(
            "{}/{} (avg)",
            quantity(current.average_value.as_ref()),
            quantity(target.average_value.as_ref())
        );
    }
    format!(
        "{}/{}",
        quantity(current.value.as_ref()),
        quantity(target.value.as_ref())
    )
}

/// A resource, which has an amount for each pod or a share of what they ask for.
fn resource(target: &MetricTarget, current: Option<&MetricValueStatus>) -> String {
    if target.average_value.is_some() {
        return format!(
            "{}/{}",
            quantity(current.and_then(|current| current.average_value.as_ref())),
            quantity(target.average_value.as_ref())
        );
    }
    let percent =
        |percent: Option<i32>, none: &str| percent.map_or_else(|| none.to_owned(), |percent| format!("{percent}%"));
    format!(
        "{}/{}",
        percent(current.and_then(|current| current.average_utilization), UNKNOWN),
        percent(target.average_utilization, "<auto>")
    )
}

fn quantity(quantity: Option<&Quantity>) -> String {
    quantity.map_or_else(|| UNKNOWN.to_owned(), ToString::to_string)
}
