//! What budgets are counted, as pods and their owners come and go.

use trireme_proto::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
    meta::v1::{Condition, IntOrString, LabelSelector},
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus},
};

use super::DisruptionController;
use crate::{
    controllers::conditions,
    disruption::{DISRUPTION_ALLOWED, charge},
    limits::DISRUPTED_POD_MEMORY_SECONDS,
    testing::{at, harness::Harness, labels, mk_deployment, mk_meta, mk_owner, mk_pod, mk_replica_set, mk_selector},
};

fn cluster() -> Harness {
    Harness::with(vec![Box::new(DisruptionController)], 1)
}

fn budget(least: Option<IntOrString>, most: Option<IntOrString>) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: Some(mk_meta("default", "web")),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: least,
            max_unavailable: most,
            selector: Some(mk_selector("web")),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

/// A pod of the set `web`, running.
fn pod(name: &str, is_ready: bool, owner: Option<&ReplicaSet>) -> Pod {
    let mut pod = mk_pod("default", name);
    let meta = pod.metadata.as_mut().unwrap();
    meta.labels = labels(&[("app", "web")]);
    meta.owner_references = owner.map(mk_owner).into_iter().collect();
    let status = pod.status.get_or_insert_default();
    status.phase = "Running".into();
    let ready = conditions::text(is_ready);
    conditions::set(&mut status.conditions, "Ready", ready, "", "", at(0));
    pod
}

fn status(harness: &Harness) -> PodDisruptionBudgetStatus {
    let budget = harness.get::<PodDisruptionBudget>("default", "web");
    budget.status.clone().unwrap()
}

/// Expected, desired, healthy, allowed.
fn numbers(harness: &Harness) -> (i32, i32, i32, i32) {
    let status = status(harness);
    (
        status.expected_pods,
        status.desired_healthy,
        status.current_healthy,
        status.disruptions_allowed,
    )
}

fn condition(harness: &Harness) -> Condition {
    let status = status(harness);
    conditions::find(&status.conditions, DISRUPTION_ALLOWED)
        .unwrap()
        .clone()
}

fn charge_for(harness: &mut Harness, pod: &str) {
    let mut charged = harness.get::<PodDisruptionBudget>("default", "web").clone();
    charge(&mut charged, pod, harness.now).expect("allowed");
    harness.put(Box::new(charged));
}

#[test]
fn bounds_become_numbers() {
    let number = |value: i32| Some(IntOrString::from(value));
    let share = |text: &str| Some(IntOrString::from(text));
    for (least, most, scale, ready, unready, expected) in [
        (number(2), None, 3, 3, 0, (3, 2, 3, 1)),
        (number(2), None, 3, 2, 1, (3, 2, 2, 0)),
        (number(5), None, 3, 3, 0, (3, 5, 3, 0)),
        (number(0), None, 3, 3, 0, (3, 0, 3, 3)),
        (number(0), None, 3, 0, 0, (0, 0, 0, 0)),
        (share("50%"), None, 3, 3, 0, (3, 2, 3, 1)),
        (share("50%"), None, 10, 3, 0, (10, 5, 3, 0)),
        (share("100%"), None, 3, 3, 0, (3, 3, 3, 0)),
        (None, number(1), 3, 3, 0, (3, 2, 3, 1)),
        (None, number(1), 3, 2, 1, (3, 2, 2, 0)),
        (None, number(5), 3, 3, 0, (3, 0, 3, 3)),
        (None, number(0), 3, 3, 0, (3, 3, 3, 0)),
        (None, share("50%"), 3, 3, 0, (3, 1, 3, 2)),
        (None, share("30%"), 10, 10, 0, (10, 7, 10, 3)),
        (None, number(1), 3, 0, 0, (0, 0, 0, 0)),
        (None, None, 3, 3, 0, (0, 0, 3, 0)),
    ] {
        let mut harness = cluster();
        let owner = mk_replica_set("default", "web", scale);
        harness.put(Box::new(owner.clone()));
        for index in 0..ready + unready {
            harness.put(Box::new(pod(&format!("p{index}"), index < ready, Some(&owner))));
        }
        harness.create(budget(least.clone(), most.clone()));
        harness.settle();
        let what = format!("{least:?} {most:?} of {scale}, {ready} ready, {unready} not");
        assert_eq!(numbers(&harness), expected, "{what}");
        assert_eq!(status(&harness).observed_generation, 1, "{what}");
        let condition = condition(&harness);
        let (value, reason) = if expected.3 > 0 {
            ("True", "SufficientPods")
        } else {
            ("False", "InsufficientPods")
        };
        assert_eq!((&*condition.status, &*condition.reason), (value, reason), "{what}");
        assert_eq!(condition.observed_generation, 1, "{what}");
    }
}

