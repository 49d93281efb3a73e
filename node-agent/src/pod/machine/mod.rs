//! The decision itself: one call, at most one operation. Pure.
//!
//! Order while a pod runs: volumes, sandbox, init containers one after the other, containers. Order
//! while it ends: containers, sandbox network, sandbox, files. A pod that finished only winds down (I4).

mod step;

use super::containers::{Run, newest_run, record_observations};
use super::restart::RestartPolicy;
use super::spec::{sandbox_config, spec_of};
use super::status::{self, Waiting};
use super::{Goal, Input, Operation, Plan, VolumeObservation};
use crate::journal::{ContainerEnd, Finish, PodJournal, Termination};
use crate::limits;
use crate::runtime::{ContainerInfo, ContainerState, SandboxInfo, SandboxState};
use crate::time::Moment;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use step::Step;
use trireme_proto::api::core::v1::{Container, Pod};

/// The reason of a pod that takes more of the node than it may.
const EVICTED: &str = "Evicted";

/// Decides what to do next about one pod.
pub(crate) fn plan(input: &Input<'_>) -> Plan {
    let mut machine = Machine::new(input);
    let mut operation = match (input.goal, input.pod) {
        (Goal::End { grace_seconds }, _) => machine.end(grace_seconds),
        (Goal::Run, Some(pod)) => machine.run(pod),
        (Goal::Run, None) => None,
    };
    let gone = matches!(input.goal, Goal::End { .. }) && operation.is_none();
    if let Some(failure) = input
        .observed
        .failures
        .get("")
        .filter(|failure| input.now < failure.retry_at)
    {
        machine.wake(failure.retry_at);
        operation = None;
    }
    let status = input
        .pod
        .map(|pod| status::build(input, pod, &machine.journal, &machine.waiting));
    Plan {
        operation,
        journal: machine.journal,
        status,
        gone,
        wake_at: machine.wake_at,
    }
}

/// The grace period of a pod that is to end, in seconds: of its deletion, else of its specification.
pub(crate) fn grace_seconds(pod: Option<&Pod>) -> i64 {
    let of_deletion = pod.and_then(|pod| pod.metadata.as_ref()?.deletion_grace_period_seconds);
    let of_spec = pod.and_then(|pod| pod.spec.as_ref()?.termination_grace_period_seconds);
    of_deletion
        .or(of_spec)
        .unwrap_or(limits::TERMINATION_GRACE_DEFAULT_SECONDS)
        .clamp(0, limits::TERMINATION_GRACE_MAX_SECONDS)
}

struct Machine<'a> {
    input: &'a Input<'a>,
    journal: PodJournal,
    waiting: BTreeMap<String, Waiting>,
    wake_at: Option<Moment>,
}

impl<'a> Machine<'a> {
    fn new(input: &'a Input<'a>) -> Self {
        let mut journal = input.observed.journal.clone();
        journal.identity = input.identity.clone();
        record_observations(&mut journal, &input.observed.containers, input.now);
        Self {
            input,
            journal,
            waiting: BTreeMap::new(),
            wake_at: None,
        }
    }

