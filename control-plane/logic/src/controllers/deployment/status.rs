//! A Deployment's status: counts, and the conditions `Available`, `Progressing` and `ReplicaFailure`.

use trireme_proto::api::{
    apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSetStatus},
    meta::v1::Time,
};

use super::plan::Plan;
use crate::{
    controllers::{
        conditions::{self, text},
        times,
    },
    kind::metadata_of,
};

const REPLICA_FAILURE: &str = crate::controllers::replication::REPLICA_FAILURE;
const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
/// Reason of a rollout whose replica set cannot be made.
pub(super) const SET_REFUSED: &str = "ReplicaSetCreateError";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";

impl Plan<'_> {
    /// Notes in the condition that rollouts were put on hold or go on, which also restarts the deadline.
    pub(super) fn note_pause(&mut self) {
        if self.deadline_seconds().is_none() {
            return;
        }
        let reason = find(&self.stored_status(), PROGRESSING).map(|condition| condition.reason.clone());
        let reason = reason.unwrap_or_default();
        if reason == TIMED_OUT {
            return;
        }
        if self.paused() && reason != PAUSED {
            self.set(PROGRESSING, "Unknown", PAUSED, "Deployment is paused");
        } else if !self.paused() && reason == PAUSED {
            self.set(PROGRESSING, "Unknown", RESUMED, "Deployment is resumed");
        }
    }

    /// Fills in the counts and conditions.
    pub(super) fn report(&mut self) {
        self.count();
        let needed = self.replicas() - self.max_unavailable();
        if self.status().available_replicas >= needed {
            let message = "Deployment has minimum availability.";
            self.set(AVAILABLE, "True", "MinimumReplicasAvailable", message);
        } else {
            let message = "Deployment does not have minimum availability.";
            self.set(AVAILABLE, text(false), "MinimumReplicasUnavailable", message);
        }
        self.report_failure();
        self.report_progress();
    }

    /// Shows the failure of a replica set as the deployment's own: the present one's first.
    fn report_failure(&mut self) {
        let of_set = |place: usize| {
            let status = self.sets[place].set.status.as_ref()?;
            conditions::find(&status.conditions, REPLICA_FAILURE).cloned()
        };
        let places = self.current.into_iter().chain(0..self.sets.len());
        let failure = places.into_iter().find_map(of_set);
        match failure {
            Some(failure) => self.set(REPLICA_FAILURE, &failure.status, &failure.reason, &failure.message),
            None => {
                conditions::remove(&mut self.status().conditions, REPLICA_FAILURE);
            }
        }
    }

    /// True if every pod has the present template and is available, as far as the status tells.
    pub(super) fn is_complete(&self) -> bool {
        let status = self.deployment.status.as_ref().expect("Plan::new fills it in");
        let wanted = self.replicas();
        status.updated_replicas == wanted
            && status.replicas == wanted
            && status.available_replicas == wanted
            && status.observed_generation >= metadata_of(&self.deployment).generation
    }

    fn count(&mut self) {
        let statuses: Vec<ReplicaSetStatus> = self
            .sets
            .iter()
            .map(|plan| plan.set.status.clone().unwrap_or_default())
            .collect();
        let sizes: i32 = self.sets.iter().map(super::plan::SetPlan::replicas).sum();
        let updated = self.current.map_or(0, |place| statuses[place].replicas);
        let generation = metadata_of(&self.deployment).generation;
        let status = self.status();
        status.observed_generation = generation;
        status.replicas = statuses.iter().map(|set| set.replicas).sum();
        status.updated_replicas = updated;
        status.ready_replicas = statuses.iter().map(|set| set.ready_replicas).sum();
        status.available_replicas = statuses.iter().map(|set| set.available_replicas).sum();
        status.unavailable_replicas = (sizes - status.available_replicas).max(0);
        status.terminating_replicas = Some(statuses.iter().filter_map(|set| set.terminating_replicas).sum());
    }

    fn report_progress(&mut self) {
        let Some(deadline_seconds) = self.deadline_seconds() else {
            conditions::remove(&mut self.status().conditions, PROGRESSING);
            return;
        };
        if self.paused() {
            return;
        }
        let before = self.stored_status();
        let reason = find(&before, PROGRESSING).map_or(String::new(), |condition| condition.reason.clone());
        let status = self.status();
        if reason == COMPLETE && status.replicas == status.updated_replicas {
            return;
        }
        if self.is_complete() {
            let message = format!("{} has successfully progressed.", self.subject());
            self.set(PROGRESSING, "True", COMPLETE, &message);
        } else if self.moved_since(&before) || reason == COMPLETE || find(&before, PROGRESSING).is_none() {
            let message = format!("{} is progressing.", self.subject());
            self.set(PROGRESSING, "True", "ReplicaSetUpdated", &message);
            let now = self.context.now;
            let mut conditions = self.status().conditions.iter_mut();
            if let Some(condition) = conditions.find(|condition| condition.r#type == PROGRESSING) {
                condition.last_update_time = Some(now);
            }
        } else if reason != TIMED_OUT && self.is_late(&before, deadline_seconds) {
            let message = format!("{} has timed out progressing.", self.subject());
            self.set(PROGRESSING, text(false), TIMED_OUT, &message);
        }
        self.watch_deadline(deadline_seconds);
    }

    /// True if the rollout came forward since the stored status, or the spec is a new one.
    fn moved_since(&mut self, before: &DeploymentStatus) -> bool {
        let now = self.status();
        now.observed_generation > before.observed_generation
            || now.updated_replicas > before.updated_replicas
            || (now.replicas - now.updated_replicas) < (before.replicas - before.updated_replicas)
            || now.ready_replicas > before.ready_replicas
            || now.available_replicas > before.available_replicas
    }

    fn is_late(&self, before: &DeploymentStatus, deadline_seconds: i32) -> bool {
        deadline(before, deadline_seconds).is_some_and(|deadline| !times::is_after(deadline, self.context.now))
    }

    /// Comes back at the deadline.
    fn watch_deadline(&mut self, deadline_seconds: i32) {
        let due = {
            let status = self.status();
            let open = find(status, PROGRESSING).is_some_and(|condition| {
                condition.reason != COMPLETE && condition.reason != TIMED_OUT && condition.reason != PAUSED
            });
            open.then(|| deadline(status, deadline_seconds)).flatten()
        };
        let due = due.filter(|due| times::is_after(*due, self.context.now));
        self.outcome.requeue_at = times::earlier(self.outcome.requeue_at, due);
    }

    /// Seconds without progress after which the rollout has failed; `None` for no deadline.
    fn deadline_seconds(&self) -> Option<i32> {
        self.spec()
            .progress_deadline_seconds
            .filter(|seconds| *seconds != i32::MAX)
    }

    fn subject(&self) -> String {
        match self.current {
            Some(place) => format!("ReplicaSet {:?}", metadata_of(&self.sets[place].set).name),
            None => format!("Deployment {:?}", metadata_of(&self.deployment).name),
        }
    }

    fn set(&mut self, condition_type: &str, value: &str, reason: &str, message: &str) {
        let now = self.context.now;
        conditions::set(
            &mut self.status().conditions,
            condition_type,
            value,
            reason,
            message,
            now,
        );
    }
}

/// Says that the rollout does not go on since its replica set cannot be made. True if that is news.
pub(super) fn note_refused_set(deployment: &mut Deployment, message: &str, now: Time) -> bool {
    let status = deployment.status.get_or_insert_with(DeploymentStatus::default);
    conditions::set(
        &mut status.conditions,
        PROGRESSING,
        text(false),
        SET_REFUSED,
        message,
        now,
    )
}

fn find<'a>(status: &'a DeploymentStatus, condition_type: &str) -> Option<&'a DeploymentCondition> {
    conditions::find(&status.conditions, condition_type)
}

fn deadline(status: &DeploymentStatus, deadline_seconds: i32) -> Option<Time> {
    let updated = find(status, PROGRESSING)?.last_update_time?;
    Some(times::plus_seconds(updated, i64::from(deadline_seconds)))
}
