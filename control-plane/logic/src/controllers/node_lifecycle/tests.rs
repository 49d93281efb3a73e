//! Nodes that fall silent, come back, or go.

use trireme_proto::api::{
    core::v1::{Node, Pod, PodCondition, Taint, Toleration},
    meta::v1::Time,
};

use super::{looks_same, readiness};
use crate::{
    controllers::{owners, pods},
    kind::metadata_of,
    testing::{harness::Harness, mk_deployment, mk_pod},
};

fn ready(harness: &Harness, node: &str) -> (String, String) {
    let (status, reason) = readiness::stored(harness.get::<Node>("", node)).unwrap();
    (status.to_owned(), reason.to_owned())
}

fn taints(harness: &Harness, node: &str) -> Vec<String> {
    let spec = harness.get::<Node>("", node).spec.clone().unwrap();
    spec.taints
        .iter()
        .map(|taint| format!("{}:{}", taint.key, taint.effect))
        .collect()
}

fn pods_on(harness: &Harness, node: &str) -> usize {
    harness
        .store
        .pods_on_node(node)
        .filter(|pod| pods::is_active(pod))
        .count()
}

#[test]
fn heartbeats_alone_write_nothing() {
    let mut harness = Harness::new(2, 1);
    harness.settle();
    assert_eq!(ready(&harness, "node-0"), ("True".into(), "AgentReady".into()));
    let revision = harness.store.revision();
    harness.pass_seconds(120);
    assert_eq!(harness.store.revision(), revision);
}

#[test]
fn a_silent_node_loses_its_pods_and_gets_none() {
    let mut harness = Harness::new(3, 2);
    harness.create(mk_deployment("default", "web", 6));
    harness.settle();
    assert_eq!(pods_on(&harness, "node-1"), 2);
    harness.alive.remove("node-1");
    harness.pass_seconds(15);
    assert_eq!(ready(&harness, "node-1").0, "True", "not yet");
    harness.pass_seconds(1);
    assert_eq!(
        ready(&harness, "node-1"),
        ("Unknown".into(), "NodeStatusUnknown".into())
    );
    let unreachable = "node.kubernetes.io/unreachable";
    assert_eq!(
        taints(&harness, "node-1"),
        [format!("{unreachable}:NoSchedule"), format!("{unreachable}:NoExecute")]
    );
    assert!(harness.store.pods_on_node("node-1").all(|pod| !pods::is_ready(pod)));
    assert_eq!(harness.messages("NodeNotReady").len(), 1);

    harness.pass_seconds(29);
    assert_eq!(pods_on(&harness, "node-1"), 2, "tolerated for 30 seconds");
    harness.pass_seconds(2);
    assert_eq!(pods_on(&harness, "node-1"), 0);
    assert_eq!(harness.active_pods().len(), 6);
    assert_eq!(harness.messages("TaintManagerEviction").len(), 2);
    // Asked to end, not removed: the node has not said that they ended.
    assert_eq!(harness.store.pods_on_node("node-1").count(), 2);

    harness.alive.insert("node-1".into());
    harness.pass_seconds(2);
    assert_eq!(ready(&harness, "node-1").0, "True");
    assert!(taints(&harness, "node-1").is_empty());
    assert_eq!(harness.store.pods_on_node("node-1").count(), 0);
    assert_eq!(harness.messages("NodeReady").len(), 1);
}

#[test]
fn a_short_silence_moves_nothing() {
    let mut harness = Harness::new(2, 3);
    harness.create(mk_deployment("default", "web", 4));
    harness.settle();
    harness.alive.remove("node-0");
    harness.pass_seconds(30);
    assert_eq!(ready(&harness, "node-0").0, "Unknown");
    harness.alive.insert("node-0".into());
    harness.pass_seconds(60);
    assert_eq!(harness.created["pods"], 4);
    assert!(harness.active_pods().iter().all(|pod| pods::is_ready(pod)));
}

#[test]
fn a_new_leader_lets_nodes_be_for_a_while() {
    let mut harness = Harness::new(2, 4);
    harness.settle();
    harness.pass_seconds(60);
    harness.alive.remove("node-0");
    harness.new_leader();
    harness.pass_seconds(20);
    assert_eq!(ready(&harness, "node-0").0, "True");
    harness.pass_seconds(1);
    assert_eq!(ready(&harness, "node-0").0, "Unknown");
    assert_eq!(ready(&harness, "node-1").0, "True");
}

#[test]
fn nothing_is_evicted_when_no_node_is_ready() {
    let mut harness = Harness::new(2, 5);
    harness.create(mk_deployment("default", "web", 4));
    harness.settle();
    harness.alive.clear();
    harness.pass_seconds(120);
    assert_eq!(harness.active_pods().len(), 4);
    assert!(!harness.deleted.contains_key("pods"));
    harness.alive.insert("node-1".into());
    harness.pass_seconds(10);
    assert_eq!((pods_on(&harness, "node-0"), pods_on(&harness, "node-1")), (0, 4));
}