#[test]
fn a_budget_covers_what_its_selector_says() {
    for (selector, healthy) in [
        (None, 0),
        (Some(LabelSelector::default()), 3),
        (Some(mk_selector("web")), 2),
    ] {
        let mut harness = cluster();
        harness.put(Box::new(pod("a", true, None)));
        harness.put(Box::new(pod("b", true, None)));
        let mut other = pod("c", true, None);
        other.metadata.as_mut().unwrap().labels = labels(&[("app", "db")]);
        harness.put(Box::new(other));
        let mut budget = budget(Some(1.into()), None);
        budget.spec.as_mut().unwrap().selector.clone_from(&selector);
        harness.create(budget);
        harness.settle();
        assert_eq!(status(&harness).current_healthy, healthy, "{selector:?}");
        assert_eq!(
            harness.messages("NoPods").len(),
            usize::from(healthy == 0),
            "{selector:?}"
        );
    }
}

#[test]
fn the_sets_of_a_deployment_count_once_and_its_scale_is_followed() {
    let mut harness = Harness::new(3, 5);
    harness.create(mk_deployment("default", "web", 4));
    harness.create(budget(None, Some("25%".into())));
    harness.settle();
    assert_eq!(numbers(&harness), (4, 3, 4, 1));
    // Two sets have pods while a rollout is under way; what is wanted stays the same.
    harness.always(|world| {
        for budget in world.list::<PodDisruptionBudget>("") {
            assert_eq!(budget.status.as_ref().unwrap().expected_pods, 4);
        }
    });
    harness.change::<Deployment>("default", "web", |deployment| {
        let template = deployment.spec.as_mut().unwrap().template.as_mut().unwrap();
        template.spec.as_mut().unwrap().containers[0].image = "hello:2".into();
    });
    harness.settle();
    assert_eq!(numbers(&harness), (4, 3, 4, 1));
    harness.always(|_| {});
    harness.change::<Deployment>("default", "web", |deployment| {
        deployment.spec.as_mut().unwrap().replicas = Some(8);
    });
    harness.settle();
    assert_eq!(numbers(&harness), (8, 6, 8, 2));
}

#[test]
fn what_cannot_be_counted_allows_nothing() {
    let mut harness = cluster();
    let owner = mk_replica_set("default", "web", 2);
    harness.put(Box::new(pod("a", true, Some(&owner))));
    harness.put(Box::new(pod("b", true, Some(&owner))));
    harness.create(budget(None, Some(1.into())));
    harness.settle();
    let failed = condition(&harness);
    assert_eq!((&*failed.status, &*failed.reason), ("False", "SyncFailed"));
    assert_eq!(failed.message, "found no controllers for pod \"a\"");
    assert_eq!(status(&harness).disruptions_allowed, 0);
    assert_eq!(harness.messages("CalculateExpectedPodCountFailed").len(), 1);
    harness.put(Box::new(owner));
    harness.settle();
    assert_eq!(numbers(&harness), (2, 1, 2, 1));
    assert_eq!(condition(&harness).reason, "SufficientPods");
}

