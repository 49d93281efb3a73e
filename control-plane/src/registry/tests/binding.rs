//! Binding: at most once (invariant I4), only this pod, not a pod that is ending.

use trireme_proto::api::core::v1::{Binding, ObjectReference};

use super::*;
use crate::registry::DeleteOptions;

#[tokio::test]
async fn a_bound_pod_shows_it() {
    let harness = Harness::new().await;
    let stored = harness.create(mk_pod("web")).await.expect("created");
    let uid = stored.object().expect("decodes").metadata().uid.clone();
    harness
        .registry
        .bind(&system(), &in_default("web"), &uid, "n1")
        .await
        .expect("bound");
    let pod = harness.get_pod("web").await.expect("there");
    assert_eq!(pod.spec.as_ref().expect("present").node_name, "n1");
    let condition = &pod.status.as_ref().expect("present").conditions[0];
    assert_eq!(
        (condition.r#type.as_str(), condition.status.as_str()),
        ("PodScheduled", "True")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_bindings_one_takes_effect() {
    let harness = Harness::new().await;
    let other = harness.another_server();
    for round in 0..20 {
        let name = format!("web-{round}");
        harness.create(mk_pod(&name)).await.expect("created");
        let attempts = (0..8).map(|index| {
            let registry = if index % 2 == 0 {
                harness.registry.clone()
            } else {
                other.clone()
            };
            let key = in_default(&name);
            tokio::spawn(async move { registry.bind(&system(), &key, "", &format!("n{index}")).await })
        });
        let outcomes = futures::future::join_all(attempts).await;
        let winners: Vec<_> = outcomes
            .into_iter()
            .filter_map(|outcome| outcome.expect("no panic").ok())
            .collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let bound: Pod = typed(&winners[0].stored);
        let now = harness.get_pod(&name).await.expect("there");
        assert_eq!(
            now.spec.expect("present").node_name,
            bound.spec.expect("present").node_name
        );
    }
}

#[tokio::test]
async fn what_must_not_be_bound_is_not() {
    let harness = Harness::new().await;
    let bind = async |name: &str, uid: &str| harness.registry.bind(&system(), &in_default(name), uid, "n1").await;
    assert_eq!(reason(bind("missing", "").await), Reason::NotFound);

    harness.create(mk_pod("web")).await.expect("created");
    assert_eq!(reason(bind("web", "another-uid").await), Reason::Conflict);
    bind("web", "").await.expect("bound");
    let error = bind("web", "").await.expect_err("bound already");
    assert!(error.message().contains("already assigned to node \"n1\""), "{error}");

    let mut held = mk_pod("ending");
    held.metadata.as_mut().expect("present").finalizers = vec!["example.com/hold".to_owned()];
    harness.create(held).await.expect("created");
    let (ops, key) = (ops_of("", "pods"), in_default("ending"));
    harness
        .registry
        .delete(&system(), ops, &key, &DeleteOptions::default())
        .await
        .expect("marked");
    let error = bind("ending", "").await.expect_err("ending");
    assert!(error.message().contains("is being deleted"), "{error}");
}

#[tokio::test]
async fn a_binding_object_binds() {
    let harness = Harness::new().await;
    harness.create(mk_pod("web")).await.expect("created");
    let permit = admin(Verb::Create, "pods/binding", "default", "web");
    let to = |kind: &str, name: &str| {
        let target = ObjectReference {
            kind: kind.to_owned(),
            name: name.to_owned(),
            ..ObjectReference::default()
        };
        Binding {
            metadata: None,
            target: Some(target),
        }
    };
    let key = in_default("web");
    let refused = harness
        .registry
        .create_binding(&permit, &key, &to("Service", "s"), false)
        .await;
    assert_eq!(reason(refused), Reason::BadRequest);
    let refused = harness
        .registry
        .create_binding(&permit, &key, &to("Node", ""), false)
        .await;
    assert_eq!(reason(refused), Reason::BadRequest);
    harness
        .registry
        .create_binding(&permit, &key, &to("Node", "n1"), false)
        .await
        .expect("bound");
    assert_eq!(
        harness
            .get_pod("web")
            .await
            .expect("there")
            .spec
            .expect("present")
            .node_name,
        "n1"
    );
}
