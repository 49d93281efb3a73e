//! Nodes with fewer `PreferNoSchedule` taints that the pod does not tolerate are better.

use super::Score;
use crate::{
    controllers::pods,
    scheduler::{class::Class, node_state::NodeState, tolerations},
};

/// See the file.
pub struct TaintToleration;

impl Score for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn score(&self, class: &Class<'_>, _place: usize, node: &NodeState<'_>) -> i64 {
        let list = &pods::spec(class.pod).tolerations;
        let avoided = node
            .taints
            .iter()
            .filter(|taint| taint.effect == "PreferNoSchedule" && !tolerations::any_tolerates(list, taint));
        -i64::try_from(avoided.count()).unwrap_or(i64::MAX)
    }
}
