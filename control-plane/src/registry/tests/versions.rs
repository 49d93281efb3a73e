//! Kinds in several versions: each request is answered in its own, and all see the same objects.

use bytes::Bytes;
use serde_json::{Value, json};
use trireme_logic::patch::PatchType;
use trireme_proto::{
    api::{autoscaling, events},
    v1::Encoding,
};

use super::*;
use crate::{
    pipeline::{Subresource, Validation},
    registry::{ApplyRequest, ListRequest, PatchRequest, Selection, WatchChange, WatchRequest},
};

/// An admin's permit for a kind in a version, `group/version/plural`.
fn permit(verb: Verb, resource: &str, name: &str) -> Permit {
    let parts: Vec<&str> = resource.split('/').collect();
    let resource = ResourceRef {
        group: parts[0].to_owned(),
        version: parts[1].to_owned(),
        resource: parts[2].to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        subresource: parts.get(3).copied().unwrap_or_default().to_owned(),
    };
    Permit::request(&RawRequest {
        peer: &Peer::for_tests(Some(Subject::Admin)),
        verb,
        resource: &resource,
    })
    .expect("it may do this")
}

fn decoded(permit: &Permit, json: &Value) -> Decoded {
    let body = Bytes::from(json.to_string());
    Decoded::decode(permit, body, Encoding::Json, Validation::Strict).expect("decodes")
}

fn json_of(stored: &Stored) -> Value {
    serde_json::from_slice(&stored.to_json().expect("has JSON")).expect("is JSON")
}

impl Harness {
    async fn create_as(&self, resource: &str, json: &Value) -> Stored {
        let permit = permit(Verb::Create, resource, "");
        let created = self.registry.create(&permit, decoded(&permit, json), false).await;
        created.expect("created")
    }

    async fn get_as(&self, resource: &str, name: &str) -> Stored {
        let permit = permit(Verb::Get, resource, name);
        let info = permit.request_info().expect("a request").clone();
        let found = self
            .registry
            .get(&permit, info.ops(), info.key(), ReadFrom::Latest)
            .await;
        found.expect("there")
    }

    async fn list_as(&self, resource: &str, fields: &str) -> Vec<Stored> {
        let permit = permit(Verb::List, resource, "");
        let info = permit.request_info().expect("a request").clone();
        let request = ListRequest {
            namespace: "default".to_owned(),
            selection: Selection::parse(info.kind(), "", fields).expect("selects"),
            ..everything()
        };
        let page = self.registry.list(&permit, info.ops(), &request).await;
        page.expect("listed").items
    }
}

const OLDER: &str = "autoscaling/v1/horizontalpodautoscalers";
const NEWER: &str = "autoscaling/v2/horizontalpodautoscalers";

fn older_autoscaler() -> Value {
    json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 5, "targetCPUUtilizationPercentage": 70}})
}

#[tokio::test]
async fn what_one_version_writes_every_version_reads() {
    let harness = Harness::new().await;
    let made = json_of(&harness.create_as(OLDER, &older_autoscaler()).await);
    assert_eq!(
        (&made["apiVersion"], &made["spec"]["targetCPUUtilizationPercentage"]),
        (&json!("autoscaling/v1"), &json!(70))
    );
    assert_eq!(made["spec"]["minReplicas"], 1, "defaults are the same");
    let newer = json_of(&harness.get_as(NEWER, "web").await);
    assert_eq!(newer["apiVersion"], "autoscaling/v2");
    assert_eq!(
        newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        70
    );
    for (version, field) in [(OLDER, "targetCPUUtilizationPercentage"), (NEWER, "metrics")] {
        let one = harness.get_as(version, "web").await;
        let [listed] = &harness.list_as(version, "metadata.name=web").await[..] else {
            panic!("one is listed as {version}");
        };
        assert_eq!(json_of(listed), json_of(&one));
        assert!(json_of(&one)["spec"].get(field).is_some(), "{version}");
        assert_eq!(one.revision(), listed.revision());
    }
    let older = harness.get_as(OLDER, "web").await.to_protobuf().expect("encoded");
    let older: autoscaling::v1::HorizontalPodAutoscaler = prost::Message::decode(older).expect("of that version");
    assert_eq!(
        older.spec.and_then(|spec| spec.target_cpu_utilization_percentage),
        Some(70)
    );
    assert_eq!(
        older.metadata.map(|meta| meta.resource_version).unwrap_or_default(),
        newer["metadata"]["resourceVersion"].as_str().expect("a revision")
    );
}

