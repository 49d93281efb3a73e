//! What the driver keeps of each pod between two decisions.

use crate::journal::PodJournal;
use crate::operations::{OrderFailure, OrderOutcome, Target, Targets, retry_delay};
use crate::pod::machine::grace_seconds;
use crate::pod::probe::ProbeState;
use crate::pod::spec::spec_of;
use crate::pod::{Failure, Goal, ImageObservation, Observed, Operation, VolumeObservation};
use crate::runtime::{ContainerInfo, ContainerState, PodIdentity, SandboxState};
use crate::time::Moment;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use tokio::task::AbortHandle;
use trireme_proto::api::core::v1::{Container, Pod, PodStatus};

/// One pod of this node.
#[derive(Debug, Default)]
pub(in crate::agent) struct PodState {
    pub(in crate::agent) identity: PodIdentity,
    /// The last object that was seen.
    pub(in crate::agent) pod: Option<Pod>,
    /// The cluster wants it here.
    pub(in crate::agent) is_assigned: bool,
    pub(in crate::agent) observed: Observed,
    /// What is on disk.
    pub(in crate::agent) saved_journal: Option<PodJournal>,
    /// The order that is being carried out.
    pub(in crate::agent) busy: Option<Busy>,
    /// Decisions wait for a list of the runtime that was begun after this one.
    pub(in crate::agent) stale_until: u64,
    pub(in crate::agent) is_dirty: bool,
    pub(in crate::agent) wake_at: Option<Moment>,
    /// By container id.
    pub(in crate::agent) probes: BTreeMap<String, ProbeState>,
    /// Containers with a probe under way.
    pub(in crate::agent) probing: BTreeSet<String>,
    pub(in crate::agent) reported: Option<(PodStatus, bool)>,
    /// Containers that an order to end began with.
    ending: BTreeSet<String>,
}

/// An order under way.
#[derive(Debug)]
pub(in crate::agent) struct Busy {
    pub(in crate::agent) operation: Option<Operation>,
    pub(in crate::agent) journal: PodJournal,
    pub(in crate::agent) abort: AbortHandle,
    /// For a stop: when it kills.
    pub(in crate::agent) kill_at: Option<Moment>,
}

impl PodState {
    /// Whether the cluster holds another readiness of the pod than was reported last: it marks the pods of a node
    /// that it did not hear from as not ready, and only the node can say that they are.
    pub(in crate::agent) fn is_contradicted_by(&self, pod: &Pod) -> bool {
        let stored = pod.status.as_ref().and_then(readiness);
        self.reported
            .as_ref()
            .is_some_and(|(reported, _)| readiness(reported) != stored)
    }

    pub(in crate::agent) fn new(identity: PodIdentity) -> Self {
        Self {
            identity,
            is_dirty: true,
            ..Self::default()
        }
    }

    pub(in crate::agent) fn goal(&self, is_world_complete: bool) -> Goal {
        let is_deleted = self
            .pod
            .as_ref()
            .and_then(|pod| pod.metadata.as_ref())
            .is_some_and(|meta| meta.deletion_timestamp.is_some());
        match (self.is_assigned, is_world_complete) {
            (true, _) if !is_deleted => Goal::Run,
            // Not wanted, or not yet known whether wanted: nothing is ended before a complete set came.
            (false, false) => Goal::Run,
            (true, _) | (false, true) => Goal::End {
                grace_seconds: grace_seconds(self.pod.as_ref()),
            },
        }
    }

    /// True if a decision about this pod may rest on the list numbered `inventory`.
    pub(in crate::agent) fn is_ready_to_plan(&self, inventory: u64) -> bool {
        self.is_dirty && self.busy.is_none() && inventory > self.stale_until
    }

    /// The pod's containers, as an order needs to know them.
    pub(in crate::agent) fn targets(&self) -> Targets {
        let target = |info: &ContainerInfo| {
            let verdict = self.observed.probes.get(&info.id).copied();
            let failed = verdict.filter(|verdict| verdict.must_restart);
            let target = Target {
                name: info.name.clone(),
                failed_probe: failed.map(|verdict| if verdict.started { "liveness" } else { "startup" }),
                is_ending: self.ending.contains(&info.id),
            };
            (info.id.clone(), target)
        };
        self.observed.containers.iter().map(target).collect()
    }

