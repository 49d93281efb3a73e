//! A port of a node can be held by one pod only.

use super::Filter;
use crate::scheduler::{class::Class, node_state::NodeState, reasons::FilterReason};

/// See the file.
pub struct NodePorts;

impl Filter for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn check(&self, class: &Class<'_>, node: &NodeState<'_>, reasons: &mut Vec<FilterReason>) {
        if class
            .request()
            .host_ports
            .iter()
            .any(|port| node.usage.port_taken(port))
        {
            reasons.push(FilterReason::NodePorts);
        }
    }
}
