//! Rollouts, watched at every single write.

use std::cell::Cell;

use trireme_proto::api::{
    apps::v1::{Deployment, DeploymentCondition, DeploymentStrategy, ReplicaSet, RollingUpdateDeployment},
    core::v1::Pod,
    meta::v1::IntOrString,
};

use crate::{
    controllers::{owners, pods},
    kind::metadata_of,
    testing::{
        harness::{Harness, NEVER_READY},
        mk_deployment,
    },
    world::World,
};

fn cluster(seed: u64) -> Harness {
    let mut harness = Harness::new(3, seed);
    harness.settle();
    harness
}

fn rolling(surge: impl Into<IntOrString>, unavailable: impl Into<IntOrString>) -> DeploymentStrategy {
    DeploymentStrategy {
        r#type: "RollingUpdate".into(),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(surge.into()),
            max_unavailable: Some(unavailable.into()),
        }),
    }
}

fn set_image(deployment: &mut Deployment, image: &str) {
    deployment
        .spec
        .as_mut()
        .unwrap()
        .template
        .as_mut()
        .unwrap()
        .spec
        .as_mut()
        .unwrap()
        .containers[0]
        .image = image.into();
}

fn change(harness: &mut Harness, change: impl FnOnce(&mut Deployment)) {
    harness.change::<Deployment>("default", "web", change);
}

fn status(harness: &Harness) -> trireme_proto::api::apps::v1::DeploymentStatus {
    harness.get::<Deployment>("default", "web").status.clone().unwrap()
}

fn condition(harness: &Harness, name: &str) -> DeploymentCondition {
    status(harness)
        .conditions
        .into_iter()
        .find(|condition| condition.r#type == name)
        .unwrap()
}

/// Size and revision of every ReplicaSet, oldest revision first.
fn sets(harness: &Harness) -> Vec<(i64, i32)> {
    let mut sets: Vec<(i64, i32)> = harness
        .list::<ReplicaSet>()
        .iter()
        .map(|set| {
            let revision = metadata_of(*set).annotations["deployment.kubernetes.io/revision"]
                .parse()
                .unwrap();
            (revision, set.spec.as_ref().unwrap().replicas.unwrap())
        })
        .collect();
    sets.sort_unstable();
    sets
}

fn images(harness: &Harness) -> Vec<String> {
    harness
        .active_pods()
        .iter()
        .map(|pod| pods::spec(pod).containers[0].image.clone())
        .collect()
}

#[test]
fn first_rollout_completes() {
    let mut harness = cluster(1);
    harness.create(mk_deployment("default", "web", 3));
    harness.settle();
    let status = status(&harness);
    assert_eq!(
        (status.replicas, status.updated_replicas, status.ready_replicas),
        (3, 3, 3)
    );
    assert_eq!((status.available_replicas, status.unavailable_replicas), (3, 0));
    assert_eq!(
        status.observed_generation,
        metadata_of(harness.get::<Deployment>("default", "web")).generation
    );
    assert_eq!(sets(&harness), [(1, 3)]);
    let set = harness.list::<ReplicaSet>()[0];
    let name = metadata_of(set).name.clone();
    assert_eq!(
        harness.messages("ScalingReplicaSet"),
        [format!("Scaled up replica set {name} from 0 to 3")]
    );
    assert_eq!(condition(&harness, "Available").status, "True");
    assert_eq!(condition(&harness, "Progressing").reason, "NewReplicaSetAvailable");
    let hash = &metadata_of(set).labels["pod-template-hash"];
    assert_eq!(name, format!("web-{hash}"));
    assert_eq!(&metadata_of(harness.active_pods()[0]).labels["pod-template-hash"], hash);
    let annotations = &metadata_of(harness.get::<Deployment>("default", "web")).annotations;
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "1");
}

