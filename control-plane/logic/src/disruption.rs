//! Whether a pod may be evicted, as far as the disruption budgets that cover it allow, and what that costs a budget. Pure.
//!
//! How many disruptions a budget allows, the disruption controller counts. An eviction takes one of them off the budget
//! and notes the pod there, before the pod is deleted: so no two evictions share one. The next count sees the pod end, or
//! gives the disruption back once the note is too old.

use trireme_proto::api::{
    core::v1::Pod,
    meta::v1::Time,
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
};

use crate::{
    controllers::{conditions, pods, selectors},
    kind::metadata_of,
    limits,
};

/// The condition that says whether a budget allows a disruption.
pub(crate) const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";
/// Its reason when it does.
const SUFFICIENT_PODS: &str = "SufficientPods";
/// Its reason when it does not.
const INSUFFICIENT_PODS: &str = "InsufficientPods";
/// Its reason when that could not be counted.
const SYNC_FAILED: &str = "SyncFailed";

/// The sentence for whoever may not evict a pod now. A fact of Kubernetes.
pub const WOULD_VIOLATE: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

const TRUE: &str = "True";
const FALSE: &str = "False";
/// The policy of budgets that hold no pod which is not ready.
const ALWAYS_ALLOW: &str = "AlwaysAllow";

/// What becomes of an eviction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The pod may go, and no budget is the less for it.
    Evict,
    /// The same, but only as it is: once it has changed, it must be judged anew.
    EvictUnchanged,
    /// The pod may go once the budget of this name was [charged](charge).
    Charge(String),
    /// It cannot be decided.
    Unclear(&'static str),
}

/// Why a budget lets no pod go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not now; later perhaps.
    NotNow {
        /// What of the budget says so.
        cause: String,
        /// When to come back, in seconds, if that is known.
        retry_after_seconds: Option<u64>,
    },
    /// The budget is in no state to be charged.
    Broken(&'static str),
}

/// True if a budget covers a pod of its namespace: an empty selector covers all, none covers nothing.
#[must_use]
pub fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| selectors::matches(selector, &metadata_of(pod).labels))
}

/// True for a pod that does nothing yet, or nothing any more: it is in nobody's way when it goes.
#[must_use]
pub fn needs_no_budget(pod: &Pod) -> bool {
    !pods::is_active(pod) || is_pending(pod)
}

/// Decides on an eviction by the budgets that cover the pod.
#[must_use]
pub fn judge(pod: &Pod, budgets: &[&PodDisruptionBudget]) -> Verdict {
    if needs_no_budget(pod) {
        // A pod that only waits may be ready a moment later.
        return if pods::is_active(pod) {
            Verdict::EvictUnchanged
        } else {
            Verdict::Evict
        };
    }
    match budgets {
        [] => Verdict::Evict,
        [budget] if !pods::is_ready(pod) && lets_unready_go(budget) => Verdict::EvictUnchanged,
        [budget] => Verdict::Charge(metadata_of(*budget).name.clone()),
        _ => Verdict::Unclear(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ),
    }
}

/// Takes one disruption off a budget for the pod of this name, and notes the pod.
///
/// # Errors
/// Why the budget does not allow it; it is unchanged then.
pub fn charge(budget: &mut PodDisruptionBudget, pod: &str, now: Time) -> Result<(), Refusal> {
    let meta = metadata_of(budget);
    let (name, generation) = (meta.name.clone(), meta.generation);
    let status = budget.status.get_or_insert_default();
    if status.observed_generation < generation {
        return Err(Refusal::NotNow {
            cause: format!("The disruption budget {name} is still being processed by the server."),
            retry_after_seconds: Some(limits::BUDGET_RETRY_SECONDS),
        });
    }
    if status.disruptions_allowed < 0 {
        return Err(Refusal::Broken("pdb disruptions allowed is negative"));
    }
    if status.disrupted_pods.len() > limits::DISRUPTED_PODS {
        return Err(Refusal::Broken(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if status.disruptions_allowed == 0 {
        return Err(Refusal::NotNow {
            cause: denial(&name, status),
            retry_after_seconds: None,
        });
    }
    status.disruptions_allowed -= 1;
    status.disrupted_pods.insert(pod.to_owned(), now);
    note_allowed(status, now);
    Ok(())
}

/// Makes the condition of a budget say what its count does.
pub fn note_allowed(status: &mut PodDisruptionBudgetStatus, now: Time) {
    let (value, reason) = if status.disruptions_allowed > 0 {
        (TRUE, SUFFICIENT_PODS)
    } else {
        (FALSE, INSUFFICIENT_PODS)
    };
    set_condition(status, value, reason, "", now);
}

/// Makes a budget allow nothing, since what it allows could not be counted.
pub fn note_failure(status: &mut PodDisruptionBudgetStatus, why: &str, now: Time) {
    status.disruptions_allowed = 0;
    set_condition(status, FALSE, SYNC_FAILED, why, now);
}

fn set_condition(status: &mut PodDisruptionBudgetStatus, value: &str, reason: &str, message: &str, now: Time) {
    conditions::set(&mut status.conditions, DISRUPTION_ALLOWED, value, reason, message, now);
    let mut all = status.conditions.iter_mut();
    if let Some(condition) = all.find(|condition| condition.r#type == DISRUPTION_ALLOWED) {
        condition.observed_generation = status.observed_generation;
    }
}

/// True if a pod that is not ready may go, whatever the budget allows: it does not count among the healthy.
fn lets_unready_go(budget: &PodDisruptionBudget) -> bool {
    let policy = budget
        .spec
        .as_ref()
        .and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
    let status = budget.status.as_ref();
    let is_met =
        status.is_some_and(|status| status.desired_healthy > 0 && status.current_healthy >= status.desired_healthy);
    policy == Some(ALWAYS_ALLOW) || is_met
}

/// What of a budget that allows nothing says so.
fn denial(name: &str, status: &PodDisruptionBudgetStatus) -> String {
    let denied = conditions::find(&status.conditions, DISRUPTION_ALLOWED)
        .filter(|condition| condition.status == FALSE && !condition.message.is_empty());
    match denied {
        // The numbers mean nothing then.
        Some(denied) if denied.reason == SYNC_FAILED => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
            denied.message
        ),
        _ if status.current_healthy <= status.desired_healthy => format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            status.desired_healthy, status.current_healthy
        ),
        Some(denied) => format!(
            "The disruption budget {name} does not allow evicting pods currently ({}): {}",
            denied.reason, denied.message
        ),
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

fn is_pending(pod: &Pod) -> bool {
    pods::status(pod).phase == "Pending"
}

#[cfg(test)]
mod tests;
