//! Keeps as many pods as an owner asks for: the shared core of ReplicaSets and ReplicationControllers.
//!
//! One pass claims (adopts, releases), then creates what is missing or deletes what is too much, then
//! reports. It needs no memory of what it did before, since the shell shows it its own writes before it asks
//! again (I8).

mod backoff;
mod claim;
mod replica_set;
mod replicas;
mod replication_controller;
mod victims;

use std::{collections::BTreeSet, marker::PhantomData};

use trireme_proto::api::{
    apps::v1::ReplicaSet,
    core::v1::{Pod, PodTemplateSpec, ReplicationController},
};

pub use self::replicas::{Counts, REPLICA_FAILURE, Replicas};

use self::{claim::Claim, victims::victims};
use super::{
    names, owners,
    pods::{self, Availability},
    times,
};
use crate::{
    controller::{Action, Context, Controller, EventType, Outcome, Refusal, Write},
    kind::{Kind, metadata_of},
    limits::{EVENTS_PER_RECONCILE, WRITES_PER_RECONCILE},
    object::ObjectKey,
    world::{Change, World},
};

/// The controller of one kind of owner.
pub struct Replication<K> {
    name: &'static str,
    owner: PhantomData<fn() -> K>,
}

/// The controller of ReplicaSets.
pub fn replica_set() -> Replication<ReplicaSet> {
    Replication {
        name: "replicaset-controller",
        owner: PhantomData,
    }
}

/// The controller of ReplicationControllers.
pub fn replication_controller() -> Replication<ReplicationController> {
    Replication {
        name: "replication-controller",
        owner: PhantomData,
    }
}

impl<K: Replicas> Controller for Replication<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn keys_for(&self, change: &Change, world: &World, keys: &mut BTreeSet<ObjectKey>) {
        if change.of::<K>().is_some() {
            keys.insert(change.key.clone());
        }
        let Some((old, new)) = change.of::<Pod>() else { return };
        for pod in [old, new].into_iter().flatten() {
            if let Some(owner) = owners::controller_named::<K>(metadata_of(pod)) {
                keys.insert(ObjectKey::new(change.key.namespace.as_str(), owner.name.as_str()));
            }
        }
        // A pod without a controller concerns whoever would adopt it.
        let Some(pod) = new.filter(|pod| owners::controller_of(metadata_of(*pod)).is_none()) else {
            return;
        };
        for owner in world.list::<K>(&change.key.namespace) {
            if owner.selects(&metadata_of(pod).labels) {
                keys.insert(owners::key_of(owner));
            }
        }
    }

    fn all_keys(&self, world: &World) -> BTreeSet<ObjectKey> {
        world.list::<K>("").map(owners::key_of).collect()
    }

    fn reconcile(&self, world: &World, key: &ObjectKey, context: &Context) -> Outcome {
        let Some(owner) = world.get::<K>(key) else {
            return Outcome::default();
        };
        let mut pass = Pass {
            world,
            owner,
            context,
            outcome: Outcome::default(),
        };
        let closed = owners::is_terminating(owner) || owners::namespace_closed(world, &key.namespace);
        let claim = claim::claim(world, owner, closed, &mut pass.outcome);
        if !closed {
            pass.scale(&claim);
        }
        pass.report(&claim);
        pass.outcome
    }

    fn on_refusal(&self, world: &World, key: &ObjectKey, refusal: &Refusal, context: &Context) -> Outcome {
        let mut outcome = Outcome::default();
        let (Some(owner), true) = (world.get::<K>(key), refusal.info.kind == Pod::INFO.kind) else {
            return outcome;
        };
        let (reason, doing) = match refusal.action {
            Action::Create => ("FailedCreate", "creating"),
            Action::Delete => ("FailedDelete", "deleting"),
            Action::Update => return outcome,
        };
        let message = refusal.message_about(&name_prefix(owner));
        let mut changed = owner.clone();
        if changed.set_failure(Some((reason, &message)), context.now) {
            outcome.writes.push(Write::UpdateStatus(Box::new(changed)));
        }
        let message = format!("Error {doing}: {message}");
        outcome
            .events
            .push(owners::event(owner, EventType::Warning, reason, message));
        outcome
    }
}

/// What the names of an owner's pods begin with.
fn name_prefix<K: Kind>(owner: &K) -> String {
    format!("{}-", metadata_of(owner).name)
}

/// One reconcile.
struct Pass<'a, K> {
    world: &'a World,
    owner: &'a K,
    context: &'a Context,
    outcome: Outcome,
}

