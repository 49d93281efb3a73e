//! Nodes near pods that this one would like to be near, and away from those it would like to avoid, are better;
//! and so are those where pods that are there would like, or not mind, this one.

use super::Score;
use crate::scheduler::{class::Class, node_state::NodeState};

/// See the file.
pub struct InterPodAffinity;

impl Score for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn score(&self, class: &Class<'_>, _place: usize, node: &NodeState<'_>) -> i64 {
        class.affinity.preference(node)
    }
}
