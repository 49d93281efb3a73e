//! Pods as plain processes of this user, for machines without root.
//!
//! There is no isolation: a container is a process group with its own environment, working directory
//! and log, started from its image's unpacked files. What that means for pods:
//! - all share the host's network. Each pod gets a loopback address of its own, in
//!   `TRIREME_POD_IP`; a program that binds it does not collide with other pods of the node;
//! - a volume mounted at `/etc/app` is found at `$TRIREME_VOLUMES/etc/app`;
//! - bounds on processor and memory are not enforced.
//!
//! Commands run under a shim (see `shim`), so they outlive the agent, which finds them again by the
//! records on disk (see `records`).

mod images;
mod launch;
mod liveness;
mod log_writer;
mod records;
mod shim;

pub use shim::shim_main;

use super::{
    ContainerConfig, ContainerInfo, ContainerState, ExecOutcome, ImageInfo, Inventory, Runtime, RuntimeError,
    RuntimeVersion, SandboxConfig, SandboxInfo, SandboxState,
};
use crate::limits;
use crate::network::PodCidr;
use crate::paths;
use crate::time::{Moment, wall_now};
use async_trait::async_trait;
use images::ImageStore;
use nix::sys::signal::Signal;
use records::{
    CONTAINER_FILE, ContainerRecord, EXIT_FILE, ExitRecord, RUNNING_FILE, RunningRecord, SANDBOX_FILE, SandboxRecord,
};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// How often a starting or ending process is looked at.
const POLL_PERIOD: Duration = Duration::from_millis(10);
/// How long a shim has, after its command ended, to write the exit code down.
const EXIT_RECORD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a process group has to vanish after KILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// Exit code of a container whose end nobody saw.
const LOST_EXIT_CODE: i32 = 137;

/// How to start a shim: a program that calls [`shim_main`].
#[derive(Clone, Debug)]
pub struct ShimCommand {
    /// The program.
    pub program: PathBuf,
    /// Arguments before the container's directory.
    pub arguments: Vec<OsString>,
}

impl Default for ShimCommand {
    /// This very program, with the argument `shim`. The kernel's link to it stays valid when the file
    /// is replaced by a newer version.
    fn default() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
            arguments: vec![OsString::from("shim")],
        }
    }
}

/// The runtime of plain processes.
#[derive(Debug)]
pub struct ProcessRuntime {
    sandboxes: PathBuf,
    containers: PathBuf,
    images: ImageStore,
    shim: ShimCommand,
    addresses: PodCidr,
    /// Serialises the choice of a free address.
    allocation: tokio::sync::Mutex<()>,
}

impl ProcessRuntime {
    /// Opens the runtime's directory, which may hold what an earlier agent started.
    ///
    /// # Errors
    /// Fails if the directory cannot be made.
    pub fn open(directory: &Path, addresses: PodCidr, shim: ShimCommand) -> Result<Self, RuntimeError> {
        let runtime = Self {
            sandboxes: directory.join("sandboxes"),
            containers: directory.join("containers"),
            images: ImageStore::open(directory)?,
            shim,
            addresses,
            allocation: tokio::sync::Mutex::new(()),
        };
        for directory in [&runtime.sandboxes, &runtime.containers] {
            paths::make_private_directory(directory).map_err(io("making the runtime's directory"))?;
        }
        Ok(runtime)
    }

    fn sandbox(&self, id: &str) -> Result<Option<SandboxRecord>, RuntimeError> {
        records::read(&records::directory_of(&self.sandboxes, id)?, SANDBOX_FILE)
    }

    fn container(&self, id: &str) -> Result<(PathBuf, ContainerRecord), RuntimeError> {
        let directory = records::directory_of(&self.containers, id)?;
        let record = records::read(&directory, CONTAINER_FILE)?;
        let record = record.ok_or_else(|| RuntimeError::NotFound {
            what: format!("container {id}"),
        })?;
        Ok((directory, record))
    }

    fn list_sandboxes(&self) -> Result<Vec<SandboxInfo>, RuntimeError> {
        let boot_id = liveness::boot_id();
        let mut sandboxes = Vec::new();
        for id in records::list_ids(&self.sandboxes)? {
            let Some(record) = self.sandbox(&id)? else { continue };
            let ready = !record.stopped && record.boot_id == boot_id;
            sandboxes.push(SandboxInfo {
                id,
                pod: record.pod,
                attempt: record.attempt,
                state: if ready {
                    SandboxState::Ready
                } else {
                    SandboxState::NotReady
                },
                created_at: record.created_at,
                addresses: record.address.filter(|_| ready).into_iter().collect(),
            });
        }
        Ok(sandboxes)
    }

    fn list_containers(&self) -> Result<Vec<ContainerInfo>, RuntimeError> {
        let mut containers = Vec::new();
        for id in records::list_ids(&self.containers)? {
            let directory = records::directory_of(&self.containers, &id)?;
            // A container is removed record first; without it the rest is litter of a removal.
            let Some(record) = records::read::<ContainerRecord>(&directory, CONTAINER_FILE)? else {
                continue;
            };
            containers.push(describe(id, &directory, record)?);
        }
        Ok(containers)
    }

