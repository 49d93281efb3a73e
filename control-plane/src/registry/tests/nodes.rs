//! What node agents may write: their own node, and their own pods' states, forwards (invariants I4, I6).

use trireme_proto::api::core::v1::{
    Event, EventSource, Node, NodeCondition, NodeStatus, ObjectReference, PodStatus, Taint,
};

use super::*;
use crate::registry::{DeleteOptions, ReportOutcome};

async fn bound_pod(harness: &Harness, name: &str, node: &str) -> String {
    let stored = harness.create(mk_pod(name)).await.expect("created");
    harness
        .registry
        .bind(&system(), &in_default(name), "", node)
        .await
        .expect("bound");
    stored.object().expect("decodes").metadata().uid.clone()
}

fn status(phase: &str) -> PodStatus {
    PodStatus {
        phase: phase.to_owned(),
        pod_ip: "10.0.0.1".to_owned(),
        ..PodStatus::default()
    }
}

async fn report(harness: &Harness, node: &str, name: &str, uid: &str, phase: &str) -> ReportOutcome {
    let key = in_default(name);
    let permit = node_permit(node);
    harness
        .registry
        .update_pod_status(&permit, &key, uid, &status(phase), false)
        .await
        .expect("an outcome")
}

#[tokio::test]
async fn a_status_comes_from_the_pods_own_node_and_goes_forwards() {
    let harness = Harness::new().await;
    let uid = bound_pod(&harness, "web", "n1").await;
    for (node, name, uid, phase, expected) in [
        ("n2", "web", uid.as_str(), "Running", ReportOutcome::NotYours),
        ("n1", "web", "another", "Running", ReportOutcome::Gone),
        ("n1", "missing", uid.as_str(), "Running", ReportOutcome::Gone),
        ("n1", "web", uid.as_str(), "Running", ReportOutcome::Stored),
        ("n1", "web", uid.as_str(), "Running", ReportOutcome::Stored),
        ("n1", "web", uid.as_str(), "Pending", ReportOutcome::Stale),
        ("n1", "web", uid.as_str(), "Succeeded", ReportOutcome::Stored),
        ("n1", "web", uid.as_str(), "Running", ReportOutcome::Stale),
        ("n1", "web", uid.as_str(), "Failed", ReportOutcome::Stale),
    ] {
        assert_eq!(
            report(&harness, node, name, uid, phase).await,
            expected,
            "{node} {name} {phase}"
        );
    }
    let pod = harness.get_pod("web").await.expect("there");
    let status = pod.status.expect("present");
    assert_eq!(
        (status.phase.as_str(), status.pod_ip.as_str()),
        ("Succeeded", "10.0.0.1")
    );
    assert!(
        status
            .conditions
            .iter()
            .any(|condition| condition.r#type == "PodScheduled"),
        "what others set stays"
    );
    assert!(!status.qos_class.is_empty());
}

#[tokio::test]
async fn no_news_is_not_written() {
    let harness = Harness::new().await;
    let uid = bound_pod(&harness, "web", "n1").await;
    report(&harness, "n1", "web", &uid, "Running").await;
    let before = harness.revision();
    report(&harness, "n1", "web", &uid, "Running").await;
    assert_eq!(harness.revision(), before);
}

#[tokio::test]
async fn a_deleted_pod_goes_when_its_node_says_that_nothing_runs() {
    let harness = Harness::new().await;
    let uid = bound_pod(&harness, "web", "n1").await;
    let (ops, key, permit) = (ops_of("", "pods"), in_default("web"), node_permit("n1"));
    let terminated = async || {
        harness
            .registry
            .update_pod_status(&permit, &key, &uid, &status("Running"), true)
            .await
            .expect("an outcome")
    };
    assert_eq!(terminated().await, ReportOutcome::Stored);
    harness.get_pod("web").await.expect("it is not being deleted");
    harness
        .registry
        .delete(&system(), ops, &key, &DeleteOptions::default())
        .await
        .expect("marked");
    assert_eq!(terminated().await, ReportOutcome::Stored);
    assert_eq!(reason(harness.get_pod("web").await), Reason::NotFound);
    assert_eq!(terminated().await, ReportOutcome::Gone);
}

#[tokio::test]
async fn finalizers_outlast_the_containers() {
    let harness = Harness::new().await;
    let mut pod = mk_pod("web");
    pod.metadata.as_mut().expect("present").finalizers = vec!["example.com/hold".to_owned()];
    let stored = harness.create(pod).await.expect("created");
    let uid = stored.object().expect("decodes").metadata().uid.clone();
    let key = in_default("web");
    harness.registry.bind(&system(), &key, "", "n1").await.expect("bound");
    harness
        .registry
        .delete(&system(), ops_of("", "pods"), &key, &DeleteOptions::default())
        .await
        .expect("marked");
    let permit = node_permit("n1");
    harness
        .registry
        .update_pod_status(&permit, &key, &uid, &status("Failed"), true)
        .await
        .expect("stored");
    let mut pod = harness.get_pod("web").await.expect("held");
    assert_eq!(
        pod.metadata.as_ref().expect("present").deletion_grace_period_seconds,
        Some(0)
    );
    pod.metadata.as_mut().expect("present").finalizers.clear();
    let changed = harness
        .registry
        .update(&system(), Decoded::internal(Box::new(pod)), false)
        .await
        .expect("released");
    assert!(changed.gone);
}

fn mk_node(name: &str, zone: &str) -> Node {
    let labels = [("zone".to_owned(), zone.to_owned())].into_iter().collect();
    let metadata = Some(ObjectMeta {
        name: name.to_owned(),
        labels,
        ..ObjectMeta::default()
    });
    let ready = NodeCondition {
        r#type: "Ready".to_owned(),
        status: "True".to_owned(),
        ..NodeCondition::default()
    };
    let phase = "10Gi".to_owned();
    let capacity = [(
        "memory".to_owned(),
        trireme_proto::api::meta::v1::Quantity { string: phase },
    )]
    .into_iter()
    .collect();
    let status = NodeStatus {
        conditions: vec![ready],
        capacity,
        ..NodeStatus::default()
    };
    Node {
        metadata,
        status: Some(status),
        ..Node::default()
    }
}

#[tokio::test]
async fn a_node_registers_and_refreshes_itself() {
    let harness = Harness::new().await;
    let permit = node_permit("n1");
    let stored = harness
        .registry
        .upsert_node(&permit, mk_node("n1", "a"))
        .await
        .expect("registered");
    let mut node: Node = typed(&stored);
    assert_eq!(node.status.as_ref().expect("kept").capacity["memory"].string, "10Gi");

    // What others say of the node stays when it refreshes itself.
    let taint = Taint {
        key: "maintenance".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    node.spec.get_or_insert_default().taints = vec![taint];
    node.metadata
        .as_mut()
        .expect("present")
        .labels
        .insert("owner".to_owned(), "ops".to_owned());
    harness
        .registry
        .update(&system(), Decoded::internal(Box::new(node)), false)
        .await
        .expect("updated");
    let node: Node = typed(
        &harness
            .registry
            .upsert_node(&permit, mk_node("n1", "b"))
            .await
            .expect("refreshed"),
    );
    let labels = &node.metadata.as_ref().expect("present").labels;
    assert_eq!((labels["zone"].as_str(), labels["owner"].as_str()), ("b", "ops"));
    assert_eq!(node.spec.as_ref().expect("present").taints.len(), 1);

    let before = harness.revision();
    harness
        .registry
        .upsert_node(&permit, mk_node("n1", "b"))
        .await
        .expect("no news");
    assert_eq!(harness.revision(), before);
}

#[tokio::test]
async fn a_node_writes_no_other_node_and_nobody_else_writes_as_a_node() {
    let harness = Harness::new().await;
    assert_eq!(
        reason(
            harness
                .registry
                .upsert_node(&node_permit("n1"), mk_node("n2", "a"))
                .await
        ),
        Reason::Forbidden
    );
    assert_eq!(
        reason(harness.registry.upsert_node(&system(), mk_node("n1", "a")).await),
        Reason::Forbidden
    );
    // A node's permit opens none of the general verbs.
    let (ops, key) = (ops_of("", "nodes"), ObjectKey::new("", "n1"));
    let read = harness
        .registry
        .get(&node_permit("n1"), ops, &key, ReadFrom::Latest)
        .await;
    assert_eq!(reason(read), Reason::Forbidden);
}

fn event(name: &str, host: &str, kind: &str, about: &str) -> Event {
    Event {
        metadata: mk_meta(name),
        involved_object: Some(ObjectReference {
            kind: kind.to_owned(),
            namespace: if kind == "Pod" {
                "default".to_owned()
            } else {
                String::new()
            },
            name: about.to_owned(),
            ..ObjectReference::default()
        }),
        source: Some(EventSource {
            component: "node-agent".to_owned(),
            host: host.to_owned(),
        }),
        reason: "Started".to_owned(),
        count: 1,
        ..Event::default()
    }
}

#[tokio::test]
async fn a_node_tells_of_itself_and_its_pods_in_its_own_name() {
    let harness = Harness::new().await;
    bound_pod(&harness, "web", "n1").await;
    bound_pod(&harness, "other", "n2").await;
    let node = || Subject::Node("n1".to_owned());
    for (number, host, kind, about, accepted) in [
        (1, "n1", "Pod", "web", true),
        (2, "n1", "Node", "n1", true),
        (3, "n2", "Pod", "web", false),
        (4, "n1", "Pod", "other", false),
        (5, "n1", "Pod", "missing", false),
        (6, "n1", "Node", "n2", false),
        (7, "n1", "Deployment", "web", false),
    ] {
        let permit = request(node(), Verb::Create, "events", "default", "");
        let told = event(&format!("e{number}"), host, kind, about);
        let outcome = harness
            .registry
            .create(&permit, Decoded::internal(Box::new(told)), false)
            .await;
        match outcome {
            Ok(_) => assert!(accepted, "{number}"),
            Err(error) => assert_eq!((error.reason(), accepted), (Reason::Forbidden, false), "{number}"),
        }
    }
    harness
        .create(event("foreign", "n2", "Pod", "other"))
        .await
        .expect("created");
    for (name, host, about, accepted) in [
        ("e1", "n1", "web", true),
        // Neither another's event, nor its own made another's.
        ("foreign", "n1", "web", false),
        ("e1", "n2", "web", false),
        ("e1", "n1", "other", false),
    ] {
        let permit = request(node(), Verb::Update, "events", "default", name);
        let told = Event {
            count: 2,
            ..event(name, host, "Pod", about)
        };
        let outcome = harness
            .registry
            .update(&permit, Decoded::internal(Box::new(told)), false)
            .await;
        match outcome {
            Ok(_) => assert!(accepted, "{name} {host} {about}"),
            Err(error) => assert_eq!(
                (error.reason(), accepted),
                (Reason::Forbidden, false),
                "{name} {host} {about}"
            ),
        }
    }
}
