//! The indexes always say what a look at all objects would.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use trireme_proto::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{ContainerPort, Pod, TopologySpreadConstraint},
    },
    selector::{FieldSelector, LabelSelector},
};

use super::{HostPort, Mutation, NodeUsage, PodRequest, World};
use crate::{
    controllers::{names, owners, pods},
    kind::{Kind, metadata_of},
    object::ObjectKey,
    scheduler,
    testing::{labels, mk_owner, mk_pod_with_requests, mk_replica_set, resources},
};

/// A pod that depends on a random number in every way that an index looks at.
fn random_pod(name: &str, random: u64, owners: &[ReplicaSet]) -> Pod {
    let mut pod = mk_pod_with_requests("default", name, &[("cpu", ["100m", "1", "0"][(random % 3) as usize])]);
    let meta = pod.metadata.as_mut().unwrap();
    meta.uid = format!("{name}-{}", random % 2);
    if let Some(owner) = owners.get((random / 7 % 4) as usize) {
        meta.owner_references = vec![mk_owner(owner)];
    }
    if let Some(tier) = ["a", "b", "c"].get((random / 13 % 4) as usize) {
        meta.labels.insert("tier".to_owned(), (*tier).to_owned());
    }
    pod.spec.as_mut().unwrap().node_name = ["", "node-0", "node-1"][(random / 31 % 3) as usize].into();
    pod.spec.as_mut().unwrap().scheduler_name = ["", "other"][(random / 17 % 2) as usize].into();
    if (random / 19).is_multiple_of(2) {
        let spread = TopologySpreadConstraint::default();
        pod.spec.as_mut().unwrap().topology_spread_constraints = vec![spread];
    }
    pod.status.as_mut().unwrap().phase = ["Pending", "Running", "Failed"][(random / 101 % 3) as usize].into();
    let port = ContainerPort {
        host_port: (random / 307 % 3) as i32,
        container_port: 80,
        ..ContainerPort::default()
    };
    pod.spec.as_mut().unwrap().containers[0].ports.push(port);
    pod
}

fn check(world: &World, owners: &[ReplicaSet]) {
    let all: Vec<&Pod> = world.list("").collect();
    let keys = |filter: &dyn Fn(&Pod) -> bool| -> BTreeSet<ObjectKey> {
        all.iter()
            .filter(|pod| filter(pod))
            .map(|pod| owners::key_of(*pod))
            .collect()
    };
    let pending: BTreeSet<ObjectKey> = world.pending_pods().map(owners::key_of).collect();
    assert_eq!(pending, keys(&|pod| !pods::is_bound(pod) && !pods::is_finished(pod)));
    let ours: BTreeSet<ObjectKey> = world.pods_to_schedule().map(owners::key_of).collect();
    let is_ours = |pod: &Pod| !pods::is_bound(pod) && !pods::is_finished(pod) && scheduler::asks_for_us(pod);
    assert_eq!(ours, keys(&is_ours));
    let beside: BTreeSet<ObjectKey> = world.pods_to_schedule_beside_others().map(owners::key_of).collect();
    assert_eq!(
        beside,
        keys(&|pod| is_ours(pod) && scheduler::depends_on_other_pods(pod))
    );
    for node in ["node-0", "node-1"] {
        let on_node: BTreeSet<ObjectKey> = world.pods_on_node(node).map(owners::key_of).collect();
        assert_eq!(on_node, keys(&|pod| pods::spec(pod).node_name == node));
        let mut usage = NodeUsage::default();
        let running = all
            .iter()
            .filter(|pod| pods::spec(pod).node_name == node && !pods::is_finished(pod));
        running.for_each(|pod| usage.add(&PodRequest::of(pod)));
        assert_eq!(world.node_usage(node).cloned().unwrap_or_default(), usage);
    }
    for owner in owners {
        let uid = owners::uid_of(owner);
        let controlled: BTreeSet<ObjectKey> = world.controlled_by::<Pod>(uid).map(owners::key_of).collect();
        assert_eq!(
            controlled,
            keys(&|pod| owners::controller_of(metadata_of(pod)).is_some_and(|owner| owner.uid == uid))
        );
        assert_eq!(world.owned_by(uid).count(), controlled.len());
    }
    for (labels, fields) in [
        ("tier=a", ""),
        ("tier in (a,c)", ""),
        ("tier=none", ""),
        ("", "spec.nodeName=node-0"),
    ] {
        let (labels, fields): (LabelSelector, FieldSelector) = (labels.parse().unwrap(), fields.parse().unwrap());
        let found = |most| world.candidates(&Pod::INFO, "default", &labels, &fields, most);
        let meant = keys(&|pod| {
            labels.matches(&metadata_of(pod).labels) && fields.matches(|_| pods::spec(pod).node_name.as_str())
        });
        let most = meant.len();
        assert_eq!(found(most).map(BTreeSet::from_iter), Some(meant));
        if most > 0 {
            assert_eq!(found(most - 1), None, "they are more than what is wanted at most");
        }
    }
    let free: BTreeSet<ObjectKey> = world.without_controller::<Pod>("default").map(owners::key_of).collect();
    assert_eq!(free, keys(&|pod| owners::controller_of(metadata_of(pod)).is_none()));
    for pod in all {
        assert_eq!(world.by_uid(owners::uid_of(pod)).unwrap().key(), owners::key_of(pod));
    }
}