#[test]
fn pods_of_an_owner_without_a_scale_cannot_be_counted() {
    let mut harness = cluster();
    let mut owned = pod("a", true, None);
    owned.metadata.as_mut().unwrap().owner_references = vec![mk_owner(&mk_pod("default", "owner"))];
    harness.put(Box::new(mk_pod("default", "owner")));
    harness.put(Box::new(owned));
    harness.create(budget(Some("50%".into()), None));
    harness.settle();
    assert_eq!(
        condition(&harness).message,
        "pods does not implement the scale subresource"
    );
}

#[test]
fn pods_without_an_owner_are_left_out_of_shares() {
    let mut harness = cluster();
    let owner = mk_replica_set("default", "web", 2);
    harness.put(Box::new(owner.clone()));
    harness.put(Box::new(pod("a", true, Some(&owner))));
    harness.put(Box::new(pod("free", true, None)));
    harness.create(budget(None, Some(1.into())));
    harness.settle();
    assert_eq!(numbers(&harness), (2, 1, 2, 1));
    assert_eq!(harness.messages("UnmanagedPods").len(), 1);
}

#[test]
fn an_evicted_pod_counts_as_gone_until_it_is_or_too_long_is_not() {
    let mut harness = cluster();
    for name in ["a", "b", "c"] {
        harness.put(Box::new(pod(name, true, None)));
    }
    harness.create(budget(Some(1.into()), None));
    harness.settle();
    assert_eq!(numbers(&harness), (3, 1, 3, 2));

    // One goes, the other does not.
    charge_for(&mut harness, "a");
    charge_for(&mut harness, "b");
    harness.settle();
    assert_eq!(numbers(&harness), (3, 1, 1, 0));
    harness.delete::<Pod>("default", "a", Some(0));
    harness.settle();
    assert_eq!(numbers(&harness), (2, 1, 1, 0));
    let since = status(&harness).disrupted_pods;
    assert_eq!(since.into_iter().collect::<Vec<_>>(), [("b".to_owned(), at(0))]);

    harness.pass_seconds(DISRUPTED_POD_MEMORY_SECONDS - 1);
    assert_eq!(numbers(&harness), (2, 1, 1, 0));
    assert!(harness.messages("NotDeleted").is_empty());
    harness.pass_seconds(1);
    assert_eq!(numbers(&harness), (2, 1, 2, 1));
    assert!(status(&harness).disrupted_pods.is_empty());
    assert_eq!(
        harness.messages("NotDeleted"),
        ["Pod was expected by PDB default/web to be deleted but it wasn't"]
    );
}

#[test]
fn a_charge_that_a_count_did_not_see_is_not_lost() {
    for seed in 0..20 {
        let mut harness = Harness::with(vec![Box::new(DisruptionController)], seed);
        harness.lags = true;
        for name in ["a", "b", "c"] {
            harness.put(Box::new(pod(name, true, None)));
        }
        harness.create(budget(Some(1.into()), None));
        harness.settle();
        // The count is due again, and the charge comes before it was written.
        harness.put(Box::new(pod("d", true, None)));
        charge_for(&mut harness, "a");
        harness.settle();
        assert_eq!(numbers(&harness), (4, 1, 3, 2), "seed {seed}");
        assert!(status(&harness).disrupted_pods.contains_key("a"), "seed {seed}");
    }
}

#[test]
fn a_new_spec_is_counted_anew() {
    let mut harness = cluster();
    for name in ["a", "b", "c"] {
        harness.put(Box::new(pod(name, true, None)));
    }
    harness.create(budget(Some(1.into()), None));
    harness.settle();
    harness.change::<PodDisruptionBudget>("default", "web", |budget| {
        budget.spec.as_mut().unwrap().min_available = Some(3.into());
    });
    harness.settle();
    assert_eq!(numbers(&harness), (3, 3, 3, 0));
    assert_eq!(status(&harness).observed_generation, 2);
    assert_eq!(condition(&harness).observed_generation, 2);
}
