//! Who owns which fields after creates, updates, patches, and the writes of the control plane itself.

use bytes::Bytes;
use trireme_logic::patch::PatchType;
use trireme_proto::{
    api::{
        autoscaling::v1::{Scale, ScaleSpec},
        core::v1::{ContainerPort, Node, PodStatus},
    },
    v1::Encoding,
};

use super::*;
use crate::{
    pipeline::{Subresource, Validation},
    registry::{Changed, DeleteOptions, PatchRequest},
};

const ONE_KEY: &str = r#"creator Update {"f:data":{".":{},"f:color":{}}}"#;

/// Creates a ConfigMap of one key in the name of `creator`.
async fn mk_settings(harness: &Harness) -> Stored {
    let mut settings = mk_config_map("settings");
    settings.data.insert("color".to_owned(), "red".to_owned());
    let permit = managed("creator", Verb::Create, "configmaps", "");
    let decoded = Decoded::internal(Box::new(settings));
    harness.registry.create(&permit, decoded, false).await.expect("created")
}

async fn patch(harness: &Harness, permit: &Permit, patch_type: PatchType, patch: &str) -> Changed {
    let request = PatchRequest {
        patch_type,
        patch: Bytes::copy_from_slice(patch.as_bytes()),
        validation: Validation::Warn,
        dry_run: false,
    };
    let (ops, key) = (ops_of("", "configmaps"), in_default("settings"));
    let patched = harness
        .registry
        .patch(permit, ops, Subresource::None, &key, &request)
        .await;
    patched.expect("patched").0
}

/// Replaces the settings by JSON, as a client sends it.
async fn put(harness: &Harness, manager: &str, json: &str) -> Stored {
    let permit = managed(manager, Verb::Update, "configmaps", "settings");
    let body = Bytes::copy_from_slice(json.as_bytes());
    let decoded = Decoded::decode(&permit, body, Encoding::Json, Validation::Strict).expect("good");
    harness
        .registry
        .update(&permit, decoded, false)
        .await
        .expect("updated")
        .stored
}

