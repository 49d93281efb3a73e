//! Which pods go first when there are too many, in Kubernetes' order.

use std::{cmp::Reverse, collections::BTreeMap};

use trireme_proto::api::core::v1::Pod;

use crate::{
    controllers::{pods, times},
    kind::metadata_of,
};

/// Rank of a pod; the smallest goes first. The fields are compared in order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    bound: bool,
    phase: u8,
    ready: bool,
    deletion_cost: i32,
    neighbours: Reverse<usize>,
    ready_since: Reverse<Option<(i64, i32)>>,
    restarts: Reverse<i64>,
    created: Reverse<Option<(i64, i32)>>,
    name: &'a str,
}

/// The `count` pods to delete.
pub(super) fn victims<'a>(active: &[&'a Pod], count: usize) -> Vec<&'a Pod> {
    let mut per_node: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in active {
        *per_node.entry(&pods::spec(pod).node_name).or_default() += 1;
    }
    let mut ranked: Vec<(Rank<'a>, &'a Pod)> = active
        .iter()
        .map(|pod| {
            let neighbours = per_node.get(pods::spec(pod).node_name.as_str()).copied().unwrap_or(0);
            (rank(pod, neighbours), *pod)
        })
        .collect();
    ranked.sort_by(|one, other| one.0.cmp(&other.0));
    ranked.into_iter().take(count).map(|(_, pod)| pod).collect()
}

fn rank(pod: &Pod, neighbours: usize) -> Rank<'_> {
    let meta = metadata_of(pod);
    let bound = pods::is_bound(pod);
    let ready = pods::is_ready(pod);
    Rank {
        bound,
        phase: match pods::status(pod).phase.as_str() {
            "Running" => 2,
            "Unknown" => 1,
            _ => 0,
        },
        ready,
        deletion_cost: meta
            .annotations
            .get(pods::DELETION_COST)
            .and_then(|cost| cost.parse().ok())
            .unwrap_or(0),
        neighbours: Reverse(if bound { neighbours } else { 0 }),
        ready_since: Reverse(
            pods::condition(pod, "Ready")
                .filter(|_| ready)
                .and_then(|ready| ready.last_transition_time)
                .map(times::order),
        ),
        restarts: Reverse(pods::restarts(pod)),
        created: Reverse(meta.creation_timestamp.map(times::order)),
        name: &meta.name,
    }
}
