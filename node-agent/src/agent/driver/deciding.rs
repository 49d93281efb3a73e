//! Decisions: which pods need one, and what is done with it.

use super::{Driver, Event};
use crate::agent::pods::{Busy, PodState};
use crate::events;
use crate::operations::Order;
use crate::pod::{Input, Operation, Plan, machine};
use crate::session::reporter::Reporter;
use crate::time::{Moment, wall_now};
use std::sync::Arc;
use trireme_proto::api::core::v1::PodStatus;

impl Driver {
    pub(super) fn decide_all(&mut self) {
        let now = wall_now();
        for state in self.pods.values_mut() {
            if state.wake_at.is_some_and(|wake_at| wake_at <= now) {
                state.wake_at = None;
                state.is_dirty = true;
            }
        }
        let ready = self
            .pods
            .iter()
            .filter(|(_, state)| state.is_ready_to_plan(self.list_taken));
        let uids: Vec<String> = ready.map(|(uid, _)| uid.clone()).collect();
        for uid in uids {
            self.decide(&uid, now);
        }
    }

    pub(super) fn decide(&mut self, uid: &str, now: Moment) {
        let is_complete = self.world.is_complete;
        let Some(state) = self.pods.get_mut(uid) else { return };
        state.is_dirty = false;
        let goal = state.goal(is_complete);
        let plan = machine::plan(&Input {
            identity: &state.identity,
            // Until the cluster has spoken, a pod from the runtime's list is only watched.
            pod: state.pod.as_ref(),
            goal,
            references: &self.world.references,
            node: &self.workshop.node,
            observed: &state.observed,
            now,
        });
        state.wake_at = plan.wake_at;
        state.observed.journal.clone_from(&plan.journal);
        let may_report = state.is_assigned;
        if may_report && let Some(status) = &plan.status {
            let before = state.observed.last_status.as_ref();
            if let Some(pod) = &state.pod {
                for event in events::of_status(pod, before, status) {
                    self.workshop.events.tell(&state.identity, event);
                }
            }
            report(&self.reporter, state, status, plan.gone);
        }
        if plan.gone && !may_report {
            self.forget(uid);
        } else {
            self.order(uid, plan);
        }
    }

    /// Nothing is left of a pod that nobody wants.
    pub(super) fn forget(&mut self, uid: &str) {
        self.pods.remove(uid);
        self.reporter.forget(uid);
        if let Err(error) = self.workshop.journals.remove(uid) {
            tracing::warn!(uid, %error, "a journal cannot be removed");
        }
    }

    pub(super) fn order(&mut self, uid: &str, plan: Plan) {
        let Some(state) = self.pods.get_mut(uid) else { return };
        let must_save = state.saved_journal.as_ref() != Some(&plan.journal);
        if plan.operation.is_none() && !must_save {
            return;
        }
        // While the last failure holds the pod up, a journal alone is not tried again and again.
        let held_until = state.observed.failures.get("").map(|failure| failure.retry_at);
        if let Some(retry_at) = held_until.filter(|retry_at| plan.operation.is_none() && wall_now() < *retry_at) {
            state.wake_at = Some(state.wake_at.map_or(retry_at, |earlier| earlier.min(retry_at)));
            return;
        }
        if let Some(operation) = &plan.operation {
            tracing::debug!(pod = %state.identity, ?operation, "next operation");
        }
        let order = Order {
            identity: state.identity.clone(),
            targets: state.targets(),
            journal: must_save.then(|| plan.journal.clone()),
            operation: plan.operation.clone(),
            pod: state.pod.clone(),
            references: Arc::clone(&self.world.references),
            pod_addresses: state
                .observed
                .sandboxes
                .iter()
                .flat_map(|sandbox| sandbox.addresses.clone())
                .collect(),
        };
        let is_stop = matches!(plan.operation, Some(Operation::StopContainers { .. }));
        if let Some(Operation::StopContainers { container_ids, .. }) = &plan.operation {
            state.note_ending(container_ids);
        }
        let kill_at = plan
            .journal
            .termination
            .map(|termination| termination.kill_at)
            .filter(|_| is_stop);
        // A stop mostly waits, and must never wait behind other pods' starts nor hold them up.
        let permits = if is_stop {
            None
        } else {
            Some(Arc::clone(&self.operation_permits))
        };
        let (workshop, events, uid) = (self.workshop.clone(), self.own_events.clone(), uid.to_owned());
        let abort = self.tasks.spawn(async move {
            let _permit = match permits {
                Some(permits) => permits.acquire_owned().await.ok(),
                None => None,
            };
            let outcome = workshop.carry_out(order).await;
            let _ = events.send(Event::Done { uid, outcome }).await;
        });
        state.busy = Some(Busy {
            operation: plan.operation,
            journal: plan.journal,
            abort,
            kill_at,
        });
    }
}

/// Hands a status on if it differs from the last one.
fn report(reporter: &Reporter, state: &mut PodState, status: &PodStatus, terminated: bool) {
    let is_same = state
        .reported
        .as_ref()
        .is_some_and(|(last, was)| last == status && *was == terminated);
    if is_same {
        return;
    }
    reporter.set(&state.identity, status, terminated);
    state.observed.last_status = Some(status.clone());
    state.reported = Some((status.clone(), terminated));
}
