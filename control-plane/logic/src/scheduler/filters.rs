//! What rules a node out, one file each, one line each in the lists below.
//!
//! The order is the order of the checks: the first filter that rules a node out gives its reasons.

pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_ready;
pub mod node_resources_fit;
pub mod node_unschedulable;
pub mod taint_toleration;
pub mod topology_spread;

use super::{class::Class, node_state::NodeState, reasons::FilterReason};

/// One filter.
pub trait Filter: Sync {
    /// Its name, as Kubernetes calls the plugin.
    fn name(&self) -> &'static str;

    /// Adds why the node cannot take a pod of the class; nothing if it can.
    fn check(&self, class: &Class<'_>, node: &NodeState<'_>, reasons: &mut Vec<FilterReason>);
}

/// Filters whose answer does not change during a pass.
pub const FIXED: &[&dyn Filter] = &[
    &node_unschedulable::NodeUnschedulable,
    &node_name::NodeName,
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &node_ready::NodeReady,
];

/// Filters whose answer changes with each decision.
pub const CHANGING: &[&dyn Filter] = &[
    &node_ports::NodePorts,
    &node_resources_fit::NodeResourcesFit,
    &topology_spread::TopologySpread,
    &inter_pod_affinity::InterPodAffinity,
];

/// The reasons of the first filter of a list that has any.
pub(super) fn check(filters: &[&dyn Filter], class: &Class<'_>, node: &NodeState<'_>) -> Vec<FilterReason> {
    let mut reasons = Vec::new();
    for filter in filters {
        filter.check(class, node, &mut reasons);
        if !reasons.is_empty() {
            break;
        }
    }
    reasons
}
