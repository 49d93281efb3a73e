//! Slows down an owner whose pods fail at once, which would otherwise make pods as fast as the cluster can.
//!
//! It remembers nothing: the failed pods themselves tell how many rounds there were.

use std::collections::BTreeSet;

use trireme_proto::api::{core::v1::Pod, meta::v1::Time};

use crate::{
    controllers::{pods, times},
    kind::metadata_of,
    limits::{FAILED_POD_BACKOFF_SECONDS, FAILED_POD_MEMORY_SECONDS, SHORT_LIFE_SECONDS},
};

/// Until when to wait before new pods; `None` if they may be made now.
pub(super) fn wait_until(failed: &[&Pod], now: Time) -> Option<Time> {
    let horizon = times::plus_seconds(now, -FAILED_POD_MEMORY_SECONDS);
    let mut rounds = BTreeSet::new();
    let mut last = None;
    for pod in failed {
        let Some(created) = metadata_of(*pod)
            .creation_timestamp
            .filter(|created| !times::is_after(horizon, *created))
        else {
            continue;
        };
        let ended = ended_at(pod).unwrap_or(created);
        if times::seconds_between(created, ended) < SHORT_LIFE_SECONDS {
            // Pods of one pass are one round, however many they were.
            rounds.insert(times::order(created));
            last = times::later(last, Some(ended));
        }
    }
    let exponent = u32::try_from(rounds.len())
        .unwrap_or(u32::MAX)
        .saturating_sub(1)
        .min(16);
    let delay = (1_i64 << exponent).min(FAILED_POD_BACKOFF_SECONDS);
    last.map(|last| times::plus_seconds(last, delay))
        .filter(|until| times::is_after(*until, now))
}

/// When a failed pod ended, as far as its status tells.
fn ended_at(pod: &Pod) -> Option<Time> {
    let status = pods::status(pod);
    let conditions = status
        .conditions
        .iter()
        .filter_map(|condition| condition.last_transition_time);
    let containers = status
        .container_statuses
        .iter()
        .filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at);
    conditions
        .chain(containers)
        .fold(None, |latest, time| times::later(latest, Some(time)))
}
