//! What a node's heartbeats say of it.

use trireme_proto::api::core::v1::Node;

use super::times;
use crate::{
    controller::{Context, Outcome},
    kind::metadata_of,
    limits::{NODE_SILENCE_LIMIT_MS, NODE_TAKEOVER_GRACE_MS},
    world::World,
};

/// How a node is doing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It was not heard yet by a leader that is too young to judge: its state stays what it is.
    Undecided {
        /// True if the state that stays is "unknown".
        unknown: bool,
    },
    /// It says that it is ready.
    Ready,
    /// It says that it is not, and why.
    NotReady(String),
    /// It says nothing.
    Silent,
}

impl Readiness {
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Silent | Self::Undecided { unknown: true })
    }

    /// Status, reason and message of the `Ready` condition; `None` to leave it alone.
    pub(super) fn condition(&self) -> Option<(&'static str, &'static str, &str)> {
        match self {
            Self::Undecided { .. } => None,
            Self::Ready => Some(("True", "AgentReady", "The node agent reports that the node is ready.")),
            Self::NotReady(message) => Some(("False", "AgentNotReady", message)),
            Self::Silent => Some(("Unknown", "NodeStatusUnknown", "The node agent stopped reporting.")),
        }
    }
}

/// Judges a node, and asks to be called again when the judgement may change by the mere passing of time.
pub(super) fn of(world: &World, node: &Node, context: &Context, outcome: &mut Outcome) -> Readiness {
    let name = &metadata_of(node).name;
    let book = &world.node_health;
    let heartbeat = book.last(name);
    let limit_ms = if heartbeat.is_some() {
        NODE_SILENCE_LIMIT_MS
    } else {
        NODE_TAKEOVER_GRACE_MS
    };
    let silence_ms = book.silence_ms(name).min(age_ms(node, context));
    if silence_ms > limit_ms {
        return Readiness::Silent;
    }
    // One more millisecond, so that the limit is passed and not just reached.
    let again = times::plus_millis(context.now, limit_ms - silence_ms + 1);
    outcome.requeue_at = times::earlier(outcome.requeue_at, Some(again));
    match heartbeat {
        None => Readiness::Undecided {
            unknown: stored(node).is_some_and(|(status, _)| status == "Unknown"),
        },
        Some(heartbeat) if heartbeat.ready => Readiness::Ready,
        Some(heartbeat) => Readiness::NotReady(match heartbeat.message.as_str() {
            "" => "The node agent reports that the node is not ready.".to_owned(),
            message => message.to_owned(),
        }),
    }
}

/// Status and reason of the stored `Ready` condition.
pub(super) fn stored(node: &Node) -> Option<(&str, &str)> {
    let conditions = &node.status.as_ref()?.conditions;
    let ready = conditions.iter().find(|condition| condition.r#type == "Ready")?;
    Some((&ready.status, &ready.reason))
}

/// Milliseconds since the node was registered: one that has just come cannot have been silent for longer.
fn age_ms(node: &Node, context: &Context) -> u64 {
    let Some(created) = metadata_of(node).creation_timestamp else {
        return u64::MAX;
    };
    u64::try_from(times::seconds_between(created, context.now))
        .unwrap_or(0)
        .saturating_mul(1000)
}
