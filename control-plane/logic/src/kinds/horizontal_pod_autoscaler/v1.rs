//! Autoscalers in version 1, which measures processor time and nothing else.
//!
//! What it has no fields for is kept in annotations as JSON, as Kubernetes does it, so that a client of this version
//! does not lose what another one set. An annotation that cannot be read stays an annotation.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use trireme_proto::api::autoscaling::{v1, v2};

use super::cpu_utilization;
use crate::{
    kind::{Kind, KindInfo},
    version::Version,
};

/// The measures beside processor time.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
/// What was measured.
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
/// The conditions.
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
/// How fast the number of pods may change.
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// Where the fields of a measure are in version 2, and what they are called in version 1.
type Names = &'static [(&'static str, &'static [(&'static [&'static str], &'static str)])];

/// The names of measures that are wanted.
const SPECS: Names = &[
    (
        "object",
        &[
            (&["describedObject"], "target"),
            (&["metric", "name"], "metricName"),
            (&["metric", "selector"], "selector"),
            (&["target", "value"], "targetValue"),
            (&["target", "averageValue"], "averageValue"),
        ],
    ),
    (
        "pods",
        &[
            (&["metric", "name"], "metricName"),
            (&["metric", "selector"], "selector"),
            (&["target", "averageValue"], "targetAverageValue"),
        ],
    ),
    (
        "resource",
        &[
            (&["name"], "name"),
            (&["target", "averageUtilization"], "targetAverageUtilization"),
            (&["target", "averageValue"], "targetAverageValue"),
        ],
    ),
    (
        "containerResource",
        &[
            (&["name"], "name"),
            (&["container"], "container"),
            (&["target", "averageUtilization"], "targetAverageUtilization"),
            (&["target", "averageValue"], "targetAverageValue"),
        ],
    ),
    (
        "external",
        &[
            (&["metric", "name"], "metricName"),
            (&["metric", "selector"], "metricSelector"),
            (&["target", "value"], "targetValue"),
            (&["target", "averageValue"], "targetAverageValue"),
        ],
    ),
];

/// The names of measures that were taken.
const STATUSES: Names = &[
    (
        "object",
        &[
            (&["describedObject"], "target"),
            (&["metric", "name"], "metricName"),
            (&["metric", "selector"], "selector"),
            (&["current", "value"], "currentValue"),
            (&["current", "averageValue"], "averageValue"),
        ],
    ),
    (
        "pods",
        &[
            (&["metric", "name"], "metricName"),
            (&["metric", "selector"], "selector"),
            (&["current", "averageValue"], "currentAverageValue"),
        ],
    ),
    (
        "resource",
        &[
            (&["name"], "name"),
            (&["current", "averageUtilization"], "currentAverageUtilization"),
            (&["current", "averageValue"], "currentAverageValue"),
        ],
    ),
    (
        "containerResource",
        &[
            (&["name"], "name"),
            (&["container"], "container"),
            (&["current", "averageUtilization"], "currentAverageUtilization"),
            (&["current", "averageValue"], "currentAverageValue"),
        ],
    ),
    (
        "external",
        &[
            (&["metric", "name"], "metricName"),
            (&["metric", "selector"], "metricSelector"),
            (&["current", "value"], "currentValue"),
            (&["current", "averageValue"], "currentAverageValue"),
        ],
    ),
];

impl Version for v1::HorizontalPodAutoscaler {
    type Stored = v2::HorizontalPodAutoscaler;

    const INFO: KindInfo = KindInfo {
        version: "v1",
        ..<v2::HorizontalPodAutoscaler as Kind>::INFO
    };

    fn from_stored(stored: &v2::HorizontalPodAutoscaler) -> Self {
        let (spec, status) = (
            stored.spec.clone().unwrap_or_default(),
            stored.status.clone().unwrap_or_default(),
        );
        let mut metadata = stored.metadata.clone().unwrap_or_default();
        let annotations = &mut metadata.annotations;
        let others: Vec<Value> = spec
            .metrics
            .iter()
            .filter(|metric| cpu_percent(metric).is_none())
            .map(|metric| to_v1(metric, SPECS))
            .collect();
        let current: Vec<Value> = status
            .current_metrics
            .iter()
            .map(|metric| to_v1(metric, STATUSES))
            .collect();
        annotate(annotations, METRICS, &others, others.is_empty());
        annotate(annotations, CURRENT_METRICS, &current, current.is_empty());
        annotate(
            annotations,
            CONDITIONS,
            &status.conditions,
            status.conditions.is_empty(),
        );
        let behavior = spec
            .behavior
            .as_ref()
            .map(|behavior| recased(&to_value(behavior), char::to_ascii_uppercase));
        annotate(annotations, BEHAVIOR, &behavior, behavior.is_none());
        Self {
            metadata: Some(metadata),
            spec: stored.spec.as_ref().map(|_| v1::HorizontalPodAutoscalerSpec {
                scale_target_ref: spec.scale_target_ref.map(|target| v1::CrossVersionObjectReference {
                    kind: target.kind,
                    name: target.name,
                    api_version: target.api_version,
                }),
                min_replicas: spec.min_replicas,
                max_replicas: spec.max_replicas,
                target_cpu_utilization_percentage: spec.metrics.iter().find_map(cpu_percent),
            }),
            status: stored.status.as_ref().map(|_| v1::HorizontalPodAutoscalerStatus {
                observed_generation: status.observed_generation,
                last_scale_time: status.last_scale_time,
                current_replicas: status.current_replicas,
                desired_replicas: status.desired_replicas,
                current_cpu_utilization_percentage: status.current_metrics.iter().find_map(current_cpu_percent),
            }),
        }
    }

