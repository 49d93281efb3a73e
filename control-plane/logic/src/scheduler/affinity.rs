//! What the affinity between pods comes to for one class of pods, by domain: kept up to date during a pass.
//!
//! Only pods that have such terms, and pods that these terms are about, are ever looked at: a class without terms
//! costs no more than the pods of the cluster that have some.

use std::collections::BTreeMap;

use trireme_proto::api::core::v1::{Namespace, Pod, PodAffinity, PodAffinityTerm, PodAntiAffinity};

use super::node_state::NodeState;
use crate::{
    controllers::{pods, selectors},
    kind::metadata_of,
    object::ObjectKey,
    world::World,
};

/// What a pod's required affinity to a new pod counts for in the score of the nodes near it, as in Kubernetes.
const REQUIRED_AFFINITY_WEIGHT: i64 = 1;

/// Sums by topology label and its value.
#[derive(Debug, Default)]
struct Domains<'w>(BTreeMap<&'w str, BTreeMap<&'w str, i64>>);

/// The affinity of a class during a pass.
#[derive(Debug)]
pub struct Affinity<'w> {
    world: &'w World,
    pod: &'w Pod,
    terms: Terms<'w>,
    /// Pods that match all required affinity terms, by the domain of each term.
    wanted: Domains<'w>,
    /// Pods that match a required anti-affinity term.
    avoided: Domains<'w>,
    /// Pods whose required anti-affinity is about the class.
    guarded: Domains<'w>,
    /// The weight of all preferences, both ways.
    preferred: Domains<'w>,
}

/// A pod's terms about other pods.
#[derive(Debug, Default)]
struct Terms<'w> {
    near: &'w [PodAffinityTerm],
    away: &'w [PodAffinityTerm],
    /// Preferences with their weights; those to be away weigh less than nothing.
    preferred: Vec<(i64, &'w PodAffinityTerm)>,
}

/// True if the pod has terms about other pods.
pub(crate) fn has_terms(pod: &Pod) -> bool {
    let (near, away) = parts(pod);
    let near = near.is_some_and(|near| {
        !near.required_during_scheduling_ignored_during_execution.is_empty()
            || !near.preferred_during_scheduling_ignored_during_execution.is_empty()
    });
    let away = away.is_some_and(|away| {
        !away.required_during_scheduling_ignored_during_execution.is_empty()
            || !away.preferred_during_scheduling_ignored_during_execution.is_empty()
    });
    near || away
}

fn parts(pod: &Pod) -> (Option<&PodAffinity>, Option<&PodAntiAffinity>) {
    let affinity = pods::spec(pod).affinity.as_ref();
    (
        affinity.and_then(|affinity| affinity.pod_affinity.as_ref()),
        affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref()),
    )
}

impl<'w> Terms<'w> {
    fn of(pod: &'w Pod) -> Self {
        let (near, away) = parts(pod);
        let liked = near.map_or(&[][..], |near| {
            &near.preferred_during_scheduling_ignored_during_execution
        });
        let disliked = away.map_or(&[][..], |away| {
            &away.preferred_during_scheduling_ignored_during_execution
        });
        let mut preferred = Vec::with_capacity(liked.len() + disliked.len());
        for (sign, weighted) in [(1, liked), (-1, disliked)] {
            for weighted in weighted {
                if let Some(term) = &weighted.pod_affinity_term {
                    preferred.push((sign * i64::from(weighted.weight), term));
                }
            }
        }
        Self {
            near: near.map_or(&[], |near| &near.required_during_scheduling_ignored_during_execution),
            away: away.map_or(&[], |away| &away.required_during_scheduling_ignored_during_execution),
            preferred,
        }
    }

    fn is_empty(&self) -> bool {
        self.near.is_empty() && self.away.is_empty() && self.preferred.is_empty()
    }
}

impl<'w> Domains<'w> {
    /// Adds to the domain that the node lies in; nothing if it lies in none.
    fn add(&mut self, term: &'w PodAffinityTerm, node: &NodeState<'w>, amount: i64) {
        if let Some(value) = node.labels.get(&term.topology_key) {
            *self.0.entry(&term.topology_key).or_default().entry(value).or_default() += amount;
        }
    }

    /// The sum of the domain of one topology that the node lies in; `None` if it lies in none.
    fn at(&self, topology_key: &str, node: &NodeState<'_>) -> Option<i64> {
        let value = node.labels.get(topology_key)?;
        let domain = self.0.get(topology_key).and_then(|values| values.get(value.as_str()));
        Some(domain.copied().unwrap_or(0))
    }