    /// Notes that an order ends these containers; those that are gone are forgotten.
    pub(in crate::agent) fn note_ending(&mut self, container_ids: &[String]) {
        let containers = &self.observed.containers;
        self.ending.retain(|id| containers.iter().any(|info| info.id == *id));
        self.ending.extend(container_ids.iter().cloned());
    }

    /// Takes in how an order ended.
    pub(in crate::agent) fn finish(&mut self, busy: &Busy, outcome: OrderOutcome, now: Moment) {
        if outcome.journal_saved {
            self.saved_journal = Some(busy.journal.clone());
        }
        match outcome.result {
            Ok(()) => self.succeeded(busy.operation.as_ref()),
            Err(failure) => self.failed(busy.operation.as_ref(), failure, now),
        }
        self.is_dirty = true;
    }

    fn succeeded(&mut self, operation: Option<&Operation>) {
        self.observed.failures.remove(&self.failure_key(operation));
        match operation {
            Some(Operation::PrepareVolumes) => self.observed.volumes = VolumeObservation::Ready,
            Some(Operation::EnsureImage { image, .. }) => {
                self.observed.images.insert(image.clone(), ImageObservation::Present);
            }
            // The next start asks for its image anew, as its pull policy says.
            Some(Operation::RunContainer { container, .. }) => {
                self.observed.images.remove(&container.image);
            }
            Some(Operation::RemoveData) => self.observed.journal.has_data = false,
            _ => {}
        }
    }

    fn failed(&mut self, operation: Option<&Operation>, failure: OrderFailure, now: Moment) {
        tracing::warn!(pod = %self.identity, reason = failure.reason, message = failure.message, "an operation failed");
        let key = self.failure_key(operation);
        let before = match operation {
            Some(Operation::EnsureImage { image, .. }) => match self.observed.images.get(image) {
                Some(ImageObservation::Failed(before)) => before.count,
                _ => 0,
            },
            Some(Operation::PrepareVolumes) => match &self.observed.volumes {
                VolumeObservation::Failed(before) => before.count,
                _ => 0,
            },
            _ => self.observed.failures.get(&key).map_or(0, |before| before.count),
        };
        let count = before.saturating_add(1);
        let failure = Failure {
            reason: failure.reason,
            message: failure.message,
            count,
            retry_at: now.plus(retry_delay(operation, count)),
        };
        match operation {
            Some(Operation::EnsureImage { image, .. }) => {
                self.observed
                    .images
                    .insert(image.clone(), ImageObservation::Failed(failure));
            }
            Some(Operation::PrepareVolumes) => self.observed.volumes = VolumeObservation::Failed(failure),
            _ => {
                self.observed.failures.insert(key, failure);
            }
        }
    }

    /// Failures of one container's start do not hold the others up.
    fn failure_key(&self, operation: Option<&Operation>) -> String {
        match operation {
            Some(Operation::RunContainer { container, .. }) => container.name.clone(),
            Some(Operation::StartContainer { container_id }) => {
                let found = self
                    .observed
                    .containers
                    .iter()
                    .find(|container| container.id == *container_id);
                found.map(|container| container.name.clone()).unwrap_or_default()
            }
            _ => String::new(),
        }
    }

    /// The pod's address for probes: its own, or the host's.
    pub(in crate::agent) fn probe_address(&self, host: Option<IpAddr>) -> Option<IpAddr> {
        let ready = self
            .observed
            .sandboxes
            .iter()
            .find(|sandbox| sandbox.state == SandboxState::Ready)?;
        ready.addresses.first().copied().or(host)
    }

    /// Running containers whose object has probes: id, start and object.
    pub(in crate::agent) fn probed_containers(&self) -> Vec<(String, Moment, Container)> {
        let Some(pod) = self.pod.as_ref().filter(|_| self.is_assigned) else {
            return Vec::new();
        };
        let spec = spec_of(pod);
        let running = self
            .observed
            .containers
            .iter()
            .filter(|container| container.state == ContainerState::Running);
        running
            .filter_map(|info| {
                let all = || spec.containers.iter().chain(&spec.init_containers);
                let container = all().find(|container| container.name == info.name)?;
                let has_probe = container.liveness_probe.is_some()
                    || container.readiness_probe.is_some()
                    || container.startup_probe.is_some();
                has_probe.then(|| (info.id.clone(), info.started_at, container.clone()))
            })
            .collect()
    }
}

fn readiness(status: &PodStatus) -> Option<&str> {
    let ready = status.conditions.iter().find(|condition| condition.r#type == "Ready")?;
    Some(&ready.status)
}
