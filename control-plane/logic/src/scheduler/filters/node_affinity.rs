//! A pod with a node selector or required node affinity takes only nodes that match both.

use super::Filter;
use crate::{
    controllers::{pods, selectors},
    scheduler::{class::Class, node_selector, node_state::NodeState, reasons::FilterReason},
};

/// See the file.
pub struct NodeAffinity;

impl Filter for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn check(&self, class: &Class<'_>, node: &NodeState<'_>, reasons: &mut Vec<FilterReason>) {
        let spec = pods::spec(class.pod);
        let affinity = spec
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref());
        let required =
            affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
        let selected = selectors::contains(node.labels, &spec.node_selector);
        if !selected || required.is_some_and(|required| !node_selector::matches(required, node)) {
            reasons.push(FilterReason::NodeAffinity);
        }
    }
}
