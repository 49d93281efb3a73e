//! Decides which pending pod goes to which node: many in one pass, each aware of those before it.
//!
//! A pass is a pure function of the world and a seed. It takes pods in order of priority and age, groups
//! those that are alike into a `class`, filters and scores each node once for a class, and afterwards
//! only the nodes that changed. Every filter has a typed [`reason`](FilterReason) that ends up in the pod's
//! condition and in an event, so "why is my pod pending" has an answer with numbers.
//!
//! A binding is a proposal: the registry refuses it unless the pod is still unbound (I4).

pub(crate) mod affinity;
mod class;
pub mod filters;
mod node_selector;
mod node_state;
mod reasons;
mod report;
pub mod scores;
pub mod tolerations;

use std::collections::BTreeMap;

use trireme_proto::api::{
    core::v1::{Node, Pod},
    meta::v1::Time,
};

pub use self::{
    class::Class,
    node_state::NodeState,
    reasons::{FilterReason, Reasons},
};

use self::class::{ClassKey, Placement};
use crate::{
    controllers::{owners, pods, times},
    kind::metadata_of,
    object::ObjectKey,
    world::World,
};

/// The scheduler that a pod names if it names this one.
pub const SCHEDULER_NAME: &str = "default-scheduler";

/// What a pass may depend on beside the world.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most bindings of one pass.
    pub limit: usize,
    /// Where the round among equal nodes begins.
    pub seed: u64,
    /// The present, for conditions.
    pub now: Time,
}

/// What a pass decided.
#[derive(Debug, Default)]
pub struct Decisions {
    /// Pods that have a node now.
    pub bindings: Vec<Binding>,
    /// Pods for which there is none.
    pub unschedulable: Vec<Unschedulable>,
    /// True if the limit ended the pass before all pods were looked at.
    pub more: bool,
}

/// One pod's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The pod.
    pub pod: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// The node's name.
    pub node: String,
}

/// One pod without a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unschedulable {
    /// The pod.
    pub pod: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// How many nodes were ruled out by what. A node may be ruled out by several shortages.
    pub reasons: Reasons,
    /// The same as a sentence.
    pub message: String,
}

/// Decides on all pending pods.
pub fn schedule(world: &World, options: &Options) -> Decisions {
    let queue = queue(world);
    if queue.is_empty() {
        // Nodes come and go in thousands, and each has to be looked at only for a pod's sake.
        return Decisions::default();
    }
    Pass::new(world, options).run(queue)
}

/// True if the pod asks for this scheduler.
pub fn asks_for_us(pod: &Pod) -> bool {
    let name = pods::spec(pod).scheduler_name.as_str();
    name.is_empty() || name == SCHEDULER_NAME
}

/// True if this scheduler is to find a node for the pod now.
pub fn is_ours(pod: &Pod) -> bool {
    let spec = pods::spec(pod);
    asks_for_us(pod) && spec.scheduling_gates.is_empty() && !pods::is_bound(pod) && pods::is_active(pod)
}

/// True if where the pod may go depends on which pods lie where.
pub fn depends_on_other_pods(pod: &Pod) -> bool {
    affinity::has_terms(pod) || !pods::spec(pod).topology_spread_constraints.is_empty()
}

/// One pass.
struct Pass<'w> {
    world: &'w World,
    options: &'w Options,
    nodes: Vec<NodeState<'w>>,
    places: BTreeMap<&'w str, usize>,
    classes: Vec<Class<'w>>,
    class_places: BTreeMap<ClassKey<'w>, usize>,
    /// Where this pass has put pods, in order.
    log: Vec<Placement<'w>>,
    /// Whether some pod's place depends on the labels of others, so that only pods with equal labels are alike.
    labels_matter: bool,
    /// The node that is next in the round.
    next: usize,
}

impl<'w> Pass<'w> {
    fn new(world: &'w World, options: &'w Options) -> Self {
        let nodes: Vec<NodeState<'w>> = world.list::<Node>("").map(|node| NodeState::new(world, node)).collect();
        let places = nodes
            .iter()
            .enumerate()
            .map(|(place, node)| (node.name, place))
            .collect();
        let count = nodes.len().max(1) as u64;
        let labels_matter =
            world.pods_with_affinity().next().is_some() || world.pods_to_schedule_beside_others().next().is_some();
        Self {
            world,
            options,
            nodes,
            places,
            classes: Vec::new(),
            class_places: BTreeMap::new(),
            log: Vec::new(),
            labels_matter,
            next: usize::try_from(options.seed % count).unwrap_or(0),
        }
    }

    fn run(mut self, queue: Vec<&'w Pod>) -> Decisions {
        let mut decisions = Decisions::default();
        for pod in queue {
            if decisions.bindings.len() >= self.options.limit {
                decisions.more = true;
                break;
            }
            let class = self.class_of(pod);
            self.classes[class].catch_up(&self.nodes, &self.log);
            match self.classes[class].best(self.next) {
                Some(place) => decisions.bindings.push(self.bind(pod, class, place)),
                None => decisions.unschedulable.push(self.explain(pod, class)),
            }
        }
        decisions
    }

    fn class_of(&mut self, pod: &'w Pod) -> usize {
        let key = ClassKey::of(pod, self.labels_matter);
        if let Some(place) = self.class_places.get(&key) {
            return *place;
        }
        let place = self.classes.len();
        self.classes
            .push(Class::new(self.world, pod, &self.nodes, &self.places));
        self.class_places.insert(key, place);
        place
    }

    fn bind(&mut self, pod: &Pod, class: usize, place: usize) -> Binding {
        self.nodes[place].usage.add(self.classes[class].request());
        self.log.push(self.classes[class].placement(place));
        self.next = (place + 1) % self.nodes.len();
        Binding {
            pod: owners::key_of(pod),
            uid: owners::uid_of(pod).to_owned(),
            node: self.nodes[place].name.to_owned(),
        }
    }

    fn explain(&self, pod: &Pod, class: usize) -> Unschedulable {
        let reasons = self.classes[class].reasons();
        Unschedulable {
            pod: owners::key_of(pod),
            uid: owners::uid_of(pod).to_owned(),
            message: reasons.message(self.nodes.len()),
            reasons,
        }
    }
}

/// The pending pods that are ours: the most important first, then the oldest.
fn queue(world: &World) -> Vec<&Pod> {
    let mut queue: Vec<&Pod> = world.pods_to_schedule().filter(|pod| is_ours(pod)).collect();
    // The sort is stable, so that equals stay in the order of their keys.
    queue.sort_by_key(|pod| {
        let created = metadata_of(*pod).creation_timestamp.map(times::order);
        (std::cmp::Reverse(pods::spec(pod).priority.unwrap_or(0)), created)
    });
    queue
}

#[cfg(test)]
mod tests;