/// Checks both bounds of a rolling update. The lower one holds from the moment that all pods were available.
fn bounds(most: usize, least: usize) -> impl Fn(&World) + 'static {
    let armed = Cell::new(false);
    move |world: &World| {
        let active: Vec<&Pod> = world.list::<Pod>("").filter(|pod| pods::is_active(pod)).collect();
        let ready = active.iter().filter(|pod| pods::is_ready(pod)).count();
        assert!(active.len() <= most, "{} pods, at most {most} allowed", active.len());
        if armed.get() {
            assert!(ready >= least, "{ready} ready, at least {least} needed");
        } else {
            armed.set(ready >= least && least > 0);
        }
    }
}

#[test]
fn rolling_update_keeps_its_bounds_at_every_step() {
    for (replicas, surge, unavailable, most, least) in [
        (1, "25%", "25%", 2, 1),
        (3, "25%", "25%", 4, 3),
        (4, "0%", "25%", 4, 3),
        (5, "1", "0", 6, 5),
        (5, "0", "2", 5, 3),
        (10, "30%", "20%", 13, 8),
        (7, "100%", "100%", 14, 0),
    ] {
        for seed in 0..12 {
            let mut harness = cluster(seed);
            harness.lags = seed % 2 == 1;
            let bound = |text: &str| {
                text.parse::<i32>()
                    .map_or_else(|_| IntOrString::from(text), IntOrString::from)
            };
            let mut deployment = mk_deployment("default", "web", replicas);
            deployment.spec.as_mut().unwrap().strategy = Some(rolling(bound(surge), bound(unavailable)));
            harness.create(deployment);
            harness.settle();
            harness.always(bounds(most, least));
            change(&mut harness, |deployment| set_image(deployment, "hello:2"));
            harness.settle();
            harness.pass_seconds(30);
            let images = images(&harness);
            assert_eq!(images.len(), usize::try_from(replicas).unwrap(), "seed {seed}");
            assert!(images.iter().all(|image| image == "hello:2"), "seed {seed}: {images:?}");
            assert_eq!(sets(&harness), [(1, 0), (2, replicas)], "seed {seed}");
        }
    }
}

#[test]
fn a_bad_template_stops_at_the_bounds_and_times_out() {
    let mut harness = cluster(2);
    let mut deployment = mk_deployment("default", "web", 4);
    deployment.spec.as_mut().unwrap().progress_deadline_seconds = Some(60);
    harness.create(deployment);
    harness.settle();
    harness.always(bounds(5, 3));
    change(&mut harness, |deployment| set_image(deployment, NEVER_READY));
    harness.settle();
    harness.pass_seconds(55);
    assert_eq!(condition(&harness, "Progressing").reason, "ReplicaSetUpdated");
    harness.pass_seconds(10);
    let progressing = condition(&harness, "Progressing");
    assert_eq!(
        (progressing.status.as_str(), progressing.reason.as_str()),
        ("False", "ProgressDeadlineExceeded")
    );
    assert_eq!(condition(&harness, "Available").status, "True");
    assert_eq!(sets(&harness), [(1, 3), (2, 2)]);

    // Back to the first template, which is what `rollout undo` does.
    change(&mut harness, |deployment| set_image(deployment, "hello:1"));
    harness.settle();
    harness.pass_seconds(15);
    assert_eq!(sets(&harness), [(2, 0), (3, 4)]);
    assert_eq!(condition(&harness, "Progressing").reason, "NewReplicaSetAvailable");
    let history = "deployment.kubernetes.io/revision-history";
    assert!(harness.list::<ReplicaSet>().iter().any(|set| {
        metadata_of(*set)
            .annotations
            .get(history)
            .is_some_and(|list| list == "1")
    }));
}

#[test]
fn recreate_never_mixes_templates() {
    let mut harness = cluster(3);
    let mut deployment = mk_deployment("default", "web", 3);
    deployment.spec.as_mut().unwrap().strategy = Some(DeploymentStrategy {
        r#type: "Recreate".into(),
        rolling_update: None,
    });
    harness.create(deployment);
    harness.settle();
    harness.always(|world| {
        let mut images: Vec<&str> = world
            .list::<Pod>("")
            .map(|pod| pods::spec(pod).containers[0].image.as_str())
            .collect();
        images.dedup();
        assert!(images.len() < 2, "{images:?}");
    });
    change(&mut harness, |deployment| set_image(deployment, "hello:2"));
    harness.settle();
    assert_eq!(images(&harness), ["hello:2"; 3]);
}

