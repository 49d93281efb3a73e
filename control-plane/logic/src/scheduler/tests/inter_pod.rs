//! Affinity and anti-affinity between pods: which domains they allow, and which they make better.

use trireme_proto::api::{
    core::v1::{PodAffinity, PodAffinityTerm, PodAntiAffinity, WeightedPodAffinityTerm},
    meta::v1::LabelSelector,
};

use super::*;
use crate::{object::Object, testing::mk_namespace};

const NEAR: &str = "node(s) didn't match pod affinity rules";
const AWAY: &str = "node(s) didn't match pod anti-affinity rules";
const KEPT_OUT: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

/// Nodes `a` and `b` in zone x, `c` in zone y, `d` in none; every node is its own host.
fn nodes() -> Vec<Box<dyn Object>> {
    [("a", "x"), ("b", "x"), ("c", "y"), ("d", "")]
        .map(|(name, zone)| {
            node(name, |node| {
                let labels = &mut node.metadata.as_mut().unwrap().labels;
                labels.insert("host".into(), name.into());
                if !zone.is_empty() {
                    labels.insert("zone".into(), zone.into());
                }
            })
        })
        .into()
}

fn term(app: &str, topology_key: &str) -> PodAffinityTerm {
    PodAffinityTerm {
        label_selector: Some(mk_selector(app)),
        topology_key: topology_key.into(),
        ..PodAffinityTerm::default()
    }
}

