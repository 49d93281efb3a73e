//! Keeps count of what the objects of a namespace take up of its quotas.
//!
//! What new objects take is charged by the registry in the transaction that stores them. This controller
//! finds what was given back, and counts for a quota that is new or changed. It writes a status only over the
//! version that it saw, so a charge that came in between is never lost.

use std::collections::BTreeSet;

use trireme_proto::api::core::v1::ResourceQuota;

use super::{owners, times};
use crate::{
    admission::quota,
    controller::{Context, Controller, Outcome, Write},
    kind::metadata_of,
    limits::QUOTA_RECOUNT_SECONDS,
    object::{Object, ObjectKey},
    world::{Change, World},
};

/// The controller of ResourceQuotas.
pub struct ResourceQuotaController;

impl Controller for ResourceQuotaController {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn keys_for(&self, change: &Change, world: &World, keys: &mut BTreeSet<ObjectKey>) {
        if change.of::<ResourceQuota>().is_some() {
            keys.insert(change.key.clone());
        }
        // A new object was charged already; only what changed or went may have to be given back.
        let Some(old) = &change.old else { return };
        if change.key.namespace.is_empty() {
            return;
        }
        let mut quotas = world.list::<ResourceQuota>(&change.key.namespace).peekable();
        if quotas.peek().is_none() {
            return;
        }
        let same = change
            .new
            .as_ref()
            .is_some_and(|new| quota::usage_of(&**new) == quota::usage_of(&**old));
        if !same {
            keys.extend(quotas.map(owners::key_of));
        }
    }

    fn all_keys(&self, world: &World) -> BTreeSet<ObjectKey> {
        world.list::<ResourceQuota>("").map(owners::key_of).collect()
    }

    fn reconcile(&self, world: &World, key: &ObjectKey, context: &Context) -> Outcome {
        let Some(quota) = world
            .get::<ResourceQuota>(key)
            .filter(|quota| !owners::is_terminating(*quota))
        else {
            return Outcome::default();
        };
        let namespace = metadata_of(quota).namespace.as_str();
        let namespaced = world.tables().filter(|table| table.info().namespaced);
        let objects = namespaced
            .flat_map(|table| table.list(namespace))
            .map(|object| &**object as &dyn Object);
        let counted = quota::recalculate(quota, objects);
        let mut outcome = Outcome {
            requeue_at: Some(times::plus_seconds(context.now, QUOTA_RECOUNT_SECONDS)),
            ..Outcome::default()
        };
        if counted.status != quota.status {
            outcome.writes.push(Write::UpdateStatus(Box::new(counted)));
        }
        outcome
    }
}
