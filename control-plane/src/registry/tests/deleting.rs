//! Deleting: at once, gracefully, held by finalizers, under preconditions.

use trireme_proto::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{Namespace, PodTemplateSpec},
    meta::v1::DeleteOptions as SentOptions,
};

use super::*;
use crate::{
    environment::testing::START_SECONDS,
    pipeline::Subresource,
    registry::{DeleteOptions, Deleted, Propagation},
};

async fn delete(harness: &Harness, plural: &str, name: &str, options: DeleteOptions) -> Result<Deleted, ApiError> {
    let key = if plural == "namespaces" {
        ObjectKey::new("", name)
    } else {
        in_default(name)
    };
    harness
        .registry
        .delete(&system(), ops_of("", plural), &key, &options)
        .await
}

fn finalizers(stored: &Stored) -> Vec<String> {
    stored.object().expect("decodes").metadata().finalizers.clone()
}

/// A pod that runs on a node, so that its end takes time.
async fn bound_pod(harness: &Harness, name: &str) {
    harness.create(mk_pod(name)).await.expect("created");
    harness
        .registry
        .bind(&system(), &in_default(name), "", "n1")
        .await
        .expect("bound");
}

#[tokio::test]
async fn what_nothing_holds_is_gone_at_once() {
    let harness = Harness::new().await;
    harness.create(mk_config_map("settings")).await.expect("created");
    let deleted = delete(&harness, "configmaps", "settings", DeleteOptions::default())
        .await
        .expect("deleted");
    assert!(deleted.gone);
    let again = delete(&harness, "configmaps", "settings", DeleteOptions::default()).await;
    let error = again.expect_err("gone");
    assert_eq!(
        (error.reason(), error.message()),
        (Reason::NotFound, "configmaps \"settings\" not found")
    );
}

#[tokio::test]
async fn a_running_pod_gets_its_grace() {
    let harness = Harness::new().await;
    bound_pod(&harness, "web").await;
    let deleted = delete(&harness, "pods", "web", DeleteOptions::default())
        .await
        .expect("marked");
    assert!(!deleted.gone);
    let meta = harness
        .get_pod("web")
        .await
        .expect("still there")
        .metadata
        .expect("present");
    assert_eq!(meta.deletion_grace_period_seconds, Some(30));
    assert_eq!(meta.deletion_timestamp.expect("marked").seconds, START_SECONDS + 30);

    // Again changes nothing, sooner makes it sooner, and zero ends it.
    let before = harness.revision();
    delete(&harness, "pods", "web", DeleteOptions::default())
        .await
        .expect("known");
    let later = DeleteOptions {
        grace_period_seconds: Some(60),
        ..DeleteOptions::default()
    };
    delete(&harness, "pods", "web", later).await.expect("known");
    assert_eq!(harness.revision(), before);
    let sooner = DeleteOptions {
        grace_period_seconds: Some(5),
        ..DeleteOptions::default()
    };
    assert!(!delete(&harness, "pods", "web", sooner).await.expect("sooner").gone);
    let meta = harness
        .get_pod("web")
        .await
        .expect("still there")
        .metadata
        .expect("present");
    assert_eq!(meta.deletion_grace_period_seconds, Some(5));
    let now = DeleteOptions {
        grace_period_seconds: Some(0),
        ..DeleteOptions::default()
    };
    assert!(delete(&harness, "pods", "web", now).await.expect("gone").gone);
    assert_eq!(reason(harness.get_pod("web").await), Reason::NotFound);
}