    /// The sums of all domains that the node lies in.
    fn all_at(&self, node: &NodeState<'_>) -> impl Iterator<Item = i64> {
        self.0.keys().filter_map(|key| self.at(key, node))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'w> Affinity<'w> {
    /// What lies on the nodes, counted for the class of `pod`.
    pub(super) fn of(
        world: &'w World,
        pod: &'w Pod,
        nodes: &[NodeState<'w>],
        places: &BTreeMap<&'w str, usize>,
    ) -> Self {
        let mut affinity = Self {
            world,
            pod,
            terms: Terms::of(pod),
            wanted: Domains::default(),
            avoided: Domains::default(),
            guarded: Domains::default(),
            preferred: Domains::default(),
        };
        if !affinity.terms.is_empty() {
            for node in nodes {
                for other in world.pods_on_node(node.name).filter(|other| !pods::is_finished(other)) {
                    affinity.count_for_own_terms(other, node);
                }
            }
        }
        for other in world.pods_with_affinity() {
            if let Some(place) = places.get(pods::spec(other).node_name.as_str()) {
                affinity.count_for_terms_of(other, &nodes[*place]);
            }
        }
        affinity
    }

    /// Takes notice of a pod that the pass has put on a node. True if that may change how other nodes stand.
    pub(super) fn note(&mut self, placed: &'w Pod, node: &NodeState<'w>) -> bool {
        let own = self.count_for_own_terms(placed, node);
        let theirs = has_terms(placed) && self.count_for_terms_of(placed, node);
        own || theirs
    }

    /// Counts a pod that the class's own terms may be about. True if one is.
    fn count_for_own_terms(&mut self, other: &Pod, node: &NodeState<'w>) -> bool {
        let mut counted = false;
        let concerns = |term: &PodAffinityTerm| is_about(self.world, self.pod, term, other);
        if !self.terms.near.is_empty() && self.terms.near.iter().all(concerns) {
            for term in self.terms.near {
                self.wanted.add(term, node, 1);
            }
            counted = true;
        }
        for term in self.terms.away.iter().filter(|term| concerns(term)) {
            self.avoided.add(term, node, 1);
            counted = true;
        }
        for (weight, term) in self.terms.preferred.iter().filter(|(_, term)| concerns(term)) {
            self.preferred.add(term, node, *weight);
            counted = true;
        }
        counted
    }

    /// Counts a pod whose terms may be about the class. True if one is.
    fn count_for_terms_of(&mut self, other: &'w Pod, node: &NodeState<'w>) -> bool {
        let mut counted = false;
        let terms = Terms::of(other);
        let concerns = |term: &PodAffinityTerm| is_about(self.world, other, term, self.pod);
        for term in terms.away.iter().filter(|term| concerns(term)) {
            self.guarded.add(term, node, 1);
            counted = true;
        }
        let required = terms.near.iter().map(|term| (REQUIRED_AFFINITY_WEIGHT, term));
        for (weight, term) in terms.preferred.iter().copied().chain(required) {
            if concerns(term) {
                self.preferred.add(term, node, weight);
                counted = true;
            }
        }
        counted
    }

    /// True if every required term has its pods in the node's domain. The first pod of a group that wants to be together
    /// finds none anywhere, and goes where it likes.
    pub(super) fn is_near_what_it_wants(&self, node: &NodeState<'_>) -> bool {
        let counts = || {
            self.terms
                .near
                .iter()
                .map(|term| self.wanted.at(&term.topology_key, node))
        };
        if counts().all(|count| count.is_some_and(|count| count > 0)) {
            return true;
        }
        let is_in_all_topologies = counts().all(|count| count.is_some());
        let wants_itself = || {
            let mut terms = self.terms.near.iter();
            terms.all(|term| is_about(self.world, self.pod, term, self.pod))
        };
        is_in_all_topologies && self.wanted.is_empty() && wants_itself()
    }

    /// True if a pod that the class avoids lies in the node's domain.
    pub(super) fn is_near_what_it_avoids(&self, node: &NodeState<'_>) -> bool {
        self.avoided.all_at(node).any(|count| count > 0)
    }

    /// True if a pod in the node's domain avoids the class.
    pub(super) fn is_kept_out(&self, node: &NodeState<'_>) -> bool {
        self.guarded.all_at(node).any(|count| count > 0)
    }

    /// The weight of the preferences that the node meets.
    pub(super) fn preference(&self, node: &NodeState<'_>) -> i64 {
        self.preferred.all_at(node).sum()
    }
}

/// True if the term that `owner` has is about `candidate`.
fn is_about(world: &World, owner: &Pod, term: &PodAffinityTerm, candidate: &Pod) -> bool {
    let (owner, candidate) = (metadata_of(owner), metadata_of(candidate));
    let Some(selector) = &term.label_selector else {
        return false;
    };
    let value_of = |key: &String| (owner.labels.get(key), candidate.labels.get(key));
    // Keys that the owner itself lacks ask for nothing.
    let same = |key: &String| matches!(value_of(key), (own, other) if own.is_none() || own == other);
    let different = |key: &String| matches!(value_of(key), (own, other) if own.is_none() || own != other);
    selectors::matches(selector, &candidate.labels)
        && term.match_label_keys.iter().all(same)
        && term.mismatch_label_keys.iter().all(different)
        && is_in_scope(world, &owner.namespace, term, &candidate.namespace)
}

/// True if the term reaches into the namespace: its own if it names none.
fn is_in_scope(world: &World, own: &str, term: &PodAffinityTerm, namespace: &str) -> bool {
    let Some(selector) = &term.namespace_selector else {
        return if term.namespaces.is_empty() {
            namespace == own
        } else {
            term.namespaces.iter().any(|name| name == namespace)
        };
    };
    term.namespaces.iter().any(|name| name == namespace)
        || selectors::is_empty(selector)
        || world
            .get::<Namespace>(&ObjectKey::new("", namespace))
            .is_some_and(|found| selectors::matches(selector, &metadata_of(found).labels))
}
