//! A pod's status, from what was observed and decided. Pure.
//!
//! Phases only go forward (I4): Pending, Running, then Succeeded or Failed for good.

use super::containers::{Run, newest_run};
use super::machine::{is_sidecar, pod_addresses};
use super::spec::spec_of;
use super::{Input, Observed};
use crate::convert::{optional_time, quantity_value, time};
use crate::journal::{ContainerEnd, PodJournal};
use crate::runtime::{SandboxInfo, SandboxState};
use std::collections::BTreeMap;
use trireme_proto::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIp, Pod, PodCondition, PodIp, PodSpec, PodStatus,
};

/// Exit codes above this tell the number of the signal that ended the process.
const SIGNAL_BASE: i32 = 128;

/// Why a container is not running now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Builds the status to report.
pub(crate) fn build(
    input: &Input<'_>,
    pod: &Pod,
    journal: &PodJournal,
    waiting: &BTreeMap<String, Waiting>,
) -> PodStatus {
    let spec = spec_of(pod);
    let builder = Builder {
        input,
        spec,
        journal,
        waiting,
    };
    let init_container_statuses: Vec<ContainerStatus> = spec
        .init_containers
        .iter()
        .map(|container| builder.container(container, true))
        .collect();
    let container_statuses: Vec<ContainerStatus> = spec
        .containers
        .iter()
        .map(|container| builder.container(container, false))
        .collect();
    let sandbox = ready_sandbox(input.observed);
    let mut status = pod.status.clone().unwrap_or_default();
    status.phase = builder.phase(&container_statuses, &status.phase).to_owned();
    if let Some(finish) = &journal.finished {
        status.reason.clone_from(&finish.reason);
        status.message.clone_from(&finish.message);
    }
    let addresses = sandbox
        .map(|sandbox| pod_addresses(input, pod, sandbox))
        .unwrap_or_default();
    status.host_ip = input
        .node
        .addresses
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    status.host_ips = input
        .node
        .addresses
        .iter()
        .map(|address| HostIp {
            ip: address.to_string(),
        })
        .collect();
    // A finished pod keeps the address it had, as a fact of the past.
    if !addresses.is_empty() {
        status.pod_ip = addresses.first().map(ToString::to_string).unwrap_or_default();
        status.pod_ips = addresses
            .iter()
            .map(|address| PodIp {
                ip: address.to_string(),
            })
            .collect();
    }
    status.start_time = journal.started_at.map(time);
    status.qos_class = qos_class(spec).to_owned();
    status.conditions = builder.conditions(
        &status,
        &init_container_statuses,
        &container_statuses,
        sandbox.is_some(),
    );
    status.init_container_statuses = init_container_statuses;
    status.container_statuses = container_statuses;
    status
}

fn ready_sandbox(observed: &Observed) -> Option<&SandboxInfo> {
    let ready = observed
        .sandboxes
        .iter()
        .filter(|sandbox| sandbox.state == SandboxState::Ready);
    ready.max_by_key(|sandbox| (sandbox.attempt, sandbox.id.clone()))
}

struct Builder<'a> {
    input: &'a Input<'a>,
    spec: &'a PodSpec,
    journal: &'a PodJournal,
    waiting: &'a BTreeMap<String, Waiting>,
}

