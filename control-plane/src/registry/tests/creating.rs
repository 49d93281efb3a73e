//! Creating: identity, names, namespaces, dry run, limits.

use std::sync::atomic::Ordering;

use trireme_proto::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{Namespace, Node, PodTemplateSpec},
};

use super::*;
use crate::{
    environment::testing::START_SECONDS,
    pipeline::admit::{NamespaceState, Surroundings, admit_create},
};

#[tokio::test]
async fn a_new_object_gets_its_identity() {
    let harness = Harness::new().await;
    let mut wish = mk_pod("web");
    let meta = wish.metadata.as_mut().expect("present");
    meta.uid = "forged".to_owned();
    meta.resource_version = "7".to_owned();
    let stored = harness.create(wish).await.expect("created");
    let pod: Pod = typed(&stored);
    let meta = pod.metadata.as_ref().expect("present");
    assert_ne!(meta.uid, "forged");
    assert_eq!(meta.uid.len(), 36);
    assert_eq!(meta.creation_timestamp.as_ref().expect("set").seconds, START_SECONDS);
    assert_eq!(meta.resource_version, stored.revision().to_string());
    assert_eq!(pod.status.as_ref().expect("prepared").phase, "Pending");
    assert_eq!(
        harness.get_pod("web").await.expect("there"),
        pod,
        "what is read is what was answered"
    );
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let harness = Harness::new().await;
    let first = harness.create(mk_pod("web")).await.expect("created");
    let before = harness.revision();
    let error = harness.create(mk_pod("web")).await.expect_err("taken");
    assert_eq!(error.reason(), Reason::AlreadyExists);
    assert_eq!(error.message(), "pods \"web\" already exists");
    assert_eq!(harness.revision(), before, "nothing was written");
    assert_eq!(
        harness
            .get("", "pods", &in_default("web"))
            .await
            .expect("there")
            .revision(),
        first.revision()
    );
}

#[tokio::test]
async fn one_of_many_creates_of_a_name_wins() {
    let harness = Harness::new().await;
    let other = harness.another_server();
    let attempts = (0..32).map(|index| {
        let registry = if index % 2 == 0 {
            harness.registry.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move {
            registry
                .create(&system(), Decoded::internal(Box::new(mk_pod("web"))), false)
                .await
        })
    });
    let outcomes = futures::future::join_all(attempts).await;
    let winners = outcomes
        .iter()
        .filter(|outcome| outcome.as_ref().expect("no panic").is_ok())
        .count();
    assert_eq!(winners, 1);
}

#[tokio::test]
async fn names_are_generated_until_one_is_free() {
    let harness = Harness::new().await;
    for _ in 0..50 {
        let mut pod = mk_pod("");
        pod.metadata.as_mut().expect("present").generate_name = "web-".to_owned();
        let stored = harness.create(pod).await.expect("created");
        let name = &stored.key().name;
        assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    }
}

#[tokio::test]
async fn a_namespace_must_exist_and_not_be_ending() {
    let harness = Harness::new().await;
    let mut pod = mk_pod("web");
    pod.metadata.as_mut().expect("present").namespace = "shop".to_owned();
    let error = harness.create(pod.clone()).await.expect_err("no such namespace");
    assert_eq!(
        (error.reason(), error.message()),
        (Reason::NotFound, "namespaces \"shop\" not found")
    );

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
    // At once, though the follower may not have seen it.
    harness.create(pod.clone()).await.expect("created");

    let (ops, key) = (ops_of("", "namespaces"), ObjectKey::new("", "shop"));
    harness
        .registry
        .delete(&system(), ops, &key, &Default::default())
        .await
        .expect("marked");
    pod.metadata.as_mut().expect("present").name = "late".to_owned();
    let error = harness.create(pod).await.expect_err("ending");
    assert_eq!(error.reason(), Reason::Forbidden);
    assert!(error.message().contains("because it is being terminated"), "{error}");
}

#[tokio::test]
async fn a_dry_run_does_everything_but_store() {
    let harness = Harness::new().await;
    let before = harness.revision();
    let dry = |pod: Pod| harness.registry.create(&DRY, Decoded::internal(Box::new(pod)), true);
    static DRY: std::sync::LazyLock<Permit> = std::sync::LazyLock::new(system);
    let stored = dry(mk_pod("web")).await.expect("would be created");
    assert_eq!(stored.key().name, "web");
    assert_eq!(harness.revision(), before);
    assert_eq!(reason(harness.get_pod("web").await), Reason::NotFound);
    assert_eq!(reason(dry(mk_pod("Not A Name")).await), Reason::Invalid);
    harness.create(mk_pod("web")).await.expect("created");
    assert_eq!(reason(dry(mk_pod("web")).await), Reason::AlreadyExists);
}

