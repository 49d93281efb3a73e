//! A ReplicaSet as an owner of replicas.

use std::collections::BTreeMap;

use trireme_proto::api::{
    apps::v1::{ReplicaSet, ReplicaSetStatus},
    core::v1::PodTemplateSpec,
    meta::v1::Time,
};

use super::{
    Counts, Replicas,
    replicas::{REPLICA_FAILURE, set_failure},
};
use crate::controllers::{conditions, selectors};

impl Replicas for ReplicaSet {
    fn replicas(&self) -> i32 {
        self.spec.as_ref().map_or(0, |spec| spec.replicas.unwrap_or(1))
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().map_or(0, |spec| spec.min_ready_seconds)
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let selector = self.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|selector| !selectors::is_empty(selector) && selectors::matches(selector, labels))
    }

    fn counts(&self) -> Counts {
        let Some(status) = &self.status else {
            return Counts::default();
        };
        Counts {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas,
            ready: status.ready_replicas,
            available: status.available_replicas,
            terminating: status.terminating_replicas.unwrap_or(0),
            observed_generation: status.observed_generation,
        }
    }

    fn set_counts(&mut self, counts: &Counts) {
        let status = self.status.get_or_insert_with(ReplicaSetStatus::default);
        status.replicas = counts.replicas;
        status.fully_labeled_replicas = counts.fully_labeled;
        status.ready_replicas = counts.ready;
        status.available_replicas = counts.available;
        status.terminating_replicas = Some(counts.terminating);
        status.observed_generation = counts.observed_generation;
    }

    fn has_failure(&self) -> bool {
        let status = self.status.as_ref();
        status.is_some_and(|status| conditions::find(&status.conditions, REPLICA_FAILURE).is_some())
    }

    fn set_failure(&mut self, failure: Option<(&str, &str)>, now: Time) -> bool {
        let status = self.status.get_or_insert_with(ReplicaSetStatus::default);
        set_failure(&mut status.conditions, failure, now)
    }
}
