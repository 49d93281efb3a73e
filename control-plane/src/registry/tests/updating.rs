//! Updating, patching and scaling: preconditions, no-ops, concurrent writers.

use bytes::Bytes;
use trireme_logic::{patch::PatchType, world::take_excerpt};
use trireme_proto::api::{
    apps::v1::{Deployment, DeploymentSpec},
    autoscaling::v1::{Scale, ScaleSpec},
    core::v1::PodTemplateSpec,
    meta::v1::{LabelSelector, OwnerReference},
};

use super::*;
use crate::{
    limits,
    pipeline::{Subresource, Validation},
    registry::{Changed, DeleteOptions, PatchRequest},
};

async fn update(harness: &Harness, object: impl Object) -> Result<Changed, ApiError> {
    harness
        .registry
        .update(&system(), Decoded::internal(Box::new(object)), false)
        .await
}

fn patch_request(patch_type: PatchType, patch: &str) -> PatchRequest {
    PatchRequest {
        patch_type,
        patch: Bytes::copy_from_slice(patch.as_bytes()),
        validation: Validation::Warn,
        dry_run: false,
    }
}

async fn patch(harness: &Harness, patch_type: PatchType, patch: &str) -> Result<Changed, ApiError> {
    let request = patch_request(patch_type, patch);
    let (ops, key) = (ops_of("", "configmaps"), in_default("settings"));
    let patched = harness
        .registry
        .patch(&system(), ops, Subresource::None, &key, &request)
        .await;
    patched.map(|(changed, _)| changed)
}

async fn mk_settings(harness: &Harness) -> ConfigMap {
    let mut settings = mk_config_map("settings");
    settings.data.insert("color".to_owned(), "red".to_owned());
    typed(&harness.create(settings).await.expect("created"))
}

pub(super) fn mk_deployment(name: &str) -> Deployment {
    let labels = [("app".to_owned(), name.to_owned())]
        .into_iter()
        .collect::<std::collections::BTreeMap<_, _>>();
    let pod = mk_pod(name);
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: labels.clone(),
            ..ObjectMeta::default()
        }),
        spec: pod.spec,
    };
    let spec = DeploymentSpec {
        replicas: Some(3),
        selector: Some(LabelSelector {
            match_labels: labels,
            ..LabelSelector::default()
        }),
        template: Some(template),
        ..DeploymentSpec::default()
    };
    Deployment {
        metadata: mk_meta(name),
        spec: Some(spec),
        ..Deployment::default()
    }
}

#[tokio::test]
async fn an_update_needs_the_version_it_was_made_for() {
    let harness = Harness::new().await;
    let mut mine = mk_settings(&harness).await;
    let mut theirs = mine.clone();
    theirs.data.insert("color".to_owned(), "green".to_owned());
    update(&harness, theirs).await.expect("first");
    mine.data.insert("color".to_owned(), "blue".to_owned());
    let error = update(&harness, mine.clone()).await.expect_err("too late");
    assert_eq!(error.reason(), Reason::Conflict);
    assert_eq!(
        error.message(),
        "Operation cannot be fulfilled on configmaps \"settings\": the object has been modified; please apply your \
         changes to the latest version and try again"
    );
    // Without a version the last write wins.
    mine.metadata.as_mut().expect("present").resource_version.clear();
    let changed = update(&harness, mine).await.expect("unconditional");
    assert_eq!(typed::<ConfigMap>(&changed.stored).data["color"], "blue");
}

#[tokio::test]
async fn an_update_for_another_object_of_the_name_is_refused() {
    let harness = Harness::new().await;
    let mut settings = mk_settings(&harness).await;
    let meta = settings.metadata.as_mut().expect("present");
    meta.resource_version.clear();
    meta.uid = "00000000-0000-4000-8000-000000000000".to_owned();
    assert_eq!(reason(update(&harness, settings).await), Reason::Conflict);
    assert_eq!(
        reason(update(&harness, mk_config_map("missing")).await),
        Reason::NotFound
    );
    let mut nonsense = mk_config_map("settings");
    nonsense.metadata.as_mut().expect("present").resource_version = "yesterday".to_owned();
    assert_eq!(reason(update(&harness, nonsense).await), Reason::Invalid);
}

#[tokio::test]
async fn an_update_that_changes_nothing_writes_nothing() {
    let harness = Harness::new().await;
    let settings = mk_settings(&harness).await;
    let before = harness.revision();
    let changed = update(&harness, settings.clone()).await.expect("no news");
    assert_eq!(harness.revision(), before);
    assert_eq!(typed::<ConfigMap>(&changed.stored), settings);
}

