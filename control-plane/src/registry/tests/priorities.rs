//! Priority classes: what they make of pods, and which of them there must and may be.

use bytes::Bytes;
use trireme_logic::patch::PatchType;
use trireme_proto::api::scheduling::v1::PriorityClass;

use super::*;
use crate::{
    pipeline::{Subresource, Validation},
    registry::PatchRequest,
};

fn mk_class(name: &str, value: i32, global_default: bool) -> PriorityClass {
    let metadata = Some(ObjectMeta {
        name: name.to_owned(),
        ..ObjectMeta::default()
    });
    PriorityClass {
        metadata,
        value,
        global_default,
        ..PriorityClass::default()
    }
}

fn of_class(pod: &str, class: &str) -> Pod {
    let mut pod = mk_pod(pod);
    pod.spec.as_mut().expect("present").priority_class_name = class.to_owned();
    pod
}

fn priority(stored: &Stored) -> Option<i32> {
    typed::<Pod>(stored).spec.expect("present").priority
}

#[tokio::test]
async fn a_pod_has_the_priority_of_its_class() {
    let harness = Harness::new().await;
    let other = harness.another_server();
    let plain = harness.create(mk_pod("plain")).await.expect("created");
    assert_eq!(priority(&plain), Some(0));
    let vital = of_class("vital", "system-node-critical");
    assert_eq!(
        priority(&harness.create(vital).await.expect("created")),
        Some(2_000_001_000)
    );

    let error = harness.create(of_class("web", "high")).await.expect_err("no class");
    assert_eq!(error.reason(), Reason::Forbidden);
    assert_eq!(
        error.message(),
        "pods \"web\" is forbidden: no PriorityClass with name high was found"
    );
    harness.create(mk_class("high", 1000, false)).await.expect("created");
    // At once and on another server, though its follower may not have seen it.
    let stored = other
        .create(&system(), Decoded::internal(Box::new(of_class("web", "high"))), false)
        .await
        .expect("created");
    assert_eq!(priority(&stored), Some(1000));
}

#[tokio::test]
async fn one_class_is_the_default() {
    let harness = Harness::new().await;
    harness.create(mk_class("usual", 10, true)).await.expect("created");
    let words = "PriorityClass usual is already marked as default. Only one default can exist";
    let refused = |outcome: Result<_, ApiError>| {
        let error = outcome.map(drop).expect_err("refused");
        assert_eq!(error.reason(), Reason::Forbidden);
        assert!(error.message().ends_with(words), "{error}");
    };
    refused(harness.create(mk_class("other", 20, true)).await.map(drop));
    let mut other: PriorityClass = typed(&harness.create(mk_class("other", 20, false)).await.expect("created"));
    other.global_default = true;
    let (registry, permit) = (&harness.registry, system());
    let update = registry.update(&permit, Decoded::internal(Box::new(other)), false);
    refused(update.await.map(drop));
    let patch = PatchRequest {
        patch_type: PatchType::Merge,
        patch: Bytes::from_static(br#"{"globalDefault": true}"#),
        validation: Validation::Strict,
        dry_run: false,
    };
    let (ops, key) = (
        ops_of("scheduling.k8s.io", "priorityclasses"),
        ObjectKey::new("", "other"),
    );
    let patched = registry.patch(&permit, ops, Subresource::None, &key, &patch);
    refused(patched.await.map(drop));
    // The default itself may change.
    let mut usual: PriorityClass = typed(
        &harness
            .get("scheduling.k8s.io", "priorityclasses", &ObjectKey::new("", "usual"))
            .await
            .expect("there"),
    );
    usual.description = "for most".to_owned();
    registry
        .update(&permit, Decoded::internal(Box::new(usual)), false)
        .await
        .expect("updated");
}

#[tokio::test]
async fn the_classes_of_the_system_stay() {
    let harness = Harness::new().await;
    harness.registry.bootstrap().await.expect("once more");
    for (name, value) in [
        ("system-cluster-critical", 2_000_000_000),
        ("system-node-critical", 2_000_001_000),
    ] {
        let key = ObjectKey::new("", name);
        let stored = harness.get("scheduling.k8s.io", "priorityclasses", &key).await;
        let class: PriorityClass = typed(&stored.expect("there"));
        assert_eq!((class.value, class.global_default), (value, false));
        let ops = ops_of("scheduling.k8s.io", "priorityclasses");
        let deleted = harness.registry.delete(&system(), ops, &key, &Default::default()).await;
        assert_eq!(reason(deleted), Reason::Forbidden);
    }
}
