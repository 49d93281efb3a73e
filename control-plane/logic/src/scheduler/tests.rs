//! Which pod goes where, and what is said when it goes nowhere.

mod inter_pod;

use std::{collections::BTreeMap, sync::Arc};

use trireme_proto::api::{
    core::v1::{
        Affinity, ContainerPort, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod,
        PodSchedulingGate, PreferredSchedulingTerm, Taint, Toleration, TopologySpreadConstraint,
    },
    meta::v1::OwnerReference,
};

use super::{Decisions, Options, schedule};
use crate::{
    controller::Write,
    controllers::pods,
    kind::{Kind, metadata_of},
    testing::{at, labels, mk_node, mk_owner, mk_pod, mk_pod_with_requests, mk_replica_set, mk_selector, resources},
    world::{Mutation, World},
};

fn world(objects: impl IntoIterator<Item = Box<dyn crate::object::Object>>) -> World {
    let mut world = World::new();
    for (revision, object) in (1..).zip(objects) {
        world.apply(Mutation::Put(Arc::from(object)), revision);
    }
    world
}

fn options() -> Options {
    Options {
        limit: 100_000,
        seed: 0,
        now: at(0),
    }
}

fn boxed(object: impl Kind) -> Box<dyn crate::object::Object> {
    Box::new(object)
}

fn node(name: &str, change: impl FnOnce(&mut Node)) -> Box<dyn crate::object::Object> {
    let mut node = mk_node(name);
    change(&mut node);
    boxed(node)
}

fn pod(name: &str, change: impl FnOnce(&mut Pod)) -> Box<dyn crate::object::Object> {
    let mut pod = mk_pod("default", name);
    change(&mut pod);
    boxed(pod)
}

fn taint(node: &mut Node, key: &str, value: &str, effect: &str) {
    node.spec.get_or_insert_default().taints.push(Taint {
        key: key.into(),
        value: value.into(),
        effect: effect.into(),
        ..Taint::default()
    });
}

fn not_ready(node: &mut Node) {
    node.status.as_mut().unwrap().conditions[0].status = "False".into();
}

fn requests(pod: &mut Pod, list: &[(&str, &str)]) {
    let with = mk_pod_with_requests("default", "x", list);
    pod.spec.as_mut().unwrap().containers[0].resources = with.spec.unwrap().containers.remove(0).resources;
}

fn requirement(key: &str, operator: &str, values: &[&str]) -> NodeSelectorRequirement {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    NodeSelectorRequirement {
        key: key.into(),
        operator: operator.into(),
        values,
    }
}

fn affinity(terms: Vec<NodeSelectorTerm>, preferred: Vec<(i32, NodeSelectorTerm)>) -> Affinity {
    let preferred = preferred.into_iter().map(|(weight, term)| PreferredSchedulingTerm {
        weight,
        preference: Some(term),
    });
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: (!terms.is_empty()).then_some(NodeSelector {
                node_selector_terms: terms,
            }),
            preferred_during_scheduling_ignored_during_execution: preferred.collect(),
        }),
        ..Affinity::default()
    }
}

fn expressions(list: Vec<NodeSelectorRequirement>) -> NodeSelectorTerm {
    NodeSelectorTerm {
        match_expressions: list,
        ..NodeSelectorTerm::default()
    }
}

/// The node of each bound pod, by name.
fn bound(decisions: &Decisions) -> BTreeMap<&str, &str> {
    decisions
        .bindings
        .iter()
        .map(|binding| (binding.pod.name.as_str(), binding.node.as_str()))
        .collect()
}

/// The message about the one pod that finds no node.
fn message(objects: Vec<Box<dyn crate::object::Object>>) -> String {
    let decisions = schedule(&world(objects), &options());
    assert!(decisions.bindings.is_empty(), "{:?}", decisions.bindings);
    assert_eq!(decisions.unschedulable.len(), 1);
    decisions.unschedulable[0].message.clone()
}

