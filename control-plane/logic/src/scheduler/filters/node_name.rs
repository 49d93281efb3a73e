//! A pod that names a node goes nowhere else. Pods that name one are bound already and never pending; the
//! filter is here so that a snapshot with such a pod is judged right.

use super::Filter;
use crate::{
    controllers::pods,
    scheduler::{class::Class, node_state::NodeState, reasons::FilterReason},
};

/// See the file.
pub struct NodeName;

impl Filter for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn check(&self, class: &Class<'_>, node: &NodeState<'_>, reasons: &mut Vec<FilterReason>) {
        let wanted = &pods::spec(class.pod).node_name;
        if !wanted.is_empty() && wanted != node.name {
            reasons.push(FilterReason::NodeName);
        }
    }
}
