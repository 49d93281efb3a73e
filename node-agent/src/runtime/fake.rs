//! A runtime in memory, for tests and simulation: containers that run until they are told to end.
//!
//! It keeps the same promises as the others, which the conformance suite checks. What a container
//! does follows from its arguments, like those of the `hello` program: `exit N` ends at once with
//! code N, everything else runs until it is stopped.

use super::{
    ContainerConfig, ContainerInfo, ContainerState, ExecOutcome, ImageInfo, Inventory, Runtime, RuntimeError,
    RuntimeVersion, SandboxConfig, SandboxInfo, SandboxState,
};
use crate::time::{Moment, wall_now};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Exit code after KILL.
const KILLED_EXIT_CODE: i32 = 137;

/// The runtime in memory.
#[derive(Debug, Default)]
pub struct FakeRuntime {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u32,
    images: BTreeSet<String>,
    sandboxes: BTreeMap<String, SandboxInfo>,
    containers: BTreeMap<String, FakeContainer>,
    failing: Option<String>,
}

#[derive(Clone, Debug)]
struct FakeContainer {
    info: ContainerInfo,
    words: Vec<String>,
}

impl FakeRuntime {
    /// An empty runtime that has these images.
    #[must_use]
    pub fn with_images(images: &[&str]) -> Self {
        let runtime = Self::default();
        runtime.state().images = images.iter().map(|image| (*image).to_owned()).collect();
        runtime
    }

    /// Ends a running container from inside.
    pub fn exit(&self, container_id: &str, exit_code: i32) {
        if let Some(container) = self.state().containers.get_mut(container_id) {
            end(&mut container.info, exit_code);
        }
    }

    /// Makes every call fail with this message, until it is set to none.
    pub fn set_failing(&self, message: Option<&str>) {
        self.state().failing = message.map(str::to_owned);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn healthy(&self) -> Result<MutexGuard<'_, State>, RuntimeError> {
        let state = self.state();
        match &state.failing {
            Some(message) => Err(RuntimeError::Unreachable {
                message: message.clone(),
            }),
            None => Ok(state),
        }
    }
}

fn end(info: &mut ContainerInfo, exit_code: i32) {
    if info.state != ContainerState::Exited {
        info.state = ContainerState::Exited;
        info.exit_code = exit_code;
        info.reason = if exit_code == 0 { "Completed" } else { "Error" }.to_owned();
        info.finished_at = wall_now();
    }
}

impl State {
    fn fresh_id(&mut self, kind: &str) -> String {
        self.next_id += 1;
        format!("{kind}-{}", self.next_id)
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        Ok(RuntimeVersion {
            name: "fake".to_owned(),
            version: "1".to_owned(),
        })
    }

    async fn check_ready(&self) -> Result<(), RuntimeError> {
        self.healthy().map(|_| ())
    }

    async fn inventory(&self) -> Result<Inventory, RuntimeError> {
        let state = self.healthy()?;
        Ok(Inventory {
            sandboxes: state.sandboxes.values().cloned().collect(),
            containers: state
                .containers
                .values()
                .map(|container| container.info.clone())
                .collect(),
        })
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<String, RuntimeError> {
        let mut state = self.healthy()?;
        let id = state.fresh_id("sandbox");
        let address = IpAddr::V4(Ipv4Addr::from_bits(
            Ipv4Addr::new(10, 0, 0, 0).to_bits() + state.next_id,
        ));
        let info = SandboxInfo {
            id: id.clone(),
            pod: config.pod.clone(),
            attempt: config.attempt,
            state: SandboxState::Ready,
            created_at: wall_now(),
            addresses: if config.host_network { Vec::new() } else { vec![address] },
        };
        state.sandboxes.insert(id.clone(), info);
        Ok(id)
    }

    async fn stop_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        let mut state = self.healthy()?;
        for container in state.containers.values_mut() {
            if container.info.sandbox_id == sandbox_id && container.info.state == ContainerState::Running {
                end(&mut container.info, KILLED_EXIT_CODE);
            }
        }
        if let Some(sandbox) = state.sandboxes.get_mut(sandbox_id) {
            sandbox.state = SandboxState::NotReady;
            sandbox.addresses.clear();
        }
        Ok(())
    }

