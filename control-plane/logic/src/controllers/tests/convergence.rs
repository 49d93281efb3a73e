//! I8: run at any time, any number of times, from any stale view, the loops come to the same end, without
//! extra creates or deletes. And: the same seed does the same.

use trireme_proto::api::{
    apps::v1::Deployment,
    core::v1::Pod,
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
};

use crate::{
    controllers::pods,
    kind::metadata_of,
    testing::{
        harness::Harness, mk_deployment, mk_meta, mk_namespace, mk_replica_set, mk_replication_controller, mk_selector,
        mk_service,
    },
};

/// A busy little cluster that is scaled and rolled while its loops' view lags or not.
fn busy(seed: u64, lags: bool, disturb: impl Fn(&mut Harness)) -> Harness {
    let mut harness = Harness::new(3, seed);
    harness.lags = lags;
    harness.create(mk_namespace("team"));
    for namespace in ["default", "team"] {
        harness.create(mk_deployment(namespace, "web", 4));
        harness.create(mk_service(namespace, "web"));
        harness.create(mk_replica_set(namespace, "bare", 3));
        harness.create(budget(namespace));
    }
    harness.create(mk_replication_controller("default", "old", 2));
    disturb(&mut harness);
    harness.settle();
    harness.change::<Deployment>("team", "web", |deployment| {
        deployment.spec.as_mut().unwrap().replicas = Some(6);
    });
    disturb(&mut harness);
    harness.settle();
    harness.change::<Deployment>("default", "web", |deployment| {
        let template = deployment.spec.as_mut().unwrap().template.as_mut().unwrap();
        template.spec.as_mut().unwrap().containers[0].image = "hello:2".into();
    });
    disturb(&mut harness);
    harness.settle();
    harness.pass_seconds(20);
    harness
}

/// A budget of the pods of `web`.
fn budget(namespace: &str) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: Some(mk_meta(namespace, "web")),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some("25%".into()),
            selector: Some(mk_selector("web")),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

/// What must not depend on timing: how many pods of which image there are, how many ever were, and how many may go.
fn end_of(harness: &Harness) -> (Vec<(String, String)>, usize, usize, Vec<i32>) {
    let mut list: Vec<(String, String)> = harness
        .active_pods()
        .iter()
        .map(|pod| {
            (
                metadata_of(*pod).namespace.clone(),
                pods::spec(pod).containers[0].image.clone(),
            )
        })
        .collect();
    list.sort();
    let budgets = harness.list::<PodDisruptionBudget>().into_iter();
    let allowed = budgets.map(|budget| budget.status.as_ref().unwrap().disruptions_allowed);
    (
        list,
        harness.created["pods"],
        harness.deleted["pods"],
        allowed.collect(),
    )
}

#[test]
fn any_view_comes_to_the_same_end() {
    let expected = end_of(&busy(0, false, |_| {}));
    // 4 + 3 in each namespace, 2 of the controller, 2 by scaling, 4 by the rollout.
    assert_eq!((expected.1, expected.2), (22, 4));
    // A quarter of 4, and of 6, rounded up.
    assert_eq!(expected.3, [1, 2]);
    for seed in 1..25 {
        let harness = busy(seed, true, Harness::full_pass);
        assert_eq!(end_of(&harness), expected, "seed {seed}");
    }
}

#[test]
fn a_pass_cut_short_anywhere_comes_to_the_same_end() {
    let expected = end_of(&busy(0, false, |_| {}));
    for seed in 1..25 {
        let harness = busy(seed, seed % 2 == 0, |harness| harness.stumbles = true);
        assert_eq!(end_of(&harness), expected, "seed {seed}");
    }
}

#[test]
fn further_passes_write_nothing() {
    let mut harness = busy(3, false, |_| {});
    let (revision, events) = (harness.store.revision(), harness.events.len());
    for _ in 0..3 {
        harness.full_pass();
        harness.settle();
    }
    assert_eq!(harness.store.revision(), revision);
    assert_eq!(harness.events.len(), events);
}

#[test]
fn the_same_seed_does_the_same() {
    let names = |harness: &Harness| -> Vec<String> {
        harness
            .list::<Pod>()
            .iter()
            .map(|pod| format!("{}/{}", pods::spec(pod).node_name, metadata_of(*pod).name))
            .collect()
    };
    let (one, other) = (busy(9, true, |_| {}), busy(9, true, |_| {}));
    assert_eq!(names(&one), names(&other));
    assert_eq!(one.events, other.events);
    assert_ne!(names(&one), names(&busy(10, true, |_| {})));
}
