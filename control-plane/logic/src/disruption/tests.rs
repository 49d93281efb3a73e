use trireme_proto::api::{
    core::v1::{PodCondition, PodStatus},
    meta::v1::LabelSelector,
    policy::v1::PodDisruptionBudgetSpec,
};

use super::*;
use crate::testing::{at, mk_meta, mk_pod, mk_selector};

fn pod(phase: &str, ready: bool) -> Pod {
    let mut pod = mk_pod("shop", "web");
    let condition = PodCondition {
        r#type: "Ready".into(),
        status: if ready { TRUE } else { FALSE }.into(),
        ..PodCondition::default()
    };
    pod.status = Some(PodStatus {
        phase: phase.into(),
        conditions: vec![condition],
        ..PodStatus::default()
    });
    pod
}

fn budget(allowed: i32, healthy: i32, desired: i32) -> PodDisruptionBudget {
    let mut metadata = mk_meta("shop", "b");
    metadata.generation = 2;
    PodDisruptionBudget {
        metadata: Some(metadata),
        spec: Some(PodDisruptionBudgetSpec::default()),
        status: Some(PodDisruptionBudgetStatus {
            observed_generation: 2,
            disruptions_allowed: allowed,
            current_healthy: healthy,
            desired_healthy: desired,
            ..PodDisruptionBudgetStatus::default()
        }),
    }
}

#[test]
fn a_budget_covers_what_it_selects() {
    for (selector, expected) in [
        (None, false),
        (Some(LabelSelector::default()), true),
        (Some(mk_selector("web")), true),
        (Some(mk_selector("db")), false),
    ] {
        let mut budget = budget(1, 1, 0);
        budget.spec.get_or_insert_default().selector.clone_from(&selector);
        assert_eq!(covers(&budget, &pod("Running", true)), expected, "{selector:?}");
    }
}

#[test]
fn who_needs_which_budget() {
    let mut lax = budget(0, 0, 2);
    lax.spec.get_or_insert_default().unhealthy_pod_eviction_policy = Some(ALWAYS_ALLOW.into());
    let mut strict = budget(0, 1, 2);
    strict.spec.get_or_insert_default().unhealthy_pod_eviction_policy = Some("IfHealthyBudget".into());
    let mut ending = pod("Running", true);
    ending.metadata.get_or_insert_default().deletion_timestamp = Some(at(1));
    let charge = || Verdict::Charge("b".into());
    for (what, pod, budgets, expected) in [
        ("no budget", pod("Running", true), vec![], Verdict::Evict),
        ("ready", pod("Running", true), vec![budget(0, 2, 2)], charge()),
        (
            "ready, and the budget lax",
            pod("Running", true),
            vec![lax.clone()],
            charge(),
        ),
        (
            "pending",
            pod("Pending", false),
            vec![budget(0, 1, 2)],
            Verdict::EvictUnchanged,
        ),
        ("finished", pod("Failed", false), vec![budget(0, 1, 2)], Verdict::Evict),
        ("ending", ending, vec![budget(0, 1, 2)], Verdict::Evict),
        (
            "unready, budget met",
            pod("Running", false),
            vec![budget(0, 2, 2)],
            Verdict::EvictUnchanged,
        ),
        ("unready, budget not met", pod("Running", false), vec![strict], charge()),
        (
            "unready, nothing wanted",
            pod("Running", false),
            vec![budget(0, 0, 0)],
            charge(),
        ),
        (
            "unready, and the budget lax",
            pod("Running", false),
            vec![lax],
            Verdict::EvictUnchanged,
        ),
    ] {
        let budgets: Vec<&PodDisruptionBudget> = budgets.iter().collect();
        assert_eq!(judge(&pod, &budgets), expected, "{what}");
    }
    let one = budget(1, 3, 2);
    assert!(matches!(
        judge(&pod("Running", true), &[&one, &one]),
        Verdict::Unclear(_)
    ));
}

#[test]
fn a_charge_takes_one_disruption_and_notes_the_pod() {
    let mut budget = budget(2, 3, 1);
    for (pod, left, value, reason) in [("a", 1, TRUE, SUFFICIENT_PODS), ("b", 0, FALSE, INSUFFICIENT_PODS)] {
        charge(&mut budget, pod, at(5)).expect("allowed");
        let status = budget.status.as_ref().expect("set");
        assert_eq!((status.disruptions_allowed, status.disrupted_pods[pod]), (left, at(5)));
        let condition = conditions::find(&status.conditions, DISRUPTION_ALLOWED).expect("set");
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), (value, reason));
        assert_eq!(condition.observed_generation, 2);
    }
    let before = budget.clone();
    charge(&mut budget, "c", at(6)).expect_err("nothing is left");
    assert_eq!(budget, before);
}

#[test]
fn a_budget_says_why_it_lets_nobody_go() {
    let mut late = budget(1, 3, 2);
    late.status.get_or_insert_default().observed_generation = 1;
    let mut failed = budget(0, 3, 2);
    note_failure(failed.status.get_or_insert_default(), "no idea", at(1));
    let mut other = budget(0, 3, 2);
    set_condition(other.status.get_or_insert_default(), FALSE, "Other", "words", at(1));
    let mut full = budget(1, 3, 2);
    let noted = (0..=limits::DISRUPTED_PODS).map(|index| (format!("p{index}"), at(0)));
    full.status.get_or_insert_default().disrupted_pods.extend(noted);
    for (budget, words) in [
        (
            budget(0, 2, 2),
            "The disruption budget b needs 2 healthy pods and has 2 currently",
        ),
        (
            budget(0, 1, 2),
            "The disruption budget b needs 2 healthy pods and has 1 currently",
        ),
        (
            budget(0, 3, 2),
            "The disruption budget b does not allow evicting pods currently",
        ),
        (
            failed,
            "The disruption budget b does not allow evicting pods currently because it failed sync: no idea",
        ),
        (
            other,
            "The disruption budget b does not allow evicting pods currently (Other): words",
        ),
        (late, "The disruption budget b is still being processed by the server."),
        (budget(-1, 3, 2), "pdb disruptions allowed is negative"),
        (
            full,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ),
    ] {
        let mut charged = budget.clone();
        let said = match charge(&mut charged, "web", at(2)).expect_err("refused") {
            Refusal::NotNow { cause, .. } => cause,
            Refusal::Broken(why) => why.to_owned(),
        };
        assert_eq!(said, words);
        assert_eq!(charged, budget);
    }
}
