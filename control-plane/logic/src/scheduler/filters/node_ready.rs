//! A node takes pods only while its agent says that it is ready.
//!
//! It closes the gap between the condition and the taint that follows from it, so a pod that tolerates that
//! taint is let through here too.

use trireme_proto::api::core::v1::Taint;

use super::Filter;
use crate::{
    controllers::pods,
    scheduler::{class::Class, node_state::NodeState, reasons::FilterReason, tolerations},
};

/// See the file.
pub struct NodeReady;

impl Filter for NodeReady {
    fn name(&self) -> &'static str {
        "NodeReady"
    }

    fn check(&self, class: &Class<'_>, node: &NodeState<'_>, reasons: &mut Vec<FilterReason>) {
        let key = match node.ready {
            "True" => return,
            "Unknown" => "node.kubernetes.io/unreachable",
            _ => "node.kubernetes.io/not-ready",
        };
        let taint = Taint {
            key: key.to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        if !tolerations::any_tolerates(&pods::spec(class.pod).tolerations, &taint) {
            reasons.push(FilterReason::NodeNotReady);
        }
    }
}
