//! Probes: which are due, and what their results change.

use super::{Driver, Event};
use crate::events::PodEvent;
use crate::pod::probe::{ProbeKind, probe_of};
use crate::pod::spec::spec_of;
use crate::prober;
use crate::time::wall_now;
use std::sync::Arc;

impl Driver {
    pub(super) fn on_probed(
        &mut self,
        uid: &str,
        container_id: &str,
        name: &str,
        kind: ProbeKind,
        outcome: &Result<(), String>,
    ) {
        let Some(state) = self.pods.get_mut(uid) else { return };
        state.probing.remove(container_id);
        let container = state.pod.as_ref().and_then(|pod| {
            let spec = spec_of(pod);
            spec.containers
                .iter()
                .chain(&spec.init_containers)
                .find(|container| container.name == name)
        });
        let Some(container) = container else { return };
        if let Err(failure) = outcome {
            let message = format!("{kind:?} probe failed: {failure}");
            let event = PodEvent::warning("Unhealthy", message).about(state.pod.as_ref(), name);
            self.workshop.events.tell(&state.identity, event);
        }
        let probes = state.probes.entry(container_id.to_owned()).or_default();
        probes.record(container, kind, outcome.is_ok(), wall_now());
        let verdict = probes.verdict(container);
        if state.observed.probes.insert(container_id.to_owned(), verdict) != Some(verdict) {
            state.is_dirty = true;
        }
    }

    pub(super) fn probe_all(&mut self) {
        let now = wall_now();
        let host = self.workshop.node.addresses.first().copied();
        for (uid, state) in &mut self.pods {
            let containers = state.probed_containers();
            state
                .probes
                .retain(|id, _| containers.iter().any(|(running, _, _)| running == id));
            state
                .observed
                .probes
                .retain(|id, _| containers.iter().any(|(running, _, _)| running == id));
            let address = state.probe_address(host);
            for (id, started_at, container) in containers {
                let probes = state.probes.get(&id).copied().unwrap_or_default();
                let Some((_, kind)) = probes.next(&container, started_at).filter(|(at, _)| *at <= now) else {
                    continue;
                };
                if !state.probing.insert(id.clone()) {
                    continue;
                }
                let (runtime, events) = (Arc::clone(&self.workshop.runtime), self.own_events.clone());
                let (permits, uid) = (Arc::clone(&self.probe_permits), uid.clone());
                self.tasks.spawn(async move {
                    let _permit = permits.acquire_owned().await.ok();
                    let outcome = match probe_of(&container, kind) {
                        Some(probe) => prober::run(runtime.as_ref(), &container, &id, address, probe).await,
                        None => Ok(()),
                    };
                    let event = Event::Probed {
                        uid,
                        container_id: id,
                        name: container.name,
                        kind,
                        outcome,
                    };
                    let _ = events.send(event).await;
                });
            }
        }
    }
}
