//! The runtime's list: when it is asked for, and how each pod gets its part of it.

use super::{Driver, Event, READINESS_PERIOD};
use crate::agent::pods::PodState;
use crate::limits;
use crate::runtime::{ContainerState, Inventory, PodIdentity, RuntimeError};
use crate::session::{Health, RunningContainers};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

impl Driver {
    pub(super) fn on_listed(&mut self, number: u64, outcome: Result<Inventory, RuntimeError>) {
        self.is_listing = false;
        let inventory = match outcome {
            Ok(inventory) => inventory,
            Err(error) => {
                self.set_health(
                    false,
                    format!("the container runtime cannot be listed: {}", error.one_line()),
                );
                self.list_at = Instant::now() + limits::RELIST_PERIOD;
                return;
            }
        };
        self.set_health(true, String::new());
        self.list_taken = number;
        self.publish_running(&inventory);
        self.distribute(inventory);
    }

    pub(super) fn set_health(&self, ready: bool, message: String) {
        self.health.send_if_modified(|health| {
            let fresh = Health { ready, message };
            let is_changed = *health != fresh;
            *health = fresh;
            is_changed
        });
    }

    pub(super) fn publish_running(&self, inventory: &Inventory) {
        let running = inventory
            .containers
            .iter()
            .filter(|container| container.state == ContainerState::Running);
        let fresh: RunningContainers = Arc::new(
            running
                .map(|found| (found.pod.uid.clone(), found.name.clone(), found.attempt))
                .collect(),
        );
        self.running.send_if_modified(|present| {
            let is_changed = *present != fresh;
            *present = fresh;
            is_changed
        });
    }

    /// Hands each pod its part of a list. A pod that nobody knew is known from now on.
    pub(super) fn distribute(&mut self, inventory: Inventory) {
        let mut parts: BTreeMap<String, Inventory> = BTreeMap::new();
        for sandbox in inventory.sandboxes {
            self.know(&sandbox.pod);
            parts
                .entry(sandbox.pod.uid.clone())
                .or_default()
                .sandboxes
                .push(sandbox);
        }
        for container in inventory.containers {
            self.know(&container.pod);
            parts
                .entry(container.pod.uid.clone())
                .or_default()
                .containers
                .push(container);
        }
        for (uid, state) in &mut self.pods {
            let mut part = parts.remove(uid).unwrap_or_default();
            part.sandboxes
                .sort_by(|left, right| (left.attempt, &left.id).cmp(&(right.attempt, &right.id)));
            part.containers.sort_by(|left, right| {
                (&left.name, left.attempt, &left.id).cmp(&(&right.name, right.attempt, &right.id))
            });
            if state.observed.sandboxes != part.sandboxes || state.observed.containers != part.containers {
                state.observed.sandboxes = part.sandboxes;
                state.observed.containers = part.containers;
                state.is_dirty = true;
            }
        }
    }

    pub(super) fn know(&mut self, pod: &PodIdentity) {
        if !self.pods.contains_key(&pod.uid) {
            self.pods.insert(pod.uid.clone(), PodState::new(pod.clone()));
        }
    }

    pub(super) fn list_if_due(&mut self) {
        if self.is_listing || Instant::now() < self.list_at {
            return;
        }
        self.is_listing = true;
        self.list_begun += 1;
        self.list_at = Instant::now() + limits::RELIST_PERIOD;
        let asks_readiness = Instant::now() >= self.readiness_at;
        if asks_readiness {
            self.readiness_at = Instant::now() + READINESS_PERIOD;
        }
        let (number, runtime, events) = (
            self.list_begun,
            Arc::clone(&self.workshop.runtime),
            self.own_events.clone(),
        );
        self.tasks.spawn(async move {
            let readiness = if asks_readiness {
                runtime.check_ready().await
            } else {
                Ok(())
            };
            let outcome = match readiness {
                Ok(()) => runtime.inventory().await,
                Err(error) => Err(error),
            };
            let _ = events.send(Event::Listed { number, outcome }).await;
        });
    }
}
