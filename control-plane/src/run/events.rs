//! Stores events for people: what the loops did and why, as core/v1 `Event` objects.
//!
//! A repeat raises the count of the event stored before, and a flood is cut off: events never hold up
//! the work that they tell of.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{sync::mpsc, time::Instant};
use trireme_logic::controller::{EventRecord, EventType};
use trireme_proto::api::{
    core::v1::{Event, EventSource, ObjectReference},
    meta::v1::{ObjectMeta, Time},
};
use trireme_store::kv::Leadership;

use crate::{
    environment::Environment,
    limits::{LOOP_EVENTS_PER_SECOND, RECENT_EVENTS_MAX},
    pipeline::{Decoded, Permit},
    registry::Registry,
};

/// Events that wait to be stored. More are dropped.
const EVENTS_IN_FLIGHT: usize = 1_024;

/// Takes events from the loops and stores them in a task of its own, which ends with the recorder.
pub struct EventRecorder {
    queue: mpsc::Sender<Queued>,
}

struct Queued {
    component: &'static str,
    event: EventRecord,
    at: Time,
}

/// What makes two events the same.
type Sameness = (&'static str, EventRecord);

impl EventRecorder {
    /// Starts the recorder of one leadership.
    pub fn start(registry: Arc<Registry>, environment: Environment, leadership: Leadership) -> Self {
        let (queue, queued) = mpsc::channel(EVENTS_IN_FLIGHT);
        tokio::spawn(store_events(registry, environment, leadership, queued));
        Self { queue }
    }

    /// Takes events; those for which there is no room are dropped.
    pub fn record(&self, component: &'static str, events: Vec<EventRecord>, at: Time) {
        for event in events {
            if self.queue.try_send(Queued { component, event, at }).is_err() {
                tracing::debug!("too many events at once; dropping one");
            }
        }
    }
}

async fn store_events(
    registry: Arc<Registry>,
    environment: Environment,
    leadership: Leadership,
    mut queued: mpsc::Receiver<Queued>,
) {
    let mut recent: BTreeMap<Sameness, Event> = BTreeMap::new();
    let mut budget = Budget::new(Instant::now());
    while let Some(Queued { component, event, at }) = queued.recv().await {
        if !budget.take(Instant::now()) {
            tracing::debug!(reason = event.reason, "over the budget of events; dropping one");
            continue;
        }
        let permit = Permit::system(component, Some(leadership));
        let identity = (component, event);
        let stored = match recent.remove(&identity) {
            Some(before) => {
                let count = before.count.saturating_add(1);
                let repeated = Event {
                    count,
                    last_timestamp: Some(at),
                    ..before
                };
                registry
                    .update(&permit, Decoded::internal(Box::new(repeated)), false)
                    .await
                    .map(|changed| changed.stored)
            }
            None => {
                let event = new_event(component, &identity.1, at, u64::from_le_bytes(environment.bytes()));
                registry
                    .create(&permit, Decoded::internal(Box::new(event)), false)
                    .await
            }
        };
        let stored = stored.and_then(|stored| stored.decode());
        match stored.as_ref().map(|object| object.downcast_ref::<Event>()) {
            Ok(Some(event)) => drop(recent.insert(identity, event.clone())),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "an event was not stored"),
        }
        if recent.len() > RECENT_EVENTS_MAX {
            recent.pop_first();
        }
    }
}

fn new_event(component: &str, record: &EventRecord, at: Time, unique: u64) -> Event {
    // Events of cluster-scoped objects live in the default namespace, as in Kubernetes.
    let namespace = if record.key.namespace.is_empty() {
        "default"
    } else {
        &record.key.namespace
    };
    Event {
        metadata: Some(ObjectMeta {
            name: format!("{}.{unique:016x}", record.key.name),
            namespace: namespace.to_owned(),
            ..ObjectMeta::default()
        }),
        involved_object: Some(ObjectReference {
            api_version: record.api_version.clone(),
            kind: record.kind.clone(),
            namespace: record.key.namespace.clone(),
            name: record.key.name.clone(),
            uid: record.uid.clone(),
            ..ObjectReference::default()
        }),
        reason: record.reason.clone(),
        message: record.message.clone(),
        source: Some(EventSource {
            component: component.to_owned(),
            ..EventSource::default()
        }),
        first_timestamp: Some(at),
        last_timestamp: Some(at),
        count: 1,
        r#type: match record.event_type {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
        .to_owned(),
        reporting_component: component.to_owned(),
        ..Event::default()
    }
}

/// A token bucket of one second's events.
struct Budget {
    tokens: f64,
    refilled_at: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            tokens: f64::from(LOOP_EVENTS_PER_SECOND),
            refilled_at: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let full = f64::from(LOOP_EVENTS_PER_SECOND);
        let gained = now.saturating_duration_since(self.refilled_at).as_secs_f64() * full;
        self.tokens = (self.tokens + gained).min(full);
        self.refilled_at = now;
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_events_is_cut_off_and_time_fills_the_budget_again() {
        let mut budget = Budget::new(Instant::now());
        let granted = (0..LOOP_EVENTS_PER_SECOND * 2)
            .filter(|_| budget.take(Instant::now()))
            .count();
        assert_eq!(granted, LOOP_EVENTS_PER_SECOND as usize);
        tokio::time::advance(Duration::from_millis(500)).await;
        let granted = (0..LOOP_EVENTS_PER_SECOND)
            .filter(|_| budget.take(Instant::now()))
            .count();
        assert_eq!(granted, LOOP_EVENTS_PER_SECOND as usize / 2);
    }
}
