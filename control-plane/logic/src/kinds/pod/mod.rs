//! Pods: containers that run together on one node.
//!
//! A pod is bound to a node once (invariant I4, kept by the registry), and its spec hardly changes after
//! it was made. Its status belongs to the node that runs it.

mod columns;
pub mod part;
mod qos;
pub mod resources;
mod update;

use trireme_proto::api::{
    core::v1::{Pod, PodCondition, PodSpec, PodStatus},
    meta::v1::Time,
};

pub use self::qos::qos_class;
use super::{
    columns::{AGE, column, wide},
    pod_spec,
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule},
};

/// True for a phase that a pod never leaves.
pub fn is_finished(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .is_some_and(|status| matches!(status.phase.as_str(), "Succeeded" | "Failed"))
}

impl Kind for Pod {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short_names: &["po"],
        categories: &["all"],
        namespaced: true,
        subresources: &[
            "status",
            "attach",
            "binding",
            "ephemeralcontainers",
            "eviction",
            "exec",
            "log",
            "portforward",
            "proxy",
            "resize",
        ],
        columns: &[
            column("Ready", "Containers that are ready, of all."),
            column("Status", "What the pod is doing, or what keeps it from it."),
            column(
                "Restarts",
                "How often its containers were started again, and when last.",
            ),
            AGE,
            wide("IP", "The pod's address."),
            wide("Node", "The node that the pod is bound to."),
            wide("Nominated Node", "The node that is being cleared for the pod."),
            wide(
                "Readiness Gates",
                "Conditions of others that are met, of those the pod waits for.",
            ),
        ],
        selectable_fields: &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.status.get_or_insert_default();
        let spec = self.spec.get_or_insert_default();
        pod_spec::defaults::set_defaults(spec);
        pod_spec::defaults::set_pod_defaults(spec);
    }

    fn prepare_create(&mut self) {
        super::first_generation(&mut self.metadata);
        let status = PodStatus {
            phase: "Pending".into(),
            qos_class: qos_class(self).into(),
            conditions: scheduling_gated(self.spec.as_ref()).into_iter().collect(),
            ..PodStatus::default()
        };
        self.status = Some(status);
    }

    fn prepare_update(&mut self, old: &Self) {
        super::bump_generation(&mut self.metadata, self.spec != old.spec);
        self.status.clone_from(&old.status);
    }

    fn prepare_status_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
        if let (Some(status), Some(old)) = (&mut self.status, &old.status) {
            // The class follows from the spec, so a status that leaves it out does not lose it.
            status.qos_class.clone_from(&old.qos_class);
        }
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let none = PodSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&none);
        errors.field("spec", |errors| {
            pod_spec::validate(spec, errors);
            if !spec.scheduling_gates.is_empty() && !spec.node_name.is_empty() {
                errors.field("nodeName", |errors| {
                    errors.forbidden("cannot be set until all schedulingGates have been cleared");
                });
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        update::validate(self, old, errors);
    }

    fn validate_status_update(&self, old: &Self, errors: &mut FieldErrors) {
        update::validate_status(self, old, errors);
    }

    fn cells(&self, now: Time) -> Vec<String> {
        columns::cells(self, now)
    }

    fn selectable_field(&self, path: &str) -> Option<String> {
        let spec = |field: fn(&PodSpec) -> String| Some(self.spec.as_ref().map(field).unwrap_or_default());
        let status = |field: fn(&PodStatus) -> String| Some(self.status.as_ref().map(field).unwrap_or_default());
        match path {
            "spec.nodeName" => spec(|spec| spec.node_name.clone()),
            "spec.restartPolicy" => spec(|spec| spec.restart_policy.clone()),
            "spec.schedulerName" => spec(|spec| spec.scheduler_name.clone()),
            "spec.serviceAccountName" => spec(|spec| spec.service_account_name.clone()),
            "spec.hostNetwork" => spec(|spec| spec.host_network.to_string()),
            "status.phase" => status(|status| status.phase.clone()),
            "status.podIP" => status(|status| status.pod_ip.clone()),
            "status.podIPs" => status(|status| {
                status
                    .pod_ips
                    .iter()
                    .map(|address| address.ip.as_str())
                    .collect::<Vec<_>>()
                    .join(",")
            }),
            "status.nominatedNodeName" => status(|status| status.nominated_node_name.clone()),
            _ => None,
        }
    }

    fn graceful_deletion_seconds(&self, requested: Option<i64>) -> Option<i64> {
        let spec = self.spec.as_ref();
        let own = spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(0);
        let never_ran = spec.is_none_or(|spec| spec.node_name.is_empty());
        if never_ran || is_finished(self) {
            return Some(0);
        }
        // A negative wish means: as fast as it goes, but by the node.
        Some(match requested.unwrap_or(own) {
            ..0 => 1,
            seconds => seconds,
        })
    }
}

/// The condition of a pod that is held back by gates.
fn scheduling_gated(spec: Option<&PodSpec>) -> Option<PodCondition> {
    spec.filter(|spec| !spec.scheduling_gates.is_empty())
        .map(|_| PodCondition {
            r#type: "PodScheduled".into(),
            status: "False".into(),
            reason: "SchedulingGated".into(),
            message: "Scheduling is blocked due to non-empty scheduling gates".into(),
            ..PodCondition::default()
        })
}
