//! A node during a pass: what it offers, and what is taken, the pass's own decisions included.

use std::collections::BTreeMap;

use trireme_proto::api::core::v1::{Node, Taint};

use crate::{
    kind::metadata_of,
    world::{NodeUsage, Resources, World},
};

/// A node during a pass.
#[derive(Debug)]
pub struct NodeState<'w> {
    /// Its name.
    pub name: &'w str,
    /// Its labels.
    pub labels: &'w BTreeMap<String, String>,
    /// Its taints.
    pub taints: &'w [Taint],
    /// True if people took it out of service.
    pub unschedulable: bool,
    /// The status of its `Ready` condition; empty if it has none.
    pub ready: &'w str,
    /// What it offers to pods.
    pub allocatable: Resources,
    /// What is taken.
    pub usage: NodeUsage,
}

impl<'w> NodeState<'w> {
    pub(super) fn new(world: &'w World, node: &'w Node) -> Self {
        let meta = metadata_of(node);
        let conditions = node.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let ready = conditions.iter().find(|condition| condition.r#type == "Ready");
        Self {
            name: &meta.name,
            labels: &meta.labels,
            taints: node.spec.as_ref().map_or(&[], |spec| &spec.taints),
            unschedulable: node.spec.as_ref().is_some_and(|spec| spec.unschedulable),
            ready: ready.map_or("", |condition| &condition.status),
            allocatable: node.status.as_ref().map_or_else(Resources::default, |status| {
                Resources::from_list(if status.allocatable.is_empty() {
                    &status.capacity
                } else {
                    &status.allocatable
                })
            }),
            usage: world.node_usage(&meta.name).cloned().unwrap_or_default(),
        }
    }
}