#[tokio::test]
async fn spec_and_status_are_written_apart() {
    let harness = Harness::new().await;
    let created: Deployment = typed(&harness.create(mk_deployment("web")).await.expect("created"));
    assert_eq!(created.metadata.as_ref().expect("present").generation, 1);

    let mut wish = created.clone();
    wish.spec.as_mut().expect("present").replicas = Some(5);
    wish.status.get_or_insert_default().replicas = 99;
    let spec_updated: Deployment = typed(&update(&harness, wish.clone()).await.expect("updated").stored);
    assert_eq!(spec_updated.spec.as_ref().expect("present").replicas, Some(5));
    assert_eq!(
        spec_updated.status.as_ref().map_or(0, |status| status.replicas),
        0,
        "the status is not the client's"
    );
    assert_eq!(spec_updated.metadata.as_ref().expect("present").generation, 2);

    wish.metadata.as_mut().expect("present").resource_version.clear();
    wish.spec.as_mut().expect("present").replicas = Some(7);
    let decoded = Decoded::internal(Box::new(wish));
    let changed = harness
        .registry
        .update_status(&system(), decoded, false)
        .await
        .expect("updated");
    let status_updated: Deployment = typed(&changed.stored);
    assert_eq!(status_updated.status.as_ref().expect("present").replicas, 99);
    assert_eq!(
        status_updated.spec.as_ref().expect("present").replicas,
        Some(5),
        "nor is the spec here"
    );
    assert_eq!(status_updated.metadata.as_ref().expect("present").generation, 2);
}