#[test]
fn pause_holds_templates_but_not_sizes() {
    let mut harness = cluster(4);
    harness.create(mk_deployment("default", "web", 2));
    harness.settle();
    change(&mut harness, |deployment| {
        deployment.spec.as_mut().unwrap().paused = true;
    });
    harness.settle();
    assert_eq!(condition(&harness, "Progressing").reason, "DeploymentPaused");
    change(&mut harness, |deployment| {
        set_image(deployment, "hello:2");
        deployment.spec.as_mut().unwrap().replicas = Some(4);
    });
    harness.settle();
    assert_eq!(images(&harness), ["hello:1"; 4]);
    change(&mut harness, |deployment| {
        deployment.spec.as_mut().unwrap().paused = false;
    });
    harness.settle();
    harness.pass_seconds(15);
    assert_eq!(images(&harness), ["hello:2"; 4]);
    assert_eq!(condition(&harness, "Progressing").reason, "NewReplicaSetAvailable");
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_shared() {
    let mut harness = cluster(5);
    let mut deployment = mk_deployment("default", "web", 10);
    deployment.spec.as_mut().unwrap().strategy = Some(rolling(3, 2));
    harness.create(deployment);
    harness.settle();
    change(&mut harness, |deployment| set_image(deployment, NEVER_READY));
    harness.settle();
    harness.pass_seconds(15);
    assert_eq!(sets(&harness), [(1, 8), (2, 5)]);
    change(&mut harness, |deployment| {
        deployment.spec.as_mut().unwrap().replicas = Some(15);
    });
    harness.settle();
    // 18 pods may be there: 8/13 and 5/13 of the five more.
    assert_eq!(sets(&harness), [(1, 11), (2, 7)]);
    change(&mut harness, |deployment| {
        deployment.spec.as_mut().unwrap().replicas = Some(0);
    });
    harness.settle();
    assert_eq!(sets(&harness), [(1, 0), (2, 0)]);
    assert!(harness.active_pods().is_empty());
}

#[test]
fn old_revisions_are_cleaned_up() {
    let mut harness = cluster(6);
    let mut deployment = mk_deployment("default", "web", 1);
    deployment.spec.as_mut().unwrap().revision_history_limit = Some(2);
    harness.create(deployment);
    for version in 2..7 {
        harness.settle();
        change(&mut harness, |deployment| {
            set_image(deployment, &format!("hello:{version}"));
        });
    }
    harness.settle();
    harness.pass_seconds(15);
    assert_eq!(sets(&harness), [(4, 0), (5, 0), (6, 1)]);
}

#[test]
fn a_taken_name_is_avoided() {
    let mut harness = cluster(7);
    harness.create(mk_deployment("default", "web", 1));
    harness.settle();
    let mut squatter = harness.list::<ReplicaSet>()[0].clone();
    let mut other = cluster(7);
    let meta = squatter.metadata.as_mut().unwrap();
    meta.owner_references.clear();
    meta.labels.clear();
    meta.uid = "squatter".into();
    squatter.spec.as_mut().unwrap().replicas = Some(0);
    other.put(Box::new(squatter));
    other.create(mk_deployment("default", "web", 1));
    other.settle();
    assert_eq!(status(&other).collision_count, Some(1));
    assert_eq!(status(&other).available_replicas, 1);
}

#[test]
fn adopts_a_matching_set_instead_of_making_one() {
    let mut harness = cluster(8);
    harness.create(mk_deployment("default", "web", 2));
    harness.settle();
    let set = metadata_of(harness.list::<ReplicaSet>()[0]).name.clone();
    harness.change::<ReplicaSet>("default", &set, |set| {
        set.metadata.as_mut().unwrap().owner_references.clear();
    });
    harness.settle();
    assert_eq!(harness.list::<ReplicaSet>().len(), 1);
    assert!(owners::controller_of(metadata_of(harness.list::<ReplicaSet>()[0])).is_some());
    assert_eq!((harness.created["replicasets"], harness.created["pods"]), (1, 2));
}