#[tokio::test]
async fn a_pod_on_no_node_needs_no_grace() {
    let harness = Harness::new().await;
    harness.create(mk_pod("web")).await.expect("created");
    assert!(
        delete(&harness, "pods", "web", DeleteOptions::default())
            .await
            .expect("deleted")
            .gone
    );
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let harness = Harness::new().await;
    let mut settings = mk_config_map("settings");
    settings.metadata.as_mut().expect("present").finalizers = vec!["example.com/hold".to_owned()];
    harness.create(settings).await.expect("created");
    assert!(
        !delete(&harness, "configmaps", "settings", DeleteOptions::default())
            .await
            .expect("marked")
            .gone
    );

    let key = in_default("settings");
    let mut held: ConfigMap = typed(&harness.get("", "configmaps", &key).await.expect("held"));
    assert!(held.metadata.as_ref().expect("present").deletion_timestamp.is_some());
    held.metadata
        .as_mut()
        .expect("present")
        .finalizers
        .push("example.com/late".to_owned());
    let late = harness
        .registry
        .update(&system(), Decoded::internal(Box::new(held.clone())), false)
        .await;
    assert_eq!(reason(late), Reason::Invalid, "no new finalizers on what is ending");

    held.metadata.as_mut().expect("present").finalizers.clear();
    let changed = harness
        .registry
        .update(&system(), Decoded::internal(Box::new(held)), false)
        .await
        .expect("released");
    assert!(changed.gone);
    assert_eq!(reason(harness.get("", "configmaps", &key).await), Reason::NotFound);
}

#[tokio::test]
async fn propagation_becomes_a_finalizer() {
    let harness = Harness::new().await;
    for (name, propagation, expected) in [
        ("foreground", Propagation::Foreground, "foregroundDeletion"),
        ("orphan", Propagation::Orphan, "orphan"),
    ] {
        harness.create(mk_config_map(name)).await.expect("created");
        let options = DeleteOptions {
            propagation,
            ..DeleteOptions::default()
        };
        let deleted = delete(&harness, "configmaps", name, options).await.expect("marked");
        assert!(!deleted.gone);
        assert_eq!(finalizers(&deleted.stored), [expected]);
        // A plain deletion later does not undo what was asked for.
        let again = delete(&harness, "configmaps", name, DeleteOptions::default())
            .await
            .expect("known");
        assert_eq!(finalizers(&again.stored), [expected]);
    }
}

#[tokio::test]
async fn pods_of_jobs_stay_unless_something_is_said() {
    let template = || PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: [("app".to_owned(), "web".to_owned())].into(),
            ..ObjectMeta::default()
        }),
        spec: mk_pod("web").spec.map(|spec| PodSpec {
            restart_policy: "Never".to_owned(),
            ..spec
        }),
    };
    let delete = async |harness: &Harness, group: &str, plural: &str, sent: SentOptions| {
        let options = DeleteOptions::of_sent(sent).expect("good");
        let (ops, key) = (ops_of(group, plural), in_default("web"));
        harness.registry.delete(&system(), ops, &key, &options).await
    };
    for (policy, finalizer) in [
        (None, Some("orphan")),
        (Some("Background"), None),
        (Some("Foreground"), Some("foregroundDeletion")),
    ] {
        let harness = Harness::new().await;
        let job = Job {
            metadata: mk_meta("web"),
            spec: Some(JobSpec {
                template: Some(template()),
                ..JobSpec::default()
            }),
            ..Job::default()
        };
        harness.create(job).await.expect("created");
        let sent = SentOptions {
            propagation_policy: policy.map(str::to_owned),
            ..SentOptions::default()
        };
        let deleted = delete(&harness, "batch", "jobs", sent).await.expect("deleted");
        assert_eq!(deleted.gone, finalizer.is_none(), "{policy:?}");
        assert!(
            finalizers(&deleted.stored).iter().map(String::as_str).eq(finalizer),
            "{policy:?}: {:?}",
            finalizers(&deleted.stored)
        );
    }
    // Other kinds' go.
    let harness = Harness::new().await;
    let mut set = trireme_logic::testing::mk_replica_set("default", "web", 1);
    set.metadata = mk_meta("web");
    harness.create(set).await.expect("created");
    let deleted = delete(&harness, "apps", "replicasets", SentOptions::default()).await;
    assert!(deleted.expect("deleted").gone);
}

#[tokio::test]
async fn what_the_finalizers_of_an_object_say_stays_if_nothing_else_is_said() {
    let harness = Harness::new().await;
    for (name, options, expected) in [
        ("unsaid", DeleteOptions::default(), Some("orphan")),
        (
            "said",
            DeleteOptions {
                propagation: Propagation::Background,
                ..DeleteOptions::default()
            },
            None,
        ),
    ] {
        let mut settings = mk_config_map(name);
        settings.metadata.as_mut().expect("present").finalizers = vec!["orphan".to_owned()];
        harness.create(settings).await.expect("created");
        let deleted = delete(&harness, "configmaps", name, options).await.expect("deleted");
        assert!(
            finalizers(&deleted.stored).iter().map(String::as_str).eq(expected),
            "{name}"
        );
    }
}

