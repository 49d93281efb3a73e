//! What people are told of a pod's life on this node, in Kubernetes' words. Pure.
//!
//! Most is told by the operations themselves; here is what an event is, and what a change of status tells.

use crate::pod::spec::spec_of;
use trireme_proto::api::core::v1::{ContainerStatus, Pod, PodStatus};

/// One thing that happened to a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodEvent {
    /// Somebody should look at it.
    pub(crate) is_warning: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// The container's place in the object, such as `spec.containers{web}`; empty for the pod itself.
    pub(crate) field_path: String,
}

impl PodEvent {
    /// As planned.
    pub(crate) fn normal(reason: &'static str, message: String) -> Self {
        Self {
            is_warning: false,
            reason,
            message,
            field_path: String::new(),
        }
    }

    /// Not as planned.
    pub(crate) fn warning(reason: &'static str, message: String) -> Self {
        Self {
            is_warning: true,
            ..Self::normal(reason, message)
        }
    }

    /// About one container of the pod.
    pub(crate) fn about(mut self, pod: Option<&Pod>, container: &str) -> Self {
        self.field_path = field_path(pod, container);
        self
    }
}

fn field_path(pod: Option<&Pod>, container: &str) -> String {
    let is_init = pod.is_some_and(|pod| {
        let init = &spec_of(pod).init_containers;
        init.iter().any(|candidate| candidate.name == container)
    });
    let list = if is_init { "initContainers" } else { "containers" };
    format!("spec.{list}{{{container}}}")
}

/// What a change of a pod's status tells: containers that are held back from now on, and the pod's eviction.
pub(crate) fn of_status(pod: &Pod, before: Option<&PodStatus>, after: &PodStatus) -> Vec<PodEvent> {
    let mut events = Vec::new();
    let was_evicted = before.is_some_and(|before| before.reason == after.reason);
    if after.reason == "Evicted" && !was_evicted {
        events.push(PodEvent::warning("Evicted", after.message.clone()));
    }
    let all = |status: &PodStatus| -> Vec<ContainerStatus> {
        let init = status.init_container_statuses.iter();
        init.chain(&status.container_statuses).cloned().collect()
    };
    let known = before.map(all).unwrap_or_default();
    for status in all(after) {
        let now = waiting(&status);
        let then = known.iter().find(|known| known.name == status.name).map(waiting);
        if then.is_none_or(|then| then.0 != now.0) {
            events.extend(of_waiting(pod, &status, now.0, now.1));
        }
    }
    events
}

/// Why a container waits: reason and message.
fn waiting(status: &ContainerStatus) -> (&str, &str) {
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    waiting.map_or(("", ""), |waiting| (&waiting.reason, &waiting.message))
}

fn of_waiting(pod: &Pod, status: &ContainerStatus, reason: &str, message: &str) -> Option<PodEvent> {
    let meta = pod.metadata.clone().unwrap_or_default();
    let event = match reason {
        "CrashLoopBackOff" => PodEvent::warning(
            "BackOff",
            format!(
                "Back-off restarting failed container {} in pod {}_{}({})",
                status.name, meta.name, meta.namespace, meta.uid
            ),
        ),
        "ImagePullBackOff" => PodEvent::normal(
            "BackOff",
            format!("Back-off pulling image {:?}: {message}", status.image),
        ),
        "CreateContainerConfigError" => PodEvent::warning("Failed", format!("Error: {message}")),
        _ => return None,
    };
    Some(event.about(Some(pod), &status.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use trireme_proto::api::core::v1::{ContainerState, ContainerStateWaiting};

    fn status(reason: &str) -> PodStatus {
        let waiting = ContainerStateWaiting {
            reason: reason.to_owned(),
            message: "because".to_owned(),
        };
        PodStatus {
            container_statuses: vec![ContainerStatus {
                name: "web".to_owned(),
                image: "shop/web:1".to_owned(),
                state: Some(ContainerState {
                    waiting: (!reason.is_empty()).then_some(waiting),
                    ..ContainerState::default()
                }),
                ..ContainerStatus::default()
            }],
            ..PodStatus::default()
        }
    }

    #[test]
    fn a_container_that_begins_to_wait_is_told_once() {
        for (before, after, expected) in [
            ("", "ContainerCreating", None),
            (
                "",
                "CrashLoopBackOff",
                Some("Back-off restarting failed container web in pod "),
            ),
            ("CrashLoopBackOff", "CrashLoopBackOff", None),
            ("CrashLoopBackOff", "", None),
            (
                "ErrImagePull",
                "ImagePullBackOff",
                Some("Back-off pulling image \"shop/web:1\": because"),
            ),
            ("", "CreateContainerConfigError", Some("Error: because")),
        ] {
            let events = of_status(&Pod::default(), Some(&status(before)), &status(after));
            match (events.as_slice(), expected) {
                ([], None) => {}
                ([event], Some(start)) => {
                    assert!(event.message.starts_with(start), "{}", event.message);
                    assert_eq!(event.field_path, "spec.containers{web}");
                }
                other => panic!("{before} to {after}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_eviction_is_told_once() {
        let evicted = PodStatus {
            reason: "Evicted".to_owned(),
            message: "too much".to_owned(),
            ..PodStatus::default()
        };
        let events = of_status(&Pod::default(), None, &evicted);
        assert_eq!(events, [PodEvent::warning("Evicted", "too much".to_owned())]);
        assert!(of_status(&Pod::default(), Some(&evicted), &evicted).is_empty());
    }
}