    fn into_stored(self) -> v2::HorizontalPodAutoscaler {
        let mut metadata = self.metadata.unwrap_or_default();
        let annotations = &mut metadata.annotations;
        let spec = self.spec.map(|spec| {
            let mut metrics: Vec<v2::MetricSpec> =
                take(annotations, METRICS, |list| from_v1(list, SPECS)).unwrap_or_default();
            metrics.extend(spec.target_cpu_utilization_percentage.map(cpu_utilization));
            v2::HorizontalPodAutoscalerSpec {
                scale_target_ref: spec.scale_target_ref.map(|target| v2::CrossVersionObjectReference {
                    kind: target.kind,
                    name: target.name,
                    api_version: target.api_version,
                }),
                min_replicas: spec.min_replicas,
                max_replicas: spec.max_replicas,
                metrics,
                behavior: take(annotations, BEHAVIOR, |behavior| {
                    recased(&behavior, char::to_ascii_lowercase)
                }),
            }
        });
        let status = self.status.map(|status| {
            // The annotation says more than the field.
            let current = take(annotations, CURRENT_METRICS, |list| from_v1(list, STATUSES));
            let from_field = || status.current_cpu_utilization_percentage.map(current_cpu_utilization);
            v2::HorizontalPodAutoscalerStatus {
                observed_generation: status.observed_generation,
                last_scale_time: status.last_scale_time,
                current_replicas: status.current_replicas,
                desired_replicas: status.desired_replicas,
                current_metrics: current.unwrap_or_else(|| from_field().into_iter().collect()),
                conditions: take(annotations, CONDITIONS, |list| list).unwrap_or_default(),
            }
        });
        v2::HorizontalPodAutoscaler {
            metadata: Some(metadata),
            spec,
            status,
        }
    }
}

/// The wanted share of the processor time asked for, if that is what is measured.
fn cpu_percent(metric: &v2::MetricSpec) -> Option<i32> {
    let resource = metric.resource.as_ref().filter(|_| metric.r#type == "Resource")?;
    let target = resource.target.as_ref().filter(|_| resource.name == "cpu")?;
    target.average_utilization
}

/// The present share of the processor time asked for, if that is what was measured.
fn current_cpu_percent(metric: &v2::MetricStatus) -> Option<i32> {
    let resource = metric.resource.as_ref().filter(|_| metric.r#type == "Resource")?;
    let current = resource.current.as_ref().filter(|_| resource.name == "cpu")?;
    current.average_utilization
}

fn current_cpu_utilization(percent: i32) -> v2::MetricStatus {
    v2::MetricStatus {
        r#type: "Resource".into(),
        resource: Some(v2::ResourceMetricStatus {
            name: "cpu".into(),
            current: Some(v2::MetricValueStatus {
                average_utilization: Some(percent),
                ..v2::MetricValueStatus::default()
            }),
        }),
        ..v2::MetricStatus::default()
    }
}

fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Writes an annotation, or leaves it out if there is nothing to say.
fn annotate(annotations: &mut BTreeMap<String, String>, key: &str, value: &impl Serialize, is_nothing: bool) {
    if !is_nothing && let Ok(text) = serde_json::to_string(value) {
        annotations.insert(key.to_owned(), text);
    }
}

/// Takes an annotation out and reads it, if it can be read.
fn take<T: DeserializeOwned>(
    annotations: &mut BTreeMap<String, String>,
    key: &str,
    convert: impl FnOnce(Value) -> Value,
) -> Option<T> {
    let value = serde_json::from_str(annotations.get(key)?).ok()?;
    let read = serde_json::from_value(convert(value)).ok()?;
    annotations.remove(key);
    Some(read)
}

/// A measure as version 1 writes it.
fn to_v1(metric: &impl Serialize, names: Names) -> Value {
    let metric = to_value(metric);
    let mut converted = Map::new();
    for (source, fields) in names {
        let Some(given) = metric.get(source) else { continue };
        let mut object = Map::new();
        for (path, name) in *fields {
            let value = path.iter().try_fold(given, |value, step| value.get(step));
            if let Some(value) = value {
                object.insert((*name).to_owned(), value.clone());
            }
        }
        converted.insert((*source).to_owned(), Value::Object(object));
    }
    converted.insert("type".to_owned(), metric["type"].clone());
    Value::Object(converted)
}

/// Measures that version 1 wrote.
fn from_v1(list: Value, names: Names) -> Value {
    let Value::Array(list) = list else { return list };
    list.into_iter().map(|metric| one_from_v1(&metric, names)).collect()
}

fn one_from_v1(metric: &Value, names: Names) -> Value {
    let mut converted = Value::Object(Map::new());
    converted["type"] = metric["type"].clone();
    for (source, fields) in names {
        let Some(given) = metric.get(source) else { continue };
        let mut object = Value::Object(Map::new());
        for (path, name) in *fields {
            let Some(value) = given.get(name) else { continue };
            match path {
                [outer, inner] => object[outer][inner] = value.clone(),
                [outer] => object[outer] = value.clone(),
                _ => {}
            }
        }
        if let Some(target) = object.get_mut("target").filter(|target| target.is_object()) {
            let kind = if target.get("averageUtilization").is_some() {
                "Utilization"
            } else if target.get("averageValue").is_some() {
                "AverageValue"
            } else {
                "Value"
            };
            target["type"] = kind.into();
        }
        converted[source] = object;
    }
    converted
}

/// The same with the first letter of every name in the other case, as Kubernetes writes the behavior here.
fn recased(value: &Value, case: fn(&char) -> char) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let mut letters = name.chars();
                let first = letters.next().map(|letter| case(&letter));
                let name: String = first.into_iter().chain(letters).collect();
                (name, recased(value, case))
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| recased(item, case)).collect(),
        other => other.clone(),
    }
}