#[tokio::test]
async fn patches_of_all_forms_apply() {
    let harness = Harness::new().await;
    mk_settings(&harness).await;
    for (patch_type, text, color) in [
        (PatchType::Merge, r#"{"data":{"color":"green"}}"#, "green"),
        (
            PatchType::Json,
            r#"[{"op":"replace","path":"/data/color","value":"blue"}]"#,
            "blue",
        ),
        (PatchType::StrategicMerge, r#"{"data":{"color":"white"}}"#, "white"),
    ] {
        let changed = patch(&harness, patch_type, text).await.expect("patched");
        assert_eq!(typed::<ConfigMap>(&changed.stored).data["color"], color);
    }
}

#[tokio::test]
async fn bad_patches_are_refused_and_change_nothing() {
    let harness = Harness::new().await;
    mk_settings(&harness).await;
    let before = harness.revision();
    for (patch_type, text, expected) in [
        (PatchType::Merge, "{", Reason::BadRequest),
        (PatchType::Json, "{}", Reason::BadRequest),
        (
            PatchType::Json,
            r#"[{"op":"test","path":"/data/color","value":"blue"}]"#,
            Reason::Invalid,
        ),
        (PatchType::Merge, r#"{"data":{"color":7}}"#, Reason::Invalid),
        (PatchType::Merge, r#"{"metadata":{"name":"other"}}"#, Reason::Invalid),
        (
            PatchType::Merge,
            r#"{"metadata":{"resourceVersion":"1"}}"#,
            Reason::Conflict,
        ),
    ] {
        let error = patch(&harness, patch_type, text).await.expect_err(text);
        assert_eq!(error.reason(), expected, "{text}: {error}");
    }
    assert_eq!(harness.revision(), before);
}

#[tokio::test]
async fn a_patch_that_does_not_fit_is_shown_unless_it_is_long() {
    let harness = Harness::new().await;
    mk_settings(&harness).await;
    let of_length = |bytes: usize| {
        let around = r#"{"data":7,"x":""}"#;
        format!(r#"{{"data":7,"x":"{}"}}"#, "x".repeat(bytes - around.len()))
    };
    for (bytes, is_shown) in [
        (limits::PATCH_SHOWN_BYTES, true),
        (limits::PATCH_SHOWN_BYTES + 1, false),
    ] {
        let error = patch(&harness, PatchType::Merge, &of_length(bytes))
            .await
            .expect_err("no data");
        assert_eq!(error.message().contains("xxx"), is_shown, "{error}");
        assert!(error.message().contains("patch: Invalid value: "), "{error}");
    }
}

#[tokio::test]
async fn a_patch_warns_of_unknown_fields() {
    let harness = Harness::new().await;
    mk_settings(&harness).await;
    let request = patch_request(PatchType::Merge, r#"{"dada":{"color":"green"}}"#);
    let (ops, key) = (ops_of("", "configmaps"), in_default("settings"));
    let (_, warnings) = harness
        .registry
        .patch(&system(), ops, Subresource::None, &key, &request)
        .await
        .expect("accepted");
    assert_eq!(warnings, [r#"unknown field "dada""#]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_of_many_is_lost() {
    const WRITERS: usize = 16;
    let harness = Harness::new().await;
    mk_settings(&harness).await;
    let other = harness.another_server();
    let writers = (0..WRITERS).map(|index| {
        let registry = if index % 2 == 0 {
            harness.registry.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move {
            let request = patch_request(
                PatchType::Merge,
                &format!(r#"{{"data":{{"writer-{index}":"was here"}}}}"#),
            );
            let (ops, key) = (ops_of("", "configmaps"), in_default("settings"));
            // A patch gives up after a few conflicts, and says so.
            loop {
                match registry.patch(&system(), ops, Subresource::None, &key, &request).await {
                    Ok(_) => return,
                    Err(error) => assert_eq!(error.reason(), Reason::Conflict),
                }
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.expect("no panic");
    }
    let settings: ConfigMap = typed(
        &harness
            .get("", "configmaps", &in_default("settings"))
            .await
            .expect("there"),
    );
    assert_eq!(settings.data.len(), WRITERS + 1);
}

#[tokio::test]
async fn scale_reads_and_writes_replicas_alone() {
    let harness = Harness::new().await;
    let created = harness.create(mk_deployment("web")).await.expect("created");
    let (ops, key) = (ops_of("apps", "deployments"), in_default("web"));
    let permit = admin(Verb::Get, "deployments/scale", "default", "web");
    let (scale, _) = harness
        .registry
        .get_scale(&permit, ops, &key, ReadFrom::Latest)
        .await
        .expect("read");
    assert_eq!(scale.spec.as_ref().expect("present").replicas, 3);
    assert_eq!(scale.status.as_ref().expect("present").selector, "app=web");

    let permit = admin(Verb::Update, "deployments/scale", "default", "web");
    let wish = Scale {
        metadata: scale.metadata.clone(),
        spec: Some(ScaleSpec { replicas: 5 }),
        ..Scale::default()
    };
    let (scale, stored) = harness
        .registry
        .update_scale(&permit, ops, &key, &wish, false)
        .await
        .expect("scaled");
    assert_eq!(scale.spec.as_ref().expect("present").replicas, 5);
    assert!(stored.revision() > created.revision());
    let stale = harness.registry.update_scale(&permit, ops, &key, &wish, false).await;
    assert_eq!(reason(stale), Reason::Conflict);
    let negative = Scale {
        spec: Some(ScaleSpec { replicas: -1 }),
        ..Scale::default()
    };
    assert!(
        harness
            .registry
            .update_scale(&permit, ops, &key, &negative, false)
            .await
            .is_err()
    );

    let permit = admin(Verb::Patch, "deployments/scale", "default", "web");
    let text = Bytes::from_static(br#"{"spec":{"replicas":7}}"#);
    let patched = harness
        .registry
        .patch_scale(&permit, ops, &key, (PatchType::Merge, &text), false)
        .await;
    assert_eq!(patched.expect("patched").0.spec.expect("present").replicas, 7);
}

#[tokio::test]
async fn a_dry_run_shows_what_an_update_would_come_to() {
    let harness = Harness::new().await;
    let mut settings = mk_settings(&harness).await;
    let before = harness.revision();
    settings.data.insert("color".to_owned(), "green".to_owned());
    let changed = harness
        .registry
        .update(&system(), Decoded::internal(Box::new(settings)), true)
        .await
        .expect("dry");
    assert_eq!(typed::<ConfigMap>(&changed.stored).data["color"], "green");
    assert_eq!(harness.revision(), before);
}

/// A loop that knows an excerpt of an object changes its ownership by it, and nothing else.
#[tokio::test]
async fn ownership_is_all_that_is_taken_from_an_excerpt() {
    let harness = Harness::new().await;
    let mut pod = mk_pod("web");
    let meta = pod.metadata.as_mut().expect("present");
    meta.annotations
        .insert("example.com/notes".to_owned(), "long".to_owned());
    meta.finalizers.push("example.com/hold".to_owned());
    let whole: Pod = typed(&harness.create(pod).await.expect("created"));
    let mut excerpt = whole.clone();
    take_excerpt(&mut excerpt);
    let owner = OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "ReplicaSet".to_owned(),
        name: "web".to_owned(),
        uid: "some".to_owned(),
        ..OwnerReference::default()
    };
    excerpt.metadata.as_mut().expect("present").owner_references = vec![owner.clone()];
    let own = async |excerpt: &Pod| harness.registry.update_ownership(&system(), excerpt).await;
    let owned: Pod = typed(&own(&excerpt).await.expect("owned").stored);
    let (before, after) = (whole.metadata.expect("present"), owned.metadata.expect("present"));
    assert_eq!(after.owner_references, [owner]);
    assert_eq!(
        (after.annotations, after.finalizers),
        (before.annotations, before.finalizers)
    );
    assert_eq!(owned.spec, whole.spec);

    // It is of an old version now.
    assert_eq!(reason(own(&excerpt).await), Reason::Conflict);
    let meta = excerpt.metadata.as_mut().expect("present");
    meta.resource_version.clone_from(&after.resource_version);
    meta.uid = "another".to_owned();
    assert_eq!(reason(own(&excerpt).await), Reason::Conflict);

    // What nothing holds any more goes.
    let (ops, key) = (ops_of("", "pods"), in_default("web"));
    let deleted = harness
        .registry
        .delete(&system(), ops, &key, &DeleteOptions::default())
        .await
        .expect("marked");
    let mut ending: Pod = typed(&deleted.stored);
    take_excerpt(&mut ending);
    ending.metadata.as_mut().expect("present").finalizers.clear();
    assert!(own(&ending).await.expect("released").gone);
    assert_eq!(reason(harness.get_pod("web").await), Reason::NotFound);
}