#[tokio::test]
async fn changes_are_made_in_the_version_of_their_request() {
    let harness = Harness::new().await;
    harness.create_as(OLDER, &older_autoscaler()).await;
    let patch = PatchRequest {
        patch_type: PatchType::StrategicMerge,
        patch: Bytes::from_static(br#"{"spec": {"targetCPUUtilizationPercentage": 40}}"#),
        validation: Validation::Strict,
        dry_run: false,
    };
    let patching = permit(Verb::Patch, OLDER, "web");
    let info = patching.request_info().expect("a request").clone();
    let patched = harness
        .registry
        .patch(&patching, info.ops(), Subresource::None, info.key(), &patch)
        .await;
    let answer = json_of(&patched.expect("patched").0.stored);
    assert_eq!(answer["spec"]["targetCPUUtilizationPercentage"], 40);

    let updating = permit(Verb::Update, NEWER, "web");
    let mut newer = json_of(&harness.get_as(NEWER, "web").await);
    newer["spec"]["metrics"] = json!([{"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 20}}}]);
    let updated = harness
        .registry
        .update(&updating, decoded(&updating, &newer), false)
        .await
        .expect("updated");
    assert_eq!(json_of(&updated.stored)["apiVersion"], "autoscaling/v2");
    // The older version carries what it has no field for along.
    let reading = permit(Verb::Update, OLDER, "web");
    let mut older = json_of(&harness.get_as(OLDER, "web").await);
    older["spec"]["maxReplicas"] = json!(9);
    let updated = harness
        .registry
        .update(&reading, decoded(&reading, &older), false)
        .await
        .expect("updated");
    assert_eq!(json_of(&updated.stored)["apiVersion"], "autoscaling/v1");
    let now = json_of(&harness.get_as(NEWER, "web").await);
    assert_eq!(
        (&now["spec"]["maxReplicas"], &now["spec"]["metrics"]),
        (&json!(9), &newer["spec"]["metrics"])
    );
}

#[tokio::test]
async fn what_is_applied_in_one_version_stays_owned_in_the_others() {
    let harness = Harness::new().await;
    let memory = json!([{"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 20}}}]);
    let newer = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 5, "metrics": memory}});
    harness.create_as(NEWER, &newer).await;
    let by = |verb, resource, name: &str| {
        let manager = FieldManager::of_request(name, "").expect("good");
        permit(verb, resource, "web").managed_by(manager)
    };
    let config = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"maxReplicas": 7}});
    let applying = by(Verb::Patch, OLDER, "me");
    let info = applying.request_info().expect("a request").clone();
    let request = ApplyRequest {
        config: Bytes::from(config.to_string()),
        force: true,
        validation: Validation::Strict,
        dry_run: false,
    };
    let applied = harness
        .registry
        .apply(&applying, info.ops(), Subresource::None, info.key(), &request)
        .await
        .expect("applied");
    assert_eq!(json_of(&applied.changed.stored)["apiVersion"], "autoscaling/v1");
    let now = json_of(&harness.get_as(NEWER, "web").await);
    assert_eq!(
        (&now["spec"]["maxReplicas"], &now["spec"]["metrics"]),
        (&json!(7), &memory),
        "what the older version has no field for stays"
    );
    let patching = by(Verb::Patch, NEWER, "other");
    let info = patching.request_info().expect("a request").clone();
    let patch = PatchRequest {
        patch_type: PatchType::Merge,
        patch: Bytes::from_static(br#"{"spec": {"minReplicas": 2}}"#),
        validation: Validation::Strict,
        dry_run: false,
    };
    let (patched, _) = harness
        .registry
        .patch(&patching, info.ops(), Subresource::None, info.key(), &patch)
        .await
        .expect("patched");
    let owners = owners(&patched.stored);
    for line in [
        r#"me Apply {"f:spec":{"f:maxReplicas":{}}}"#,
        r#"other Update {"f:spec":{"f:minReplicas":{}}}"#,
    ] {
        assert!(owners.iter().any(|owner| owner == line), "{owners:?}");
    }
}

#[tokio::test]
async fn events_are_the_same_in_both_groups() {
    let harness = Harness::new().await;
    let newer = "events.k8s.io/v1/events";
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "web.1"},
        "regarding": {"kind": "Pod", "name": "web", "namespace": "default"}, "reason": "Started", "note": "it runs",
        "eventTime": "2026-01-02T03:04:05.000006Z", "type": "Normal", "action": "Start",
        "reportingController": "a.b/c", "reportingInstance": "c-1"});
    let made = harness.create_as(newer, &event).await;
    let mut bare = event.clone();
    bare["metadata"]["name"] = json!("web.2");
    bare["eventTime"] = json!(null);
    let creating = permit(Verb::Create, newer, "");
    let refused = harness
        .registry
        .create(&creating, decoded(&creating, &bare), false)
        .await;
    assert_eq!(reason(refused), Reason::Invalid);
    assert_eq!(json_of(&made)["note"], "it runs");
    let older = json_of(&harness.get_as("/v1/events", "web.1").await);
    assert_eq!(
        (&older["apiVersion"], &older["message"]),
        (&json!("v1"), &json!("it runs"))
    );
    for (resource, fields, count) in [
        (newer, "regarding.kind=Pod,reason=Started", 1),
        (newer, "regarding.kind=Node", 0),
        ("/v1/events", "involvedObject.kind=Pod", 1),
    ] {
        assert_eq!(
            harness.list_as(resource, fields).await.len(),
            count,
            "{resource} {fields}"
        );
    }
    let watching = permit(Verb::Watch, newer, "");
    let info = watching.request_info().expect("a request").clone();
    let request = WatchRequest {
        namespace: "default".to_owned(),
        name: String::new(),
        selection: Selection::parse(info.kind(), "", "").expect("selects"),
        start: 0,
        bookmarks: false,
    };
    let mut watch = harness
        .registry
        .watch(&watching, info.ops(), request)
        .await
        .expect("watches");
    let WatchChange::Added(present) = watch.next().await.expect("told") else {
        panic!("the present event comes first");
    };
    let read: events::v1::Event =
        prost::Message::decode(present.to_protobuf().expect("encoded")).expect("of that version");
    assert_eq!(read.note, "it runs");
    let deleting = permit(Verb::Delete, newer, "web.1");
    let info = deleting.request_info().expect("a request").clone();
    let deleted = harness
        .registry
        .delete(&deleting, info.ops(), info.key(), &Default::default())
        .await
        .expect("deleted");
    assert_eq!(json_of(&deleted.stored)["note"], "it runs");
    loop {
        if let WatchChange::Deleted(gone) = watch.next().await.expect("told") {
            assert_eq!(json_of(&gone)["note"], "it runs");
            break;
        }
    }
}