#[test]
fn pods_of_a_deleted_node_are_removed() {
    let mut harness = Harness::new(2, 6);
    harness.create(mk_deployment("default", "web", 4));
    harness.settle();
    harness.alive.remove("node-0");
    harness.delete::<Node>("", "node-0", None);
    harness.settle();
    assert_eq!(harness.store.pods_on_node("node-0").count(), 0);
    assert_eq!(pods_on(&harness, "node-1"), 4);
}

#[test]
fn tolerations_decide_how_long_a_pod_stays() {
    let toleration = |key: &str, seconds: Option<i64>| Toleration {
        key: key.into(),
        operator: "Exists".into(),
        effect: "NoExecute".into(),
        toleration_seconds: seconds,
        ..Toleration::default()
    };
    let mut harness = Harness::new(2, 7);
    for (name, tolerations) in [
        ("none", vec![]),
        ("for-ever", vec![toleration("", None)]),
        ("short", vec![toleration("maintenance", Some(5))]),
        (
            "shortest",
            vec![toleration("maintenance", Some(5)), toleration("", Some(2))],
        ),
        ("other", vec![toleration("else", None)]),
    ] {
        let mut pod = mk_pod("default", name);
        pod.spec.as_mut().unwrap().tolerations = tolerations;
        pod.spec.as_mut().unwrap().node_name = "node-0".into();
        harness.create(pod);
    }
    harness.settle();
    let now = harness.now;
    harness.change::<Node>("", "node-0", |node| {
        node.spec.get_or_insert_default().taints.push(Taint {
            key: "maintenance".into(),
            effect: "NoExecute".into(),
            time_added: Some(now),
            ..Taint::default()
        });
    });
    let names = |harness: &Harness| -> Vec<String> {
        harness
            .active_pods()
            .iter()
            .map(|pod| metadata_of(*pod).name.clone())
            .collect()
    };
    harness.settle();
    assert_eq!(names(&harness), ["for-ever", "short", "shortest"]);
    harness.pass_seconds(3);
    assert_eq!(names(&harness), ["for-ever", "short"]);
    harness.pass_seconds(3);
    assert_eq!(names(&harness), ["for-ever"]);
    harness.pass_seconds(100);
    assert_eq!(names(&harness), ["for-ever"]);
}

#[test]
fn a_cordoned_node_is_tainted() {
    let mut harness = Harness::new(1, 8);
    harness.settle();
    harness.change::<Node>("", "node-0", |node| {
        node.spec.get_or_insert_default().unschedulable = true;
    });
    harness.settle();
    assert_eq!(
        taints(&harness, "node-0"),
        ["node.kubernetes.io/unschedulable:NoSchedule"]
    );
    harness.change::<Node>("", "node-0", |node| {
        node.spec.get_or_insert_default().unschedulable = false;
    });
    harness.settle();
    assert!(taints(&harness, "node-0").is_empty());
}

#[test]
fn an_unbound_pod_that_is_deleted_goes() {
    let mut harness = Harness::new(0, 9);
    harness.create(mk_pod("default", "stray"));
    harness.settle();
    let mut pod = harness.get::<Pod>("default", "stray").clone();
    let meta = pod.metadata.as_mut().unwrap();
    meta.deletion_timestamp = Some(harness.now);
    meta.deletion_grace_period_seconds = Some(30);
    harness.put(Box::new(pod));
    harness.settle();
    assert!(harness.list::<Pod>().iter().all(|pod| owners::uid_of(*pod).is_empty()));
}

#[test]
fn only_what_decides_about_a_pod_is_news_of_it() {
    let pod = mk_pod("default", "web");
    let changed = |change: fn(&mut Pod)| {
        let mut pod = pod.clone();
        change(&mut pod);
        pod
    };
    let noted = changed(|pod| {
        let metadata = pod.metadata.get_or_insert_default();
        metadata.annotations.insert("note".to_owned(), "1".to_owned());
    });
    assert!(looks_same(&pod, &noted));
    let news: [fn(&mut Pod); 4] = [
        |pod| pod.spec.get_or_insert_default().node_name = "elsewhere".to_owned(),
        |pod| pod.spec.get_or_insert_default().tolerations = vec![Toleration::default()],
        |pod| pod.status.get_or_insert_default().phase = "Succeeded".to_owned(),
        |pod| pod.metadata.get_or_insert_default().deletion_timestamp = Some(Time::default()),
    ];
    for change in news {
        assert!(!looks_same(&pod, &changed(change)));
    }
    let ready = changed(|pod| {
        let conditions = &mut pod.status.get_or_insert_default().conditions;
        conditions.push(PodCondition {
            r#type: "Ready".to_owned(),
            status: "True".to_owned(),
            ..PodCondition::default()
        });
    });
    assert!(!looks_same(&pod, &ready));
}
