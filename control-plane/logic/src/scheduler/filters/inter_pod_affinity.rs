//! Pods that want to be near other pods, or away from them.
//!
//! Required affinity needs a matching pod in the node's domain, required anti-affinity needs that there is none, and
//! the anti-affinity of pods that are there already keeps new ones out as well. A domain is one value of the label
//! that a term names as its topology.

use super::Filter;
use crate::scheduler::{class::Class, node_state::NodeState, reasons::FilterReason};

/// See the file.
pub struct InterPodAffinity;

impl Filter for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn check(&self, class: &Class<'_>, node: &NodeState<'_>, reasons: &mut Vec<FilterReason>) {
        let affinity = &class.affinity;
        if !affinity.is_near_what_it_wants(node) {
            reasons.push(FilterReason::PodAffinity);
        } else if affinity.is_near_what_it_avoids(node) {
            reasons.push(FilterReason::PodAntiAffinity);
        } else if affinity.is_kept_out(node) {
            reasons.push(FilterReason::ExistingPodAntiAffinity);
        }
    }
}
