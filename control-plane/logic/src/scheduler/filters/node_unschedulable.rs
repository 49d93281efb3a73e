//! Nodes that people took out of service take only pods that tolerate that.

use trireme_proto::api::core::v1::Taint;

use super::Filter;
use crate::{
    controllers::pods,
    scheduler::{class::Class, node_state::NodeState, reasons::FilterReason, tolerations},
};

/// See the file.
pub struct NodeUnschedulable;

impl Filter for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn check(&self, class: &Class<'_>, node: &NodeState<'_>, reasons: &mut Vec<FilterReason>) {
        if !node.unschedulable {
            return;
        }
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        if !tolerations::any_tolerates(&pods::spec(class.pod).tolerations, &taint) {
            reasons.push(FilterReason::NodeUnschedulable);
        }
    }
}
