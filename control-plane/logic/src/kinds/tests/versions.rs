//! Kinds in their further versions: converted on the way in and out, and nothing is lost.

use expect_test::expect;
use serde_json::{Value, json};

use super::{super::by_api_version, object};
use crate::{field_error::FieldErrors, limits};

/// An object as it is shown in another version.
fn shown(given: &Value, api_version: &str) -> Value {
    let kind = given["kind"].as_str().expect("a kind");
    let ops = by_api_version(api_version, kind).expect("a version");
    serde_json::from_slice(&ops.json_of(&*object(given)).expect("has JSON")).expect("is JSON")
}

/// An autoscaler with everything that the older version has no field for.
fn full_autoscaler() -> Value {
    let metric = json!({"name": "m", "selector": {"matchLabels": {"a": "b"}}});
    let named = json!({"name": "m"});
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "annotations": {"note": "mine"}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2, "maxReplicas": 5,
            "metrics": [
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "main",
                    "target": {"type": "Utilization", "averageUtilization": 50}}},
                {"type": "Pods", "pods": {"metric": metric, "target": {"type": "AverageValue", "averageValue": "7"}}},
                {"type": "Object", "object": {"metric": named, "target": {"type": "Value", "value": "8"},
                    "describedObject": {"kind": "Ingress", "name": "door"}}},
                {"type": "External", "external": {"metric": metric, "target": {"type": "AverageValue", "averageValue": "9"}}},
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
            ],
            "behavior": {"scaleUp": {"selectPolicy": "Min", "stabilizationWindowSeconds": 5,
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}},
        },
        "status": {
            "currentReplicas": 3, "desiredReplicas": 4, "observedGeneration": 7,
            "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 35, "averageValue": "350m"}}},
                {"type": "Object", "object": {"metric": named, "current": {"value": "6"},
                    "describedObject": {"kind": "Ingress", "name": "door"}}},
            ],
            "conditions": [{"type": "AbleToScale", "status": "True", "reason": "Ready"}],
        },
    })
}

#[test]
fn autoscalers_keep_everything_through_the_older_version() {
    let full = full_autoscaler();
    let older = shown(&full, "autoscaling/v1");
    assert_eq!(older["apiVersion"], "autoscaling/v1");
    assert_eq!(
        older["spec"],
        json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2, "maxReplicas": 5, "targetCPUUtilizationPercentage": 70})
    );
    assert_eq!(
        older["status"],
        json!({"currentReplicas": 3, "desiredReplicas": 4, "observedGeneration": 7,
            "currentCPUUtilizationPercentage": 35})
    );
    let annotation = |name: &str| -> Value {
        let text = older["metadata"]["annotations"][format!("autoscaling.alpha.kubernetes.io/{name}")].as_str();
        serde_json::from_str(text.expect(name)).expect("JSON")
    };
    let metrics = annotation("metrics");
    assert_eq!(
        metrics[0],
        json!({"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "1Gi"}})
    );
    assert_eq!(
        metrics[3],
        json!({"type": "Object", "object": {"target": {"kind": "Ingress", "name": "door"}, "metricName": "m", "targetValue": "8"}})
    );
    assert_eq!(metrics.as_array().map(Vec::len), Some(5), "processor time has a field");
    assert_eq!(
        annotation("behavior")["ScaleUp"]["Policies"],
        json!([{"Type": "Pods", "Value": 1, "PeriodSeconds": 60}])
    );
    assert_eq!(
        annotation("current-metrics")[0]["resource"]["currentAverageUtilization"],
        35
    );
    assert_eq!(annotation("conditions")[0]["type"], "AbleToScale");

    assert_eq!(shown(&older, "autoscaling/v2"), full);
    assert_eq!(shown(&full, "autoscaling/v2"), full);
}

#[test]
fn plain_autoscalers_need_no_annotations() {
    let older = super::defaults::examples()
        .into_iter()
        .find(|json| json["apiVersion"] == "autoscaling/v1")
        .expect("an example");
    let newer = shown(&older, "autoscaling/v2");
    assert_eq!(
        newer["spec"]["metrics"],
        json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}])
    );
    let again = shown(&older, "autoscaling/v1");
    assert_eq!(again["spec"], older["spec"]);
    assert_eq!(again["metadata"], older["metadata"]);
    let mut status = older.clone();
    status["status"] = json!({"currentReplicas": 1, "desiredReplicas": 2, "currentCPUUtilizationPercentage": 3});
    let newer = shown(&status, "autoscaling/v2");
    assert_eq!(
        newer["status"]["currentMetrics"],
        json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 3}}}])
    );
}

#[test]
fn annotations_that_cannot_be_read_stay() {
    let mut older = super::defaults::example("HorizontalPodAutoscaler");
    older["apiVersion"] = json!("autoscaling/v1");
    older["spec"].as_object_mut().expect("a spec").remove("behavior");
    let odd = json!({"autoscaling.alpha.kubernetes.io/metrics": "[1", "autoscaling.alpha.kubernetes.io/behavior": "7"});
    older["metadata"]["annotations"] = odd.clone();
    let newer = shown(&older, "autoscaling/v2");
    assert_eq!(newer["metadata"]["annotations"], odd);
    assert_eq!(shown(&older, "autoscaling/v1")["metadata"]["annotations"], odd);
}

