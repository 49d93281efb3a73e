//! What one container of a running pod needs next. Pure.

use super::{Machine, grace_seconds, is_sidecar, pod_addresses};
use crate::journal::ContainerEnd;
use crate::pod::containers::{Run, newest_run, next_attempt};
use crate::pod::restart::{RestartPolicy, next_start, restart_delay};
use crate::pod::spec::{container_config, pull_policy, sandbox_config};
use crate::pod::status::Waiting;
use crate::pod::{ImageObservation, Operation};
use crate::runtime::{ContainerInfo, SandboxInfo};
use std::time::Duration;
use trireme_proto::api::core::v1::{Container, Pod};

/// What became of one container in this pass.
pub(super) enum Step {
    /// Something is to be done.
    Do(Operation),
    /// It runs.
    Up,
    /// It waits for something.
    Wait,
    /// It ended for good.
    Done(ContainerEnd),
}

impl Machine<'_> {
    pub(super) fn init_step(
        &mut self,
        pod: &Pod,
        sandbox: &SandboxInfo,
        container: &Container,
        policy: RestartPolicy,
    ) -> Step {
        if is_sidecar(container) {
            return self.container_step(pod, sandbox, container, RestartPolicy::Always);
        }
        if self.journal.initialized {
            return Step::Done(ContainerEnd::default());
        }
        // An init container is run until it succeeds, unless the pod never restarts.
        let policy = if policy == RestartPolicy::Never {
            policy
        } else {
            RestartPolicy::OnFailure
        };
        self.container_step(pod, sandbox, container, policy)
    }

    pub(super) fn container_step(
        &mut self,
        pod: &Pod,
        sandbox: &SandboxInfo,
        container: &Container,
        policy: RestartPolicy,
    ) -> Step {
        let journal = self.journal.clone();
        let floor = journal.containers.get(&container.name).map_or(0, |entry| entry.floor);
        match newest_run(&journal, &self.input.observed.containers, &container.name) {
            Run::Running(info) => self.running_step(pod, container, info),
            Run::Created(info) if self.is_held(container) => {
                tracing::trace!(container = info.name, "waits to be started");
                Step::Wait
            }
            Run::Created(info) => Step::Do(Operation::StartContainer {
                container_id: info.id.clone(),
            }),
            Run::Ended(end) if end.attempt >= floor => {
                if policy.wants_restart(end.exit_code) {
                    self.restart_step(pod, sandbox, container, end)
                } else {
                    Step::Done(end.clone())
                }
            }
            Run::Never | Run::Ended(_) => self.start_step(pod, sandbox, container),
        }
    }

    fn running_step(&mut self, pod: &Pod, container: &Container, info: &ContainerInfo) -> Step {
        let unhealthy = self
            .input
            .observed
            .probes
            .get(&info.id)
            .is_some_and(|verdict| verdict.must_restart);
        // The name as the runtime lists it may be completed; only a change of the object counts.
        let replaced = !info.image.is_empty()
            && crate::image::normalise(&container.image).ok() != crate::image::normalise(&info.image).ok()
            && !info.image.starts_with("sha256:");
        if !unhealthy && !replaced {
            return Step::Up;
        }
        let of_probe = container
            .liveness_probe
            .as_ref()
            .and_then(|probe| probe.termination_grace_period_seconds);
        let seconds = of_probe
            .filter(|_| unhealthy)
            .unwrap_or_else(|| grace_seconds(Some(pod)));
        let grace = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Step::Do(Operation::StopContainers {
            container_ids: vec![info.id.clone()],
            grace,
        })
    }

    fn restart_step(&mut self, pod: &Pod, sandbox: &SandboxInfo, container: &Container, end: &ContainerEnd) -> Step {
        let Some(entry) = self.journal.containers.get(&container.name) else {
            return Step::Wait;
        };
        let (start_at, delay) = (next_start(entry, end), restart_delay(entry.short_runs));
        if self.input.now >= start_at {
            return self.start_step(pod, sandbox, container);
        }
        self.wake(start_at);
        let message = format!(
            "back-off {} s restarting container {} of pod {}",
            delay.as_secs(),
            container.name,
            self.input.identity
        );
        self.waiting.insert(
            container.name.clone(),
            Waiting {
                reason: "CrashLoopBackOff",
                message,
            },
        );
        Step::Wait
    }

    fn start_step(&mut self, pod: &Pod, sandbox: &SandboxInfo, container: &Container) -> Step {
        if self.is_held(container) {
            return Step::Wait;
        }
        if let Some(step) = self.image_step(container) {
            return step;
        }
        let addresses = pod_addresses(self.input, pod, sandbox);
        let attempt = next_attempt(&self.journal, &container.name);
        match container_config(self.input, pod, container, attempt, &addresses) {
            Ok(config) => Step::Do(Operation::RunContainer {
                sandbox_id: sandbox.id.clone(),
                sandbox: Box::new(sandbox_config(self.input, pod, sandbox.attempt)),
                container: Box::new(config),
            }),
            Err(problem) => {
                let waiting = Waiting {
                    reason: "CreateContainerConfigError",
                    message: problem.to_string(),
                };
                self.waiting.insert(container.name.clone(), waiting);
                Step::Wait
            }
        }
    }

    /// True while the last operation on this container failed and its next attempt is not due.
    fn is_held(&mut self, container: &Container) -> bool {
        let Some(failure) = self.input.observed.failures.get(&container.name) else {
            return false;
        };
        let waiting = Waiting {
            reason: failure.reason,
            message: failure.message.clone(),
        };
        let (retry_at, is_held) = (failure.retry_at, self.input.now < failure.retry_at);
        self.waiting.insert(container.name.clone(), waiting);
        if is_held {
            self.wake(retry_at);
        }
        is_held
    }

    /// `None` if the image is there.
    fn image_step(&mut self, container: &Container) -> Option<Step> {
        match self.input.observed.images.get(&container.image) {
            Some(ImageObservation::Present) => return None,
            Some(ImageObservation::Failed(failure)) => {
                let reason = match failure.reason {
                    "ErrImagePull" if failure.count > 1 => "ImagePullBackOff",
                    reason => reason,
                };
                let waiting = Waiting {
                    reason,
                    message: failure.message.clone(),
                };
                self.waiting.insert(container.name.clone(), waiting);
                if self.input.now < failure.retry_at {
                    self.wake(failure.retry_at);
                    return Some(Step::Wait);
                }
            }
            None => {}
        }
        let policy = pull_policy(container);
        Some(Step::Do(Operation::EnsureImage {
            image: container.image.clone(),
            policy,
        }))
    }
}
