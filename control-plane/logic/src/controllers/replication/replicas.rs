//! What the shared core asks of an owner of replicas.

use std::collections::BTreeMap;

use trireme_proto::api::{core::v1::PodTemplateSpec, meta::v1::Time};

use crate::{
    controllers::conditions::{self, Condition},
    kind::Kind,
};

/// An owner of interchangeable pods.
pub trait Replicas: Kind {
    /// How many it wants.
    fn replicas(&self) -> i32;
    /// How long a pod must have been ready to count as available.
    fn min_ready_seconds(&self) -> i32;
    /// What its pods look like.
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// True if its selector matches the labels. An empty selector matches nothing, lest a mistake take over
    /// every pod of a namespace.
    fn selects(&self, labels: &BTreeMap<String, String>) -> bool;
    /// The counts in its status.
    fn counts(&self) -> Counts;
    /// Replaces them.
    fn set_counts(&mut self, counts: &Counts);
    /// True if its status says that pods cannot be made or deleted.
    fn has_failure(&self) -> bool;
    /// Says that pods cannot be made or deleted, with reason and message, or takes that back. True if anything changed.
    fn set_failure(&mut self, failure: Option<(&str, &str)>, now: Time) -> bool;
}

/// The condition of an owner whose pods cannot be made or deleted.
pub const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Sets or takes away [`REPLICA_FAILURE`] among the conditions of any owner.
pub(super) fn set_failure<C: Condition>(conditions: &mut Vec<C>, failure: Option<(&str, &str)>, now: Time) -> bool {
    match failure {
        Some((reason, message)) => conditions::set(conditions, REPLICA_FAILURE, "True", reason, message, now),
        None => conditions::remove(conditions, REPLICA_FAILURE),
    }
}

/// The counts in the status of an owner of replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods that are neither finished nor being deleted.
    pub replicas: i32,
    /// Of these, those with all labels of the template.
    pub fully_labeled: i32,
    /// Of these, those that are ready.
    pub ready: i32,
    /// Of these, those that have been ready for long enough.
    pub available: i32,
    /// Unfinished pods that are being deleted; only ReplicaSets report it.
    pub terminating: i32,
    /// The generation of the spec that this is about.
    pub observed_generation: i64,
}