    fn containers_of(&self, sandbox_id: &str) -> Result<Vec<ContainerInfo>, RuntimeError> {
        let mut containers = self.list_containers()?;
        containers.retain(|container| container.sandbox_id == sandbox_id);
        Ok(containers)
    }

    fn free_address(&self) -> Result<IpAddr, RuntimeError> {
        let taken: BTreeSet<IpAddr> = self
            .list_sandboxes()?
            .into_iter()
            .flat_map(|sandbox| sandbox.addresses)
            .collect();
        let mut free = self.addresses.pod_addresses().map(IpAddr::V4);
        free.find(|address| !taken.contains(address))
            .ok_or_else(|| RuntimeError::Failed {
                operation: "choosing a pod address",
                message: format!("all addresses of {} are taken", self.addresses),
            })
    }

    async fn end_process(&self, directory: &Path, grace: Duration) -> Result<(), RuntimeError> {
        let Some(running) = records::read::<RunningRecord>(directory, RUNNING_FILE)? else {
            return Ok(());
        };
        let ended = || !running.process.is_alive();
        // No grace is a kill: a program that is quick to obey must not get to end in its own way.
        if !grace.is_zero() {
            running.process.signal_group(Signal::SIGTERM);
        }
        if grace.is_zero() || !wait_for(grace, ended).await {
            running.process.signal_group(Signal::SIGKILL);
            if !wait_for(KILL_TIMEOUT, ended).await {
                return Err(RuntimeError::Failed {
                    operation: "stopping a container",
                    message: "the process does not end after KILL".to_owned(),
                });
            }
        }
        let exit_file = directory.join(EXIT_FILE);
        wait_for(EXIT_RECORD_TIMEOUT, || exit_file.exists() || !running.shim.is_alive()).await;
        Ok(())
    }
}

/// Waits until the condition holds; false if it did not in time.
async fn wait_for(timeout: Duration, condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(POLL_PERIOD).await;
    }
}

fn io(operation: &'static str) -> impl FnOnce(std::io::Error) -> RuntimeError {
    move |source| RuntimeError::Io { operation, source }
}

/// A container's present state, from its records and from the processes they name.
fn describe(id: String, directory: &Path, record: ContainerRecord) -> Result<ContainerInfo, RuntimeError> {
    let running: Option<RunningRecord> = records::read(directory, RUNNING_FILE)?;
    let mut exit: Option<ExitRecord> = records::read(directory, EXIT_FILE)?;
    let alive = running
        .as_ref()
        .is_some_and(|running| running.process.is_alive() || running.shim.is_alive());
    if exit.is_none() && running.is_some() && !alive {
        // The shim may have written the record between the two looks.
        exit = records::read(directory, EXIT_FILE)?;
        if exit.is_none() {
            exit = Some(record_loss(directory)?);
        }
    }
    let state = match (&exit, &running) {
        (Some(_), _) => ContainerState::Exited,
        (None, Some(_)) => ContainerState::Running,
        (None, None) => ContainerState::Created,
    };
    let started_at = running.map_or(Moment::default(), |running| running.started_at);
    let exit = exit.unwrap_or(ExitRecord {
        exit_code: 0,
        finished_at: Moment::default(),
        reason: String::new(),
        message: String::new(),
    });
    Ok(ContainerInfo {
        id,
        sandbox_id: record.sandbox_id,
        pod: record.pod,
        name: record.name,
        attempt: record.attempt,
        state,
        image: record.image,
        image_id: record.image_id,
        created_at: record.created_at,
        started_at,
        finished_at: exit.finished_at,
        exit_code: exit.exit_code,
        reason: exit.reason,
        message: exit.message,
    })
}

/// Writes down that a container ended unseen: its shim was killed, or the machine went down.
fn record_loss(directory: &Path) -> Result<ExitRecord, RuntimeError> {
    let exit = ExitRecord {
        exit_code: LOST_EXIT_CODE,
        finished_at: wall_now(),
        reason: "ContainerStatusUnknown".to_owned(),
        message: "the container ended while nothing watched it".to_owned(),
    };
    records::write(directory, EXIT_FILE, &exit)?;
    Ok(exit)
}

fn fresh_id() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