#[tokio::test]
async fn an_invalid_object_names_every_field_and_changes_nothing() {
    let harness = Harness::new().await;
    let before = harness.revision();
    let mut pod = mk_pod("Web");
    pod.spec.as_mut().expect("present").containers[0].name = "Main".to_owned();
    let error = harness.create(pod).await.expect_err("invalid");
    assert_eq!(error.reason(), Reason::Invalid);
    let fields: Vec<&str> = error.causes().iter().map(|cause| cause.field.as_str()).collect();
    assert!(
        fields.contains(&"metadata.name") && fields.contains(&"spec.containers[0].name"),
        "{fields:?}"
    );
    assert!(error.message().starts_with("Pod \"Web\" is invalid: ["), "{error}");
    assert_eq!(harness.revision(), before);
}

#[tokio::test]
async fn the_request_and_the_object_must_agree() {
    let harness = Harness::new().await;
    let permit = admin(Verb::Create, "pods", "kube-system", "");
    let refused = harness
        .registry
        .create(&permit, Decoded::internal(Box::new(mk_pod("web"))), false)
        .await;
    let error = refused.expect_err("other namespace");
    assert_eq!(error.reason(), Reason::BadRequest);
    assert!(
        error
            .message()
            .contains("(default) does not match the namespace sent on the request (kube-system)"),
        "{error}"
    );

    let mut pod = mk_pod("web");
    pod.metadata.as_mut().expect("present").namespace.clear();
    let permit = admin(Verb::Create, "pods", "kube-system", "");
    let stored = harness
        .registry
        .create(&permit, Decoded::internal(Box::new(pod)), false)
        .await
        .expect("created");
    assert_eq!(stored.key(), &ObjectKey::new("kube-system", "web"));

    // A permit for pods does not create nodes, whatever the object says.
    let metadata = Some(ObjectMeta {
        name: "n1".to_owned(),
        ..ObjectMeta::default()
    });
    let node = Node {
        metadata,
        ..Node::default()
    };
    let permit = admin(Verb::Create, "pods", "default", "");
    let refused = harness
        .registry
        .create(&permit, Decoded::internal(Box::new(node)), false)
        .await;
    assert_eq!(reason(refused), Reason::Forbidden);
}

#[tokio::test]
async fn a_write_of_a_deposed_leader_is_refused() {
    let harness = Harness::new().await;
    let old = harness.kv.leadership();
    let permit = Permit::system("deployment-controller", Some(old));
    let create = |name| {
        harness
            .registry
            .create(&permit, Decoded::internal(Box::new(mk_pod(name))), false)
    };
    create("before").await.expect("still leads");
    harness.kv.set_term(old.term + 1);
    assert_eq!(reason(create("after").await), Reason::ServiceUnavailable);
    assert_eq!(reason(harness.get_pod("after").await), Reason::NotFound);
}

#[tokio::test]
async fn bootstrapping_again_changes_nothing() {
    let harness = Harness::new().await;
    harness.clock.0.fetch_add(60, Ordering::SeqCst);
    let before = harness.revision();
    harness.registry.bootstrap().await.expect("all there");
    assert_eq!(harness.revision(), before);
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        harness
            .get("", "namespaces", &ObjectKey::new("", name))
            .await
            .expect("there");
    }
}

#[test]
fn a_job_that_is_tried_again_selects_its_pods_by_its_last_name_and_uid() {
    let mut pod = mk_pod("");
    pod.spec.as_mut().expect("present").restart_policy = "Never".to_owned();
    let template = PodTemplateSpec {
        metadata: None,
        spec: pod.spec,
    };
    let mut metadata = mk_meta("").expect("present");
    metadata.generate_name = "count-".to_owned();
    let job = Job {
        metadata: Some(metadata),
        spec: Some(JobSpec {
            template: Some(template),
            ..JobSpec::default()
        }),
        ..Job::default()
    };
    let surroundings = Surroundings {
        namespace: Some(NamespaceState {
            revision: 1,
            terminating: false,
        }),
        ..Surroundings::default()
    };
    let (_, environment) = manual();
    let admit = |decoded| admit_create(&system(), decoded, &surroundings, &environment).expect("admitted");
    let first = admit(Decoded::internal(Box::new(job)));
    let first_uid = first.object().metadata().uid.clone();
    let second = admit(first.into_decoded());
    let meta = second.object().metadata().clone();
    assert_ne!(meta.uid, first_uid);
    let job: &Job = second.object().downcast_ref().expect("a job");
    let spec = job.spec.clone().expect("present");
    let label = "batch.kubernetes.io/controller-uid";
    assert_eq!(spec.selector.expect("made").match_labels[label], meta.uid);
    let labels = spec
        .template
        .and_then(|template| template.metadata)
        .expect("made")
        .labels;
    assert_eq!((&labels[label], &labels["job-name"]), (&meta.uid, &meta.name));
}