    async fn remove_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        let mut state = self.healthy()?;
        state
            .containers
            .retain(|_, container| container.info.sandbox_id != sandbox_id);
        state.sandboxes.remove(sandbox_id);
        Ok(())
    }

    async fn image(&self, image: &str) -> Result<Option<ImageInfo>, RuntimeError> {
        let is_there = self.healthy()?.images.contains(image);
        Ok(is_there.then(|| ImageInfo {
            id: format!("id-of-{image}"),
            names: vec![image.to_owned()],
        }))
    }

    async fn pull_image(&self, image: &str) -> Result<ImageInfo, RuntimeError> {
        self.image(image).await?.ok_or_else(|| RuntimeError::Pull {
            image: image.to_owned(),
            message: "no such image".to_owned(),
        })
    }

    async fn import_image(&self, archive: &Path) -> Result<Vec<String>, RuntimeError> {
        let images = crate::image::Archive::open(archive)?.images()?;
        let names: Vec<String> = images.into_iter().flat_map(|image| image.names).collect();
        self.healthy()?.images.extend(names.iter().cloned());
        Ok(names)
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        sandbox: &SandboxConfig,
        config: &ContainerConfig,
    ) -> Result<String, RuntimeError> {
        let mut state = self.healthy()?;
        let is_ready = state
            .sandboxes
            .get(sandbox_id)
            .is_some_and(|sandbox| sandbox.state == SandboxState::Ready);
        if !is_ready {
            return Err(RuntimeError::NotFound {
                what: format!("sandbox {sandbox_id}"),
            });
        }
        if !state.images.contains(&config.image) {
            return Err(RuntimeError::NotFound {
                what: format!("image {}", config.image),
            });
        }
        let id = state.fresh_id("container");
        let info = ContainerInfo {
            id: id.clone(),
            sandbox_id: sandbox_id.to_owned(),
            pod: sandbox.pod.clone(),
            name: config.name.clone(),
            attempt: config.attempt,
            state: ContainerState::Created,
            image: config.image.clone(),
            image_id: format!("id-of-{}", config.image),
            created_at: wall_now(),
            started_at: Moment::default(),
            finished_at: Moment::default(),
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
        };
        let words = config.command.iter().chain(&config.args).cloned().collect();
        state.containers.insert(id.clone(), FakeContainer { info, words });
        Ok(id)
    }

    async fn start_container(&self, container_id: &str) -> Result<(), RuntimeError> {
        let mut state = self.healthy()?;
        let container = state
            .containers
            .get_mut(container_id)
            .ok_or_else(|| RuntimeError::NotFound {
                what: format!("container {container_id}"),
            })?;
        if container.info.state != ContainerState::Created {
            return Ok(());
        }
        container.info.state = ContainerState::Running;
        container.info.started_at = wall_now();
        let words: Vec<&str> = container.words.iter().map(String::as_str).collect();
        if let Some(code) = words
            .iter()
            .position(|word| *word == "exit")
            .and_then(|at| words.get(at + 1))
        {
            let code = code.parse().unwrap_or(2);
            end(&mut container.info, code);
        }
        Ok(())
    }

    async fn stop_container(&self, container_id: &str, grace: Duration) -> Result<(), RuntimeError> {
        let mut state = self.healthy()?;
        if let Some(container) = state.containers.get_mut(container_id)
            && container.info.state == ContainerState::Running
        {
            // It ends well when asked to, unless it is not given the time.
            end(&mut container.info, if grace.is_zero() { KILLED_EXIT_CODE } else { 0 });
        }
        Ok(())
    }

    async fn remove_container(&self, container_id: &str) -> Result<(), RuntimeError> {
        self.healthy()?.containers.remove(container_id);
        Ok(())
    }

    async fn exec(
        &self,
        container_id: &str,
        command: &[String],
        _timeout: Duration,
    ) -> Result<ExecOutcome, RuntimeError> {
        let state = self.healthy()?;
        let is_running = state
            .containers
            .get(container_id)
            .is_some_and(|container| container.info.state == ContainerState::Running);
        if !is_running {
            return Err(RuntimeError::NotFound {
                what: format!("running container {container_id}"),
            });
        }
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let code = words
            .iter()
            .position(|word| *word == "exit")
            .and_then(|at| words.get(at + 1));
        Ok(ExecOutcome {
            exit_code: code.and_then(|code| code.parse().ok()).unwrap_or(0),
            output: Vec::new(),
        })
    }

    async fn reopen_log(&self, _container_id: &str) -> Result<(), RuntimeError> {
        self.healthy().map(|_| ())
    }
}