impl Builder<'_> {
    fn phase(&self, containers: &[ContainerStatus], before: &str) -> &'static str {
        if let Some(finish) = &self.journal.finished {
            return if finish.succeeded { "Succeeded" } else { "Failed" };
        }
        let has_started = |status: &ContainerStatus| {
            let state = status.state.as_ref();
            let is_waiting = state.is_none_or(|state| state.waiting.is_some());
            let had_a_run = status
                .last_state
                .as_ref()
                .is_some_and(|state| state.terminated.is_some());
            !is_waiting || had_a_run
        };
        let all_started = !containers.is_empty() && containers.iter().all(has_started);
        if all_started || before == "Running" {
            "Running"
        } else {
            "Pending"
        }
    }

    fn container(&self, container: &Container, is_init: bool) -> ContainerStatus {
        let entry = self.journal.containers.get(&container.name);
        let floor = entry.map_or(0, |entry| entry.floor);
        let mut status = ContainerStatus {
            name: container.name.clone(),
            image: container.image.clone(),
            restart_count: entry.map_or(0, |entry| i32::try_from(entry.attempt).unwrap_or(i32::MAX)),
            started: Some(false),
            ..ContainerStatus::default()
        };
        let last = entry.and_then(|entry| entry.last.as_ref());
        let previous = entry.and_then(|entry| entry.previous.as_ref());
        match newest_run(self.journal, &self.input.observed.containers, &container.name) {
            Run::Never => status.state = Some(self.waiting_state(container, is_init)),
            Run::Created(_) => {
                status.state = Some(self.waiting_state(container, is_init));
                status.last_state = last.map(|end| self.terminated_state(end));
            }
            Run::Running(info) => {
                let verdict = self.input.observed.probes.get(&info.id);
                let has_startup = container.startup_probe.is_some();
                let has_readiness = container.readiness_probe.is_some();
                let is_started = !has_startup || verdict.is_some_and(|verdict| verdict.started);
                let is_ready = is_started && (!has_readiness || verdict.is_some_and(|verdict| verdict.ready));
                status.started = Some(is_started);
                status.ready = is_ready && (!is_init || is_sidecar(container));
                status.container_id = self.full_id(&info.id);
                status.image_id.clone_from(&info.image_id);
                status.state = Some(ContainerState {
                    running: Some(ContainerStateRunning {
                        started_at: optional_time(info.started_at),
                    }),
                    ..ContainerState::default()
                });
                status.last_state = last.map(|end| self.terminated_state(end));
            }
            Run::Ended(end) => {
                status.container_id = self.full_id(&end.container_id);
                status.image_id.clone_from(&end.image_id);
                let runs_again = self.waiting.contains_key(&container.name) || end.attempt < floor;
                if runs_again && self.journal.finished.is_none() {
                    status.state = Some(self.waiting_state(container, is_init));
                    status.last_state = Some(self.terminated_state(end));
                } else {
                    status.ready = is_init && end.exit_code == 0;
                    status.state = Some(self.terminated_state(end));
                    status.last_state = previous.map(|end| self.terminated_state(end));
                }
            }
        }
        status.state.get_or_insert_default();
        status.last_state.get_or_insert_default();
        status
    }

    fn full_id(&self, id: &str) -> String {
        if id.is_empty() {
            String::new()
        } else {
            format!("{}://{id}", self.input.node.runtime_name)
        }
    }

    fn waiting_state(&self, container: &Container, is_init: bool) -> ContainerState {
        let (reason, message) = match self.waiting.get(&container.name) {
            Some(waiting) => (waiting.reason, waiting.message.clone()),
            None if is_init || self.journal.initialized || self.spec.init_containers.is_empty() => {
                ("ContainerCreating", String::new())
            }
            None => ("PodInitializing", String::new()),
        };
        ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: reason.to_owned(),
                message,
            }),
            ..ContainerState::default()
        }
    }

    fn terminated_state(&self, end: &ContainerEnd) -> ContainerState {
        let terminated = ContainerStateTerminated {
            exit_code: end.exit_code,
            signal: if end.exit_code > SIGNAL_BASE {
                end.exit_code - SIGNAL_BASE
            } else {
                0
            },
            reason: end.reason.clone(),
            message: end.message.clone(),
            started_at: optional_time(end.started_at),
            finished_at: optional_time(end.finished_at),
            container_id: self.full_id(&end.container_id),
        };
        ContainerState {
            terminated: Some(terminated),
            ..ContainerState::default()
        }
    }

    fn conditions(
        &self,
        status: &PodStatus,
        init: &[ContainerStatus],
        containers: &[ContainerStatus],
        has_sandbox: bool,
    ) -> Vec<PodCondition> {
        let unready = |statuses: &[ContainerStatus]| -> Vec<String> {
            statuses
                .iter()
                .filter(|status| !status.ready)
                .map(|status| status.name.clone())
                .collect()
        };
        let completed = if status.phase == "Succeeded" {
            "PodCompleted"
        } else {
            ""
        };
        let mut truths: Vec<(&str, bool, &str, String)> = Vec::new();
        truths.push(("PodReadyToStartContainers", has_sandbox, "", String::new()));
        let waiting_init = unready(init);
        let is_initialized = self.journal.initialized || waiting_init.is_empty() || status.phase == "Succeeded";
        truths.push(if is_initialized {
            ("Initialized", true, completed, String::new())
        } else {
            (
                "Initialized",
                false,
                "ContainersNotInitialized",
                incomplete("incomplete", &waiting_init),
            )
        });
        let waiting_main = unready(containers);
        let is_ready = waiting_main.is_empty() && self.journal.finished.is_none();
        let (reason, message) = match (is_ready, completed, status.phase.as_str()) {
            (true, _, _) => ("", String::new()),
            (false, "PodCompleted", _) => (completed, String::new()),
            (false, _, "Failed") => ("PodFailed", String::new()),
            (false, _, _) => ("ContainersNotReady", incomplete("unready", &waiting_main)),
        };
        let gate = self.closed_gate(status);
        truths.push(match &gate {
            Some(gate) if is_ready => (
                "Ready",
                false,
                "ReadinessGatesNotReady",
                format!("condition {gate:?} is not True"),
            ),
            _ => ("Ready", is_ready, reason, message.clone()),
        });
        truths.push(("ContainersReady", is_ready, reason, message));
        truths.push(("PodScheduled", true, "", String::new()));
        self.merge_conditions(status, truths)
    }

    /// The first readiness gate whose condition nobody has set to True.
    fn closed_gate(&self, status: &PodStatus) -> Option<String> {
        let is_closed = |gate: &&str| {
            !status
                .conditions
                .iter()
                .any(|condition| condition.r#type == **gate && condition.status == "True")
        };
        let mut gates = self
            .spec
            .readiness_gates
            .iter()
            .map(|gate| gate.condition_type.as_str());
        gates.find(|gate| is_closed(gate)).map(str::to_owned)
    }

    /// Sets this agent's conditions and keeps everybody else's. A condition keeps its time while its
    /// truth does not change.
    fn merge_conditions(&self, status: &PodStatus, truths: Vec<(&str, bool, &str, String)>) -> Vec<PodCondition> {
        let before = self
            .input
            .observed
            .last_status
            .as_ref()
            .map_or(&status.conditions, |last| &last.conditions);
        let is_own = |condition: &PodCondition| truths.iter().any(|truth| truth.0 == condition.r#type);
        let mut merged: Vec<PodCondition> = status
            .conditions
            .iter()
            .filter(|condition| !is_own(condition))
            .cloned()
            .collect();
        for (kind, truth, reason, message) in truths {
            let word = if truth { "True" } else { "False" };
            let same = before
                .iter()
                .find(|condition| condition.r#type == kind && condition.status == word);
            merged.push(PodCondition {
                r#type: kind.to_owned(),
                status: word.to_owned(),
                last_transition_time: same
                    .and_then(|condition| condition.last_transition_time)
                    .or_else(|| Some(time(self.input.now))),
                reason: reason.to_owned(),
                message,
                ..PodCondition::default()
            });
        }
        merged
    }
}

fn incomplete(word: &str, names: &[String]) -> String {
    format!("containers with {word} status: [{}]", names.join(" "))
}

/// The pod's class of service: by what its containers ask for and are bounded to.
pub(crate) fn qos_class(spec: &PodSpec) -> &'static str {
    let mut guaranteed = true;
    let mut best_effort = true;
    for container in spec.containers.iter().chain(&spec.init_containers) {
        let requirements = container.resources.clone().unwrap_or_default();
        for resource in ["cpu", "memory"] {
            let limit = requirements
                .limits
                .get(resource)
                .and_then(quantity_value)
                .filter(|value| *value > 0);
            let request = requirements
                .requests
                .get(resource)
                .and_then(quantity_value)
                .filter(|value| *value > 0);
            best_effort &= limit.is_none() && request.is_none();
            guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (best_effort, guaranteed) {
        (true, _) => "BestEffort",
        (false, true) => "Guaranteed",
        (false, false) => "Burstable",
    }
}
