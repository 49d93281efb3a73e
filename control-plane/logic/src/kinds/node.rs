//! Nodes: the machines that run pods.

use std::collections::BTreeSet;

use trireme_proto::api::{
    core::v1::{Node, NodeStatus, Taint},
    meta::v1::Time,
};

use super::{
    bump_generation,
    columns::{AGE, NONE, UNKNOWN, age, column, wide},
    first_generation,
};
use crate::{
    field_error::FieldErrors,
    human::joined_or,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::{names, one_of, quantities, report},
};

/// Labels that begin with this say a node's roles.
const ROLE_LABEL_PREFIX: &str = "node-role.kubernetes.io/";
/// The older way to say a node's role.
const ROLE_LABEL: &str = "kubernetes.io/role";

impl Kind for Node {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "Node",
        plural: "nodes",
        singular: "node",
        short_names: &["no"],
        categories: &[],
        namespaced: false,
        subresources: &["status", "proxy"],
        columns: &[
            column("Status", "Whether the node is ready, and whether it takes pods."),
            column("Roles", "The node's roles, from its labels."),
            AGE,
            column("Version", "The version of the node's agent."),
            wide("Internal-IP", "The node's address inside the cluster."),
            wide("External-IP", "The node's address for others."),
            wide("OS-Image", "The node's operating system."),
            wide("Kernel-Version", "The node's kernel."),
            wide("Container-Runtime", "What runs the node's containers."),
        ],
        selectable_fields: &["spec.unschedulable"],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.spec.get_or_insert_default();
        let status = self.status.get_or_insert_default();
        if status.allocatable.is_empty() {
            status.allocatable.clone_from(&status.capacity);
        }
        status
            .daemon_endpoints
            .get_or_insert_default()
            .kubelet_endpoint
            .get_or_insert_default();
        status.node_info.get_or_insert_default();
    }

    // A node's agent brings its status along when it registers, so a new node keeps it.
    fn prepare_create(&mut self) {
        first_generation(&mut self.metadata);
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        bump_generation(&mut self.metadata, self.spec != old.spec);
    }

    fn prepare_status_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| {
            errors.field("taints", |errors| validate_taints(&spec.taints, errors));
            errors.field("podCIDRs", |errors| {
                for (index, network) in spec.pod_cidrs.iter().enumerate() {
                    errors.index(index, |errors| report(network, names::cidr(network), errors));
                }
            });
        });
        let status = self.status.clone().unwrap_or_default();
        errors.field("status", |errors| validate_resources(&status, errors));
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        let network = |node: &Self| node.spec.as_ref().map(|spec| spec.pod_cidr.clone()).unwrap_or_default();
        let (new, old) = (network(self), network(old));
        if !old.is_empty() && new != old {
            errors.field("spec.podCIDRs", |errors| {
                errors.forbidden("node updates may not change podCIDR except from \"\" to valid");
            });
        }
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut FieldErrors) {
        let status = self.status.clone().unwrap_or_default();
        errors.field("status", |errors| validate_resources(&status, errors));
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let status = self.status.clone().unwrap_or_default();
        let info = status.node_info.clone().unwrap_or_default();
        let address = |kind: &str| {
            let found = status.addresses.iter().find(|address| address.r#type == kind);
            found.map_or(NONE, |address| &address.address).to_owned()
        };
        let or_unknown = |text: &str| {
            if text.is_empty() {
                UNKNOWN.to_owned()
            } else {
                text.to_owned()
            }
        };
        vec![
            condition_cell(self, &status),
            roles_cell(self),
            age(metadata_of(self), now),
            info.kubelet_version.clone(),
            address("InternalIP"),
            address("ExternalIP"),
            or_unknown(&info.os_image),
            or_unknown(&info.kernel_version),
            or_unknown(&info.container_runtime_version),
        ]
    }

    fn selectable_field(&self, path: &str) -> Option<String> {
        (path == "spec.unschedulable").then(|| is_unschedulable(self).to_string())
    }
}

fn is_unschedulable(node: &Node) -> bool {
    node.spec.as_ref().is_some_and(|spec| spec.unschedulable)
}

fn condition_cell(node: &Node, status: &NodeStatus) -> String {
    let ready = status.conditions.iter().find(|condition| condition.r#type == "Ready");
    let mut text = match ready.map(|ready| ready.status.as_str()) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if is_unschedulable(node) {
        text.push_str(",SchedulingDisabled");
    }
    text
}

fn roles_cell(node: &Node) -> String {
    let labels = &metadata_of(node).labels;
    let mut roles: Vec<&str> = labels
        .iter()
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_LABEL_PREFIX) {
            Some(role) => Some(role),
            None if key == ROLE_LABEL => Some(value.as_str()),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    joined_or(roles, NONE)
}

fn validate_taints(taints: &[Taint], errors: &mut FieldErrors) {
    let mut seen = BTreeSet::new();
    for (index, taint) in taints.iter().enumerate() {
        errors.index(index, |errors| {
            errors.field("key", |errors| {
                report(&taint.key, names::qualified_name(&taint.key), errors);
            });
            errors.field("value", |errors| {
                report(&taint.value, names::label_value(&taint.value), errors);
            });
            errors.field("effect", |errors| {
                one_of(&taint.effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"], errors);
            });
            if !seen.insert((&taint.key, &taint.effect)) {
                errors.duplicate(format!("{}:{}", taint.key, taint.effect));
            }
        });
    }
}

fn validate_resources(status: &NodeStatus, errors: &mut FieldErrors) {
    for (field, list) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)] {
        errors.field(field, |errors| quantities::list(list, errors));
    }
}
