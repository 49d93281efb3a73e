//! Removes pods that nobody else will: being deleted, and never bound to a node that could end them.
//!
//! Pods of nodes that no longer exist are the node life cycle's business.

use std::collections::BTreeSet;

use trireme_proto::api::core::v1::Pod;

use super::{owners, pods};
use crate::{
    controller::{Context, Controller, Outcome, Write},
    kind::Kind,
    object::ObjectKey,
    world::{Change, World},
};

/// The controller of pods that were deleted before they were bound.
pub struct PodGc;

impl Controller for PodGc {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn keys_for(&self, change: &Change, _world: &World, keys: &mut BTreeSet<ObjectKey>) {
        if let Some((_, Some(pod))) = change.of::<Pod>()
            && is_stray(pod)
        {
            keys.insert(change.key.clone());
        }
    }

    fn all_keys(&self, world: &World) -> BTreeSet<ObjectKey> {
        world
            .pending_pods()
            .filter(|pod| is_stray(pod))
            .map(owners::key_of)
            .collect()
    }

    fn reconcile(&self, world: &World, key: &ObjectKey, _context: &Context) -> Outcome {
        let stray = world.get::<Pod>(key).filter(|pod| is_stray(pod));
        Outcome {
            writes: stray.map(remove_now).into_iter().collect(),
            ..Outcome::default()
        }
    }
}

fn is_stray(pod: &Pod) -> bool {
    owners::is_terminating(pod) && !pods::is_bound(pod)
}

/// Deletes a pod without waiting for anyone to end it.
pub(super) fn remove_now(pod: &Pod) -> Write {
    Write::Delete {
        info: &Pod::INFO,
        key: owners::key_of(pod),
        uid: owners::uid_of(pod).to_owned(),
        grace_period_seconds: Some(0),
    }
}