#[test]
fn every_reason_has_its_text() {
    let port = ContainerPort {
        container_port: 80,
        host_port: 80,
        protocol: "TCP".into(),
        ..ContainerPort::default()
    };
    let holder = {
        let port = port.clone();
        move |node: &str| {
            pod(&format!("holder-{node}"), |pod| {
                pod.spec.as_mut().unwrap().node_name = node.into();
                pod.spec.as_mut().unwrap().containers[0].ports.push(port.clone());
            })
        }
    };
    let cases: Vec<(Vec<Box<dyn crate::object::Object>>, &str)> = vec![
        (vec![pod("p", |_| {})], "no nodes available to schedule pods"),
        (
            vec![
                node("a", |node| node.spec.get_or_insert_default().unschedulable = true),
                pod("p", |_| {}),
            ],
            "0/1 nodes are available: 1 node(s) were unschedulable.",
        ),
        (
            vec![node("a", not_ready), pod("p", |_| {})],
            "0/1 nodes are available: 1 node(s) were not ready.",
        ),
        (
            vec![
                node("a", |node| taint(node, "k", "v", "NoSchedule")),
                node("b", |_| {}),
                node("c", |_| {}),
                pod("p", |pod| requests(pod, &[("cpu", "5")])),
            ],
            "0/3 nodes are available: 1 node(s) had untolerated taint {k: v}, 2 Insufficient cpu.",
        ),
        (
            vec![
                node("a", |_| {}),
                pod("p", |pod| {
                    requests(pod, &[("cpu", "5"), ("memory", "9Gi"), ("gpu.io/x", "1")]);
                }),
            ],
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient gpu.io/x, 1 Insufficient memory.",
        ),
        (
            vec![
                node("a", |node| {
                    drop(
                        node.status
                            .as_mut()
                            .unwrap()
                            .allocatable
                            .insert("pods".into(), crate::testing::quantity("0")),
                    );
                }),
                pod("p", |_| {}),
            ],
            "0/1 nodes are available: 1 Too many pods.",
        ),
        (
            vec![
                node("a", |_| {}),
                pod("p", |pod| {
                    pod.spec.as_mut().unwrap().node_selector = labels(&[("disk", "ssd")]);
                }),
            ],
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
        ),
        (
            vec![
                node("a", |_| {}),
                holder("a"),
                pod("p", |pod| {
                    pod.spec.as_mut().unwrap().containers[0].ports.push(port.clone());
                }),
            ],
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
        ),
        (
            vec![
                node("a", |_| {}),
                pod("p", |pod| {
                    pod.spec
                        .as_mut()
                        .unwrap()
                        .topology_spread_constraints
                        .push(spread("zone", "DoNotSchedule"));
                }),
            ],
            "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label).",
        ),
    ];
    for (objects, expected) in cases {
        assert_eq!(message(objects), expected);
    }
}

fn spread(key: &str, when: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.into(),
        when_unsatisfiable: when.into(),
        label_selector: Some(mk_selector("web")),
        ..TopologySpreadConstraint::default()
    }
}

#[test]
fn node_affinity_operators() {
    let nodes = |name: &str, disk: Option<&str>, cores: &str| {
        node(name, |node| {
            let labels = &mut node.metadata.as_mut().unwrap().labels;
            labels.insert("cores".into(), cores.into());
            if let Some(disk) = disk {
                labels.insert("disk".into(), disk.into());
            }
        })
    };
    let fields = |name: &str| NodeSelectorTerm {
        match_fields: vec![requirement("metadata.name", "In", &[name])],
        ..NodeSelectorTerm::default()
    };
    for (terms, expected) in [
        (
            vec![expressions(vec![requirement("disk", "In", &["ssd", "nvme"])])],
            Some("a"),
        ),
        (
            vec![expressions(vec![
                requirement("disk", "NotIn", &["ssd"]),
                requirement("disk", "Exists", &[]),
            ])],
            Some("b"),
        ),
        (
            vec![expressions(vec![requirement("disk", "DoesNotExist", &[])])],
            Some("c"),
        ),
        (vec![expressions(vec![requirement("cores", "Gt", &["8"])])], Some("c")),
        (vec![expressions(vec![requirement("cores", "Lt", &["4"])])], Some("a")),
        (vec![expressions(vec![requirement("cores", "Gt", &["many"])])], None),
        (vec![fields("b")], Some("b")),
        (
            vec![expressions(vec![requirement("disk", "In", &["tape"])]), fields("c")],
            Some("c"),
        ),
        (vec![NodeSelectorTerm::default()], None),
    ] {
        let text = format!("{terms:?}");
        let objects = [
            nodes("a", Some("ssd"), "2"),
            nodes("b", Some("hdd"), "8"),
            nodes("c", None, "16"),
            pod("p", |pod| {
                pod.spec.as_mut().unwrap().affinity = Some(affinity(terms, vec![]));
            }),
        ];
        let decisions = schedule(&world(objects), &options());
        assert_eq!(bound(&decisions).get("p").copied(), expected, "{text}");
    }
}