#[tokio::test]
async fn preconditions_are_kept() {
    let harness = Harness::new().await;
    let stored = harness.create(mk_config_map("settings")).await.expect("created");
    let uid = stored.object().expect("decodes").metadata().uid.clone();
    let options = |uid: &str, resource_version: &str| DeleteOptions {
        uid: uid.to_owned(),
        resource_version: resource_version.to_owned(),
        ..DeleteOptions::default()
    };
    assert_eq!(
        reason(delete(&harness, "configmaps", "settings", options("other", "")).await),
        Reason::Conflict
    );
    assert_eq!(
        reason(delete(&harness, "configmaps", "settings", options("", "1")).await),
        Reason::Conflict
    );
    assert_eq!(
        reason(delete(&harness, "configmaps", "settings", options("", "x")).await),
        Reason::BadRequest
    );
    let right = options(&uid, &stored.revision().to_string());
    assert!(
        delete(&harness, "configmaps", "settings", right)
            .await
            .expect("deleted")
            .gone
    );
}

#[tokio::test]
async fn a_dry_run_deletes_nothing() {
    let harness = Harness::new().await;
    harness.create(mk_config_map("settings")).await.expect("created");
    let options = DeleteOptions {
        dry_run: true,
        ..DeleteOptions::default()
    };
    assert!(
        delete(&harness, "configmaps", "settings", options)
            .await
            .expect("would be")
            .gone
    );
    harness
        .get("", "configmaps", &in_default("settings"))
        .await
        .expect("still there");
}

#[tokio::test]
async fn a_namespace_goes_when_its_own_finalizers_do() {
    let harness = Harness::new().await;
    let metadata = Some(ObjectMeta {
        name: "shop".to_owned(),
        ..ObjectMeta::default()
    });
    harness
        .create(Namespace {
            metadata,
            ..Namespace::default()
        })
        .await
        .expect("created");
    assert!(
        !delete(&harness, "namespaces", "shop", DeleteOptions::default())
            .await
            .expect("marked")
            .gone
    );
    let key = ObjectKey::new("", "shop");
    let mut namespace: Namespace = typed(&harness.get("", "namespaces", &key).await.expect("ending"));
    assert_eq!(namespace.status.as_ref().expect("present").phase, "Terminating");

    // A plain update cannot take the finalizers away.
    namespace.spec.as_mut().expect("present").finalizers.clear();
    let permit = admin(Verb::Update, "namespaces", "", "shop");
    let plain = harness
        .registry
        .update(&permit, Decoded::internal(Box::new(namespace.clone())), false)
        .await;
    assert!(!plain.expect("ignored").gone);
    let permit = admin(Verb::Update, "namespaces/finalize", "", "shop");
    let decoded = Decoded::internal(Box::new(namespace));
    let finalized = harness
        .registry
        .update_part(&permit, decoded, Subresource::Finalize, false)
        .await;
    assert!(finalized.expect("finalized").gone);
    assert_eq!(reason(harness.get("", "namespaces", &key).await), Reason::NotFound);
}

#[tokio::test]
async fn some_namespaces_stay() {
    let harness = Harness::new().await;
    for name in ["default", "kube-system", "kube-public"] {
        let error = delete(&harness, "namespaces", name, DeleteOptions::default())
            .await
            .expect_err("refused");
        assert_eq!(error.reason(), Reason::Forbidden);
        assert_eq!(
            error.message(),
            format!("namespaces {name:?} is forbidden: this namespace may not be deleted")
        );
    }
}

#[tokio::test]
async fn grace_has_bounds() {
    let harness = Harness::new().await;
    bound_pod(&harness, "web").await;
    for seconds in [-1, crate::limits::GRACE_PERIOD_MAX_SECONDS + 1] {
        let options = DeleteOptions {
            grace_period_seconds: Some(seconds),
            ..DeleteOptions::default()
        };
        assert_eq!(
            reason(delete(&harness, "pods", "web", options).await),
            Reason::BadRequest,
            "{seconds}"
        );
    }
}