#[tokio::test]
async fn creators_and_updaters_own_what_they_write() {
    let harness = Harness::new().await;
    assert_eq!(owners(&mk_settings(&harness).await), [ONE_KEY]);
    let permit = managed("patcher", Verb::Patch, "configmaps", "settings");
    let patched = patch(&harness, &permit, PatchType::Merge, r#"{"data":{"size":"1"}}"#).await;
    assert_eq!(
        owners(&patched.stored),
        [ONE_KEY, r#"patcher Update {"f:data":{"f:size":{}}}"#]
    );
    let put = put(&harness, "putter", r#"{"data":{"color":"blue","size":"1"}}"#).await;
    assert_eq!(
        owners(&put),
        [
            r#"creator Update {"f:data":{}}"#,
            r#"patcher Update {"f:data":{"f:size":{}}}"#,
            r#"putter Update {"f:data":{"f:color":{}}}"#,
        ]
    );
}

#[tokio::test]
async fn a_pods_creator_does_not_own_what_the_server_adds() {
    let harness = Harness::new().await;
    let permit = managed("", Verb::Create, "pods", "");
    let pod = Decoded::internal(Box::new(mk_pod("web")));
    let stored = harness.registry.create(&permit, pod, false).await.expect("created");
    let [line] = owners(&stored).try_into().expect("one entry");
    assert!(line.starts_with("tests Update {\"f:spec\":{\"f:containers\""), "{line}");
    // Filled in for the client, and added by admission.
    let spec = typed::<Pod>(&stored).spec.expect("present");
    assert!(line.contains("f:restartPolicy") && !spec.tolerations.is_empty() && !spec.service_account_name.is_empty());
    assert!(
        !line.contains("f:tolerations") && !line.contains("f:serviceAccountName"),
        "{line}"
    );
    assert!(!line.contains("f:status") && !line.contains("f:uid") && !line.contains("f:name\":{},\"f:namespace"));
}

#[tokio::test]
async fn no_news_leaves_owners_and_revision() {
    let harness = Harness::new().await;
    mk_settings(&harness).await;
    let before = harness.revision();
    let permit = managed("patcher", Verb::Patch, "configmaps", "settings");
    let patched = patch(&harness, &permit, PatchType::Merge, r#"{"data":{"color":"red"}}"#).await;
    assert_eq!(owners(&patched.stored), [ONE_KEY]);
    assert_eq!(harness.revision(), before);
}

/// A patch goes through JSON, whose order of keys is another than that of stored sets.
#[tokio::test]
async fn no_news_is_none_in_another_order() {
    let harness = Harness::new().await;
    let mut pod = mk_pod("web");
    let container = &mut pod.spec.as_mut().expect("present").containers[0];
    container.ports = [9_090, 10_000]
        .map(|port| ContainerPort {
            container_port: port,
            ..ContainerPort::default()
        })
        .to_vec();
    let permit = managed("creator", Verb::Create, "pods", "");
    let decoded = Decoded::internal(Box::new(pod));
    harness.registry.create(&permit, decoded, false).await.expect("created");
    let before = harness.revision();
    let request = PatchRequest {
        patch_type: PatchType::Merge,
        patch: Bytes::from_static(br#"{"metadata":{"labels":{"none":null}}}"#),
        validation: Validation::Strict,
        dry_run: false,
    };
    let permit = managed("patcher", Verb::Patch, "pods", "web");
    let (pods, key) = (ops_of("", "pods"), in_default("web"));
    let patched = harness
        .registry
        .patch(&permit, pods, Subresource::None, &key, &request)
        .await;
    let [line] = owners(&patched.expect("patched").0.stored)
        .try_into()
        .expect("one entry");
    assert!(line.find("9090") < line.find("10000"), "{line}");
    assert_eq!(harness.revision(), before);
}

#[tokio::test]
async fn owners_can_be_forgotten_and_replaced() {
    let harness = Harness::new().await;
    let reset = [
        (PatchType::Merge, r#"{"metadata":{"managedFields":[]}}"#),
        (PatchType::Merge, r#"{"metadata":{"managedFields":[{}]}}"#),
        (
            PatchType::Json,
            r#"[{"op":"replace","path":"/metadata/managedFields","value":[{}]}]"#,
        ),
        (PatchType::StrategicMerge, r#"{"metadata":{"managedFields":[]}}"#),
    ];
    for (patch_type, text) in reset {
        let permit = managed("patcher", Verb::Patch, "configmaps", "settings");
        mk_settings(&harness).await;
        // Who does not know of owners does not forget them.
        let kept = patch(
            &harness,
            &permit,
            PatchType::Merge,
            r#"{"metadata":{"managedFields":null}}"#,
        )
        .await;
        assert_eq!(owners(&kept.stored), [ONE_KEY]);
        let changed = patch(&harness, &permit, patch_type, text).await;
        assert_eq!(owners(&changed.stored), [""; 0], "{text}");
        // And from then on nobody is tracked.
        let changed = patch(&harness, &permit, PatchType::Merge, r#"{"data":{"size":"1"}}"#).await;
        assert_eq!(owners(&changed.stored), [""; 0]);
        let (ops, key) = (ops_of("", "configmaps"), in_default("settings"));
        let (permit, options) = (system(), DeleteOptions::default());
        let deleted = harness.registry.delete(&permit, ops, &key, &options).await;
        assert!(deleted.expect("deleted").gone);
    }
    mk_settings(&harness).await;
    let stored = put(
        &harness,
        "putter",
        r#"{"metadata":{"managedFields":[]},"data":{"color":"red"}}"#,
    )
    .await;
    assert_eq!(owners(&stored), [""; 0]);
    let entry = r#"{"manager":"heir","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:color":{}}}}"#;
    let text = format!(r#"{{"metadata":{{"managedFields":[{entry}]}},"data":{{"color":"red"}}}}"#);
    assert_eq!(
        owners(&put(&harness, "putter", &text).await),
        [r#"heir Apply {"f:data":{"f:color":{}}}"#]
    );
}

#[tokio::test]
async fn the_control_plane_owns_nothing_but_takes_what_it_changes() {
    let harness = Harness::new().await;
    let made = harness.create(mk_config_map("made")).await.expect("created");
    assert_eq!(owners(&made), [""; 0]);
    mk_settings(&harness).await;
    let patched = patch(
        &harness,
        &system(),
        PatchType::Merge,
        r#"{"data":{"color":"blue","size":"1"}}"#,
    )
    .await;
    assert_eq!(owners(&patched.stored), [r#"creator Update {"f:data":{}}"#]);
}

#[tokio::test]
async fn what_agents_report_is_taken_from_others() {
    let harness = Harness::new().await;
    let permit = managed("creator", Verb::Create, "pods", "");
    let pod = Decoded::internal(Box::new(mk_pod("web")));
    let stored = harness.registry.create(&permit, pod, false).await.expect("created");
    let created = owners(&stored);
    let (pods, key) = (ops_of("", "pods"), in_default("web"));
    let registry = &harness.registry;
    registry.bind(&system(), &key, "", "n1").await.expect("bound");
    let uid = typed::<Pod>(&stored).metadata.expect("present").uid;
    let report = |reason: &'static str| {
        let (key, uid) = (&key, &uid);
        async move {
            let status = PodStatus {
                phase: "Running".to_owned(),
                reason: reason.to_owned(),
                ..PodStatus::default()
            };
            let node = node_permit("n1");
            registry
                .update_pod_status(&node, key, uid, &status, false)
                .await
                .expect("stored")
        }
    };
    report("Fine").await;
    let read = harness.get("", "pods", &key).await.expect("there");
    assert_eq!(owners(&read), created, "a creator owns nothing of the status");
    // Somebody who wrote to the status loses what the agent says otherwise.
    let permit = managed("debugger", Verb::Patch, "pods/status", "web");
    let request = PatchRequest {
        patch_type: PatchType::Merge,
        patch: Bytes::from_static(br#"{"status":{"reason":"Odd","message":"mine"}}"#),
        validation: Validation::Strict,
        dry_run: false,
    };
    registry
        .patch(&permit, pods, Subresource::Status, &key, &request)
        .await
        .expect("patched");
    report("Fine again").await;
    let read = harness.get("", "pods", &key).await.expect("there");
    assert_eq!(owners(&read).len(), 1, "{:?}", owners(&read));

    let node = Node {
        metadata: Some(ObjectMeta {
            name: "n1".to_owned(),
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            ..ObjectMeta::default()
        }),
        ..Node::default()
    };
    let permit = request_of_node();
    let created = registry
        .create(&permit, Decoded::internal(Box::new(node.clone())), false)
        .await;
    assert_eq!(
        owners(&created.expect("created")),
        [r#"creator Update {"f:metadata":{"f:labels":{".":{},"f:zone":{}}}}"#]
    );
    let mut reported = node;
    reported
        .metadata
        .as_mut()
        .expect("present")
        .labels
        .insert("zone".to_owned(), "b".to_owned());
    let stored = registry
        .upsert_node(&node_permit("n1"), reported)
        .await
        .expect("refreshed");
    assert_eq!(owners(&stored), [r#"creator Update {"f:metadata":{"f:labels":{}}}"#]);
}

fn request_of_node() -> Permit {
    let manager = FieldManager::of_request("creator", "").expect("good");
    admin(Verb::Create, "nodes", "", "").managed_by(manager)
}

#[tokio::test]
async fn whoever_scales_owns_the_replicas() {
    let harness = Harness::new().await;
    let deployment = updating::mk_deployment("web");
    let permit = managed("creator", Verb::Create, "deployments", "");
    let decoded = Decoded::internal(Box::new(deployment));
    let created = harness.registry.create(&permit, decoded, false).await.expect("created");
    assert!(owners(&created)[0].contains("f:replicas"));
    let (ops, key) = (ops_of("apps", "deployments"), in_default("web"));
    let permit = managed("hpa", Verb::Update, "deployments/scale", "web");
    let wish = Scale {
        spec: Some(ScaleSpec { replicas: 5 }),
        ..Scale::default()
    };
    let (_, stored) = harness
        .registry
        .update_scale(&permit, ops, &key, &wish, false)
        .await
        .expect("scaled");
    let [creator, hpa] = owners(&stored).try_into().expect("two entries");
    assert!(!creator.contains("f:replicas"), "{creator}");
    assert_eq!(hpa, r#"hpa/scale Update {"f:spec":{"f:replicas":{}}}"#);
}
