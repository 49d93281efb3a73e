//! Whether a pod may be evicted, as far as the disruption budgets that cover it allow. Pure.

use trireme_proto::api::core::v1::Pod;

use crate::kinds::pod::is_finished;

/// Seconds after which an eviction may be tried again whose budget is not up to date. A fact of Kubernetes.
pub const BUDGET_RETRY_SECONDS: u64 = 10;

/// A budget that covers the pod, as far as the decision depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BudgetState {
    /// Its name.
    pub name: String,
    /// Its spec's generation.
    pub generation: i64,
    /// The generation that its state was counted for.
    pub observed_generation: i64,
    /// How many pods may go now.
    pub disruptions_allowed: i32,
    /// How many of its pods are healthy.
    pub current_healthy: i32,
    /// How many must be.
    pub desired_healthy: i32,
    /// Pods that are not ready may always go.
    pub unhealthy_may_go: bool,
}

/// What becomes of an eviction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The pod may go, and no budget is the less for it.
    Evict,
    /// The pod may go once the budget of this name has one disruption less to allow.
    Charge(String),
    /// It may not go now; later perhaps.
    NotNow {
        /// The sentence for the client.
        message: String,
        /// What of the budget says so.
        cause: String,
        /// When to come back, in seconds, if that is known.
        retry_after_seconds: Option<u64>,
    },
    /// It cannot be decided.
    Unclear(String),
}

/// Decides on an eviction by the budgets that cover the pod.
#[must_use]
pub fn judge(pod: &Pod, budgets: &[BudgetState]) -> Verdict {
    if needs_no_budget(pod) {
        return Verdict::Evict;
    }
    let budget = match budgets {
        [] => return Verdict::Evict,
        [budget] => budget,
        _ => {
            return Verdict::Unclear(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
                    .to_owned(),
            );
        }
    };
    let is_budget_met = budget.desired_healthy > 0 && budget.current_healthy >= budget.desired_healthy;
    if !is_ready(pod) && (budget.unhealthy_may_go || is_budget_met) {
        return Verdict::Evict;
    }
    if budget.observed_generation < budget.generation {
        return Verdict::NotNow {
            message: "Cannot evict pod as it would violate the pod's disruption budget.".to_owned(),
            cause: format!(
                "The disruption budget {} is still being processed by the server.",
                budget.name
            ),
            retry_after_seconds: Some(BUDGET_RETRY_SECONDS),
        };
    }
    if budget.disruptions_allowed <= 0 {
        return Verdict::NotNow {
            message: "Cannot evict pod as it would violate the pod's disruption budget.".to_owned(),
            cause: format!(
                "The disruption budget {} needs {} healthy pods and has {} currently",
                budget.name, budget.desired_healthy, budget.current_healthy
            ),
            retry_after_seconds: None,
        };
    }
    Verdict::Charge(budget.name.clone())
}

/// A pod that does nothing yet, or nothing any more, is in nobody's way when it goes.
fn needs_no_budget(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let is_pending = status.is_some_and(|status| status.phase == "Pending");
    let is_ending = pod
        .metadata
        .as_ref()
        .is_some_and(|metadata| metadata.deletion_timestamp.is_some());
    is_pending || is_ending || is_finished(pod)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .any(|condition| condition.r#type == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use trireme_proto::api::{
        core::v1::{PodCondition, PodStatus},
        meta::v1::Time,
    };

    use super::*;
    use crate::testing::mk_pod;

    fn pod(phase: &str, ready: bool) -> Pod {
        let mut pod = mk_pod("shop", "web");
        let condition = PodCondition {
            r#type: "Ready".into(),
            status: if ready { "True" } else { "False" }.into(),
            ..PodCondition::default()
        };
        pod.status = Some(PodStatus {
            phase: phase.into(),
            conditions: vec![condition],
            ..PodStatus::default()
        });
        pod
    }

    fn budget(allowed: i32, healthy: i32, desired: i32) -> BudgetState {
        BudgetState {
            name: "b".into(),
            disruptions_allowed: allowed,
            current_healthy: healthy,
            desired_healthy: desired,
            ..BudgetState::default()
        }
    }

    #[test]
    fn budgets_decide() {
        let lax = BudgetState {
            unhealthy_may_go: true,
            ..budget(0, 0, 2)
        };
        let late = BudgetState {
            generation: 2,
            observed_generation: 1,
            ..budget(1, 3, 2)
        };
        let not_now = |cause: &str, retry_after_seconds| Verdict::NotNow {
            message: "Cannot evict pod as it would violate the pod's disruption budget.".into(),
            cause: cause.into(),
            retry_after_seconds,
        };
        let exhausted = not_now("The disruption budget b needs 2 healthy pods and has 2 currently", None);
        let wanting = not_now("The disruption budget b needs 2 healthy pods and has 1 currently", None);
        let processed = not_now(
            "The disruption budget b is still being processed by the server.",
            Some(10),
        );
        let mut ending = pod("Running", true);
        ending.metadata.get_or_insert_default().deletion_timestamp = Some(Time { seconds: 1, nanos: 0 });
        for (what, pod, budgets, expected) in [
            ("none", pod("Running", true), vec![], Verdict::Evict),
            (
                "room",
                pod("Running", true),
                vec![budget(1, 3, 2)],
                Verdict::Charge("b".into()),
            ),
            ("no room", pod("Running", true), vec![budget(0, 2, 2)], exhausted),
            ("not up to date", pod("Running", true), vec![late], processed),
            ("pending", pod("Pending", false), vec![budget(0, 1, 2)], Verdict::Evict),
            ("finished", pod("Failed", false), vec![budget(0, 1, 2)], Verdict::Evict),
            ("ending", ending, vec![budget(0, 1, 2)], Verdict::Evict),
            (
                "unhealthy, budget met",
                pod("Running", false),
                vec![budget(0, 2, 2)],
                Verdict::Evict,
            ),
            (
                "unhealthy, budget not met",
                pod("Running", false),
                vec![budget(0, 1, 2)],
                wanting,
            ),
            ("unhealthy may go", pod("Running", false), vec![lax], Verdict::Evict),
        ] {
            assert_eq!(judge(&pod, &budgets), expected, "{what}");
        }
        let two = judge(&pod("Running", true), &[budget(1, 3, 2), budget(1, 3, 2)]);
        assert!(matches!(two, Verdict::Unclear(_)));
    }
}