#[test]
fn preferences_come_before_spreading() {
    let ssd = expressions(vec![requirement("disk", "In", &["ssd"])]);
    let objects = [
        node("a", |_| {}),
        node("b", |node| {
            drop(
                node.metadata
                    .as_mut()
                    .unwrap()
                    .labels
                    .insert("disk".into(), "ssd".into()),
            );
        }),
        node("c", |node| taint(node, "old", "", "PreferNoSchedule")),
        pod("likes", |pod| {
            pod.spec.as_mut().unwrap().affinity = Some(affinity(vec![], vec![(5, ssd.clone())]));
        }),
        pod("likes-too", |pod| {
            pod.spec.as_mut().unwrap().affinity = Some(affinity(vec![], vec![(5, ssd.clone())]));
        }),
        pod("plain", |_| {}),
    ];
    let decisions = schedule(&world(objects), &options());
    assert_eq!(
        bound(&decisions),
        BTreeMap::from([("likes", "b"), ("likes-too", "b"), ("plain", "a")])
    );
}

#[test]
fn tolerated_taints_do_not_matter() {
    let tolerate = |pod: &mut Pod, key: &str| {
        pod.spec.as_mut().unwrap().tolerations.push(Toleration {
            key: key.into(),
            operator: "Exists".into(),
            ..Toleration::default()
        });
    };
    let objects = [
        node("a", |node| {
            taint(node, "k", "v", "NoExecute");
            node.spec.get_or_insert_default().unschedulable = true;
            not_ready(node);
        }),
        pod("everything", |pod| tolerate(pod, "")),
        pod("one", |pod| tolerate(pod, "k")),
    ];
    let decisions = schedule(&world(objects), &options());
    assert_eq!(bound(&decisions), BTreeMap::from([("everything", "a")]));
    assert_eq!(decisions.unschedulable[0].pod.name, "one");
}

#[test]
fn decisions_of_one_pass_know_of_each_other() {
    let objects = [
        node("a", |_| {}),
        node("b", |_| {}),
        pod("p1", |pod| requests(pod, &[("cpu", "3")])),
        pod("p2", |pod| requests(pod, &[("cpu", "3")])),
        pod("p3", |pod| requests(pod, &[("cpu", "3")])),
    ];
    let decisions = schedule(&world(objects), &options());
    assert_eq!(bound(&decisions), BTreeMap::from([("p1", "a"), ("p2", "b")]));
    assert_eq!(
        decisions.unschedulable[0].message,
        "0/2 nodes are available: 2 Insufficient cpu."
    );
}

#[test]
fn important_pods_and_then_old_ones_come_first() {
    let wants = |name: &str, priority: Option<i32>, created: i64| {
        pod(name, |pod| {
            requests(pod, &[("cpu", "3")]);
            pod.spec.as_mut().unwrap().priority = priority;
            pod.metadata.as_mut().unwrap().creation_timestamp = Some(at(created));
        })
    };
    let objects = [
        node("a", |_| {}),
        node("b", |_| {}),
        wants("a-late", None, 5),
        wants("b-early", None, 1),
        wants("c-important", Some(100), 9),
    ];
    let decisions = schedule(&world(objects), &options());
    let names: Vec<&str> = decisions
        .bindings
        .iter()
        .map(|binding| binding.pod.name.as_str())
        .collect();
    assert_eq!(names, ["c-important", "b-early"]);
    assert_eq!(decisions.unschedulable[0].pod.name, "a-late");
}

#[test]
fn pods_of_others_are_left_alone() {
    let gate = PodSchedulingGate { name: "wait".into() };
    let objects = [
        node("a", |_| {}),
        pod("other", |pod| pod.spec.as_mut().unwrap().scheduler_name = "mine".into()),
        pod("gated", |pod| pod.spec.as_mut().unwrap().scheduling_gates.push(gate)),
        pod("bound", |pod| pod.spec.as_mut().unwrap().node_name = "a".into()),
        pod("going", |pod| {
            pod.metadata.as_mut().unwrap().deletion_timestamp = Some(at(1));
        }),
        pod("done", |pod| pod.status.as_mut().unwrap().phase = "Failed".into()),
    ];
    let decisions = schedule(&world(objects), &options());
    assert!(
        decisions.bindings.is_empty() && decisions.unschedulable.is_empty(),
        "{decisions:?}"
    );
}

#[test]
fn pods_of_one_owner_spread_and_equals_take_turns() {
    let owner = mk_owner(&mk_replica_set("default", "web", 6));
    let owned = |name: &str, owner: &OwnerReference| {
        pod(name, |pod| {
            pod.metadata.as_mut().unwrap().owner_references.push(owner.clone());
        })
    };
    let mut objects = vec![node("a", |_| {}), node("b", |_| {}), node("c", |_| {})];
    objects.extend((0..6).map(|index| owned(&format!("web-{index}"), &owner)));
    let world = world(objects);
    for seed in 0..5 {
        let decisions = schedule(&world, &Options { seed, ..options() });
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for node in bound(&decisions).values() {
            *counts.entry(node).or_default() += 1;
        }
        assert_eq!(counts, BTreeMap::from([("a", 2), ("b", 2), ("c", 2)]), "seed {seed}");
        assert_eq!(decisions.bindings[0].node, ["a", "b", "c"][(seed % 3) as usize]);
    }
}

