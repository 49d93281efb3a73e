//! What makes one feasible node better than another, one file each, one line each in the list.
//!
//! Scores are compared one after the other in the order of the list, higher first; they are not added up,
//! so why a node won can be read off. What people asked for comes first, then spreading, then room.
//! Each score is absolute: it does not depend on which other nodes are feasible, and only those about topologies change
//! by a decision elsewhere.

pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod resources;
pub mod spread_by_owner;
pub mod taint_toleration;
pub mod topology_spread;

use super::{class::Class, node_state::NodeState};

/// One score.
pub trait Score: Sync {
    /// Its name, as Kubernetes calls the plugin where there is one.
    fn name(&self) -> &'static str;

    /// How well the node at `place` suits a pod of the class. Higher is better.
    fn score(&self, class: &Class<'_>, place: usize, node: &NodeState<'_>) -> i64;
}

/// All scores, the weightiest first.
pub const SCORES: [&dyn Score; 6] = [
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &inter_pod_affinity::InterPodAffinity,
    &topology_spread::TopologySpread,
    &spread_by_owner::SpreadByOwner,
    &resources::Resources,
];

/// A node's scores, in the order of [`SCORES`].
pub type NodeScore = [i64; SCORES.len()];

/// All scores of one node.
pub(super) fn score(class: &Class<'_>, place: usize, node: &NodeState<'_>) -> NodeScore {
    SCORES.map(|score| score.score(class, place, node))
}
