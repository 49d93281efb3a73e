//! Deletes events an hour after they last happened.

use std::collections::BTreeSet;

use trireme_proto::api::{core::v1::Event, meta::v1::Time};

use super::{owners, times};
use crate::{
    controller::{Context, Controller, Outcome, Write},
    kind::{Kind, metadata_of},
    limits::EVENT_TTL_SECONDS,
    object::ObjectKey,
    world::{Change, World},
};

/// The controller of old events.
pub struct EventTtl;

impl Controller for EventTtl {
    fn name(&self) -> &'static str {
        "event-ttl-controller"
    }

    fn keys_for(&self, change: &Change, _world: &World, keys: &mut BTreeSet<ObjectKey>) {
        // A repeated event has its key in the queue already: the key comes back when the first one is due.
        if let Some((None, Some(_))) = change.of::<Event>() {
            keys.insert(change.key.clone());
        }
    }

    fn all_keys(&self, world: &World) -> BTreeSet<ObjectKey> {
        world.list::<Event>("").map(owners::key_of).collect()
    }

    fn reconcile(&self, world: &World, key: &ObjectKey, context: &Context) -> Outcome {
        let Some(event) = world.get::<Event>(key) else {
            return Outcome::default();
        };
        let due = times::plus_seconds(last_seen(event).unwrap_or(context.now), EVENT_TTL_SECONDS);
        if times::is_after(due, context.now) {
            return Outcome {
                requeue_at: Some(due),
                ..Outcome::default()
            };
        }
        let delete = Write::Delete {
            info: &Event::INFO,
            key: key.clone(),
            uid: owners::uid_of(event).to_owned(),
            grace_period_seconds: None,
        };
        Outcome {
            writes: vec![delete],
            ..Outcome::default()
        }
    }
}

/// When an event last happened, as far as it tells.
fn last_seen(event: &Event) -> Option<Time> {
    let micro = |time: &trireme_proto::api::meta::v1::MicroTime| Time {
        seconds: time.seconds,
        nanos: time.nanos,
    };
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref())
        .map(micro);
    series
        .or(event.last_timestamp)
        .or(event.event_time.as_ref().map(micro))
        .or(event.first_timestamp)
        .or(metadata_of(event).creation_timestamp)
}
