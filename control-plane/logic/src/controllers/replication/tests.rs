//! The shared core of ReplicaSets and ReplicationControllers, alone with a store.

use trireme_proto::api::{
    apps::v1::ReplicaSet,
    core::v1::{Pod, ReplicationController},
};

use super::{REPLICA_FAILURE, Replicas, replica_set, replication_controller, victims::victims};
use crate::{
    controller::{Action, Context, Controller, Refusal, Write},
    controllers::{conditions, owners, pods},
    kind::{Kind, metadata_of},
    object::ObjectKey,
    testing::{
        at,
        harness::{FAILING, Harness},
        labels, mk_node, mk_pod, mk_replica_set, mk_replication_controller,
    },
};

fn cluster(seed: u64) -> Harness {
    let mut harness = Harness::new(2, seed);
    harness.settle();
    harness
}

#[test]
fn makes_what_is_missing_and_reports_it() {
    let mut harness = cluster(1);
    harness.create(mk_replica_set("default", "web", 3));
    harness.create(mk_replication_controller("default", "old", 2));
    harness.settle();
    let status = harness.get::<ReplicaSet>("default", "web").status.clone().unwrap();
    assert_eq!(
        (status.replicas, status.ready_replicas, status.available_replicas),
        (3, 3, 3)
    );
    assert_eq!((status.fully_labeled_replicas, status.observed_generation), (3, 1));
    let status = harness
        .get::<ReplicationController>("default", "old")
        .status
        .clone()
        .unwrap();
    assert_eq!((status.replicas, status.ready_replicas), (2, 2));
    assert_eq!(harness.created["pods"], 5);
    assert_eq!(harness.messages("SuccessfulCreate").len(), 5);
    for pod in harness.list::<Pod>() {
        let meta = metadata_of(pod);
        let owner = owners::controller_of(meta).unwrap();
        assert!(meta.name.starts_with(&format!("{}-", owner.name)), "{}", meta.name);
        assert_eq!(meta.name.len(), owner.name.len() + 6);
    }
}

#[test]
fn scales_down_and_up_again() {
    let mut harness = cluster(2);
    harness.create(mk_replica_set("default", "web", 5));
    harness.settle();
    for (size, deleted, created) in [(2, 3, 5), (0, 5, 5), (4, 5, 9)] {
        harness.change::<ReplicaSet>("default", "web", |set| set.spec.as_mut().unwrap().replicas = Some(size));
        harness.settle();
        assert_eq!(harness.active_pods().len(), usize::try_from(size).unwrap());
        assert_eq!(
            (harness.deleted["pods"], harness.created["pods"]),
            (deleted, created),
            "size {size}"
        );
    }
    assert_eq!(
        harness
            .get::<ReplicaSet>("default", "web")
            .status
            .as_ref()
            .unwrap()
            .observed_generation,
        4
    );
}

#[test]
fn replaces_a_deleted_pod_at_once() {
    let mut harness = cluster(3);
    harness.create(mk_replica_set("default", "web", 2));
    harness.settle();
    let name = metadata_of(harness.active_pods()[0]).name.clone();
    harness.delete::<Pod>("default", &name, None);
    harness.settle();
    assert_eq!(harness.active_pods().len(), 2);
    assert_eq!(harness.created["pods"], 3);
}

#[test]
fn adopts_and_releases_by_label() {
    let mut harness = cluster(4);
    let mut stray = mk_pod("default", "stray");
    stray.metadata.as_mut().unwrap().labels = labels(&[("app", "web")]);
    harness.create(stray);
    harness.create(mk_pod("default", "foreign"));
    harness.create(mk_replica_set("default", "web", 2));
    harness.settle();
    assert_eq!(harness.created["pods"], 1, "one of the two was there already");
    let owner = owners::controller_of(metadata_of(harness.get::<Pod>("default", "stray"))).unwrap();
    assert_eq!(owner.name, "web");
    assert!(owners::controller_of(metadata_of(harness.get::<Pod>("default", "foreign"))).is_none());

    harness.change::<Pod>("default", "stray", |pod| {
        pod.metadata.as_mut().unwrap().labels = labels(&[("app", "other")]);
    });
    harness.settle();
    assert!(owners::controller_of(metadata_of(harness.get::<Pod>("default", "stray"))).is_none());
    assert_eq!(harness.created["pods"], 2);
}

#[test]
fn an_empty_selector_takes_nothing_over() {
    let mut harness = cluster(5);
    harness.create(mk_pod("default", "stray"));
    let mut set = mk_replica_set("default", "all", 0);
    set.spec.as_mut().unwrap().selector = Some(trireme_proto::api::meta::v1::LabelSelector::default());
    set.metadata.as_mut().unwrap().uid = "all".into();
    harness.put(Box::new(set));
    harness.settle();
    assert!(owners::controller_of(metadata_of(harness.get::<Pod>("default", "stray"))).is_none());
    assert_eq!(harness.active_pods().len(), 1);
}

#[test]
fn waits_longer_and_longer_while_pods_fail_at_once() {
    let mut harness = cluster(6);
    let mut set = mk_replica_set("default", "bad", 1);
    set.spec
        .as_mut()
        .unwrap()
        .template
        .as_mut()
        .unwrap()
        .spec
        .as_mut()
        .unwrap()
        .containers[0]
        .image = FAILING.into();
    harness.create(set);
    harness.settle();
    assert_eq!(harness.created["pods"], 1);
    harness.pass_seconds(120);
    // 1, 2, 4, 8, 16 and 32 seconds after the one before.
    assert_eq!(harness.created["pods"], 7);
}