#[test]
fn the_emptier_node_is_better() {
    let objects = [
        node("a", |_| {}),
        node("b", |_| {}),
        pod("there", |pod| {
            requests(pod, &[("cpu", "1"), ("memory", "2Gi")]);
            pod.spec.as_mut().unwrap().node_name = "a".into();
        }),
        pod("p1", |pod| requests(pod, &[("cpu", "1"), ("memory", "2Gi")])),
    ];
    assert_eq!(
        bound(&schedule(&world(objects), &options())),
        BTreeMap::from([("p1", "b")])
    );
}

#[test]
fn topology_is_kept_even() {
    for (when, count, placed) in [("DoNotSchedule", 8, 8), ("ScheduleAnyway", 8, 8)] {
        let mut objects: Vec<_> = [("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")]
            .map(|(name, zone)| {
                node(name, |node| {
                    drop(
                        node.metadata
                            .as_mut()
                            .unwrap()
                            .labels
                            .insert("zone".into(), zone.into()),
                    );
                })
            })
            .into();
        objects.extend((0..count).map(|index| {
            pod(&format!("web-{index}"), |pod| {
                pod.metadata.as_mut().unwrap().labels = labels(&[("app", "web")]);
                pod.spec
                    .as_mut()
                    .unwrap()
                    .topology_spread_constraints
                    .push(spread("zone", when));
            })
        }));
        let decisions = schedule(&world(objects), &options());
        assert_eq!(decisions.bindings.len(), placed);
        let in_y = bound(&decisions).values().filter(|node| **node == "d").count();
        assert_eq!(in_y, count / 2, "{when}");
    }
}

#[test]
fn news_is_told_once() {
    let mut world = world([node("a", not_ready), pod("p", |_| {})]);
    let mut decisions = schedule(&world, &options());
    let outcome = decisions.outcome(&world, &options());
    assert_eq!(outcome.events[0].reason, "FailedScheduling");
    let [Write::UpdateStatus(told)] = outcome.writes.as_slice() else {
        panic!("{:?}", outcome.writes)
    };
    let told: Pod = told.downcast_ref::<Pod>().unwrap().clone();
    let condition = pods::condition(&told, "PodScheduled").unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("False", "Unschedulable")
    );
    world.apply(Mutation::Put(Arc::new(told)), 9);
    let outcome = schedule(&world, &options()).outcome(&world, &options());
    assert!(outcome.writes.is_empty() && outcome.events.is_empty());
}

#[test]
fn the_limit_ends_a_pass() {
    let mut objects = vec![node("a", |_| {})];
    objects.extend((0..5).map(|index| pod(&format!("p{index}"), |_| {})));
    let decisions = schedule(&world(objects), &Options { limit: 3, ..options() });
    assert_eq!((decisions.bindings.len(), decisions.more), (3, true));
}

#[test]
fn ten_thousand_pods_fit_and_no_node_is_overfull() {
    let mut objects: Vec<Box<dyn crate::object::Object>> = (0..100)
        .map(|index| {
            node(&format!("node-{index:03}"), |node| {
                let status = node.status.as_mut().unwrap();
                status.allocatable = resources(&[("cpu", "64"), ("memory", "64Gi"), ("pods", "110")]);
            })
        })
        .collect();
    let owners: Vec<OwnerReference> = (0..20)
        .map(|index| mk_owner(&mk_replica_set("default", &format!("set-{index}"), 500)))
        .collect();
    objects.extend((0..10_000).map(|index| {
        pod(&format!("pod-{index:05}"), |pod| {
            requests(pod, &[("cpu", if index % 2 == 0 { "500m" } else { "250m" })]);
            pod.metadata
                .as_mut()
                .unwrap()
                .owner_references
                .push(owners[index % 20].clone());
        })
    }));
    let world = world(objects);
    let decisions = schedule(&world, &options());
    assert_eq!(decisions.bindings.len(), 10_000);
    let mut per_node: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for binding in &decisions.bindings {
        let pod = world.get::<Pod>(&binding.pod).unwrap();
        let entry = per_node.entry(&binding.node).or_default();
        entry.0 += 1;
        entry.1 += crate::world::PodRequest::of(pod).resources.milli_cpu;
        assert_eq!(metadata_of(pod).uid, binding.uid);
    }
    for (node, (count, milli_cpu)) in per_node {
        assert!(
            count <= 110 && milli_cpu <= 64_000,
            "{node}: {count} pods, {milli_cpu}m"
        );
        // Each of the twenty owners puts five on each node.
        assert_eq!(count, 100, "{node}");
    }
}
