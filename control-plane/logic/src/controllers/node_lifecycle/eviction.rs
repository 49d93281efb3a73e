//! Deletes pods from a node whose `NoExecute` taints they do not tolerate, or not any longer.
//!
//! If no node at all is ready, the fault is likely not the nodes': pods then stay where they are, since
//! there is nowhere else for them to go.

use trireme_proto::api::{
    core::v1::{Node, Pod, Taint, Toleration},
    meta::v1::Time,
};

use super::{
    readiness,
    taints::{NOT_READY, UNREACHABLE},
};
use crate::{
    controller::{Context, EventType, Outcome, Write},
    controllers::{owners, pods, times},
    kind::{Kind, metadata_of},
    limits::{DEFAULT_EVICTION_TOLERATION_SECONDS, EVICTION_RECHECK_SECONDS, WRITES_PER_RECONCILE},
    scheduler::tolerations,
    world::World,
};

/// Deletes what must go, and asks to be called again when the next one must.
pub(super) fn evict(world: &World, node: &Node, context: &Context, outcome: &mut Outcome) {
    let Some(spec) = node.spec.as_ref() else { return };
    let taints: Vec<&Taint> = spec.taints.iter().filter(|taint| taint.effect == "NoExecute").collect();
    if taints.is_empty() {
        return;
    }
    let leaving: Vec<(&Pod, Time)> = world
        .pods_on_node(&metadata_of(node).name)
        .filter(|pod| pods::is_active(pod))
        .filter_map(|pod| Some((pod, stays_until(pod, &taints, context.now)?)))
        .collect();
    if leaving.is_empty() {
        return;
    }
    let someone_is_ready = || {
        world
            .list::<Node>("")
            .any(|node| readiness::stored(node).is_some_and(|(status, _)| status == "True"))
    };
    if taints.iter().all(|taint| is_own(taint)) && !someone_is_ready() {
        let again = times::plus_seconds(context.now, EVICTION_RECHECK_SECONDS);
        outcome.requeue_at = times::earlier(outcome.requeue_at, Some(again));
        return;
    }
    let (over, until): (Vec<_>, Vec<_>) = leaving
        .into_iter()
        .partition(|(_, end)| !times::is_after(*end, context.now));
    for (_, end) in until {
        outcome.requeue_at = times::earlier(outcome.requeue_at, Some(end));
    }
    for (pod, _) in over.into_iter().take(WRITES_PER_RECONCILE) {
        let message = format!("Marking for deletion Pod {}", owners::key_of(pod));
        outcome
            .events
            .push(owners::event(pod, EventType::Normal, "TaintManagerEviction", message));
        outcome.writes.push(Write::Delete {
            info: &Pod::INFO,
            key: owners::key_of(pod),
            uid: owners::uid_of(pod).to_owned(),
            grace_period_seconds: None,
        });
    }
}

/// Until when a pod may stay: the shortest time that any of the taints leaves it. `None` if that is for ever.
fn stays_until(pod: &Pod, taints: &[&Taint], now: Time) -> Option<Time> {
    let mut end = None;
    for taint in taints {
        let Some(seconds) = toleration_seconds(&pods::spec(pod).tolerations, taint) else {
            continue;
        };
        // The toleration runs from the taint, or from the pod's creation if it came later.
        let since = times::later(taint.time_added, metadata_of(pod).creation_timestamp);
        end = times::earlier(end, Some(times::plus_seconds(since.unwrap_or(now), seconds.max(0))));
    }
    end
}

/// Seconds for which the taint is tolerated; `None` for ever. A pod that says nothing of the two taints of
/// this controller gets the default, as if admission had written it into the pod.
fn toleration_seconds(list: &[Toleration], taint: &Taint) -> Option<i64> {
    let mut matching = list
        .iter()
        .filter(|toleration| tolerations::tolerates(toleration, taint))
        .peekable();
    if matching.peek().is_none() {
        return Some(if is_own(taint) {
            DEFAULT_EVICTION_TOLERATION_SECONDS
        } else {
            0
        });
    }
    matching.filter_map(|toleration| toleration.toleration_seconds).min()
}

fn is_own(taint: &Taint) -> bool {
    taint.key == NOT_READY || taint.key == UNREACHABLE
}
