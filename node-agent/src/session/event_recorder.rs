//! Events on their way to the cluster, in the node's own name.
//!
//! They are for people: one that cannot be stored is dropped, and a pod that says too much is cut off. What repeats is
//! counted in one object. Nothing of the agent's work ever waits for them.

use super::connection::Cluster;
use crate::convert::time;
use crate::events::PodEvent;
use crate::limits;
use crate::runtime::PodIdentity;
use crate::time::{Moment, wall_now};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use trireme_proto::api::core::v1::{Event, EventSource, ObjectReference};
use trireme_proto::api::meta::v1::ObjectMeta;

/// What the node calls itself in the events that it makes.
const COMPONENT: &str = "node-agent";

/// The events that wait to be stored. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventRecorder {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<VecDeque<Told>>,
    changed: Notify,
}

/// An event of one pod.
#[derive(Debug)]
struct Told {
    pod: PodIdentity,
    event: PodEvent,
    at: Moment,
}

impl EventRecorder {
    /// Takes an event. With too many that wait, it is dropped.
    pub(crate) fn tell(&self, pod: &PodIdentity, event: PodEvent) {
        let mut waiting = self.waiting();
        if waiting.len() >= limits::EVENTS_WAITING_MAX {
            return;
        }
        waiting.push_back(Told {
            pod: pod.clone(),
            event,
            at: wall_now(),
        });
        drop(waiting);
        self.shared.changed.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Told>> {
        // No code panics while it holds this lock.
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reasons of all events that wait, for tests.
    #[cfg(test)]
    pub(crate) fn reasons(&self) -> Vec<&'static str> {
        self.waiting().iter().map(|told| told.event.reason).collect()
    }

    /// Stores for as long as the agent runs.
    pub(super) async fn run(self, cluster: Cluster, node: String) {
        let mut memory = Memory::default();
        loop {
            let Some(told) = self.waiting().pop_front() else {
                self.shared.changed.notified().await;
                continue;
            };
            if !memory.grants(&told.pod.uid, told.at) {
                continue;
            }
            let key = (told.pod.uid.clone(), told.event.clone());
            let repeated = memory.known.remove(&key).map(|before| again(before, told.at));
            let stored = match repeated {
                Some(event) => cluster.update_event(&event).await,
                None => cluster.create_event(&new_event(&node, &told)).await,
            };
            match stored {
                Ok(event) => memory.remember(key, event),
                Err(error) => {
                    tracing::debug!(
                        error = crate::error_chain(&error),
                        reason = key.1.reason,
                        "an event was not stored"
                    );
                }
            }
        }
    }
}

/// What was told before, and how much each pod may still say.
#[derive(Debug, Default)]
struct Memory {
    known: BTreeMap<(String, PodEvent), Event>,
    budgets: BTreeMap<String, Budget>,
}

/// Events that one pod may still tell, and when that was filled up.
#[derive(Debug)]
struct Budget {
    left: u32,
    filled_at: Moment,
}

impl Memory {
    /// Whether the pod may tell one more.
    fn grants(&mut self, uid: &str, now: Moment) -> bool {
        if self.budgets.len() > limits::EVENTS_KNOWN_MAX {
            self.budgets.clear();
        }
        let budget = self.budgets.entry(uid.to_owned()).or_insert(Budget {
            left: limits::EVENTS_PER_POD_BURST,
            filled_at: now,
        });
        let periods = now.since(budget.filled_at).as_secs() / limits::EVENTS_PER_POD_PERIOD.as_secs();
        if periods > 0 {
            let gained = u32::try_from(periods).unwrap_or(u32::MAX);
            budget.left = budget.left.saturating_add(gained).min(limits::EVENTS_PER_POD_BURST);
            budget.filled_at = now;
        }
        let granted = budget.left > 0;
        budget.left = budget.left.saturating_sub(1);
        granted
    }

    fn remember(&mut self, key: (String, PodEvent), event: Event) {
        if self.known.len() >= limits::EVENTS_KNOWN_MAX {
            self.known.pop_first();
        }
        self.known.insert(key, event);
    }
}

fn again(before: Event, at: Moment) -> Event {
    Event {
        count: before.count.saturating_add(1),
        last_timestamp: Some(time(at)),
        ..before
    }
}

fn new_event(node: &str, told: &Told) -> Event {
    let Told { pod, event, at } = told;
    Event {
        metadata: Some(ObjectMeta {
            name: format!("{}.{:016x}", pod.name, rand::random::<u64>()),
            namespace: pod.namespace.clone(),
            ..ObjectMeta::default()
        }),
        involved_object: Some(ObjectReference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            field_path: event.field_path.clone(),
            ..ObjectReference::default()
        }),
        reason: event.reason.to_owned(),
        message: event.message.clone(),
        source: Some(EventSource {
            component: COMPONENT.to_owned(),
            host: node.to_owned(),
        }),
        first_timestamp: Some(time(*at)),
        last_timestamp: Some(time(*at)),
        count: 1,
        r#type: if event.is_warning { "Warning" } else { "Normal" }.to_owned(),
        reporting_component: COMPONENT.to_owned(),
        reporting_instance: node.to_owned(),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_says_too_much_is_cut_off_for_a_while() {
        let mut memory = Memory::default();
        let at = Moment::from_seconds;
        let burst = limits::EVENTS_PER_POD_BURST;
        let granted = (0..burst * 2).filter(|_| memory.grants("a", at(0))).count();
        assert_eq!(granted, burst as usize);
        assert!(memory.grants("b", at(0)), "another pod is not held up");
        let period = i64::try_from(limits::EVENTS_PER_POD_PERIOD.as_secs()).unwrap();
        assert!(memory.grants("a", at(period)) && !memory.grants("a", at(period)));
    }

    #[test]
    fn what_waits_is_bounded() {
        let recorder = EventRecorder::default();
        for _ in 0..=limits::EVENTS_WAITING_MAX {
            recorder.tell(&PodIdentity::default(), PodEvent::normal("Pulled", String::new()));
        }
        assert_eq!(recorder.reasons().len(), limits::EVENTS_WAITING_MAX);
    }

    #[test]
    fn an_event_names_its_node_and_pod() {
        let told = Told {
            pod: PodIdentity {
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
                uid: "u".to_owned(),
            },
            event: PodEvent::warning("Unhealthy", "no".to_owned()).about(None, "main"),
            at: Moment::from_seconds(7),
        };
        let event = new_event("n1", &told);
        let about = event.involved_object.clone().unwrap();
        assert_eq!((about.kind.as_str(), about.uid.as_str()), ("Pod", "u"));
        assert_eq!(about.field_path, "spec.containers{main}");
        assert_eq!(event.source.clone().unwrap().host, "n1");
        assert_eq!(again(event, Moment::from_seconds(9)).count, 2);
    }
}