fn near(terms: Vec<PodAffinityTerm>) -> Affinity {
    Affinity {
        pod_affinity: Some(PodAffinity {
            required_during_scheduling_ignored_during_execution: terms,
            ..PodAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn away(terms: Vec<PodAffinityTerm>) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: terms,
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn weighted(weight: i32, term: PodAffinityTerm) -> WeightedPodAffinityTerm {
    WeightedPodAffinityTerm {
        weight,
        pod_affinity_term: Some(term),
    }
}

fn preferring(liked: Vec<WeightedPodAffinityTerm>, disliked: Vec<WeightedPodAffinityTerm>) -> Affinity {
    Affinity {
        pod_affinity: Some(PodAffinity {
            preferred_during_scheduling_ignored_during_execution: liked,
            ..PodAffinity::default()
        }),
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: disliked,
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// A pod of an application, on a node or (empty) waiting for one.
fn app(namespace: &str, name: &str, app: &str, node: &str, affinity: Option<Affinity>) -> Box<dyn Object> {
    let mut pod = mk_pod(namespace, name);
    pod.metadata.as_mut().unwrap().labels = labels(&[("app", app)]);
    let spec = pod.spec.as_mut().unwrap();
    spec.node_name = node.into();
    spec.affinity = affinity;
    boxed(pod)
}

/// Where the waiting pod `p` goes beside the others, or why nowhere.
fn check(others: Vec<Box<dyn Object>>, affinity: Affinity, expected: Result<&str, &str>) {
    let text = format!("{affinity:?}");
    let mut objects = nodes();
    objects.extend(others);
    objects.push(app("default", "p", "p", "", Some(affinity)));
    let decisions = schedule(&world(objects), &options());
    let outcome = match bound(&decisions).get("p") {
        Some(node) => Ok((*node).to_owned()),
        None => Err(decisions.unschedulable[0].message.clone()),
    };
    assert_eq!(outcome.as_deref().map_err(String::as_str), expected, "{text}");
}

#[test]
fn required_affinity_needs_a_pod_in_the_domain() {
    let web = || vec![app("default", "w", "web", "c", None)];
    check(web(), near(vec![term("web", "zone")]), Ok("c"));
    check(web(), near(vec![term("web", "host")]), Ok("c"));
    let nowhere = format!("0/4 nodes are available: 4 {NEAR}.");
    check(web(), near(vec![term("db", "zone")]), Err(&nowhere));
    // One pod must match all terms, and each term's topology must be there.
    check(
        web(),
        near(vec![term("web", "zone"), term("db", "host")]),
        Err(&nowhere),
    );
    check(web(), near(vec![term("web", "zone"), term("web", "host")]), Ok("c"));
    check(web(), near(vec![term("web", "rack")]), Err(&nowhere));
    // A finished pod is near nobody.
    let mut done = mk_pod("default", "w");
    done.metadata.as_mut().unwrap().labels = labels(&[("app", "web")]);
    done.spec.as_mut().unwrap().node_name = "c".into();
    done.status.as_mut().unwrap().phase = "Succeeded".into();
    check(vec![boxed(done)], near(vec![term("web", "zone")]), Err(&nowhere));
}

#[test]
fn the_first_of_a_group_needs_nobody_and_the_others_follow() {
    check(vec![], near(vec![term("p", "zone")]), Ok("a"));
    let mut objects = nodes();
    objects.extend((0..4).map(|index| {
        let affinity = near(vec![term("p", "zone")]);
        app("default", &format!("p{index}"), "p", "", Some(affinity))
    }));
    let decisions = schedule(&world(objects), &options());
    assert_eq!(decisions.bindings.len(), 4);
    let zones: Vec<&str> = bound(&decisions).into_values().collect();
    assert!(zones.iter().all(|node| ["a", "b"].contains(node)), "{zones:?}");
}

#[test]
fn required_anti_affinity_keeps_away_both_ways() {
    let everywhere = ["a", "c", "d"];
    let webs = |nodes: &[&str]| -> Vec<Box<dyn Object>> {
        let web = |node: &&str| app("default", &format!("w-{node}"), "web", node, None);
        nodes.iter().map(web).collect()
    };
    check(webs(&["a"]), away(vec![term("web", "zone")]), Ok("c"));
    check(webs(&["a"]), away(vec![term("web", "host")]), Ok("b"));
    // A node without the label is in no domain, and so never shared.
    check(webs(&everywhere), away(vec![term("web", "zone")]), Ok("d"));
    let shared = format!("0/4 nodes are available: 1 node(s) were unschedulable, 3 {AWAY}.");
    let mut others = webs(&everywhere);
    others.push(app("default", "w-b", "web", "b", None));
    let closed = node("d", |node| node.spec.get_or_insert_default().unschedulable = true);
    others.push(closed);
    check(others, away(vec![term("web", "host")]), Err(&shared));
    // The others' terms count as well.
    let guard = |node: &str| app("default", "g", "guard", node, Some(away(vec![term("p", "zone")])));
    check(vec![guard("a")], near(vec![]), Ok("c"));
    let kept_out = format!("0/4 nodes are available: 1 {KEPT_OUT}, 3 {NEAR}.");
    check(vec![guard("c")], near(vec![term("guard", "zone")]), Err(&kept_out));
}

#[test]
fn replicas_that_avoid_each_other_get_a_node_each() {
    let mut objects = nodes();
    objects.extend((0..5).map(|index| {
        let affinity = away(vec![term("p", "host")]);
        app("default", &format!("p{index}"), "p", "", Some(affinity))
    }));
    let decisions = schedule(&world(objects), &options());
    let mut nodes: Vec<&str> = bound(&decisions).into_values().collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["a", "b", "c", "d"]);
    let expected = format!("0/4 nodes are available: 4 {AWAY}.");
    assert_eq!(decisions.unschedulable[0].message, expected);
}

#[test]
fn bare_pods_that_differ_only_in_their_labels_are_told_apart() {
    let mut objects = nodes();
    let guard = Some(away(vec![term("noisy", "zone"), term("noisy", "host")]));
    objects.push(app("default", "guard", "guard", "a", guard));
    objects.push(app("default", "n1", "quiet", "", None));
    objects.push(app("default", "n2", "noisy", "", None));
    let decisions = schedule(&world(objects), &options());
    let nodes = bound(&decisions);
    assert_eq!(nodes["n1"], "b");
    assert!(["c", "d"].contains(&nodes["n2"]), "{nodes:?}");
}

#[test]
fn terms_reach_into_the_namespaces_that_they_name() {
    let selector = |pairs: &[(&str, &str)]| {
        Some(LabelSelector {
            match_labels: labels(pairs),
            ..LabelSelector::default()
        })
    };
    let with = |namespaces: &[&str], selector: Option<LabelSelector>| PodAffinityTerm {
        namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
        namespace_selector: selector,
        ..term("web", "zone")
    };
    for (term, found) in [
        (with(&[], None), false),
        (with(&["shop"], None), true),
        (with(&["other"], None), false),
        (with(&[], selector(&[])), true),
        (with(&[], selector(&[("team", "shop")])), true),
        (with(&[], selector(&[("team", "bank")])), false),
        (with(&["shop"], selector(&[("team", "bank")])), true),
    ] {
        let mut shop = mk_namespace("shop");
        shop.metadata.as_mut().unwrap().labels = labels(&[("team", "shop")]);
        let others = vec![boxed(shop), app("shop", "w", "web", "c", None)];
        let nowhere = format!("0/4 nodes are available: 4 {NEAR}.");
        check(others, near(vec![term]), if found { Ok("c") } else { Err(&nowhere) });
    }
}

#[test]
fn label_keys_compare_with_the_pods_own_labels() {
    for (same, different, expected) in [
        (vec!["app"], vec![], Err(format!("0/4 nodes are available: 4 {NEAR}."))),
        (vec!["release"], vec![], Ok("c")),
        (vec![], vec!["app"], Ok("c")),
        (vec![], vec!["release"], Ok("c")),
    ] {
        let strings = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
        let term = PodAffinityTerm {
            match_label_keys: strings(same),
            mismatch_label_keys: strings(different),
            ..term("web", "zone")
        };
        let others = vec![app("default", "w", "web", "c", None)];
        check(
            others,
            near(vec![term]),
            expected.as_ref().copied().map_err(String::as_str),
        );
    }
}

#[test]
fn preferences_add_up_both_ways() {
    let others = |affinity: Option<Affinity>| vec![app("default", "w", "web", "c", affinity)];
    let like = |weight| preferring(vec![weighted(weight, term("web", "zone"))], vec![]);
    let dislike = |weight, key| preferring(vec![], vec![weighted(weight, term("web", key))]);
    check(others(None), like(10), Ok("c"));
    check(others(None), dislike(10, "zone"), Ok("a"));
    // What the other pod would like counts, and outweighs this one's dislike.
    let liked = || Some(preferring(vec![weighted(50, term("p", "zone"))], vec![]));
    check(others(liked()), dislike(10, "zone"), Ok("c"));
    check(others(liked()), dislike(60, "zone"), Ok("a"));
    // So does its required affinity, a little.
    check(
        others(Some(near(vec![term("p", "zone")]))),
        preferring(vec![], vec![]),
        Ok("c"),
    );
}
