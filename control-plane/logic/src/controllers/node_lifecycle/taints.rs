//! The taints that follow from a node's stored condition. All other taints belong to people and stay.

use trireme_proto::api::{
    core::v1::{Node, Taint},
    meta::v1::Time,
};

use super::readiness;

/// Taint of a node that says it is not ready.
pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Taint of a node that says nothing.
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Taint of a node that people took out of service.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Key and effect of each taint that this controller sets and removes.
const OWN: [(&str, &str); 5] = [
    (NOT_READY, "NoSchedule"),
    (NOT_READY, "NoExecute"),
    (UNREACHABLE, "NoSchedule"),
    (UNREACHABLE, "NoExecute"),
    (UNSCHEDULABLE, "NoSchedule"),
];

/// The node's taints as they should be; `None` if they are so already.
pub(super) fn wanted(node: &Node, now: Time) -> Option<Vec<Taint>> {
    let spec = node.spec.clone().unwrap_or_default();
    let condition_taint = match readiness::stored(node) {
        Some(("False", _)) => Some(NOT_READY),
        Some(("Unknown", _)) => Some(UNREACHABLE),
        _ => None,
    };
    let is_wanted = |key: &str| {
        if key == UNSCHEDULABLE {
            spec.unschedulable
        } else {
            condition_taint == Some(key)
        }
    };
    let is_own = |taint: &Taint| OWN.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let mut taints: Vec<Taint> = spec
        .taints
        .iter()
        .filter(|taint| !is_own(taint) || is_wanted(&taint.key))
        .cloned()
        .collect();
    for (key, effect) in OWN {
        if is_wanted(key) && !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            taints.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                time_added: Some(now),
                ..Taint::default()
            });
        }
    }
    (taints != spec.taints).then_some(taints)
}
