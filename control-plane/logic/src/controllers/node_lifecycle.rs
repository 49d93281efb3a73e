//! Follows the nodes' lives: condition and taints from heartbeats, eviction of pods that tolerate no more,
//! removal of pods whose node is no more.
//!
//! Keys are names of nodes, of those that exist and of those that only pods still name. The `Ready`
//! condition is written when it changes, never for the heartbeat's sake. A pod on a silent node is only
//! *asked* to end (I7): it stays until the node says that it ended, or the node object is deleted.

mod eviction;
mod readiness;
mod taints;

use std::collections::BTreeSet;

use trireme_proto::api::core::v1::{Node, NodeStatus, Pod, PodStatus};

use self::readiness::Readiness;
use super::{conditions, owners, pod_gc, pods, times};
use crate::{
    controller::{Context, Controller, EventType, Outcome, Write},
    kind::{Kind, metadata_of},
    limits::WRITES_PER_RECONCILE,
    object::ObjectKey,
    world::{Change, World},
};

/// The controller's name; the shell touches its keys when heartbeats bring news.
pub const NAME: &str = "node-lifecycle-controller";

/// The controller of nodes.
pub struct NodeLifecycle;

impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        NAME
    }

    fn keys_for(&self, change: &Change, world: &World, keys: &mut BTreeSet<ObjectKey>) {
        if change.of::<Node>().is_some() {
            keys.insert(change.key.clone());
        }
        // Pods concern a node only while it is in trouble; a healthy cluster's status reports cause no work.
        if let Some((old, Some(pod))) = change.of::<Pod>()
            && pods::is_bound(pod)
            && !old.is_some_and(|old| looks_same(old, pod))
        {
            let key = ObjectKey::new("", pods::spec(pod).node_name.as_str());
            if world.get::<Node>(&key).is_none_or(in_trouble) {
                keys.insert(key);
            }
        }
    }

    fn all_keys(&self, world: &World) -> BTreeSet<ObjectKey> {
        let nodes = world.list::<Node>("").map(owners::key_of);
        nodes
            .chain(world.nodes_with_pods().map(|name| ObjectKey::new("", name)))
            .collect()
    }

    fn reconcile(&self, world: &World, key: &ObjectKey, context: &Context) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(node) = world.get::<Node>(key) else {
            if world.is_unreadable(&Node::INFO, key) {
                return outcome;
            }
            let stranded = world.pods_on_node(&key.name).take(WRITES_PER_RECONCILE);
            outcome.writes.extend(stranded.map(pod_gc::remove_now));
            return outcome;
        };
        let readiness = readiness::of(world, node, context, &mut outcome);
        follow(node, &readiness, context, &mut outcome);
        if readiness.is_unknown() {
            unready_pods(world, node, context, &mut outcome);
        }
        eviction::evict(world, node, context, &mut outcome);
        outcome
    }
}

/// True if nothing changed of a pod that decides whether it is marked or evicted.
fn looks_same(old: &Pod, new: &Pod) -> bool {
    let place = |pod: &Pod| (pods::is_active(pod), pods::is_finished(pod), pods::is_ready(pod));
    let (old_spec, new_spec) = (pods::spec(old), pods::spec(new));
    place(old) == place(new) && old_spec.node_name == new_spec.node_name && old_spec.tolerations == new_spec.tolerations
}

/// True if pods of the node may have to be marked or evicted.
fn in_trouble(node: &Node) -> bool {
    node.spec
        .as_ref()
        .is_some_and(|spec| spec.taints.iter().any(|taint| taint.effect == "NoExecute"))
        || readiness::stored(node).is_some_and(|(status, _)| status != "True")
}

/// Brings condition and taints after the heartbeats: one write a pass, since each changes the node's
/// version. The condition comes first; the taints follow when the world shows it.
fn follow(node: &Node, readiness: &Readiness, context: &Context, outcome: &mut Outcome) {
    let mut changed = node.clone();
    let status = changed.status.get_or_insert_with(NodeStatus::default);
    if let Some((value, reason, message)) = readiness.condition() {
        let before = readiness::stored(node).map(|(status, _)| status.to_owned());
        if conditions::set(&mut status.conditions, "Ready", value, reason, message, context.now) {
            if before.as_deref() != Some(value) {
                outcome.events.push(event(node, value));
            }
            outcome.writes.push(Write::UpdateStatus(Box::new(changed)));
            return;
        }
    }
    if let Some(taints) = taints::wanted(node, context.now) {
        changed.spec.get_or_insert_default().taints = taints;
        outcome.writes.push(Write::Update(Box::new(changed)));
    }
}

fn event(node: &Node, ready: &str) -> crate::controller::EventRecord {
    let name = &metadata_of(node).name;
    match ready {
        "True" => owners::event(
            node,
            EventType::Normal,
            "NodeReady",
            format!("Node {name} status is now: NodeReady"),
        ),
        _ => owners::event(
            node,
            EventType::Warning,
            "NodeNotReady",
            format!("Node {name} status is now: NodeNotReady"),
        ),
    }
}

/// Takes the pods of a silent node out of service. The node sets their condition again when it is back.
fn unready_pods(world: &World, node: &Node, context: &Context, outcome: &mut Outcome) {
    let ready = world
        .pods_on_node(&metadata_of(node).name)
        .filter(|pod| pods::is_ready(pod) && !pods::is_finished(pod));
    for pod in ready.take(WRITES_PER_RECONCILE) {
        let mut pod = pod.clone();
        let status = pod.status.get_or_insert_with(PodStatus::default);
        let message = "The node stopped reporting.";
        conditions::set(
            &mut status.conditions,
            "Ready",
            "False",
            "NodeNotReady",
            message,
            context.now,
        );
        outcome.writes.push(Write::UpdateStatus(Box::new(pod)));
    }
}

#[cfg(test)]
mod tests;
