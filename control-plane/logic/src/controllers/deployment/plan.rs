//! The working copies of one pass, and how they become writes.

use std::collections::BTreeMap;

use trireme_proto::{
    Rounding,
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet, ReplicaSetSpec},
        core::v1::Pod,
        meta::v1::Time,
    },
};

use crate::{
    controller::{Context, EventType, Outcome, Write},
    controllers::{
        owners,
        pods::{self, Availability},
        replication::Replicas,
        selectors, times,
    },
    kind::{Kind, metadata_of},
    limits::ROLLOUT_RECHECK_SECONDS,
    world::World,
};

/// Annotation with the number of a revision, on ReplicaSets and on the Deployment.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Annotation with the earlier numbers of a ReplicaSet that became the present one again.
pub(super) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Annotation with the Deployment's size when the ReplicaSet was last sized.
pub(super) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// Annotation with the Deployment's size and surge when the ReplicaSet was last sized.
pub(super) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// One pass over one Deployment.
pub(super) struct Plan<'a> {
    pub(super) world: &'a World,
    pub(super) context: &'a Context,
    original: &'a Deployment,
    /// The working copy.
    pub(super) deployment: Deployment,
    /// Working copies of its ReplicaSets, oldest first.
    pub(super) sets: Vec<SetPlan<'a>>,
    /// Which of `sets` has the present template.
    pub(super) current: Option<usize>,
    pub(super) outcome: Outcome,
}

/// The working copy of one ReplicaSet.
pub(super) struct SetPlan<'a> {
    original: Option<&'a ReplicaSet>,
    pub(super) set: ReplicaSet,
    /// Its pods that are neither finished nor being deleted, as the world has them.
    pub(super) active: i32,
    /// Of these, those that are available.
    pub(super) available: i32,
    /// To be deleted.
    pub(super) doomed: bool,
}

/// True if the Deployment's selector matches the labels. An empty one matches nothing.
pub(super) fn selects(deployment: &Deployment, labels: &BTreeMap<String, String>) -> bool {
    let selector = deployment.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| !selectors::is_empty(selector) && selectors::matches(selector, labels))
}

impl<'a> Plan<'a> {
    /// Copies the Deployment and the ReplicaSets that it controls.
    pub(super) fn new(world: &'a World, deployment: &'a Deployment, context: &'a Context) -> Self {
        let mut plan = Self {
            world,
            context,
            original: deployment,
            deployment: deployment.clone(),
            sets: Vec::new(),
            current: None,
            outcome: Outcome::default(),
        };
        plan.deployment.spec.get_or_insert_with(DeploymentSpec::default);
        plan.deployment.status.get_or_insert_with(DeploymentStatus::default);
        let owned = world.controlled_by::<ReplicaSet>(owners::uid_of(deployment));
        let sets: Vec<_> = owned
            .map(|set| SetPlan::existing(world, set, deployment, context.now))
            .collect();
        plan.sets = sets;
        plan.sort();
        plan
    }

    /// Adopts free ReplicaSets that match, releases those that no longer do.
    pub(super) fn claim(&mut self) {
        for plan in &mut self.sets {
            let meta = metadata_of(&plan.set);
            if meta.deletion_timestamp.is_none() && !selects(&self.deployment, &meta.labels) {
                let uid = owners::uid_of(self.original);
                plan.meta().owner_references.retain(|reference| reference.uid != uid);
            }
        }
        let (released, sets) = std::mem::take(&mut self.sets)
            .into_iter()
            .partition(|plan| owners::controller_of(metadata_of(&plan.set)).is_none());
        self.sets = sets;
        for plan in Vec::from_iter(released) {
            plan.write(&mut self.outcome);
        }
        for set in self
            .world
            .without_controller::<ReplicaSet>(&metadata_of(self.original).namespace)
        {
            if !owners::is_terminating(set) && selects(&self.deployment, &metadata_of(set).labels) {
                let mut plan = SetPlan::existing(self.world, set, self.original, self.context.now);
                plan.meta()
                    .owner_references
                    .push(owners::controller_reference(self.original));
                self.sets.push(plan);
            }
        }
        // A ReplicaSet that is being deleted takes no further part.
        self.sets.retain(|plan| !owners::is_terminating(&plan.set));
        self.sort();
    }

    fn sort(&mut self) {
        self.sets.sort_by_cached_key(|plan| {
            let meta = metadata_of(&plan.set);
            (meta.creation_timestamp.map(times::order), meta.name.clone())
        });
    }

    /// The Deployment's spec.
    pub(super) fn spec(&self) -> &DeploymentSpec {
        self.deployment.spec.as_ref().expect("Plan::new fills it in")
    }

    /// The Deployment's working status.
    pub(super) fn status(&mut self) -> &mut DeploymentStatus {
        self.deployment.status.as_mut().expect("Plan::new fills it in")
    }

    /// The status as it is stored.
    pub(super) fn stored_status(&self) -> DeploymentStatus {
        self.original.status.clone().unwrap_or_default()
    }

    /// How many pods are wanted.
    pub(super) fn replicas(&self) -> i32 {
        self.spec().replicas.unwrap_or(1)
    }

    /// True if rollouts are on hold.
    pub(super) fn paused(&self) -> bool {
        self.spec().paused
    }

