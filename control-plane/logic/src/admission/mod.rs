//! Admission: what the cluster, beyond the object itself, has to say about a request.
//!
//! A plugin is one file here and one line in [`PLUGINS`]. Plugins first change the object, then, after it
//! was validated, refuse it or let it pass. They are pure: what they need to know of other objects comes by
//! [`AdmissionLookup`], and the registry makes what it looked up a precondition of its write (but not priority
//! classes, which a pod is done with once it has its priority).
//!
//! Quotas and limit ranges are functions of their own, since the registry charges quotas in the very
//! transaction that stores the object.

mod lifecycle;
mod limit_ranger;
mod priority;
pub mod quota;
mod service_account;
mod storage_class;
mod tolerations;

use std::sync::Arc;

use trireme_proto::api::core::v1::LimitRange;

pub use self::{
    lifecycle::NamespaceLifecycle,
    limit_ranger::{LimitRanger, apply_limit_ranges, check_limit_ranges},
    priority::{Priority, PriorityClasses},
    quota::{QuotaExceeded, Usage, charge, charge_change, recalculate, usage_of},
    service_account::ServiceAccountDefault,
    storage_class::{DefaultStorageClass, default_of as default_storage_class_of},
    tolerations::DefaultTolerationSeconds,
};
use crate::{
    kind::KindInfo,
    object::{Object, ObjectKey},
};

/// Every plugin, in the order in which they see an object.
pub static PLUGINS: &[&dyn AdmissionPlugin] = &[
    &NamespaceLifecycle,
    &LimitRanger,
    &ServiceAccountDefault,
    &Priority,
    &DefaultTolerationSeconds,
    &DefaultStorageClass,
];

/// What is to be done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is new.
    Create,
    /// It changes. Not asked for changes of the status.
    Update,
    /// It is to go.
    Delete,
}

/// A request that asks for admission.
#[derive(Debug, Clone)]
pub struct AdmissionRequest {
    /// What is to be done.
    pub operation: Operation,
    /// The kind of the object.
    pub info: &'static KindInfo,
    /// The object.
    pub key: ObjectKey,
}

/// The phase of a namespace that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespacePhase {
    /// In use.
    Active,
    /// It takes no new objects.
    Terminating,
}

/// What plugins may ask about other objects.
pub trait AdmissionLookup {
    /// The phase of a namespace; `None` if there is no such namespace.
    fn namespace(&self, name: &str) -> Option<NamespacePhase>;
    /// The limit ranges of a namespace, by name.
    fn limit_ranges(&self, namespace: &str) -> Vec<Arc<LimitRange>>;
    /// The priority classes.
    fn priority_classes(&self) -> Arc<PriorityClasses>;
    /// The storage class of claims that name none, if there is one.
    fn default_storage_class(&self) -> Option<String>;
}

/// One thing the cluster has a say in.
pub trait AdmissionPlugin: Send + Sync {
    /// Its name, as Kubernetes has it.
    fn name(&self) -> &'static str;

    /// Changes the object. Idempotent.
    fn mutate(&self, _request: &AdmissionRequest, _object: &mut dyn Object, _lookup: &dyn AdmissionLookup) {}

    /// Refuses the request or lets it pass. `object` is the present one if it is to be deleted.
    ///
    /// # Errors
    /// Says why it is refused.
    fn validate(
        &self,
        _request: &AdmissionRequest,
        _object: &dyn Object,
        _lookup: &dyn AdmissionLookup,
    ) -> Result<(), AdmissionError> {
        Ok(())
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AdmissionError {
    /// The kind of refusal.
    pub reason: AdmissionReason,
    /// The whole message for the client.
    pub message: String,
}

/// The kind of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionReason {
    /// It is not allowed as things are.
    Forbidden,
    /// Something that the object must be in does not exist.
    NotFound,
}

/// Lets every plugin change the object.
pub fn mutate(request: &AdmissionRequest, object: &mut dyn Object, lookup: &dyn AdmissionLookup) {
    for plugin in PLUGINS {
        plugin.mutate(request, object, lookup);
    }
}

/// Asks every plugin whether the request may pass.
///
/// # Errors
/// The first refusal.
pub fn validate(
    request: &AdmissionRequest,
    object: &dyn Object,
    lookup: &dyn AdmissionLookup,
) -> Result<(), AdmissionError> {
    PLUGINS
        .iter()
        .try_for_each(|plugin| plugin.validate(request, object, lookup))
}

impl AdmissionError {
    /// `pods "web" is forbidden: why`
    pub fn forbidden(request: &AdmissionRequest, why: impl std::fmt::Display) -> Self {
        let (resource, name) = (group_resource(request.info), &request.key.name);
        Self {
            reason: AdmissionReason::Forbidden,
            message: format!("{resource} {name:?} is forbidden: {why}"),
        }
    }
}

/// A resource as messages name it: `pods`, `deployments.apps`.
pub fn group_resource(info: &KindInfo) -> String {
    if info.group.is_empty() {
        info.plural.to_owned()
    } else {
        format!("{}.{}", info.plural, info.group)
    }
}

#[cfg(test)]
mod tests;
