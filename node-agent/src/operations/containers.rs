//! Containers: started with their hooks after it, ended with their hooks before it.

use super::{Order, OrderFailure, Workshop, failure, of_runtime};
use crate::events::PodEvent;
use crate::hooks;
use crate::limits;
use crate::pod::hosts;
use crate::pod::machine::grace_seconds;
use crate::pod::spec::spec_of;
use crate::runtime::{ContainerConfig, SandboxConfig};
use crate::volume;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use trireme_proto::api::core::v1::{Container, LifecycleHandler};

/// A container that an order may end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its name in the pod.
    pub(crate) name: String,
    /// The probe for whose failures it is ended, if it is for that.
    pub(crate) failed_probe: Option<&'static str>,
    /// An order to end it began before: it knows, and its hook had its turn.
    pub(crate) is_ending: bool,
}

/// The containers that an order may end, by the runtime's ids.
pub(crate) type Targets = BTreeMap<String, Target>;

impl Order {
    fn container(&self, name: &str) -> Option<&Container> {
        let spec = spec_of(self.pod.as_ref()?);
        let mut all = spec.containers.iter().chain(&spec.init_containers);
        all.find(|container| container.name == name)
    }
}

impl Workshop {
    /// Makes a container and starts it.
    pub(super) async fn run_container(
        &self,
        order: &Order,
        sandbox_id: &str,
        sandbox: &SandboxConfig,
        mut container: ContainerConfig,
    ) -> Result<(), OrderFailure> {
        let name = container.name.clone();
        let made = async {
            volume::resolve_sub_paths(&mut container).map_err(|error| {
                failure(
                    "CreateContainerConfigError",
                    format!("a subPath cannot be used: {error}"),
                )
            })?;
            self.write_hosts_file(order, &container)?;
            let created = self.runtime.create_container(sandbox_id, sandbox, &container).await;
            created.map_err(of_runtime("CreateContainerError"))
        };
        match made.await {
            Ok(id) => {
                let message = format!("Created container: {name}");
                self.tell_of(order, &name, PodEvent::normal("Created", message));
                self.start_container(order, &id, &name).await
            }
            Err(failure) => {
                let message = format!("Error: {}", failure.message);
                self.tell_of(order, &name, PodEvent::warning("Failed", message));
                Err(failure)
            }
        }
    }

    /// Starts a container, then runs its hook. A container whose hook fails is ended.
    pub(super) async fn start_container(&self, order: &Order, id: &str, name: &str) -> Result<(), OrderFailure> {
        if let Err(error) = self.runtime.start_container(id).await {
            let message = format!("Error: {}", error.one_line());
            self.tell_of(order, name, PodEvent::warning("Failed", message));
            return Err(of_runtime("RunContainerError")(error));
        }
        let message = format!("Started container {name}");
        self.tell_of(order, name, PodEvent::normal("Started", message));
        let hook = hook(order, name, |lifecycle| lifecycle.post_start.as_ref());
        let Some((container, handler)) = hook else {
            return Ok(());
        };
        let (runtime, patience) = (self.runtime.as_ref(), limits::POST_START_HOOK_TIMEOUT);
        let ran = hooks::run(runtime, container, id, self.address_of(order), handler, patience).await;
        let Err(said) = ran else { return Ok(()) };
        let message = format!("PostStartHook failed: {said}");
        self.tell_of(order, name, PodEvent::warning("FailedPostStartHook", message.clone()));
        self.tell_of(
            order,
            name,
            PodEvent::normal("Killing", "FailedPostStartHook".to_owned()),
        );
        let seconds = u64::try_from(grace_seconds(order.pod.as_ref())).unwrap_or(0);
        let stopped = self.runtime.stop_container(id, Duration::from_secs(seconds)).await;
        stopped.map_err(of_runtime("KillContainerError"))?;
        Err(failure("PostStartHookError", message))
    }

