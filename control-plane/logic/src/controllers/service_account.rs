//! Keeps a service account `default` in every namespace.
//!
//! Keys are namespaces.

use std::collections::BTreeSet;

use trireme_proto::api::{
    core::v1::{Namespace, ServiceAccount},
    meta::v1::ObjectMeta,
};

use super::owners;
use crate::{
    controller::{Context, Controller, Outcome, Write},
    object::ObjectKey,
    world::{Change, World},
};

/// The name of the account that pods get if they name none.
pub const DEFAULT: &str = "default";

/// The controller of default service accounts.
pub struct ServiceAccountController;

impl Controller for ServiceAccountController {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn keys_for(&self, change: &Change, _world: &World, keys: &mut BTreeSet<ObjectKey>) {
        if change.of::<Namespace>().is_some() {
            keys.insert(change.key.clone());
        }
        if change.of::<ServiceAccount>().is_some() && change.new.is_none() && change.key.name == DEFAULT {
            keys.insert(ObjectKey::new("", change.key.namespace.as_str()));
        }
    }

    fn all_keys(&self, world: &World) -> BTreeSet<ObjectKey> {
        world.list::<Namespace>("").map(owners::key_of).collect()
    }

    fn reconcile(&self, world: &World, key: &ObjectKey, _context: &Context) -> Outcome {
        let account = ObjectKey::new(key.name.as_str(), DEFAULT);
        if owners::namespace_closed(world, &key.name) || world.get::<ServiceAccount>(&account).is_some() {
            return Outcome::default();
        }
        let metadata = ObjectMeta {
            namespace: account.namespace,
            name: account.name,
            ..ObjectMeta::default()
        };
        let account = ServiceAccount {
            metadata: Some(metadata),
            ..ServiceAccount::default()
        };
        Outcome {
            writes: vec![Write::Create(Box::new(account))],
            ..Outcome::default()
        }
    }
}