#[test]
fn events_have_other_names_in_the_newer_version() {
    let older = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "web", "namespace": "shop"},
        "involvedObject": {"kind": "Pod", "name": "web"}, "related": {"kind": "Node", "name": "n1"},
        "reason": "R", "message": "m", "type": "Normal", "count": 2, "action": "A",
        "source": {"component": "c", "host": "h"}, "reportingComponent": "rc", "reportingInstance": "ri",
        "firstTimestamp": "2026-01-02T03:04:05Z", "lastTimestamp": "2026-01-02T03:04:06Z",
        "eventTime": "2026-01-02T03:04:07.000000Z",
        "series": {"count": 3, "lastObservedTime": "2026-01-02T03:04:08.000000Z"},
    });
    let newer = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "web", "namespace": "shop"},
        "regarding": {"kind": "Pod", "name": "web"}, "related": {"kind": "Node", "name": "n1"},
        "reason": "R", "note": "m", "type": "Normal", "deprecatedCount": 2, "action": "A",
        "deprecatedSource": {"component": "c", "host": "h"}, "reportingController": "rc", "reportingInstance": "ri",
        "deprecatedFirstTimestamp": "2026-01-02T03:04:05Z", "deprecatedLastTimestamp": "2026-01-02T03:04:06Z",
        "eventTime": "2026-01-02T03:04:07.000000Z",
        "series": {"count": 3, "lastObservedTime": "2026-01-02T03:04:08.000000Z"},
    });
    assert_eq!(shown(&older, "events.k8s.io/v1"), newer);
    assert_eq!(shown(&newer, "v1"), older);
    let event = object(&newer);
    for (path, value) in [
        ("regarding.kind", "Pod"),
        ("reportingController", "rc"),
        ("reason", "R"),
    ] {
        assert_eq!(event.selectable_field(path).as_deref(), Some(value), "{path}");
    }
}

/// What the newer version complains about in a new event.
fn event_complaints(more: Value) -> String {
    let mut event = super::defaults::examples()
        .into_iter()
        .find(|json| json["apiVersion"] == "events.k8s.io/v1")
        .expect("an example");
    json_patch::merge(&mut event, &more);
    let ops = by_api_version("events.k8s.io/v1", "Event").expect("a version");
    let mut errors = FieldErrors::default();
    ops.validate_create_in_version(&*object(&event), &mut errors);
    super::lines(errors)
}

#[test]
fn the_newer_version_of_events_asks_for_more() {
    assert_eq!(event_complaints(json!({})), "");
    expect![[r#"
        eventTime: Required value
        type: Invalid value: "": has invalid value: Odd
        reportingController: Required value
        reportingInstance: Required value
        action: Required value
        reason: Required value
        firstTimestamp: Invalid value: "": needs to be unset
        lastTimestamp: Invalid value: "": needs to be unset
        count: Invalid value: "": needs to be unset
        source: Invalid value: "": needs to be unset
    "#]]
    .assert_eq(&event_complaints(json!({
        "eventTime": null, "type": "Odd", "reportingController": null, "reportingInstance": null, "action": null,
        "reason": null, "deprecatedSource": {"component": "c"}, "deprecatedFirstTimestamp": "2026-01-02T03:04:05Z",
        "deprecatedLastTimestamp": "2026-01-02T03:04:05Z", "deprecatedCount": 1,
    })));
    assert!(event_complaints(json!({"reportingController": "a b"})).starts_with("reportingController: Invalid value"));
    for (field, limit) in [
        ("action", limits::EVENT_ACTION_BYTES),
        ("reportingInstance", limits::EVENT_REPORTER_BYTES),
    ] {
        assert_eq!(event_complaints(json!({field: "x".repeat(limit)})), "");
        assert!(event_complaints(json!({field: "x".repeat(limit + 1)})).contains("can have at most 128 characters"));
    }
    // The older version asks for none of this.
    let older = by_api_version("v1", "Event").expect("a version");
    let mut errors = FieldErrors::default();
    older.validate_create_in_version(&*object(&super::defaults::example("Event")), &mut errors);
    assert!(errors.is_empty());
}

#[test]
fn versions_take_only_their_own_fields_and_name() {
    let ops = by_api_version("autoscaling/v1", "HorizontalPodAutoscaler").expect("a version");
    let mut unknown = Vec::new();
    ops.from_json(br#"{"spec":{"metrics":[]}}"#, &mut |path| unknown.push(path))
        .expect("decodes");
    assert_eq!(unknown, ["spec.metrics"]);
    let error = ops
        .from_json(br#"{"apiVersion":"autoscaling/v2"}"#, &mut |_| {})
        .expect_err("another version");
    assert_eq!(
        error.to_string(),
        r#"apiVersion: is "autoscaling/v2", expected "autoscaling/v1""#
    );
    let json = json!({"kind": "Pod"});
    assert!(
        ops.from_json_value(json)
            .expect_err("another kind")
            .to_string()
            .starts_with("kind: ")
    );
    let given = object(&full_autoscaler());
    let again = ops.from_protobuf(ops.protobuf_of(&*given)).expect("decodes");
    assert_eq!(super::json_of(&*again), super::json_of(&*given));
}