#[test]
fn available_only_after_the_minimal_time() {
    let mut harness = cluster(7);
    let mut set = mk_replica_set("default", "slow", 1);
    set.spec.as_mut().unwrap().min_ready_seconds = 10;
    harness.create(set);
    let available = |harness: &Harness| {
        harness
            .get::<ReplicaSet>("default", "slow")
            .status
            .as_ref()
            .unwrap()
            .available_replicas
    };
    harness.settle();
    harness.pass_seconds(9);
    assert_eq!(available(&harness), 0);
    harness.pass_seconds(1);
    assert_eq!(available(&harness), 1);
}

#[test]
fn one_pass_makes_only_so_many() {
    let mut harness = Harness::with(vec![Box::new(replica_set()), Box::new(replication_controller())], 8);
    harness.create(mk_replica_set("default", "many", 1_234));
    harness.settle();
    assert_eq!(harness.created["pods"], 1_234);
    // Three passes, each with one event instead of hundreds.
    assert_eq!(harness.messages("SuccessfulCreate").len(), 3);
}

#[test]
fn victims_go_in_order() {
    let pod = |name: &str, node: &str, phase: &str, ready: Option<i64>, created: i64| {
        let mut pod = mk_pod("default", name);
        pod.metadata.as_mut().unwrap().creation_timestamp = Some(at(created));
        pod.spec.as_mut().unwrap().node_name = node.into();
        let status = pod.status.get_or_insert_default();
        status.phase = phase.into();
        if let Some(since) = ready {
            conditions::set(&mut status.conditions, "Ready", "True", "", "", at(since));
        }
        pod
    };
    let mut cheap = pod("7-cheap", "b", "Running", Some(1), 0);
    let annotations = &mut cheap.metadata.as_mut().unwrap().annotations;
    annotations.insert("controller.kubernetes.io/pod-deletion-cost".into(), "-5".into());
    let list = [
        pod("1-unbound", "", "Pending", None, 0),
        pod("2-pending", "a", "Pending", None, 0),
        pod("3-not-ready", "a", "Running", None, 0),
        cheap.clone(),
        pod("8-crowded-young", "a", "Running", Some(1), 5),
        pod("9-crowded-old", "a", "Running", Some(1), 0),
        pod("a-lonely-new", "c", "Running", Some(9), 0),
        pod("b-lonely-old", "d", "Running", Some(1), 0),
    ];
    let expected: Vec<&str> = list.iter().map(|pod| metadata_of(pod).name.as_str()).collect();
    let mut shuffled: Vec<&Pod> = list.iter().collect();
    shuffled.reverse();
    shuffled.swap(1, 4);
    let order = victims(&shuffled, 8);
    let order: Vec<&str> = order.iter().map(|pod| metadata_of(*pod).name.as_str()).collect();
    assert_eq!(order, expected);
    assert_eq!(victims(&shuffled, 2).len(), 2);
}

#[test]
fn nothing_is_made_in_a_namespace_that_ends() {
    let mut harness = Harness::with(vec![Box::new(replica_set())], 9);
    harness.create(mk_replica_set("default", "web", 2));
    harness.put(Box::new(mk_node("unused")));
    harness.delete::<trireme_proto::api::core::v1::Namespace>("", "default", None);
    harness.settle();
    assert!(harness.list::<Pod>().iter().all(|pod| !pods::is_active(pod)));
    assert!(!harness.created.contains_key("pods"));
}

#[test]
fn a_refused_pod_is_told_and_taken_back() {
    let mut harness = cluster(9);
    harness.create(mk_replica_set("default", "web", 2));
    harness.settle();
    let key = ObjectKey::new("default", "web");
    let context = Context { now: at(5), seed: 1 };
    let refuse = |harness: &Harness, name: &str| {
        let refusal = Refusal {
            action: Action::Create,
            info: &Pod::INFO,
            name: name.into(),
            message: format!("pods {name:?} is forbidden: exceeded quota: small"),
        };
        replica_set().on_refusal(&harness.store, &key, &refusal, &context)
    };
    let told = refuse(&harness, "web-x7k2p");
    assert_eq!(
        (told.events[0].reason.as_str(), told.events[0].message.as_str()),
        (
            "FailedCreate",
            "Error creating: pods \"web-\" is forbidden: exceeded quota: small"
        )
    );
    let [Write::UpdateStatus(set)] = told.writes.as_slice() else {
        panic!("{:?}", told.writes)
    };
    let set: ReplicaSet = set.downcast_ref::<ReplicaSet>().unwrap().clone();
    let condition = conditions::find(&set.status.as_ref().unwrap().conditions, REPLICA_FAILURE).unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("True", "FailedCreate")
    );

    harness.put(Box::new(set));
    assert!(
        refuse(&harness, "web-9n4tt").writes.is_empty(),
        "the same cause is written once"
    );
    harness.settle();
    let set = harness.get::<ReplicaSet>("default", "web");
    assert!(!set.has_failure(), "there are as many pods as wanted");
}
