//! Rolls a Deployment's template out over ReplicaSets, one for each template.
//!
//! A pass works on copies of the Deployment and its ReplicaSets and compares them with the originals at the
//! end, so that it writes each object at most once and only if it changed. The parts: `revision` finds or
//! makes the ReplicaSet of the present template, `rollout` moves replicas towards it, `scale` follows a
//! changed size or a pause, `status` reports, `history` cleans up.

mod history;
mod plan;
mod revision;
mod rollout;
mod scale;
mod status;

use std::collections::BTreeSet;

use trireme_proto::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};

use self::plan::Plan;
use super::{owners, pods, selectors};
use crate::{
    controller::{Action, Context, Controller, EventType, Outcome, Refusal, Write},
    kind::metadata_of,
    object::ObjectKey,
    world::{Change, World},
};

/// The controller of Deployments.
pub struct DeploymentController;

impl Controller for DeploymentController {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn keys_for(&self, change: &Change, world: &World, keys: &mut BTreeSet<ObjectKey>) {
        if change.of::<Deployment>().is_some() {
            keys.insert(change.key.clone());
        }
        if let Some((old, new)) = change.of::<ReplicaSet>() {
            for set in [old, new].into_iter().flatten() {
                keys.extend(owner_of(set));
            }
            if let Some(set) = new.filter(|set| owners::controller_of(metadata_of(*set)).is_none()) {
                let labels = &metadata_of(set).labels;
                let adopters = world.list::<Deployment>(&change.key.namespace);
                keys.extend(
                    adopters
                        .filter(|deployment| plan::selects(deployment, labels))
                        .map(owners::key_of),
                );
            }
        }
        // Recreate waits for the last old pod to end, which no ReplicaSet reports.
        if let Some((Some(old), new)) = change.of::<Pod>()
            && new.is_none_or(pods::is_finished)
            && let Some(set) = owners::controller_named::<ReplicaSet>(metadata_of(old))
            && let Some(set) =
                world.get::<ReplicaSet>(&ObjectKey::new(change.key.namespace.as_str(), set.name.as_str()))
        {
            keys.extend(owner_of(set));
        }
    }

    fn all_keys(&self, world: &World) -> BTreeSet<ObjectKey> {
        world.list::<Deployment>("").map(owners::key_of).collect()
    }

    fn reconcile(&self, world: &World, key: &ObjectKey, context: &Context) -> Outcome {
        let Some(deployment) = world.get::<Deployment>(key) else {
            return Outcome::default();
        };
        let mut plan = Plan::new(world, deployment, context);
        let selector = deployment.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        if selector.is_none_or(selectors::is_empty) {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            return Outcome {
                events: vec![owners::event(deployment, EventType::Warning, "SelectingAll", message)],
                ..Outcome::default()
            };
        }
        if owners::is_terminating(deployment) || owners::namespace_closed(world, &key.namespace) {
            plan.report();
            return plan.finish();
        }
        plan.claim();
        plan.note_pause();
        if plan.paused() || plan.is_scaling() {
            plan.sync_revision();
            plan.follow_size();
        } else if plan.recreates() {
            plan.recreate();
        } else {
            plan.roll();
        }
        plan.annotate_sizes();
        plan.report();
        plan.clean_up();
        plan.finish()
    }

    fn on_refusal(&self, world: &World, key: &ObjectKey, refusal: &Refusal, context: &Context) -> Outcome {
        let mut outcome = Outcome::default();
        let deployment = world.get::<Deployment>(key);
        let (Some(deployment), Action::Create) = (deployment, refusal.action) else {
            return outcome;
        };
        let message = format!(
            "Failed to create new replica set {:?}: {}",
            refusal.name, refusal.message
        );
        let mut changed = deployment.clone();
        if status::note_refused_set(&mut changed, &message, context.now) {
            outcome.writes.push(Write::UpdateStatus(Box::new(changed)));
        }
        let reason = status::SET_REFUSED;
        outcome
            .events
            .push(owners::event(deployment, EventType::Warning, reason, message));
        outcome
    }
}

/// The key of the Deployment that controls a ReplicaSet.
fn owner_of(set: &ReplicaSet) -> Option<ObjectKey> {
    let meta = metadata_of(set);
    let owner = owners::controller_named::<Deployment>(meta)?;
    Some(ObjectKey::new(meta.namespace.as_str(), owner.name.as_str()))
}

#[cfg(test)]
mod tests;