impl<K: Replicas> Pass<'_, K> {
    /// Creates or deletes pods, as many as one pass may.
    fn scale(&mut self, claim: &Claim<'_>) {
        let wanted = usize::try_from(self.owner.replicas()).unwrap_or(0);
        let have = claim.active.len();
        if have < wanted {
            if let Some(until) = backoff::wait_until(&claim.failed, self.context.now) {
                self.outcome.requeue_at = times::earlier(self.outcome.requeue_at, Some(until));
            } else if let Some(template) = self.owner.template() {
                self.create(template, (wanted - have).min(WRITES_PER_RECONCILE));
            }
        } else if have > wanted {
            self.delete(victims(&claim.active, (have - wanted).min(WRITES_PER_RECONCILE)));
        }
    }

    fn create(&mut self, template: &PodTemplateSpec, count: usize) {
        let meta = metadata_of(self.owner);
        let prefix = name_prefix(self.owner);
        let mut fresh = BTreeSet::new();
        for index in 0..count {
            let name = names::generate(&prefix, self.context.seed, index as u64, |name| {
                fresh.contains(name)
                    || self
                        .world
                        .get::<Pod>(&ObjectKey::new(meta.namespace.as_str(), name))
                        .is_some()
            });
            fresh.insert(name.clone());
            let pod = pod_from_template(self.owner, template, &prefix, name);
            self.outcome.writes.push(Write::Create(Box::new(pod)));
        }
        self.tell("SuccessfulCreate", "Created", &fresh.into_iter().collect::<Vec<_>>());
    }

    fn delete(&mut self, pods: Vec<&Pod>) {
        let names: Vec<String> = pods.iter().map(|pod| metadata_of(*pod).name.clone()).collect();
        for pod in pods {
            self.outcome.writes.push(Write::Delete {
                info: &Pod::INFO,
                key: owners::key_of(pod),
                uid: owners::uid_of(pod).to_owned(),
                grace_period_seconds: None,
            });
        }
        self.tell("SuccessfulDelete", "Deleted", &names);
    }

    /// One event a pod while they are few; one for all when they are many.
    fn tell(&mut self, reason: &str, verb: &str, names: &[String]) {
        let messages: Vec<String> = if names.len() <= EVENTS_PER_RECONCILE {
            names.iter().map(|name| format!("{verb} pod: {name}")).collect()
        } else {
            vec![format!("{verb} {} pods: {} and others", names.len(), names[0])]
        };
        for message in messages {
            self.outcome
                .events
                .push(owners::event(self.owner, EventType::Normal, reason, message));
        }
    }

    /// Writes the status if it changed.
    fn report(&mut self, claim: &Claim<'_>) {
        let template_labels = self.owner.template().and_then(|template| template.metadata.as_ref());
        let mut counts = Counts {
            replicas: count(claim.active.len()),
            terminating: count(claim.terminating),
            observed_generation: metadata_of(self.owner).generation,
            ..Counts::default()
        };
        for pod in &claim.active {
            let labels = &metadata_of(*pod).labels;
            let full = template_labels
                .is_none_or(|meta| meta.labels.iter().all(|(name, value)| labels.get(name) == Some(value)));
            counts.fully_labeled += i32::from(full);
            counts.ready += i32::from(pods::is_ready(pod));
            match pods::availability(pod, self.owner.min_ready_seconds(), self.context.now) {
                Availability::NotReady => {}
                Availability::Available => counts.available += 1,
                Availability::From(time) => {
                    self.outcome.requeue_at = times::earlier(self.outcome.requeue_at, Some(time));
                }
            }
        }
        // Once there are as many as wanted, whatever kept pods from being made or deleted is over.
        let has_recovered = self.owner.has_failure() && counts.replicas == self.owner.replicas();
        if counts != self.owner.counts() || has_recovered {
            let mut owner = self.owner.clone();
            owner.set_counts(&counts);
            if has_recovered {
                owner.set_failure(None, self.context.now);
            }
            self.outcome.writes.push(Write::UpdateStatus(Box::new(owner)));
        }
    }
}

/// A pod as its owner's template has it.
fn pod_from_template<K: Replicas>(owner: &K, template: &PodTemplateSpec, prefix: &str, name: String) -> Pod {
    let mut meta = trireme_proto::api::meta::v1::ObjectMeta {
        name,
        generate_name: prefix.to_owned(),
        namespace: metadata_of(owner).namespace.clone(),
        owner_references: vec![owners::controller_reference(owner)],
        ..Default::default()
    };
    if let Some(from) = &template.metadata {
        meta.labels.clone_from(&from.labels);
        meta.annotations.clone_from(&from.annotations);
        meta.finalizers.clone_from(&from.finalizers);
    }
    Pod {
        metadata: Some(meta),
        spec: template.spec.clone(),
        status: None,
    }
}

fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
