//! Evicting: within the budgets, however many ask at once and through whichever server.

use std::collections::BTreeMap;

use futures::future::join_all;
use trireme_proto::api::{
    core::v1::PodCondition,
    meta::v1::{DeleteOptions as SentOptions, LabelSelector, Preconditions},
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus},
};

use super::*;
use crate::registry::{Deleted, Eviction};

/// A pod `app=web` that runs on a node.
async fn running_pod(harness: &Harness, name: &str, is_ready: bool) {
    let mut pod = mk_pod(name);
    pod.metadata.as_mut().expect("present").labels = labels("web");
    harness.create(pod).await.expect("created");
    harness
        .registry
        .bind(&system(), &in_default(name), "", "n1")
        .await
        .expect("bound");
    let mut pod = harness.get_pod(name).await.expect("there");
    let status = pod.status.get_or_insert_default();
    status.phase = "Running".to_owned();
    status.conditions.push(PodCondition {
        r#type: "Ready".to_owned(),
        status: if is_ready { "True" } else { "False" }.to_owned(),
        ..PodCondition::default()
    });
    let decoded = Decoded::internal(Box::new(pod));
    harness
        .registry
        .update_status(&system(), decoded, false)
        .await
        .expect("reported");
}

fn labels(app: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), app.to_owned())])
}

fn of_app(app: &str) -> Option<LabelSelector> {
    Some(LabelSelector {
        match_labels: labels(app),
        ..LabelSelector::default()
    })
}

/// A budget as it was counted: so many pods may go, of so many.
async fn budget(harness: &Harness, name: &str, selector: Option<LabelSelector>, (allowed, healthy): (i32, i32)) {
    let spec = PodDisruptionBudgetSpec {
        min_available: Some(1.into()),
        selector,
        ..PodDisruptionBudgetSpec::default()
    };
    let budget = PodDisruptionBudget {
        metadata: mk_meta(name),
        spec: Some(spec),
        ..PodDisruptionBudget::default()
    };
    let mut budget: PodDisruptionBudget = typed(&harness.create(budget).await.expect("created"));
    budget.status = Some(PodDisruptionBudgetStatus {
        observed_generation: 1,
        disruptions_allowed: allowed,
        current_healthy: healthy,
        desired_healthy: healthy - allowed,
        expected_pods: healthy,
        ..PodDisruptionBudgetStatus::default()
    });
    let decoded = Decoded::internal(Box::new(budget));
    harness
        .registry
        .update_status(&system(), decoded, false)
        .await
        .expect("counted");
}

async fn counted(harness: &Harness, name: &str) -> PodDisruptionBudgetStatus {
    let stored = harness.get("policy", "poddisruptionbudgets", &in_default(name)).await;
    typed::<PodDisruptionBudget>(&stored.expect("there"))
        .status
        .expect("present")
}

async fn evict(registry: &Registry, name: &str, options: SentOptions, dry_run: bool) -> Result<Deleted, ApiError> {
    let permit = admin(Verb::Create, "pods/eviction", "default", name);
    let eviction = Eviction {
        metadata: mk_meta(name),
        delete_options: Some(options),
    };
    registry.evict(&permit, &in_default(name), eviction, dry_run).await
}

async fn evict_now(harness: &Harness, name: &str) -> Result<Deleted, ApiError> {
    evict(&harness.registry, name, SentOptions::default(), false).await
}

async fn is_ending(harness: &Harness, name: &str) -> bool {
    let pod = harness.get_pod(name).await.expect("its node has not ended it yet");
    pod.metadata.expect("present").deletion_timestamp.is_some()
}

