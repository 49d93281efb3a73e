//! A pod in a table.
//!
//! The status cell says what matters most: why the pod waits, how it ended, or that it is going.

use trireme_proto::api::{
    core::v1::{Container, ContainerState, ContainerStatus, Pod, PodSpec, PodStatus},
    meta::v1::Time,
};

use crate::{
    kind::metadata_of,
    kinds::columns::{NONE, age, or_none, since},
};

/// The reason of a pod whose node is lost.
const NODE_LOST: &str = "NodeLost";

/// What the containers of a pod add up to.
#[derive(Default)]
struct Tally {
    ready: usize,
    restarts: i64,
    last_restart: Option<Time>,
}

/// The cells of a pod.
pub(super) fn cells(pod: &Pod, now: Time) -> Vec<String> {
    let (no_spec, no_status) = (PodSpec::default(), PodStatus::default());
    let spec = pod.spec.as_ref().unwrap_or(&no_spec);
    let status = pod.status.as_ref().unwrap_or(&no_status);
    let (text, tally) = summary(pod, spec, status);
    let sidecars = spec
        .init_containers
        .iter()
        .filter(|container| is_sidecar(Some(container)))
        .count();
    let restarts = match &tally.last_restart {
        Some(then) if tally.restarts != 0 => format!("{} ({} ago)", tally.restarts, since(Some(then), now)),
        _ => tally.restarts.to_string(),
    };
    vec![
        format!("{}/{}", tally.ready, spec.containers.len() + sidecars),
        text,
        restarts,
        age(metadata_of(pod), now),
        or_none(status.pod_ips.first().map_or(&status.pod_ip, |address| &address.ip)),
        or_none(&spec.node_name),
        or_none(&status.nominated_node_name),
        readiness_gates(spec, status),
    ]
}

fn summary(pod: &Pod, spec: &PodSpec, status: &PodStatus) -> (String, Tally) {
    let mut text = if status.reason.is_empty() {
        status.phase.clone()
    } else {
        status.reason.clone()
    };
    if status
        .conditions
        .iter()
        .any(|condition| condition.r#type == "PodScheduled" && condition.reason == "SchedulingGated")
    {
        text = "SchedulingGated".into();
    }
    let (mut tally, sidecars, initializing) = init_containers(spec, status);
    if let Some(reason) = &initializing {
        text.clone_from(reason);
    }
    if initializing.is_none() || has_condition(status, "Initialized") {
        tally = sidecars;
        containers(status, &mut text, &mut tally);
    }
    if metadata_of(pod).deletion_timestamp.is_some() {
        if status.reason == NODE_LOST {
            text = "Unknown".into();
        } else if !super::is_finished(pod) {
            text = "Terminating".into();
        }
    }
    (text, tally)
}

/// What all init containers add up to, what the sidecars among them do, and why the pod has not begun yet.
fn init_containers(spec: &PodSpec, status: &PodStatus) -> (Tally, Tally, Option<String>) {
    let (mut all, mut sidecars) = (Tally::default(), Tally::default());
    for (index, container) in status.init_container_statuses.iter().enumerate() {
        all.count_restarts(container);
        let sidecar = is_sidecar(spec.init_containers.iter().find(|spec| spec.name == container.name));
        if sidecar {
            sidecars.count_restarts(container);
        }
        let state = container.state.clone().unwrap_or_default();
        if state.terminated.as_ref().is_some_and(|ended| ended.exit_code == 0) {
            continue;
        }
        if sidecar && container.started == Some(true) {
            let ready = usize::from(container.ready);
            all.ready += ready;
            sidecars.ready += ready;
            continue;
        }
        let reason = match ended_or_waiting(&state) {
            Some(reason) if reason != "PodInitializing" => format!("Init:{reason}"),
            _ => format!("Init:{index}/{}", spec.init_containers.len()),
        };
        return (all, sidecars, Some(reason));
    }
    (all, sidecars, None)
}

/// Adds the pod's containers, of which the first with something to say decides the text.
fn containers(status: &PodStatus, text: &mut String, tally: &mut Tally) {
    let mut running = false;
    for container in status.container_statuses.iter().rev() {
        tally.count_restarts(container);
        let state = container.state.clone().unwrap_or_default();
        if let Some(reason) = ended_or_waiting(&state) {
            *text = reason;
        } else if container.ready && state.running.is_some() {
            running = true;
            tally.ready += 1;
        }
    }
    // One container that is done does not end a pod of which others go on.
    if text == "Completed" && running {
        *text = if has_condition(status, "Ready") {
            "Running"
        } else {
            "NotReady"
        }
        .into();
    }
}

/// Why a container waits or how it ended.
fn ended_or_waiting(state: &ContainerState) -> Option<String> {
    if let Some(waiting) = state.waiting.as_ref().filter(|waiting| !waiting.reason.is_empty()) {
        return Some(waiting.reason.clone());
    }
    let ended = state.terminated.as_ref()?;
    Some(match (ended.reason.as_str(), ended.signal) {
        ("", 0) => format!("ExitCode:{}", ended.exit_code),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    })
}

impl Tally {
    fn count_restarts(&mut self, container: &ContainerStatus) {
        self.restarts += i64::from(container.restart_count);
        let ended = container
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        if let Some(finished) = ended.and_then(|ended| ended.finished_at) {
            let later = self.last_restart.is_none_or(|last| finished.seconds > last.seconds);
            if later {
                self.last_restart = Some(finished);
            }
        }
    }
}

fn readiness_gates(spec: &PodSpec, status: &PodStatus) -> String {
    if spec.readiness_gates.is_empty() {
        return NONE.into();
    }
    let met = spec
        .readiness_gates
        .iter()
        .filter(|gate| has_condition(status, &gate.condition_type))
        .count();
    format!("{met}/{}", spec.readiness_gates.len())
}

fn has_condition(status: &PodStatus, name: &str) -> bool {
    status
        .conditions
        .iter()
        .any(|condition| condition.r#type == name && condition.status == "True")
}

fn is_sidecar(container: Option<&Container>) -> bool {
    container.is_some_and(|container| container.restart_policy.as_deref() == Some("Always"))
}
