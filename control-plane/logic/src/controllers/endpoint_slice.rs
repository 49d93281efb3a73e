//! Writes the addresses of a Service's pods into EndpointSlices.
//!
//! Slices that exist keep the endpoints they have, as far as these are still wanted, so that the change of
//! one pod changes one slice. Slices of services without a selector belong to people and stay as they are;
//! slices of a deleted service are left to the garbage collector.

mod endpoints;
mod packing;

use std::collections::BTreeSet;

use trireme_proto::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};

use super::{owners, pods, selectors};
use crate::{
    controller::{Context, Controller, Outcome},
    kind::metadata_of,
    object::ObjectKey,
    world::{Change, World},
};

/// Label with the name of a slice's service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label with the name of what writes a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// This controller, in that label.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";

/// The controller of EndpointSlices.
pub struct EndpointSliceController;

impl Controller for EndpointSliceController {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn keys_for(&self, change: &Change, world: &World, keys: &mut BTreeSet<ObjectKey>) {
        if change.of::<Service>().is_some() {
            keys.insert(change.key.clone());
        }
        if let Some((old, new)) = change.of::<EndpointSlice>() {
            for slice in [old, new].into_iter().flatten() {
                if let Some(service) = metadata_of(slice).labels.get(SERVICE_NAME) {
                    keys.insert(ObjectKey::new(change.key.namespace.as_str(), service.as_str()));
                }
            }
        }
        let Some((old, new)) = change.of::<Pod>() else { return };
        if let (Some(old), Some(new)) = (old, new)
            && endpoints::looks_same(old, new)
        {
            return;
        }
        for service in world.list::<Service>(&change.key.namespace) {
            if [old, new].into_iter().flatten().any(|pod| selects(service, pod)) {
                keys.insert(owners::key_of(service));
            }
        }
    }

    fn all_keys(&self, world: &World) -> BTreeSet<ObjectKey> {
        world.list::<Service>("").map(owners::key_of).collect()
    }

    fn reconcile(&self, world: &World, key: &ObjectKey, context: &Context) -> Outcome {
        let Some(service) = world.get::<Service>(key).filter(|service| is_ours(service)) else {
            return Outcome::default();
        };
        if owners::is_terminating(service) || owners::namespace_closed(world, &key.namespace) {
            return Outcome::default();
        }
        let wanted = endpoints::wanted(world, service);
        let existing = world.list::<EndpointSlice>(&key.namespace).filter(|slice| {
            let labels = &metadata_of(*slice).labels;
            labels.get(SERVICE_NAME) == Some(&key.name)
                && labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
                && !owners::is_terminating(*slice)
        });
        let writes = packing::pack(service, wanted, existing.collect(), context.seed);
        Outcome {
            writes,
            ..Outcome::default()
        }
    }
}

/// True if this controller writes the service's slices.
fn is_ours(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .is_some_and(|spec| !spec.selector.is_empty() && spec.r#type != "ExternalName")
}

fn selects(service: &Service, pod: &Pod) -> bool {
    is_ours(service)
        && service
            .spec
            .as_ref()
            .is_some_and(|spec| selectors::contains(&metadata_of(pod).labels, &spec.selector))
}

/// The pods that a service is about.
fn pods_of<'a>(world: &'a World, service: &'a Service) -> impl Iterator<Item = &'a Pod> {
    let namespace = &metadata_of(service).namespace;
    world
        .list::<Pod>(namespace)
        .filter(|pod| selects(service, pod) && !pods::is_finished(pod))
}

#[cfg(test)]
mod tests;