#[tokio::test]
async fn an_eviction_is_charged_before_the_pod_ends() {
    let harness = Harness::new().await;
    running_pod(&harness, "a", true).await;
    running_pod(&harness, "b", true).await;
    budget(&harness, "web", of_app("web"), (1, 2)).await;
    evict_now(&harness, "a").await.expect("there is room");
    let status = counted(&harness, "web").await;
    assert_eq!(status.disruptions_allowed, 0);
    assert_eq!(status.disrupted_pods.into_keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(status.conditions[0].reason, "InsufficientPods");
    assert!(is_ending(&harness, "a").await);
    let conditions = harness
        .get_pod("a")
        .await
        .expect("there")
        .status
        .expect("present")
        .conditions;
    let target = conditions
        .iter()
        .find(|condition| condition.r#type == "DisruptionTarget");
    let target = target.expect("it says why it ends");
    assert_eq!((&*target.status, &*target.reason), ("True", "EvictionByEvictionAPI"));

    let error = evict_now(&harness, "b").await.expect_err("there is no room");
    assert_eq!(error.reason(), Reason::TooManyRequests);
    assert_eq!(
        error.message(),
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    let [cause] = error.causes() else {
        panic!("one cause: {error:?}")
    };
    assert_eq!(
        (&*cause.reason, &*cause.message),
        (
            "DisruptionBudget",
            "The disruption budget web does not allow evicting pods currently"
        )
    );
    assert!(!is_ending(&harness, "b").await);
    // What is ending already costs nothing more.
    evict_now(&harness, "a").await.expect("it is on its way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evictions_at_once_never_exceed_a_budget() {
    const PODS: usize = 12;
    let harness = Harness::new().await;
    let servers = [harness.registry.clone(), harness.another_server()];
    for index in 0..PODS {
        running_pod(&harness, &format!("p{index}"), true).await;
    }
    for (round, room) in [1, 3, 1, 2].into_iter().enumerate() {
        let name = format!("budget-{round}");
        budget(&harness, &name, of_app("web"), (room, 12)).await;
        let before = ending(&harness, PODS).await;
        let attempts = (0..PODS)
            .filter(|index| !before.contains(&format!("p{index}")))
            .map(|index| {
                let registry = servers[index % 2].clone();
                tokio::spawn(async move { evict(&registry, &format!("p{index}"), SentOptions::default(), false).await })
            });
        let outcomes = join_all(attempts)
            .await
            .into_iter()
            .map(|outcome| outcome.expect("no panic"));
        let (evicted, refused): (Vec<_>, Vec<_>) = outcomes.partition(Result::is_ok);
        assert_eq!(i32::try_from(evicted.len()).expect("few"), room, "round {round}");
        for outcome in refused {
            assert_eq!(reason(outcome), Reason::TooManyRequests, "round {round}");
        }
        let status = counted(&harness, &name).await;
        assert_eq!(status.disruptions_allowed, 0, "round {round}");
        let mut after = ending(&harness, PODS).await;
        after.retain(|pod| !before.contains(pod));
        let mut noted: Vec<String> = status.disrupted_pods.into_keys().collect();
        noted.sort();
        after.sort();
        assert_eq!(after, noted, "round {round}");
        let key = in_default(&name);
        let budgets = ops_of("policy", "poddisruptionbudgets");
        let options = crate::registry::DeleteOptions::default();
        harness
            .registry
            .delete(&system(), budgets, &key, &options)
            .await
            .expect("deleted");
    }
}

async fn ending(harness: &Harness, pods: usize) -> Vec<String> {
    let mut ending = Vec::new();
    for index in 0..pods {
        let name = format!("p{index}");
        if is_ending(harness, &name).await {
            ending.push(name);
        }
    }
    ending
}

#[tokio::test]
async fn a_dry_run_is_judged_and_costs_nothing() {
    let harness = Harness::new().await;
    running_pod(&harness, "a", true).await;
    budget(&harness, "web", of_app("web"), (1, 2)).await;
    let before = harness.revision();
    for _ in 0..2 {
        evict(&harness.registry, "a", SentOptions::default(), true)
            .await
            .expect("it would be");
    }
    assert_eq!(harness.revision(), before);
    running_pod(&harness, "b", true).await;
    evict_now(&harness, "b").await.expect("there is room");
    let refused = evict(&harness.registry, "a", SentOptions::default(), true).await;
    assert_eq!(reason(refused), Reason::TooManyRequests);
}

#[tokio::test]
async fn which_budgets_count() {
    for (what, selector, expected) in [
        (
            "all pods",
            Some(LabelSelector::default()),
            Some(Reason::TooManyRequests),
        ),
        ("no pods", None, None),
        ("these pods", of_app("web"), Some(Reason::TooManyRequests)),
        ("other pods", of_app("db"), None),
    ] {
        let harness = Harness::new().await;
        running_pod(&harness, "a", true).await;
        budget(&harness, "web", selector, (0, 1)).await;
        let refused = evict_now(&harness, "a").await.err().map(|error| error.reason());
        assert_eq!(refused, expected, "{what}");
    }
    let harness = Harness::new().await;
    running_pod(&harness, "a", true).await;
    budget(&harness, "one", of_app("web"), (1, 2)).await;
    budget(&harness, "two", Some(LabelSelector::default()), (1, 2)).await;
    let error = evict_now(&harness, "a").await.expect_err("it cannot be decided");
    assert_eq!(error.reason(), Reason::InternalError);
    assert!(error.message().contains("more than one PodDisruptionBudget"), "{error}");
}

#[tokio::test]
async fn a_budget_that_is_not_counted_yet_lets_nobody_go() {
    let harness = Harness::new().await;
    running_pod(&harness, "a", true).await;
    let fresh = PodDisruptionBudget {
        metadata: mk_meta("web"),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(1.into()),
            selector: of_app("web"),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    };
    harness.create(fresh).await.expect("created");
    let error = evict_now(&harness, "a").await.expect_err("too early");
    assert_eq!(error.reason(), Reason::TooManyRequests);
    assert_eq!(error.retry_delay(), Some(Duration::from_secs(10)));
    assert!(error.causes()[0].message.contains("still being processed"), "{error:?}");
}

#[tokio::test]
async fn who_is_in_nobody_s_way_costs_nothing() {
    let harness = Harness::new().await;
    let mut pending = mk_pod("pending");
    pending.metadata.as_mut().expect("present").labels = labels("web");
    let pending = harness.create(pending).await.expect("created");
    running_pod(&harness, "unready", false).await;
    budget(&harness, "web", of_app("web"), (0, 2)).await;

    // A client that knows an older version is told so.
    let older = SentOptions {
        preconditions: Some(Preconditions {
            resource_version: Some((pending.revision() - 1).to_string()),
            ..Preconditions::default()
        }),
        ..SentOptions::default()
    };
    let refused = evict(&harness.registry, "pending", older, false).await;
    assert_eq!(reason(refused), Reason::Conflict);
    let before = counted(&harness, "web").await;
    evict_now(&harness, "pending").await.expect("it waits only");
    evict_now(&harness, "unready").await.expect("the others are enough");
    assert_eq!(counted(&harness, "web").await, before);
    assert!(is_ending(&harness, "unready").await);
    assert_eq!(reason(harness.get_pod("pending").await), Reason::NotFound);
}
