//! Topology spread constraints: pods that a selector matches lie evenly over the values of a node label.
//!
//! `DoNotSchedule` constraints rule nodes out; `ScheduleAnyway` ones only count in the score. Domains are
//! those of the nodes that the pod's node selector and affinity allow, as Kubernetes has it by default.
//! `minDomains`, `matchLabelKeys` and the two node inclusion policies are honoured.

use std::collections::BTreeMap;

use trireme_proto::api::core::v1::{Pod, TopologySpreadConstraint};

use super::Filter;
use crate::{
    controllers::{pods, selectors},
    kind::metadata_of,
    scheduler::{class::Class, node_selector, node_state::NodeState, reasons::FilterReason, tolerations},
    world::World,
};

/// See the file.
pub struct TopologySpread;

/// One constraint of a class during a pass.
#[derive(Debug)]
pub struct Spread<'w> {
    constraint: &'w TopologySpreadConstraint,
    /// The values of the labels that `matchLabelKeys` names, of the class's own pods.
    own_labels: BTreeMap<String, String>,
    namespace: &'w str,
    /// 1 if the class's pods count themselves.
    own: u32,
    /// Matching pods by value of the topology label.
    domains: BTreeMap<&'w str, u32>,
}

impl Filter for TopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn check(&self, class: &Class<'_>, node: &NodeState<'_>, reasons: &mut Vec<FilterReason>) {
        for spread in class.spread.iter().filter(|spread| spread.is_hard()) {
            match spread.skew(node) {
                None => reasons.push(FilterReason::TopologyLabelMissing),
                Some(skew) if skew > i64::from(spread.constraint.max_skew) => {
                    reasons.push(FilterReason::TopologySpread);
                }
                Some(_) => continue,
            }
            break;
        }
    }
}

impl<'w> Spread<'w> {
    /// The constraints of a pod, with what lies on the nodes counted.
    pub(in crate::scheduler) fn of(world: &'w World, pod: &'w Pod, nodes: &[NodeState<'w>]) -> Vec<Self> {
        let constraints = pods::spec(pod).topology_spread_constraints.iter();
        constraints
            .map(|constraint| Self::count(world, pod, constraint, nodes))
            .collect()
    }

    fn count(
        world: &'w World,
        pod: &'w Pod,
        constraint: &'w TopologySpreadConstraint,
        nodes: &[NodeState<'w>],
    ) -> Self {
        let meta = metadata_of(pod);
        let keys = constraint.match_label_keys.iter();
        let own_labels = keys
            .filter_map(|key| Some((key.clone(), meta.labels.get(key)?.clone())))
            .collect();
        let mut spread = Self {
            constraint,
            own_labels,
            namespace: &meta.namespace,
            own: 0,
            domains: BTreeMap::new(),
        };
        spread.own = u32::from(spread.matches(&meta.namespace, &meta.labels));
        for node in nodes.iter().filter(|node| is_candidate(pod, constraint, node)) {
            let Some(value) = node.labels.get(&constraint.topology_key) else {
                continue;
            };
            let on_node = world.pods_on_node(node.name).filter(|pod| {
                pods::is_active(pod) && spread.matches(&metadata_of(*pod).namespace, &metadata_of(*pod).labels)
            });
            let count = u32::try_from(on_node.count()).unwrap_or(u32::MAX);
            *spread.domains.entry(value).or_default() += count;
        }
        spread
    }

    /// Takes notice of a pod that the pass has put on a node.
    pub(in crate::scheduler) fn note(
        &mut self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        node: &NodeState<'w>,
    ) {
        if self.matches(namespace, labels)
            && let Some(value) = node.labels.get(&self.constraint.topology_key)
            && let Some(count) = self.domains.get_mut(value.as_str())
        {
            *count += 1;
        }
    }

    /// True if it rules nodes out.
    pub(in crate::scheduler) fn is_hard(&self) -> bool {
        self.constraint.when_unsatisfiable != "ScheduleAnyway"
    }

    /// Matching pods in the node's domain; `None` if the node is in none.
    pub(in crate::scheduler) fn count_at(&self, node: &NodeState<'_>) -> Option<u32> {
        let value = node.labels.get(&self.constraint.topology_key)?;
        self.domains.get(value.as_str()).copied()
    }

    /// By how much the node's domain would lie above the emptiest one with one more pod.
    fn skew(&self, node: &NodeState<'_>) -> Option<i64> {
        let here = self.count_at(node)?;
        let wanted = usize::try_from(self.constraint.min_domains.unwrap_or(1)).unwrap_or(1);
        let least = if self.domains.len() < wanted {
            0
        } else {
            self.domains.values().copied().min().unwrap_or(0)
        };
        Some(i64::from(here) + i64::from(self.own) - i64::from(least))
    }

    fn matches(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        namespace == self.namespace
            && selectors::contains(labels, &self.own_labels)
            && self
                .constraint
                .label_selector
                .as_ref()
                .is_some_and(|selector| selectors::matches(selector, labels))
    }
}

/// True if the node's domain counts: unless the constraint says otherwise, the pod's node selector and affinity must
/// allow the node, and its taints are not looked at.
fn is_candidate(pod: &Pod, constraint: &TopologySpreadConstraint, node: &NodeState<'_>) -> bool {
    let spec = pods::spec(pod);
    let is_repelled = || {
        let mut hard = node
            .taints
            .iter()
            .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
        hard.any(|taint| !tolerations::any_tolerates(&spec.tolerations, taint))
    };
    if constraint.node_taints_policy.as_deref() == Some("Honor") && is_repelled() {
        return false;
    }
    if constraint.node_affinity_policy.as_deref() == Some("Ignore") {
        return true;
    }
    let affinity = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selectors::contains(node.labels, &spec.node_selector)
        && required.is_none_or(|required| node_selector::matches(required, node))
}