    /// Ends all at the same time, so that a pod needs its grace period once.
    pub(super) async fn stop_containers(
        &self,
        order: Order,
        ids: Vec<String>,
        grace: Duration,
    ) -> Result<(), OrderFailure> {
        let order = Arc::new(order);
        let mut stops = tokio::task::JoinSet::new();
        for id in ids {
            let (workshop, order) = (self.clone(), Arc::clone(&order));
            stops.spawn(async move { workshop.stop_container(&order, &id, grace).await });
        }
        let mut outcome = Ok(());
        while let Some(stopped) = stops.join_next().await {
            match stopped {
                Ok(Ok(())) => {}
                Ok(Err(error)) => outcome = Err(error),
                Err(error) => outcome = Err(failure("KillContainerError", error.to_string())),
            }
        }
        outcome
    }

    /// Ends one container: its hook first, which takes its time from the grace period.
    async fn stop_container(&self, order: &Order, id: &str, grace: Duration) -> Result<(), OrderFailure> {
        let target = order.targets.get(id).cloned().unwrap_or_default();
        let name = target.name.as_str();
        let mut left = grace;
        if !target.is_ending {
            let message = match target.failed_probe {
                Some(probe) => format!("Container {name} failed {probe} probe, will be restarted"),
                None => format!("Stopping container {name}"),
            };
            self.tell_of(order, name, PodEvent::normal("Killing", message));
            let hook = hook(order, name, |lifecycle| lifecycle.pre_stop.as_ref());
            if let Some((container, handler)) = hook.filter(|_| !grace.is_zero()) {
                let began = Instant::now();
                let address = self.address_of(order);
                let ran = hooks::run(self.runtime.as_ref(), container, id, address, handler, grace).await;
                if let Err(said) = ran {
                    let message = format!("PreStopHook failed: {said}");
                    self.tell_of(order, name, PodEvent::warning("FailedPreStopHook", message));
                }
                left = grace.saturating_sub(began.elapsed()).max(limits::GRACE_AFTER_HOOK_MIN);
            }
        }
        let stopped = self.runtime.stop_container(id, left).await;
        stopped.map_err(of_runtime("KillContainerError"))
    }

    /// Writes the file with the pod's names where the container's mount expects it. It is changed in place: containers
    /// that run hold on to the file itself.
    fn write_hosts_file(&self, order: &Order, container: &ContainerConfig) -> Result<(), OrderFailure> {
        let mount = container
            .mounts
            .iter()
            .find(|mount| mount.volume == hosts::FILE_NAME && mount.container_path == hosts::CONTAINER_PATH);
        let (Some(mount), Some(pod)) = (mount, &order.pod) else {
            return Ok(());
        };
        let of_host = std::fs::read_to_string(hosts::CONTAINER_PATH).unwrap_or_default();
        let content = hosts::content(pod, &order.pod_addresses, &of_host);
        let unchanged = std::fs::read_to_string(&mount.host_path).is_ok_and(|present| present == content);
        if unchanged {
            return Ok(());
        }
        volume::write_in_place(&mount.host_path, content.as_bytes()).map_err(|error| {
            failure(
                "CreateContainerConfigError",
                format!("the pod's hosts file cannot be written: {error}"),
            )
        })
    }

    /// The pod's address for hooks: its own, or the host's.
    fn address_of(&self, order: &Order) -> Option<IpAddr> {
        let own = order.pod_addresses.first().copied();
        own.or_else(|| self.node.addresses.first().copied())
    }

    fn tell_of(&self, order: &Order, container: &str, event: PodEvent) {
        let event = event.about(order.pod.as_ref(), container);
        self.events.tell(&order.identity, event);
    }
}

/// A container's hook, with the container.
fn hook<'a>(
    order: &'a Order,
    name: &str,
    choose: impl FnOnce(&'a trireme_proto::api::core::v1::Lifecycle) -> Option<&'a LifecycleHandler>,
) -> Option<(&'a Container, &'a LifecycleHandler)> {
    let container = order.container(name)?;
    Some((container, choose(container.lifecycle.as_ref()?)?))
}

#[cfg(test)]
mod tests;
