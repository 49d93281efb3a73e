//! Pods that are alike for the scheduler, and how the nodes stand for them.
//!
//! A class keeps its feasible nodes ordered by score. A decision changes one node, so a class that is asked
//! again re-judges only the nodes that decisions have changed since: what makes a pass over thousands of
//! pods cheap. Only pods with topology constraints or affinity to placed pods have all nodes re-judged, since one
//! placement may rule out, or allow, nodes elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use trireme_proto::api::core::v1::{Pod, PodSpec};

use super::{
    affinity::Affinity,
    filters::{self, topology_spread::Spread},
    node_state::NodeState,
    reasons::{FilterReason, Reasons},
    scores::{self, NodeScore},
};
use crate::{
    controllers::{owners, pods},
    kind::metadata_of,
    world::{PodRequest, World},
};

/// What makes pods alike. Pods with equal keys can be exchanged for each other.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClassKey<'w> {
    namespace: &'w str,
    owner: Option<&'w str>,
    rules: Vec<u8>,
    request: PodRequest,
    labels: Option<&'w BTreeMap<String, String>>,
}

/// One decision of the pass, as other classes need to know it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placement<'w> {
    place: usize,
    /// The placed pod, or one like it.
    pod: &'w Pod,
}

/// A class of pods during a pass.
#[derive(Debug)]
pub struct Class<'w> {
    /// One of its pods, standing for all.
    pub pod: &'w Pod,
    /// Pods of the same controller, by node.
    pub peers: Vec<u32>,
    /// Its topology constraints.
    pub spread: Vec<Spread<'w>>,
    /// Its affinity to other pods, and theirs to it.
    pub affinity: Affinity<'w>,
    owner: Option<&'w str>,
    request: PodRequest,
    /// By node: why it can never take such a pod in this pass.
    fixed: Vec<Vec<FilterReason>>,
    /// By node: why it cannot now; empty if it can.
    present: Vec<Vec<FilterReason>>,
    /// By node: its place in the ranking.
    scores: Vec<Option<NodeScore>>,
    /// The feasible nodes, the best last.
    ranking: BTreeSet<(NodeScore, usize)>,
    /// How much of the pass's log it has seen.
    seen: usize,
}

impl<'w> ClassKey<'w> {
    /// The key of a pod. Unless `labels_matter`, no pod's place depends on another's labels.
    pub(super) fn of(pod: &'w Pod, labels_matter: bool) -> Self {
        let spec = pods::spec(pod);
        let rules = PodSpec {
            node_name: spec.node_name.clone(),
            node_selector: spec.node_selector.clone(),
            affinity: spec.affinity.clone(),
            tolerations: spec.tolerations.clone(),
            topology_spread_constraints: spec.topology_spread_constraints.clone(),
            ..PodSpec::default()
        };
        let meta = metadata_of(pod);
        Self {
            namespace: &meta.namespace,
            owner: owners::controller_of(meta).map(|owner| owner.uid.as_str()),
            rules: rules.encode_to_vec(),
            request: PodRequest::of(pod),
            labels: labels_matter.then_some(&meta.labels),
        }
    }
}

impl<'w> Class<'w> {
    pub(super) fn new(
        world: &'w World,
        pod: &'w Pod,
        nodes: &[NodeState<'w>],
        places: &BTreeMap<&'w str, usize>,
    ) -> Self {
        let meta = metadata_of(pod);
        let owner = owners::controller_of(meta).map(|owner| owner.uid.as_str());
        let mut class = Self {
            pod,
            peers: vec![0; nodes.len()],
            spread: Spread::of(world, pod, nodes),
            affinity: Affinity::of(world, pod, nodes, places),
            owner,
            request: PodRequest::of(pod),
            fixed: vec![Vec::new(); nodes.len()],
            present: vec![Vec::new(); nodes.len()],
            scores: vec![None; nodes.len()],
            ranking: BTreeSet::new(),
            // The pass's earlier decisions count for it as well: it catches up with them before it is asked.
            seen: 0,
        };
        for peer in owner.into_iter().flat_map(|uid| world.controlled_by::<Pod>(uid)) {
            if let Some(place) = places
                .get(pods::spec(peer).node_name.as_str())
                .filter(|_| pods::is_active(peer))
            {
                class.peers[*place] += 1;
            }
        }
        for (place, node) in nodes.iter().enumerate() {
            class.fixed[place] = filters::check(filters::FIXED, &class, node);
        }
        for (place, node) in nodes.iter().enumerate() {
            class.judge(place, node);
        }
        class
    }

    /// What one of its pods asks for.
    pub fn request(&self) -> &PodRequest {
        &self.request
    }

    pub(super) fn placement(&self, place: usize) -> Placement<'w> {
        Placement { place, pod: self.pod }
    }

    /// Takes notice of the decisions since it was last asked.
    pub(super) fn catch_up(&mut self, nodes: &[NodeState<'w>], log: &[Placement<'w>]) {
        let mut changed: BTreeSet<usize> = BTreeSet::new();
        let mut elsewhere = false;
        for placement in &log[self.seen..] {
            changed.insert(placement.place);
            let (meta, node) = (metadata_of(placement.pod), &nodes[placement.place]);
            let owner = owners::controller_of(meta).map(|owner| owner.uid.as_str());
            if owner.is_some() && owner == self.owner {
                self.peers[placement.place] += 1;
            }
            for spread in &mut self.spread {
                spread.note(&meta.namespace, &meta.labels, node);
                elsewhere = true;
            }
            elsewhere |= self.affinity.note(placement.pod, node);
        }
        self.seen = log.len();
        if elsewhere {
            changed = (0..nodes.len()).collect();
        }
        for place in changed {
            self.judge(place, &nodes[place]);
        }
    }

    /// The best node; among equals the one that is next in the round.
    pub(super) fn best(&self, next: usize) -> Option<usize> {
        let (score, _) = self.ranking.last()?;
        let of_score = |from: usize| self.ranking.range((*score, from)..).next().map(|(_, place)| *place);
        of_score(next).or_else(|| of_score(0))
    }

    /// How many nodes are ruled out by what.
    pub(super) fn reasons(&self) -> Reasons {
        let mut reasons = Reasons::default();
        for reason in self.fixed.iter().chain(&self.present).flatten() {
            reasons.add(reason);
        }
        reasons
    }

    /// Judges one node anew.
    fn judge(&mut self, place: usize, node: &NodeState<'w>) {
        if let Some(score) = self.scores[place].take() {
            self.ranking.remove(&(score, place));
        }
        if !self.fixed[place].is_empty() {
            return;
        }
        self.present[place] = filters::check(filters::CHANGING, self, node);
        if self.present[place].is_empty() {
            let score = scores::score(self, place, node);
            self.scores[place] = Some(score);
            self.ranking.insert((score, place));
        }
    }
}
