//! The controllers: one file each, one line each in [`all`].
//!
//! A controller is added by writing its file and its line here. What they share stands beside them: facts
//! about pods, owner references, conditions, names.

pub mod conditions;
pub mod deployment;
pub mod disruption;
pub mod endpoint_slice;
pub mod event_ttl;
pub mod garbage_collector;
pub mod names;
pub mod namespace;
pub mod node_lifecycle;
pub mod owners;
pub mod pod_gc;
pub mod pods;
pub mod replication;
pub mod resource_quota;
pub mod selectors;
pub mod service_account;
pub mod times;

use crate::controller::Controller;

/// Every controller, in the order in which a new leader runs their first full pass.
pub fn all() -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(node_lifecycle::NodeLifecycle),
        Box::new(pod_gc::PodGc),
        Box::new(deployment::DeploymentController),
        Box::new(replication::replica_set()),
        Box::new(replication::replication_controller()),
        Box::new(endpoint_slice::EndpointSliceController),
        Box::new(disruption::DisruptionController),
        Box::new(namespace::NamespaceController),
        Box::new(service_account::ServiceAccountController),
        Box::new(garbage_collector::GarbageCollector),
        Box::new(resource_quota::ResourceQuotaController),
        Box::new(event_ttl::EventTtl),
    ]
}

#[cfg(test)]
mod tests;