    fn wake(&mut self, at: Moment) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn live_containers(&self) -> impl Iterator<Item = &'a ContainerInfo> {
        self.input
            .observed
            .containers
            .iter()
            .filter(|container| container.state != ContainerState::Exited)
    }

    fn ready_sandbox(&self) -> Option<&'a SandboxInfo> {
        let ready = self
            .input
            .observed
            .sandboxes
            .iter()
            .filter(|sandbox| sandbox.state == SandboxState::Ready);
        ready.max_by(|left, right| (left.attempt, &left.id).cmp(&(right.attempt, &right.id)))
    }

    // Ending.

    fn end(&mut self, grace_seconds: i64) -> Option<Operation> {
        let grace = Duration::from_secs(u64::try_from(grace_seconds).unwrap_or(0));
        let now = self.input.now;
        let fresh = Termination {
            requested_at: now,
            kill_at: now.plus(grace),
        };
        let termination = self.journal.termination.get_or_insert(fresh);
        // A later order may shorten the time, never lengthen it.
        termination.kill_at = termination.kill_at.min(termination.requested_at.plus(grace));
        let left = termination.kill_at.since(now);
        if let Some(stop) = self.stop_all(left) {
            return Some(stop);
        }
        self.finish_ended();
        self.dismantle()
    }

    fn stop_all(&self, grace: Duration) -> Option<Operation> {
        let container_ids: Vec<String> = self.live_containers().map(|container| container.id.clone()).collect();
        (!container_ids.is_empty()).then_some(Operation::StopContainers { container_ids, grace })
    }

    /// Every container has ended because the pod was told to.
    fn finish_ended(&mut self) {
        let Some(pod) = self.input.pod.filter(|_| self.journal.finished.is_none()) else {
            return;
        };
        let ended_well = |container: &Container| {
            let last = self
                .journal
                .containers
                .get(&container.name)
                .and_then(|entry| entry.last.as_ref());
            last.is_some_and(|end| end.exit_code == 0)
        };
        let succeeded = spec_of(pod).containers.iter().all(ended_well);
        self.journal.finished = Some(Finish {
            succeeded,
            reason: String::new(),
            message: String::new(),
        });
    }

    fn dismantle(&self) -> Option<Operation> {
        let observed = self.input.observed;
        if let Some(sandbox) = self.ready_sandbox() {
            return Some(Operation::StopSandbox {
                sandbox_id: sandbox.id.clone(),
            });
        }
        // A sandbox takes its containers along; only those without one are removed by themselves.
        let is_stray = |container: &&ContainerInfo| {
            !observed
                .sandboxes
                .iter()
                .any(|sandbox| sandbox.id == container.sandbox_id)
        };
        if let Some(stray) = observed.containers.iter().find(is_stray) {
            return Some(remove(stray));
        }
        if let Some(sandbox) = observed.sandboxes.first() {
            return Some(Operation::RemoveSandbox {
                sandbox_id: sandbox.id.clone(),
            });
        }
        self.journal.has_data.then_some(Operation::RemoveData)
    }

    // Running.

    fn run(&mut self, pod: &Pod) -> Option<Operation> {
        self.journal.started_at.get_or_insert(self.input.now);
        self.adopt_finish(pod);
        self.check_deadline(pod);
        self.check_eviction();
        if self.journal.finished.is_some() {
            return self.wind_down(pod);
        }
        self.journal.has_data = true;
        if let Some(step) = self.volumes_step() {
            return step;
        }
        let Some(sandbox) = self.ready_sandbox() else {
            return self.replace_sandbox(pod);
        };
        if let Some(surplus) = self.surplus_sandbox(sandbox) {
            return Some(surplus);
        }
        self.run_containers(pod, sandbox)
    }

    /// A pod that the cluster knows as finished stays so, even if this node's journal was lost.
    fn adopt_finish(&mut self, pod: &Pod) {
        let Some(status) = pod.status.as_ref().filter(|_| self.journal.finished.is_none()) else {
            return;
        };
        if status.phase == "Succeeded" || status.phase == "Failed" {
            self.journal.finished = Some(Finish {
                succeeded: status.phase == "Succeeded",
                reason: status.reason.clone(),
                message: status.message.clone(),
            });
        }
    }

    fn check_deadline(&mut self, pod: &Pod) {
        let seconds = spec_of(pod)
            .active_deadline_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        let (Some(seconds), Some(started_at), None) = (seconds, self.journal.started_at, &self.journal.finished) else {
            return;
        };
        let deadline = started_at.plus(Duration::from_secs(seconds));
        if self.input.now < deadline {
            self.wake(deadline);
            return;
        }
        self.journal.finished = Some(Finish {
            succeeded: false,
            reason: "DeadlineExceeded".to_owned(),
            message: format!("the pod was active for longer than {seconds} s"),
        });
    }

    /// A pod that takes more of the node than it may is finished.
    fn check_eviction(&mut self) {
        if let (Some(message), None) = (&self.input.observed.eviction, &self.journal.finished) {
            self.journal.finished = Some(Finish {
                succeeded: false,
                reason: EVICTED.to_owned(),
                message: message.clone(),
            });
        }
    }

    /// Ends what still runs of a finished pod, and keeps the ended containers for their logs.
    fn wind_down(&mut self, pod: &Pod) -> Option<Operation> {
        let is_evicted = self
            .journal
            .finished
            .as_ref()
            .is_some_and(|finish| finish.reason == EVICTED);
        let bound = if is_evicted {
            limits::EVICTION_GRACE_SECONDS
        } else {
            i64::MAX
        };
        let seconds = grace_seconds(Some(pod)).min(bound);
        let grace = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        self.stop_all(grace).or_else(|| {
            let sandbox = self.ready_sandbox()?;
            Some(Operation::StopSandbox {
                sandbox_id: sandbox.id.clone(),
            })
        })
    }

    /// `None` if the volumes are ready; otherwise what to do about them, if anything.
    fn volumes_step(&mut self) -> Option<Option<Operation>> {
        match &self.input.observed.volumes {
            VolumeObservation::Ready => None,
            VolumeObservation::Failed(failure) if self.input.now < failure.retry_at => {
                self.wake(failure.retry_at);
                self.wait_all("ContainerCreating", &failure.message);
                // What runs already is not held up by a volume that cannot be refreshed.
                if self.live_containers().next().is_some() {
                    None
                } else {
                    Some(None)
                }
            }
            VolumeObservation::Unprepared | VolumeObservation::Failed(_) => Some(Some(Operation::PrepareVolumes)),
        }
    }

    fn wait_all(&mut self, reason: &'static str, message: &str) {
        let Some(pod) = self.input.pod else { return };
        for container in spec_of(pod).containers.iter().chain(&spec_of(pod).init_containers) {
            self.waiting.insert(
                container.name.clone(),
                Waiting {
                    reason,
                    message: message.to_owned(),
                },
            );
        }
    }

    fn replace_sandbox(&mut self, pod: &Pod) -> Option<Operation> {
        // Without their sandbox containers are no use; they are ended before it is replaced.
        let grace = Duration::from_secs(u64::try_from(grace_seconds(Some(pod))).unwrap_or(0));
        if let Some(stop) = self.stop_all(grace) {
            return Some(stop);
        }
        if self.finish_if_done(pod) {
            return self.wind_down(pod);
        }
        if let Some(dead) = self.input.observed.sandboxes.first() {
            return Some(Operation::RemoveSandbox {
                sandbox_id: dead.id.clone(),
            });
        }
        if let Some(failure) = self.input.observed.failures.get("") {
            let message = failure.message.clone();
            self.wait_all("ContainerCreating", &message);
        }
        // While the last failure holds everything up, nothing is counted.
        if self
            .input
            .observed
            .failures
            .get("")
            .is_some_and(|failure| self.input.now < failure.retry_at)
        {
            return None;
        }
        let attempt = self.journal.sandbox_attempts;
        self.journal.sandbox_attempts = attempt.saturating_add(1);
        self.journal.initialized = false;
        for container in &spec_of(pod).init_containers {
            if let Some(entry) = self.journal.containers.get_mut(&container.name) {
                entry.floor = entry.attempt.saturating_add(1);
            }
        }
        Some(Operation::RunSandbox(Box::new(sandbox_config(
            self.input, pod, attempt,
        ))))
    }

    /// An agent that died between making a sandbox and seeing it may have left one too many.
    fn surplus_sandbox(&self, kept: &SandboxInfo) -> Option<Operation> {
        let surplus = self
            .input
            .observed
            .sandboxes
            .iter()
            .find(|sandbox| sandbox.id != kept.id)?;
        let sandbox_id = surplus.id.clone();
        Some(match surplus.state {
            SandboxState::Ready => Operation::StopSandbox { sandbox_id },
            SandboxState::NotReady => Operation::RemoveSandbox { sandbox_id },
        })
    }

    fn run_containers(&mut self, pod: &Pod, sandbox: &SandboxInfo) -> Option<Operation> {
        let spec = spec_of(pod);
        let policy = RestartPolicy::parse(&spec.restart_policy);
        let mut operation = None;
        for container in &spec.init_containers {
            let step = self.init_step(pod, sandbox, container, policy);
            match step {
                Step::Up if is_sidecar(container) => {}
                Step::Done(end) if end.exit_code == 0 => {}
                Step::Done(end) => return self.fail_initialization(pod, container, &end),
                Step::Do(found) if self.journal.initialized => operation = operation.or(Some(found)),
                Step::Wait if self.journal.initialized => {}
                Step::Do(found) => return Some(found),
                Step::Up | Step::Wait => return None,
            }
        }
        self.journal.initialized = true;
        for container in &spec.containers {
            if let Step::Do(found) = self.container_step(pod, sandbox, container, policy) {
                operation = operation.or(Some(found));
            }
        }
        if self.finish_if_done(pod) {
            return self.wind_down(pod);
        }
        operation.or_else(|| self.remove_old_run())
    }

    fn fail_initialization(&mut self, pod: &Pod, container: &Container, end: &ContainerEnd) -> Option<Operation> {
        self.journal.finished = Some(Finish {
            succeeded: false,
            reason: String::new(),
            message: format!("init container {:?} ended with code {}", container.name, end.exit_code),
        });
        self.wind_down(pod)
    }

    /// True once no container of the pod is to run again; then the pod has finished.
    fn finish_if_done(&mut self, pod: &Pod) -> bool {
        let spec = spec_of(pod);
        let policy = RestartPolicy::parse(&spec.restart_policy);
        let mut succeeded = true;
        for container in &spec.containers {
            match newest_run(&self.journal, &self.input.observed.containers, &container.name) {
                Run::Ended(end) if !policy.wants_restart(end.exit_code) => succeeded &= end.exit_code == 0,
                Run::Never | Run::Created(_) | Run::Running(_) | Run::Ended(_) => return false,
            }
        }
        self.journal.finished = Some(Finish {
            succeeded,
            reason: String::new(),
            message: String::new(),
        });
        true
    }

    /// Of each container the newest run and the one before it are kept, for their logs.
    fn remove_old_run(&self) -> Option<Operation> {
        let is_old = |container: &&ContainerInfo| {
            let newest = self
                .journal
                .containers
                .get(&container.name)
                .map_or(0, |entry| entry.attempt);
            container.state == ContainerState::Exited && container.attempt.saturating_add(1) < newest
        };
        self.input.observed.containers.iter().find(is_old).map(remove)
    }
}

fn remove(container: &ContainerInfo) -> Operation {
    Operation::RemoveContainer {
        container_id: container.id.clone(),
        name: container.name.clone(),
        attempt: container.attempt,
    }
}

/// True for an init container that goes on running beside the others.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The pod's addresses: the host's for a pod on the host's network.
pub(crate) fn pod_addresses(input: &Input<'_>, pod: &Pod, sandbox: &SandboxInfo) -> Vec<IpAddr> {
    if spec_of(pod).host_network {
        input.node.addresses.clone()
    } else {
        sandbox.addresses.clone()
    }
}
