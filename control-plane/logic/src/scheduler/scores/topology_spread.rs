//! Nodes in emptier domains of the pod's soft topology constraints are better.

use super::Score;
use crate::scheduler::{class::Class, node_state::NodeState};

/// What a node counts for that is in no domain: worse than any that is.
const NO_DOMAIN: i64 = u32::MAX as i64;

/// See the file.
pub struct TopologySpread;

impl Score for TopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn score(&self, class: &Class<'_>, _place: usize, node: &NodeState<'_>) -> i64 {
        let soft = class.spread.iter().filter(|spread| !spread.is_hard());
        -soft
            .map(|spread| spread.count_at(node).map_or(NO_DOMAIN, i64::from))
            .sum::<i64>()
    }
}