#[test]
fn indexes_follow_every_change() {
    for seed in 0..8_u64 {
        let sets: Vec<ReplicaSet> = ["a", "b", "c"].map(|name| mk_replica_set("default", name, 1)).into();
        let mut world = World::new();
        for step in 0..300 {
            let random = names::mix(seed << 32 | step);
            let name = format!("pod-{}", random % 10);
            let mutation = if random.is_multiple_of(5) {
                Mutation::Remove {
                    info: &Pod::INFO,
                    key: ObjectKey::new("default", name),
                }
            } else {
                Mutation::Put(Arc::new(random_pod(&name, random / 10, &sets)))
            };
            world.apply(mutation, i64::try_from(step).unwrap());
            check(&world, &sets);
        }
    }
}

#[test]
fn candidates_are_of_one_namespace_and_of_the_requirement_that_leaves_the_fewest() {
    let mut world = World::new();
    for (revision, (namespace, name)) in (1..).zip([("a", "x"), ("a", "y"), ("a-b", "x"), ("b", "x")]) {
        let mut pod = mk_pod_with_requests(namespace, name, &[]);
        pod.metadata.as_mut().unwrap().labels = labels(&[("app", "web"), ("name", name)]);
        world.apply(Mutation::Put(Arc::new(pod)), revision);
    }
    let found = |namespace: &str, labels: &str, most| {
        let labels = labels.parse().unwrap();
        let found = world.candidates(&Pod::INFO, namespace, &labels, &FieldSelector::default(), most);
        found.map(|keys| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(found("a", "app=web", 2).as_deref(), Some("a/x a/y"));
    assert_eq!(found("", "app=web", 3), None);
    assert_eq!(found("", "app=web,name=y", 3).as_deref(), Some("a/y"));
    assert_eq!(found("", "name=none", 0).as_deref(), Some(""));
    for untold in ["", "app", "app!=web", "app notin (web)"] {
        assert_eq!(found("", untold, 9), None, "{untold}");
    }
}

#[test]
fn removing_what_is_not_there_is_no_change() {
    let mut world = World::new();
    let key = ObjectKey::new("default", "none");
    assert!(world.apply(Mutation::Remove { info: &Pod::INFO, key }, 7).is_none());
    assert_eq!(world.revision(), 7);
}

#[test]
fn lists_keep_to_their_namespace() {
    let mut world = World::new();
    for (revision, namespace) in (1..).zip(["a", "a-b", "ab", "b"]) {
        world.apply(
            Mutation::Put(Arc::new(mk_pod_with_requests(namespace, "x", &[]))),
            revision,
        );
    }
    for (namespace, expected) in [("", 4), ("a", 1), ("a-b", 1), ("c", 0)] {
        assert_eq!(
            world.list::<Pod>(namespace).count(),
            expected,
            "namespace {namespace:?}"
        );
    }
}

#[test]
fn a_pod_asks_for_its_largest_step() {
    let container = |name: &str, cpu: &str, always: bool| {
        let mut pod = mk_pod_with_requests("default", name, &[("cpu", cpu)]);
        let mut container = pod.spec.as_mut().unwrap().containers.remove(0);
        container.restart_policy = always.then(|| "Always".to_owned());
        container
    };
    for (init, running, overhead, expected) in [
        (vec![], vec!["500m", "250m"], "0", 750),
        (vec![("2", false)], vec!["500m"], "0", 2_000),
        (vec![("100m", true), ("1", false)], vec!["500m"], "0", 1_100),
        (vec![("100m", true), ("200m", false)], vec!["500m"], "50m", 650),
    ] {
        let mut pod = mk_pod_with_requests("default", "x", &[]);
        let spec = pod.spec.as_mut().unwrap();
        spec.containers = running.iter().map(|cpu| container("c", cpu, false)).collect();
        spec.init_containers = init.iter().map(|(cpu, always)| container("i", cpu, *always)).collect();
        spec.overhead = resources(&[("cpu", overhead)]);
        let request = PodRequest::of(&pod);
        assert_eq!(request.resources.milli_cpu, expected, "{init:?} {running:?}");
        assert_eq!(request.resources.pods, 1);
    }
    let bare = PodRequest::of(&mk_pod_with_requests("default", "x", &[]));
    assert_eq!((bare.resources.milli_cpu, bare.scored_milli_cpu), (0, 100));
}

#[test]
fn host_ports_conflict_by_address() {
    let port = |ip: &str, protocol: &str| HostPort {
        port: 80,
        protocol: protocol.into(),
        ip: ip.into(),
    };
    for (one, other, expected) in [
        (port("", "TCP"), port("", "TCP"), true),
        (port("", "TCP"), port("", "UDP"), false),
        (port("10.0.0.1", "TCP"), port("10.0.0.2", "TCP"), false),
        (port("10.0.0.1", "TCP"), port("0.0.0.0", "TCP"), true),
    ] {
        assert_eq!(one.conflicts(&other), expected, "{one:?} {other:?}");
    }
    let kept = labels(&[("a", "b")]);
    assert_eq!(kept, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
}
