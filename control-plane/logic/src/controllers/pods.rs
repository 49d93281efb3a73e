//! Facts about pods that several deciders need. Nothing here decides.

use std::sync::LazyLock;

use trireme_proto::api::{
    core::v1::{Pod, PodCondition, PodSpec, PodStatus},
    meta::v1::Time,
};

use super::{owners, times};

/// Annotation with which a user ranks pods for when there are too many: the lower, the earlier it goes.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

static NO_SPEC: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);
static NO_STATUS: LazyLock<PodStatus> = LazyLock::new(PodStatus::default);

/// Whether a pod has been ready for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It is not ready.
    NotReady,
    /// It is ready, and will be available then if it stays so.
    From(Time),
    /// It is available.
    Available,
}

/// The pod's spec; empty if it has none.
pub fn spec(pod: &Pod) -> &PodSpec {
    pod.spec.as_ref().unwrap_or(&NO_SPEC)
}

/// The pod's status; empty if it has none.
pub fn status(pod: &Pod) -> &PodStatus {
    pod.status.as_ref().unwrap_or(&NO_STATUS)
}

/// True if all its containers have ended for good.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(status(pod).phase.as_str(), "Succeeded" | "Failed")
}

/// True if it failed for good.
pub fn is_failed(pod: &Pod) -> bool {
    status(pod).phase == "Failed"
}

/// True if it counts for its controller: neither finished nor being deleted.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !owners::is_terminating(pod)
}

/// True if it is bound to a node.
pub fn is_bound(pod: &Pod) -> bool {
    !spec(pod).node_name.is_empty()
}

/// One of its conditions.
pub fn condition<'a>(pod: &'a Pod, condition_type: &str) -> Option<&'a PodCondition> {
    status(pod)
        .conditions
        .iter()
        .find(|condition| condition.r#type == condition_type)
}

/// True if its `Ready` condition is true.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Whether it has been ready for `min_ready_seconds`.
pub fn availability(pod: &Pod, min_ready_seconds: i32, now: Time) -> Availability {
    let Some(ready) = condition(pod, "Ready").filter(|condition| condition.status == "True") else {
        return Availability::NotReady;
    };
    if min_ready_seconds <= 0 {
        return Availability::Available;
    }
    let from = times::plus_seconds(ready.last_transition_time.unwrap_or(now), i64::from(min_ready_seconds));
    if times::is_after(from, now) {
        Availability::From(from)
    } else {
        Availability::Available
    }
}

/// The sum of its containers' restarts.
pub fn restarts(pod: &Pod) -> i64 {
    status(pod)
        .container_statuses
        .iter()
        .map(|container| i64::from(container.restart_count))
        .sum()
}

/// Its addresses; the older single field counts too.
pub fn addresses(pod: &Pod) -> Vec<&str> {
    let status = status(pod);
    let mut addresses: Vec<&str> = status.pod_ips.iter().map(|entry| entry.ip.as_str()).collect();
    if addresses.is_empty() {
        addresses.push(&status.pod_ip);
    }
    addresses.retain(|address| !address.is_empty());
    addresses
}
