//! Applying: creates, conflicts, force, dry runs, and applies that change nothing.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use trireme_proto::api::apps::v1::Deployment;

use super::*;
use crate::{
    pipeline::{Subresource, Validation},
    registry::{AppliedObject, ApplyRequest},
};

fn request(config: &str) -> ApplyRequest {
    ApplyRequest {
        config: Bytes::copy_from_slice(config.as_bytes()),
        force: false,
        validation: Validation::Warn,
        dry_run: false,
    }
}

/// What makes a configuration of a ConfigMap of `data`.
fn config_map(data: &str) -> ApplyRequest {
    request(&format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","data":{data}}}"#))
}

async fn apply(harness: &Harness, manager: &str, request: &ApplyRequest) -> Result<AppliedObject, ApiError> {
    let permit = managed(manager, Verb::Patch, "configmaps", "settings");
    let (ops, key) = (ops_of("", "configmaps"), in_default("settings"));
    harness
        .registry
        .apply(&permit, ops, Subresource::None, &key, request)
        .await
}

fn data(applied: &AppliedObject) -> String {
    let settings: ConfigMap = typed(&applied.changed.stored);
    settings
        .data
        .iter()
        .map(|(key, value)| format!("{key}={value} "))
        .collect()
}

#[tokio::test]
async fn applying_creates_what_is_not_there() {
    let harness = Harness::new().await;
    let applied = apply(&harness, "me", &config_map(r#"{"color":"red"}"#))
        .await
        .expect("created");
    assert!(applied.created);
    let settings: ConfigMap = typed(&applied.changed.stored);
    let meta = settings.metadata.as_ref().expect("present");
    assert_eq!((meta.name.as_str(), meta.namespace.as_str()), ("settings", "default"));
    assert!(!meta.uid.is_empty() && meta.creation_timestamp.is_some());
    assert_eq!(
        owners(&applied.changed.stored),
        [r#"me Apply {"f:data":{"f:color":{}}}"#]
    );
    assert_eq!(meta.managed_fields[0].time, Some(harness.registry.environment().now()));
    // It is what others read.
    let read = harness
        .get("", "configmaps", &in_default("settings"))
        .await
        .expect("there");
    assert_eq!(typed::<ConfigMap>(&read), settings);

    let again = apply(&harness, "me", &config_map(r#"{"size":"1"}"#))
        .await
        .expect("changed");
    assert!(!again.created);
    assert_eq!(data(&again), "size=1 ");
}

#[tokio::test]
async fn what_is_not_there_has_neither_uid_nor_version() {
    let harness = Harness::new().await;
    let with = |field: &str| {
        request(&format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"{field}":"7"}}}}"#
        ))
    };
    let error = apply(&harness, "me", &with("uid")).await.expect_err("refused");
    assert_eq!(error.reason(), Reason::Conflict);
    assert!(error.message().contains("no existing object was found"), "{error}");
    assert_eq!(
        reason(apply(&harness, "me", &with("resourceVersion")).await),
        Reason::Conflict
    );
    // Once there is an object they are preconditions.
    apply(&harness, "me", &config_map(r#"{"color":"red"}"#))
        .await
        .expect("created");
    for field in ["uid", "resourceVersion"] {
        assert_eq!(
            reason(apply(&harness, "me", &with(field)).await),
            Reason::Conflict,
            "{field}"
        );
    }
}

#[tokio::test]
async fn conflicts_name_owners_and_force_takes_over() {
    let harness = Harness::new().await;
    let first = config_map(r#"{"color":"red","size":"1"}"#);
    apply(&harness, "one", &first).await.expect("created");
    let wish = config_map(r#"{"color":"blue"}"#);
    let before = harness.revision();
    let error = apply(&harness, "two", &wish).await.expect_err("refused");
    assert_eq!(error.reason(), Reason::Conflict);
    assert_eq!(
        error.message(),
        "Apply failed with 1 conflict: conflict with \"one\": .data.color"
    );
    let status = error.to_status();
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    let causes = status.details.expect("details").causes;
    assert_eq!(
        (
            causes[0].reason.as_str(),
            causes[0].field.as_str(),
            causes[0].message.as_str()
        ),
        ("FieldManagerConflict", ".data.color", "conflict with \"one\"")
    );
    assert_eq!(harness.revision(), before);

    let forced = ApplyRequest { force: true, ..wish };
    let applied = apply(&harness, "two", &forced).await.expect("forced");
    assert_eq!(data(&applied), "color=blue size=1 ");
    assert_eq!(
        owners(&applied.changed.stored),
        [
            r#"one Apply {"f:data":{"f:size":{}}}"#,
            r#"two Apply {"f:data":{"f:color":{}}}"#
        ]
    );
}

#[tokio::test]
async fn applying_the_same_again_writes_nothing() {
    let harness = Harness::new().await;
    let config = config_map(r#"{"color":"red"}"#);
    let first = apply(&harness, "me", &config).await.expect("created");
    let before = harness.revision();
    harness.clock.0.fetch_add(60, Ordering::SeqCst);
    let again = apply(&harness, "me", &config).await.expect("no news");
    assert_eq!(harness.revision(), before);
    assert_eq!(
        typed::<ConfigMap>(&again.changed.stored),
        typed::<ConfigMap>(&first.changed.stored)
    );
    // Nor does a value that is only written in another way: quantities have one form.
    let limits = |cpu: &str| {
        request(&format!(
            r#"{{"apiVersion":"v1","kind":"Pod","spec":{{"containers":[{{"name":"a","image":"x","resources":{{"limits":{{"cpu":"{cpu}"}}}}}}]}}}}"#
        ))
    };
    let permit = managed("me", Verb::Patch, "pods", "web");
    let (pods, key) = (ops_of("", "pods"), in_default("web"));
    let registry = &harness.registry;
    let apply = |request: ApplyRequest| {
        let permit = &permit;
        let key = &key;
        async move { registry.apply(permit, pods, Subresource::None, key, &request).await }
    };
    apply(limits("0.5")).await.expect("created");
    let before = harness.revision();
    harness.clock.0.fetch_add(60, Ordering::SeqCst);
    apply(limits("500m")).await.expect("no news");
    assert_eq!(harness.revision(), before);
    // A second owner is news, though no value changes.
    let other = managed("other", Verb::Patch, "pods", "web");
    let shared = registry
        .apply(&other, pods, Subresource::None, &key, &limits("500m"))
        .await
        .expect("shared");
    assert!(harness.revision() > before);
    assert_eq!(owners(&shared.changed.stored).len(), 2);
}

#[tokio::test]
async fn dry_runs_store_nothing() {
    let harness = Harness::new().await;
    let dry = |data: &str| ApplyRequest {
        dry_run: true,
        ..config_map(data)
    };
    let before = harness.revision();
    let applied = apply(&harness, "me", &dry(r#"{"color":"red"}"#)).await.expect("dry");
    assert!(applied.created && data(&applied) == "color=red ");
    assert_eq!(harness.revision(), before);
    assert_eq!(
        reason(harness.get("", "configmaps", &in_default("settings")).await),
        Reason::NotFound
    );
    apply(&harness, "me", &config_map(r#"{"color":"red"}"#))
        .await
        .expect("created");
    let before = harness.revision();
    let applied = apply(&harness, "me", &dry(r#"{"color":"blue"}"#)).await.expect("dry");
    assert_eq!((applied.created, data(&applied).as_str()), (false, "color=blue "));
    assert_eq!(
        reason(apply(&harness, "other", &dry(r#"{"color":"blue"}"#)).await),
        Reason::Conflict
    );
    assert_eq!(harness.revision(), before);
}

#[tokio::test]
async fn bad_applies_are_refused_and_change_nothing() {
    let harness = Harness::new().await;
    apply(&harness, "me", &config_map(r#"{"color":"red"}"#))
        .await
        .expect("created");
    let before = harness.revision();
    for (text, expected, words) in [
        ("{", Reason::BadRequest, "error decoding patch"),
        ("[]", Reason::BadRequest, "must be an object"),
        (r#"{"data":{}}"#, Reason::BadRequest, "invalid object type: , Kind="),
        (
            r#"{"apiVersion":"v1","kind":"Secret"}"#,
            Reason::BadRequest,
            "expected v1, Kind=ConfigMap",
        ),
        (
            r#"{"apiVersion":"v1","kind":"ConfigMap","dada":{}}"#,
            Reason::BadRequest,
            "failed to create typed patch object (default/settings; /v1, Kind=ConfigMap): .dada: field not declared in schema",
        ),
        (
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"managedFields":[]}}"#,
            Reason::BadRequest,
            "metadata.managedFields must be nil",
        ),
        (
            r#"{"apiVersion":"v1","kind":"ConfigMap","data":{"color":7}}"#,
            Reason::BadRequest,
            "data.color",
        ),
        (
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other"}}"#,
            Reason::BadRequest,
            "does not match the name on the URL",
        ),
        (
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"labels":{"a b":"c"}}}"#,
            Reason::Invalid,
            "metadata.labels",
        ),
    ] {
        let forced = ApplyRequest {
            force: true,
            ..request(text)
        };
        let error = apply(&harness, "me", &forced).await.expect_err(text);
        assert_eq!(error.reason(), expected, "{text}: {error}");
        assert!(error.message().contains(words), "{text}: {error}");
    }
    // Who applies must say who it is: a program's name is not enough.
    let error = apply(&harness, "", &config_map("{}")).await.expect_err("nameless");
    assert!(error.message().contains("is required for apply patch"), "{error}");
    assert_eq!(harness.revision(), before);
}

#[tokio::test]
async fn statuses_and_scales_are_applied_apart() {
    let harness = Harness::new().await;
    let (ops, key) = (ops_of("apps", "deployments"), in_default("web"));
    let apply = |manager: &'static str, part: &'static str, text: &'static str| {
        let registry = harness.registry.clone();
        async move {
            let resource = format!("deployments{part}");
            let permit = managed(manager, Verb::Patch, &resource, "web");
            let part = if part.is_empty() {
                Subresource::None
            } else {
                Subresource::Status
            };
            registry
                .apply(&permit, ops, part, &in_default("web"), &request(text))
                .await
        }
    };
    const OBJECT: &str = r#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":3,"selector":{"matchLabels":{"app":"web"}},
        "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"a","image":"x"}]}}}}"#;
    const STATUS: &str =
        r#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":9},"status":{"replicas":2}}"#;
    assert_eq!(
        reason(apply("loop", "/status", STATUS).await),
        Reason::NotFound,
        "only the object itself is made"
    );
    apply("me", "", OBJECT).await.expect("created");
    let applied = apply("loop", "/status", STATUS).await.expect("applied");
    let web: Deployment = typed(&applied.changed.stored);
    assert_eq!(web.spec.as_ref().expect("present").replicas, Some(3));
    assert_eq!(web.status.as_ref().expect("present").replicas, 2);
    assert!(
        owners(&applied.changed.stored).contains(&r#"loop/status Apply {"f:status":{"f:replicas":{}}}"#.to_owned())
    );

    let scale = |manager: &str, replicas: i32, force: bool| {
        let registry = harness.registry.clone();
        let permit = managed(manager, Verb::Patch, "deployments/scale", "web");
        let text = format!(r#"{{"apiVersion":"autoscaling/v1","kind":"Scale","spec":{{"replicas":{replicas}}}}}"#);
        let request = ApplyRequest {
            force,
            ..request(&text)
        };
        let key = key.clone();
        async move { registry.apply_scale(&permit, ops, &key, &request).await }
    };
    let error = scale("hpa", 5, false).await.expect_err("a conflict");
    assert_eq!(
        error.message(),
        "Apply failed with 1 conflict: conflict with \"me\": .spec.replicas"
    );
    let (scaled, stored) = scale("hpa", 5, true).await.expect("scaled");
    assert_eq!(scaled.spec.expect("present").replicas, 5);
    assert!(owners(&stored).contains(&r#"hpa/scale Apply {"f:spec":{"f:replicas":{}}}"#.to_owned()));
    let error = apply("me", "", OBJECT).await.expect_err("a conflict");
    assert_eq!(
        error.message(),
        "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\": .spec.replicas"
    );
    let permit = managed("hpa", Verb::Patch, "deployments/scale", "web");
    let wrong = request(r#"{"apiVersion":"autoscaling/v1","kind":"Scale","spec":{"replicaz":1}}"#);
    let error = harness
        .registry
        .apply_scale(&permit, ops, &key, &wrong)
        .await
        .expect_err("unknown");
    assert!(
        error.message().contains(".spec.replicaz: field not declared in schema"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appliers_at_the_same_time_all_get_their_fields() {
    const APPLIERS: usize = 8;
    let harness = Harness::new().await;
    let appliers = (0..APPLIERS).map(|index| {
        let registry = harness.registry.clone();
        tokio::spawn(async move {
            let permit = managed(&format!("applier-{index}"), Verb::Patch, "configmaps", "settings");
            let config = config_map(&format!(r#"{{"key-{index}":"1"}}"#));
            let (ops, key) = (ops_of("", "configmaps"), in_default("settings"));
            loop {
                match registry.apply(&permit, ops, Subresource::None, &key, &config).await {
                    Ok(applied) => return applied.created,
                    Err(error) => assert_eq!(error.reason(), Reason::Conflict, "{error}"),
                }
            }
        })
    });
    let created = futures::future::join_all(appliers).await;
    let created = created.into_iter().map(|created| created.expect("no panic"));
    assert_eq!(created.filter(|created| *created).count(), 1);
    let settings = harness
        .get("", "configmaps", &in_default("settings"))
        .await
        .expect("there");
    assert_eq!(typed::<ConfigMap>(&settings).data.len(), APPLIERS);
    assert_eq!(owners(&settings).len(), APPLIERS);
}
