//! Counts how many pods of each disruption budget may go at once, for evictions to take off.
//!
//! It writes a status only over the version that it saw, so that an eviction which was charged in between is never lost.
//! If it cannot tell how many pods there should be, the budget allows nothing.

mod count;

use std::collections::BTreeSet;

use trireme_proto::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    core::v1::{Pod, ReplicationController},
    meta::v1::OwnerReference,
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
};

use self::count::{Count, count};
use super::{owners, pods};
use crate::{
    controller::{Context, Controller, EventType, Outcome, Write},
    disruption::{covers, note_allowed, note_failure},
    kind::{Kind, metadata_of},
    limits::EVENTS_PER_RECONCILE,
    object::ObjectKey,
    world::{Change, World},
};

/// The controller of PodDisruptionBudgets.
pub struct DisruptionController;

impl Controller for DisruptionController {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn keys_for(&self, change: &Change, world: &World, keys: &mut BTreeSet<ObjectKey>) {
        if change.of::<PodDisruptionBudget>().is_some() {
            keys.insert(change.key.clone());
        }
        let budgets = || world.list::<PodDisruptionBudget>(&change.key.namespace);
        if let Some((old, new)) = change.of::<Pod>() {
            if let (Some(old), Some(new)) = (old, new)
                && looks_same(old, new)
            {
                return;
            }
            let is_covered = |budget: &&PodDisruptionBudget| {
                let mut versions = [old, new].into_iter().flatten();
                versions.any(|pod| covers(budget, pod))
            };
            keys.extend(budgets().filter(is_covered).map(owners::key_of));
        }
        if scale_changed::<Deployment>(change)
            || scale_changed::<ReplicaSet>(change)
            || scale_changed::<StatefulSet>(change)
            || scale_changed::<ReplicationController>(change)
        {
            keys.extend(budgets().map(owners::key_of));
        }
    }

    fn all_keys(&self, world: &World) -> BTreeSet<ObjectKey> {
        world.list::<PodDisruptionBudget>("").map(owners::key_of).collect()
    }

    fn reconcile(&self, world: &World, key: &ObjectKey, context: &Context) -> Outcome {
        let Some(budget) = world.get::<PodDisruptionBudget>(key) else {
            return Outcome::default();
        };
        let counted = count(world, budget, context.now);
        let mut status = budget.status.clone().unwrap_or_default();
        match &counted {
            Ok(count) => {
                take_over(&mut status, count, metadata_of(budget).generation);
                note_allowed(&mut status, context.now);
            }
            Err(why) => note_failure(&mut status, why, context.now),
        }
        let mut outcome = Outcome::default();
        if let Ok(count) = &counted {
            outcome.requeue_at = count.recheck_at;
        }
        // What is not news was told before.
        if budget.status.as_ref() != Some(&status) {
            tell(budget, counted, &mut outcome);
            let mut changed = budget.clone();
            changed.status = Some(status);
            outcome.writes.push(Write::UpdateStatus(Box::new(changed)));
        }
        outcome
    }
}

fn take_over(status: &mut PodDisruptionBudgetStatus, count: &Count<'_>, generation: i64) {
    status.observed_generation = generation;
    status.disrupted_pods.clone_from(&count.disrupted);
    status.disruptions_allowed = count.allowed();
    status.current_healthy = count.healthy;
    status.desired_healthy = count.desired;
    status.expected_pods = count.expected;
}

fn tell(budget: &PodDisruptionBudget, counted: Result<Count<'_>, String>, outcome: &mut Outcome) {
    let mut about_budget = |event_type, reason, message: String| {
        outcome.events.push(owners::event(budget, event_type, reason, message));
    };
    match counted {
        Err(why) => {
            let message = format!("Failed to calculate the number of expected pods: {why}");
            about_budget(EventType::Warning, "CalculateExpectedPodCountFailed", message);
        }
        Ok(count) => {
            if count.has_no_pods {
                about_budget(EventType::Normal, "NoPods", "No matching pods found".to_owned());
            }
            if count.has_unmanaged_pods {
                let message = "Pods selected by this PodDisruptionBudget were found to be unmanaged. As a result, the status of \
                               the PDB cannot be calculated correctly, which may result in undefined behavior. To account for \
                               these pods please set \".spec.minAvailable\" field of the PDB to an integer value.";
                about_budget(EventType::Warning, "UnmanagedPods", message.to_owned());
            }
            for pod in count.stayed.into_iter().take(EVENTS_PER_RECONCILE) {
                let key = owners::key_of(budget);
                let message = format!("Pod was expected by PDB {key} to be deleted but it wasn't");
                let event = owners::event(pod, EventType::Warning, "NotDeleted", message);
                outcome.events.push(event);
            }
        }
    }
}

/// True if a change of a pod is none to a budget.
fn looks_same(old: &Pod, new: &Pod) -> bool {
    let (was, is) = (metadata_of(old), metadata_of(new));
    pods::is_ready(old) == pods::is_ready(new)
        && was.uid == is.uid
        && was.labels == is.labels
        && was.deletion_timestamp.is_some() == is.deletion_timestamp.is_some()
        && owners::controller_of(was) == owners::controller_of(is)
}

/// True if a change is one of how many pods an owner of pods wants, or of who owns that one.
fn scale_changed<K: Kind>(change: &Change) -> bool {
    fn facts<K: Kind>(object: &K) -> (&str, Option<&OwnerReference>, Option<i32>) {
        let meta = metadata_of(object);
        let wanted = Kind::scale(object).map(|scale| scale.spec_replicas);
        (&meta.uid, owners::controller_of(meta), wanted)
    }
    change
        .of::<K>()
        .is_some_and(|(old, new)| old.map(facts) != new.map(facts))
}

#[cfg(test)]
mod tests;
