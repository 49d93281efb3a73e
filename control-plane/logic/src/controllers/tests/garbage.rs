//! Owners and what they leave behind.

use trireme_proto::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Pod},
    meta::v1::{ObjectMeta, OwnerReference},
};

use crate::{
    controllers::garbage_collector::{FOREGROUND, GarbageCollector, ORPHAN},
    kind::{Kind, metadata_of},
    object::ObjectKey,
    testing::{harness::Harness, mk_deployment},
    world::Mutation,
};

fn reference(api_version: &str, kind: &str, name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: api_version.into(),
        kind: kind.into(),
        name: name.into(),
        uid: uid.into(),
        ..OwnerReference::default()
    }
}

fn config(name: &str, owners: Vec<OwnerReference>) -> ConfigMap {
    let metadata = ObjectMeta {
        namespace: "default".into(),
        name: name.into(),
        owner_references: owners,
        ..ObjectMeta::default()
    };
    ConfigMap {
        metadata: Some(metadata),
        ..ConfigMap::default()
    }
}

fn uid(harness: &Harness, name: &str) -> String {
    metadata_of(harness.get::<ConfigMap>("default", name)).uid.clone()
}

fn names(harness: &Harness) -> Vec<String> {
    harness
        .list::<ConfigMap>()
        .iter()
        .map(|object| metadata_of(*object).name.clone())
        .collect()
}

#[test]
fn deleting_a_deployment_takes_sets_and_pods_along() {
    let mut harness = Harness::new(2, 1);
    harness.create(mk_deployment("default", "web", 3));
    harness.settle();
    harness.delete::<Deployment>("default", "web", None);
    harness.settle();
    assert!(harness.list::<ReplicaSet>().is_empty() && harness.list::<Pod>().is_empty());
    assert_eq!(harness.created["pods"], 3, "none was made again on the way");
}

#[test]
fn only_dependents_whose_owners_are_known_to_be_gone_are_deleted() {
    let mut harness = Harness::with(vec![Box::new(GarbageCollector)], 2);
    harness.create(config("owner", vec![]));
    harness.create(config("second", vec![]));
    let first = reference("v1", "ConfigMap", "owner", &uid(&harness, "owner"));
    let second = reference("v1", "ConfigMap", "second", &uid(&harness, "second"));
    let foreign = reference("example.com/v1", "Widget", "w", "uid-of-a-widget");
    harness.create(config("a-one-owner", vec![first.clone()]));
    harness.create(config("b-two-owners", vec![first.clone(), second.clone()]));
    harness.create(config("c-unknown-kind", vec![first.clone(), foreign.clone()]));
    harness.create(config("d-only-unknown", vec![foreign]));
    harness.create(config(
        "e-never-existed",
        vec![reference("v1", "ConfigMap", "x", "no-such-uid")],
    ));
    harness.settle();
    assert_eq!(
        names(&harness),
        [
            "a-one-owner",
            "b-two-owners",
            "c-unknown-kind",
            "d-only-unknown",
            "owner",
            "second"
        ]
    );
    harness.delete::<ConfigMap>("default", "owner", None);
    harness.settle();
    assert_eq!(
        names(&harness),
        ["b-two-owners", "c-unknown-kind", "d-only-unknown", "second"]
    );
    let owners = &metadata_of(harness.get::<ConfigMap>("default", "b-two-owners")).owner_references;
    assert_eq!(owners.as_slice(), [second]);
}

#[test]
fn foreground_waits_for_the_whole_tree() {
    let mut harness = Harness::new(1, 3);
    harness.create(mk_deployment("default", "web", 2));
    harness.settle();
    harness.change::<Deployment>("default", "web", |deployment| {
        deployment.metadata.as_mut().unwrap().finalizers.push(FOREGROUND.into());
    });
    harness.delete::<Deployment>("default", "web", None);
    harness.always(|world| {
        let (deployments, sets) = (world.count::<Deployment>(), world.count::<ReplicaSet>());
        let pods = world.count::<Pod>();
        assert!(
            deployments >= sets.min(1) && sets >= pods.min(1),
            "{deployments} {sets} {pods}"
        );
    });
    harness.settle();
    assert_eq!(
        harness.store.count::<Deployment>() + harness.store.count::<ReplicaSet>(),
        0
    );
    assert!(harness.list::<Pod>().is_empty());
}

#[test]
fn orphans_stay_and_lose_their_reference() {
    let mut harness = Harness::new(1, 4);
    harness.create(mk_deployment("default", "web", 2));
    harness.settle();
    harness.change::<Deployment>("default", "web", |deployment| {
        deployment.metadata.as_mut().unwrap().finalizers.push(ORPHAN.into());
    });
    harness.delete::<Deployment>("default", "web", None);
    harness.settle();
    assert!(harness.list::<Deployment>().is_empty());
    let sets = harness.list::<ReplicaSet>();
    assert_eq!(sets.len(), 1);
    assert!(metadata_of(sets[0]).owner_references.is_empty());
    assert_eq!(harness.active_pods().len(), 2);
}

#[test]
fn what_cannot_be_read_is_never_taken_for_gone() {
    let mut harness = Harness::with(vec![Box::new(GarbageCollector)], 5);
    harness.view.apply(
        Mutation::Unreadable {
            info: &ConfigMap::INFO,
            key: ObjectKey::new("default", "x"),
        },
        0,
    );
    harness.create(config("kept", vec![reference("v1", "ConfigMap", "x", "uid-of-x")]));
    harness.create(config("not-kept", vec![reference("v1", "ConfigMap", "y", "uid-of-y")]));
    harness.settle();
    harness.full_pass();
    harness.settle();
    assert_eq!(names(&harness), ["kept"]);
}