    /// True if the old pods must be gone before there are new ones.
    pub(super) fn recreates(&self) -> bool {
        self.spec()
            .strategy
            .as_ref()
            .is_some_and(|strategy| strategy.r#type == "Recreate")
    }

    /// How many pods may be there beyond the wanted ones.
    pub(super) fn max_surge(&self) -> i32 {
        if self.recreates() { 0 } else { self.bounds().0 }
    }

    /// How many of the wanted pods may be missing.
    pub(super) fn max_unavailable(&self) -> i32 {
        if self.recreates() {
            0
        } else {
            self.bounds().1.min(self.replicas())
        }
    }

    /// Surge and unavailability as counts. Both 0 would allow no step, so one pod may then be missing.
    fn bounds(&self) -> (i32, i32) {
        let rolling = self
            .spec()
            .strategy
            .as_ref()
            .and_then(|strategy| strategy.rolling_update.as_ref());
        let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let surge = super::rollout::resolve(surge, self.replicas(), Rounding::Up);
        let unavailable = super::rollout::resolve(unavailable, self.replicas(), Rounding::Down);
        if surge == 0 && unavailable == 0 {
            (0, 1)
        } else {
            (surge, unavailable)
        }
    }

    /// Adds a ReplicaSet to be created, and returns its place.
    pub(super) fn add(&mut self, set: ReplicaSet) -> usize {
        self.sets.push(SetPlan {
            original: None,
            set,
            active: 0,
            available: 0,
            doomed: false,
        });
        self.sets.len() - 1
    }

    /// Places of the ReplicaSets with earlier templates, oldest first.
    pub(super) fn old(&self) -> Vec<usize> {
        (0..self.sets.len())
            .filter(|place| Some(*place) != self.current)
            .collect()
    }

    /// Gives a ReplicaSet a size, and says so.
    pub(super) fn resize(&mut self, place: usize, replicas: i32) {
        let before = self.sets[place].replicas();
        if before == replicas {
            return;
        }
        self.sets[place].spec().replicas = Some(replicas);
        self.tell_size(place, before);
    }

    /// The event of a changed size.
    pub(super) fn tell_size(&mut self, place: usize, before: i32) {
        let after = self.sets[place].replicas();
        let direction = if after > before { "up" } else { "down" };
        let message = format!(
            "Scaled {direction} replica set {} from {before} to {after}",
            metadata_of(&self.sets[place].set).name
        );
        self.outcome.events.push(owners::event(
            self.original,
            EventType::Normal,
            "ScalingReplicaSet",
            message,
        ));
    }

    /// Notes on every sized ReplicaSet what the Deployment's size was.
    pub(super) fn annotate_sizes(&mut self) {
        let desired = self.replicas().to_string();
        let most = (self.replicas() + self.max_surge()).to_string();
        for plan in &mut self.sets {
            if plan.replicas() > 0 {
                let annotations = &mut plan.meta().annotations;
                annotations.insert(DESIRED_REPLICAS.to_owned(), desired.clone());
                annotations.insert(MAX_REPLICAS.to_owned(), most.clone());
            }
        }
    }

    /// The writes: ReplicaSets first, then the Deployment. If both its metadata and its status changed, the
    /// status waits for the next pass, which the first write brings about.
    pub(super) fn finish(mut self) -> Outcome {
        if self.sets.iter().any(|plan| plan.active != plan.replicas()) {
            let recheck = times::plus_seconds(self.context.now, ROLLOUT_RECHECK_SECONDS);
            self.outcome.requeue_at = times::earlier(self.outcome.requeue_at, Some(recheck));
        }
        for plan in self.sets {
            plan.write(&mut self.outcome);
        }
        if self.deployment.metadata != self.original.metadata {
            self.outcome.writes.push(Write::Update(Box::new(self.deployment)));
        } else if self.deployment.status.clone().unwrap_or_default() != self.original.status.clone().unwrap_or_default()
        {
            self.outcome.writes.push(Write::UpdateStatus(Box::new(self.deployment)));
        }
        self.outcome
    }
}

impl<'a> SetPlan<'a> {
    fn existing(world: &World, set: &'a ReplicaSet, deployment: &Deployment, now: Time) -> Self {
        let mut plan = Self {
            original: Some(set),
            set: set.clone(),
            active: 0,
            available: 0,
            doomed: false,
        };
        let min_ready_seconds = deployment.spec.as_ref().map_or(0, |spec| spec.min_ready_seconds);
        for pod in world
            .controlled_by::<Pod>(owners::uid_of(set))
            .filter(|pod| pods::is_active(pod))
        {
            plan.active += 1;
            let availability = pods::availability(pod, min_ready_seconds, now);
            plan.available += i32::from(availability == Availability::Available);
        }
        plan
    }

    /// Its wanted size.
    pub(super) fn replicas(&self) -> i32 {
        self.set.replicas()
    }

    /// Pods that exist or will: a size that was lowered has not yet taken its pods away.
    pub(super) fn footprint(&self) -> i32 {
        self.replicas().max(self.active)
    }

    /// Available pods that it keeps at its wanted size.
    pub(super) fn kept_available(&self) -> i32 {
        self.replicas().min(self.available)
    }

    /// Its working spec.
    pub(super) fn spec(&mut self) -> &mut ReplicaSetSpec {
        self.set.spec.get_or_insert_with(ReplicaSetSpec::default)
    }

    /// Its working metadata.
    pub(super) fn meta(&mut self) -> &mut trireme_proto::api::meta::v1::ObjectMeta {
        self.set.metadata.get_or_insert_with(Default::default)
    }

    /// The number of its revision; 0 if it has none.
    pub(super) fn revision(&self) -> i64 {
        metadata_of(&self.set)
            .annotations
            .get(REVISION)
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    }

    fn write(self, outcome: &mut Outcome) {
        let Some(original) = self.original else {
            outcome.writes.push(Write::Create(Box::new(self.set)));
            return;
        };
        if self.doomed {
            outcome.writes.push(Write::Delete {
                info: &ReplicaSet::INFO,
                key: owners::key_of(original),
                uid: owners::uid_of(original).to_owned(),
                grace_period_seconds: None,
            });
        } else if self.set != *original {
            outcome.writes.push(Write::Update(Box::new(self.set)));
        }
    }
}
