//! A ReplicationController as an owner of replicas. Its status does not count terminating pods.

use std::collections::BTreeMap;

use trireme_proto::api::{
    core::v1::{PodTemplateSpec, ReplicationController, ReplicationControllerStatus},
    meta::v1::Time,
};

use super::{
    Counts, Replicas,
    replicas::{REPLICA_FAILURE, set_failure},
};
use crate::controllers::conditions;

impl Replicas for ReplicationController {
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
        let selector = self
            .spec
            .as_ref()
            .map(|spec| &spec.selector)
            .filter(|selector| !selector.is_empty());
        selector.is_some_and(|selector| selector.iter().all(|(name, value)| labels.get(name) == Some(value)))
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
            terminating: 0,
            observed_generation: status.observed_generation,
        }
    }

    fn set_counts(&mut self, counts: &Counts) {
        let status = self.status.get_or_insert_with(ReplicationControllerStatus::default);
        status.replicas = counts.replicas;
        status.fully_labeled_replicas = counts.fully_labeled;
        status.ready_replicas = counts.ready;
        status.available_replicas = counts.available;
        status.observed_generation = counts.observed_generation;
    }

    fn has_failure(&self) -> bool {
        let status = self.status.as_ref();
        status.is_some_and(|status| conditions::find(&status.conditions, REPLICA_FAILURE).is_some())
    }

    fn set_failure(&mut self, failure: Option<(&str, &str)>, now: Time) -> bool {
        let status = self.status.get_or_insert_with(ReplicationControllerStatus::default);
        set_failure(&mut status.conditions, failure, now)
    }
}