#[async_trait]
impl Runtime for ProcessRuntime {
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        Ok(RuntimeVersion {
            name: "process".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    async fn check_ready(&self) -> Result<(), RuntimeError> {
        records::list_ids(&self.sandboxes).map(|_| ())
    }

    async fn inventory(&self) -> Result<Inventory, RuntimeError> {
        Ok(Inventory {
            sandboxes: self.list_sandboxes()?,
            containers: self.list_containers()?,
        })
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<String, RuntimeError> {
        let _allocation = self.allocation.lock().await;
        let id = fresh_id();
        let directory = records::directory_of(&self.sandboxes, &id)?;
        let address = if config.host_network {
            None
        } else {
            Some(self.free_address()?)
        };
        paths::make_private_directory(&directory).map_err(io("making a sandbox"))?;
        let record = SandboxRecord {
            pod: config.pod.clone(),
            attempt: config.attempt,
            created_at: wall_now(),
            address,
            stopped: false,
            boot_id: liveness::boot_id(),
        };
        records::write(&directory, SANDBOX_FILE, &record)?;
        Ok(id)
    }

    async fn stop_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        let Some(mut record) = self.sandbox(sandbox_id)? else {
            return Ok(());
        };
        for container in self.containers_of(sandbox_id)? {
            self.stop_container(&container.id, Duration::ZERO).await?;
        }
        record.stopped = true;
        records::write(
            &records::directory_of(&self.sandboxes, sandbox_id)?,
            SANDBOX_FILE,
            &record,
        )
    }

    async fn remove_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        self.stop_sandbox(sandbox_id).await?;
        for container in self.containers_of(sandbox_id)? {
            self.remove_container(&container.id).await?;
        }
        let directory = records::directory_of(&self.sandboxes, sandbox_id)?;
        paths::remove_tree(&directory).map_err(io("removing a sandbox"))
    }

    async fn image(&self, image: &str) -> Result<Option<ImageInfo>, RuntimeError> {
        self.images.info(image)
    }

    async fn pull_image(&self, image: &str) -> Result<ImageInfo, RuntimeError> {
        // There is no registry behind this runtime: an image is there, or was never imported.
        self.images.info(image)?.ok_or_else(|| RuntimeError::Pull {
            image: image.to_owned(),
            message: "the process runtime pulls from no registry; import the image's archive".to_owned(),
        })
    }

    async fn import_image(&self, archive: &Path) -> Result<Vec<String>, RuntimeError> {
        let (store, archive) = (self.images.clone(), archive.to_owned());
        let imported = tokio::task::spawn_blocking(move || store.import(&archive)).await;
        imported.map_err(|error| RuntimeError::Failed {
            operation: "importing an image",
            message: error.to_string(),
        })?
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        sandbox: &SandboxConfig,
        config: &ContainerConfig,
    ) -> Result<String, RuntimeError> {
        let record = self
            .sandbox(sandbox_id)?
            .filter(|record| !record.stopped)
            .ok_or_else(|| RuntimeError::NotFound {
                what: format!("sandbox {sandbox_id}"),
            })?;
        let image = self.images.find(&config.image)?.ok_or_else(|| RuntimeError::NotFound {
            what: format!("image {}", config.image),
        })?;
        let id = fresh_id();
        let directory = records::directory_of(&self.containers, &id)?;
        paths::make_private_directory(&directory).map_err(io("making a container"))?;
        let prepared = launch::prepare(sandbox_id, record.address, &directory, sandbox, config, &image);
        let written = prepared.and_then(|record| records::write(&directory, CONTAINER_FILE, &record));
        if let Err(error) = written {
            let _ = paths::remove_tree(&directory);
            return Err(error);
        }
        Ok(id)
    }

    async fn start_container(&self, container_id: &str) -> Result<(), RuntimeError> {
        let (directory, _) = self.container(container_id)?;
        if directory.join(RUNNING_FILE).exists() || directory.join(EXIT_FILE).exists() {
            return Ok(());
        }
        let mut shim = tokio::process::Command::new(&self.shim.program)
            .arg0("trireme")
            .args(&self.shim.arguments)
            .arg(&directory)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .map_err(io("starting a shim"))?;
        let (running, exit) = (directory.join(RUNNING_FILE), directory.join(EXIT_FILE));
        let started = wait_for(limits::SHIM_START_TIMEOUT, || running.exists() || exit.exists()).await;
        // Whoever is the parent must take the exit status, or a dead entry stays in the process table.
        tokio::spawn(async move { shim.wait().await });
        if started {
            Ok(())
        } else {
            Err(RuntimeError::Failed {
                operation: "starting a container",
                message: "the shim did not report in time".to_owned(),
            })
        }
    }

    async fn stop_container(&self, container_id: &str, grace: Duration) -> Result<(), RuntimeError> {
        let directory = records::directory_of(&self.containers, container_id)?;
        if directory.join(EXIT_FILE).exists() {
            return Ok(());
        }
        self.end_process(&directory, grace).await
    }

    async fn remove_container(&self, container_id: &str) -> Result<(), RuntimeError> {
        self.stop_container(container_id, Duration::ZERO).await?;
        let directory = records::directory_of(&self.containers, container_id)?;
        match std::fs::remove_file(directory.join(CONTAINER_FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("removing a container")(error));
            }
            _ => {}
        }
        paths::remove_tree(&directory).map_err(io("removing a container"))
    }

    async fn exec(
        &self,
        container_id: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutcome, RuntimeError> {
        let (_, record) = self.container(container_id)?;
        launch::exec(&self.images, &record, command, timeout).await
    }

    async fn reopen_log(&self, _container_id: &str) -> Result<(), RuntimeError> {
        Ok(())
    }
}
