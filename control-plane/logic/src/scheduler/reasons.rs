//! Why a node cannot take a pod, in Kubernetes' words.

use std::{collections::BTreeMap, fmt};

/// Why one node cannot take a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FilterReason {
    /// People took the node out of service.
    NodeUnschedulable,
    /// The pod names another node.
    NodeName,
    /// The pod does not tolerate a taint of the node.
    UntoleratedTaint {
        /// The taint's key.
        key: String,
        /// The taint's value.
        value: String,
    },
    /// The node's labels are not what the pod selects.
    NodeAffinity,
    /// The node's agent does not report that it is ready.
    NodeNotReady,
    /// A port that the pod wants on the node is taken.
    NodePorts,
    /// The node has as many pods as it may.
    TooManyPods,
    /// The node has not enough of a resource left.
    Insufficient {
        /// The resource, such as `cpu`.
        resource: String,
    },
    /// No pod that the pod must be near is near the node.
    PodAffinity,
    /// A pod that the pod must be away from is near the node.
    PodAntiAffinity,
    /// A pod near the node must be away from such pods.
    ExistingPodAntiAffinity,
    /// The pod would lie too unevenly over the topology.
    TopologySpread,
    /// The node lacks the label that the topology is made of.
    TopologyLabelMissing,
}

/// How many nodes are ruled out by what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasons(BTreeMap<FilterReason, usize>);

impl fmt::Display for FilterReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeUnschedulable => formatter.write_str("node(s) were unschedulable"),
            Self::NodeName => formatter.write_str("node(s) didn't match the requested node name"),
            Self::UntoleratedTaint { key, value } => {
                write!(formatter, "node(s) had untolerated taint {{{key}: {value}}}")
            }
            Self::NodeAffinity => formatter.write_str("node(s) didn't match Pod's node affinity/selector"),
            Self::NodeNotReady => formatter.write_str("node(s) were not ready"),
            Self::NodePorts => formatter.write_str("node(s) didn't have free ports for the requested pod ports"),
            Self::TooManyPods => formatter.write_str("Too many pods"),
            Self::Insufficient { resource } => write!(formatter, "Insufficient {resource}"),
            Self::PodAffinity => formatter.write_str("node(s) didn't match pod affinity rules"),
            Self::PodAntiAffinity => formatter.write_str("node(s) didn't match pod anti-affinity rules"),
            Self::ExistingPodAntiAffinity => {
                formatter.write_str("node(s) didn't satisfy existing pods anti-affinity rules")
            }
            Self::TopologySpread => formatter.write_str("node(s) didn't match pod topology spread constraints"),
            Self::TopologyLabelMissing => {
                formatter.write_str("node(s) didn't match pod topology spread constraints (missing required label)")
            }
        }
    }
}

impl Reasons {
    /// Counts one node.
    pub(super) fn add(&mut self, reason: &FilterReason) {
        match self.0.get_mut(reason) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(reason.clone(), 1);
            }
        }
    }

    /// The counts, by reason.
    pub fn counts(&self) -> &BTreeMap<FilterReason, usize> {
        &self.0
    }

    /// `0/3 nodes are available: 1 node(s) had untolerated taint {k: v}, 2 Insufficient cpu.`
    pub fn message(&self, nodes: usize) -> String {
        if nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut parts: Vec<String> = self
            .0
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        parts.sort();
        format!("0/{nodes} nodes are available: {}.", parts.join(", "))
    }
}
