//! What runs containers: one trait, and the types that pass through it.
//!
//! A runtime is told what to do and lists what there is; it decides nothing. Everything it makes
//! carries labels that name the pod, the container and the attempt, so that a new agent finds what
//! an earlier one started. The same conformance suite (`tests/`) judges every implementation.

pub mod containerd;
pub mod cri;
pub mod fake;
pub mod process;

use crate::time::Moment;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Label: the pod's name.
pub const LABEL_POD_NAME: &str = "io.kubernetes.pod.name";
/// Label: the pod's namespace.
pub const LABEL_POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Label: the pod's uid.
pub const LABEL_POD_UID: &str = "io.kubernetes.pod.uid";
/// Label: the container's name.
pub const LABEL_CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Label: the node whose agent made this, so that two agents may share one runtime.
pub const LABEL_NODE: &str = "trireme.io/node";

/// Names a pod for good: a namesake has another uid.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct PodIdentity {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
}

impl std::fmt::Display for PodIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{} ({})", self.namespace, self.name, self.uid)
    }
}

/// Name resolution inside a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsConfig {
    /// Addresses of name servers; with none, the host's file is used.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// A port of the host that leads to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Port in the pod.
    pub container_port: u16,
    /// Port on the host.
    pub host_port: u16,
    /// Host address; empty for all.
    pub host_ip: String,
}

/// A pod's sandbox: what its containers share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxConfig {
    /// Whose it is.
    pub pod: PodIdentity,
    /// Counts the sandboxes of one pod from 0.
    pub attempt: u32,
    /// Host name inside.
    pub hostname: String,
    /// Use the host's network namespace.
    pub host_network: bool,
    /// Use the host's process ids.
    pub host_pid: bool,
    /// Use the host's inter-process communication.
    pub host_ipc: bool,
    /// Containers of the pod see each other's processes.
    pub shared_pid: bool,
    /// Any container of the pod is privileged.
    pub privileged: bool,
    /// Where the containers' log files lie.
    pub log_directory: PathBuf,
    /// Name resolution.
    pub dns: DnsConfig,
    /// Host ports.
    pub ports: Vec<PortMapping>,
    /// Kernel settings.
    pub sysctls: BTreeMap<String, String>,
}

/// A file or directory of the host inside a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The volume's name, by which the process runtime offers it.
    pub volume: String,
    /// Path in the container.
    pub container_path: String,
    /// Path on the host.
    pub host_path: PathBuf,
    /// A path below `host_path` that is still to be resolved; empty in what a runtime gets.
    pub sub_path: PathBuf,
    /// The container may not write.
    pub read_only: bool,
}

/// Bounds of what a container uses. Zero means unbounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Share of the processors under contention, in thousandths of one.
    pub cpu_request_millis: i64,
    /// The most processor time, in thousandths of one.
    pub cpu_limit_millis: i64,
    /// The most memory, in bytes.
    pub memory_limit_bytes: i64,
    /// Preference of the kernel for killing this when memory runs out (-1000 to 1000).
    pub oom_score_adjustment: i64,
}

/// What a container may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// All of the host's devices and capabilities.
    pub privileged: bool,
    /// The root file system cannot be written.
    pub read_only_root: bool,
    /// User id; the image's own if unset.
    pub run_as_user: Option<i64>,
    /// Group id; the image's own if unset.
    pub run_as_group: Option<i64>,
    /// Further group ids.
    pub supplemental_groups: Vec<i64>,
    /// Programs cannot gain privileges.
    pub no_new_privileges: bool,
    /// Capabilities added to the default set.
    pub capabilities_add: Vec<String>,
    /// Capabilities taken from the default set.
    pub capabilities_drop: Vec<String>,
}

/// One container, ready to be made: every reference is resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerConfig {
    /// The container's name in the pod.
    pub name: String,
    /// Counts the runs of this container from 0; the restart count.
    pub attempt: u32,
    /// The image's name.
    pub image: String,
    /// Replaces the image's entry point unless empty.
    pub command: Vec<String>,
    /// Replaces the image's arguments unless empty.
    pub args: Vec<String>,
    /// Replaces the image's working directory unless empty.
    pub working_dir: String,
    /// Environment, in order; later entries win.
    pub env: Vec<(String, String)>,
    /// Volumes.
    pub mounts: Vec<Mount>,
    /// Bounds.
    pub resources: Resources,
    /// Privileges.
    pub security: Security,
    /// Allocate a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub stdin: bool,
}

/// Whether a sandbox can take containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxState {
    /// It can.
    Ready,
    /// It was stopped, or died.
    NotReady,
}

/// A sandbox as the runtime lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxInfo {
    /// The runtime's id.
    pub id: String,
    /// Whose it is.
    pub pod: PodIdentity,
    /// See [`SandboxConfig::attempt`].
    pub attempt: u32,
    /// State.
    pub state: SandboxState,
    /// When it was made.
    pub created_at: Moment,
    /// Its addresses; none with the host's network.
    pub addresses: Vec<IpAddr>,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Started.
    Running,
    /// Ended.
    Exited,
    /// The runtime cannot tell.
    Unknown,
}

/// A container as the runtime lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInfo {
    /// The runtime's id, without a scheme.
    pub id: String,
    /// Its sandbox.
    pub sandbox_id: String,
    /// Whose it is.
    pub pod: PodIdentity,
    /// The container's name in the pod.
    pub name: String,
    /// See [`ContainerConfig::attempt`].
    pub attempt: u32,
    /// State.
    pub state: ContainerState,
    /// The image's name, as asked for.
    pub image: String,
    /// The image's content id.
    pub image_id: String,
    /// When it was made.
    pub created_at: Moment,
    /// When it was started; unset before.
    pub started_at: Moment,
    /// When it ended; unset before.
    pub finished_at: Moment,
    /// Its exit code; 128 + n after signal n.
    pub exit_code: i32,
    /// One word about its end, such as `Completed`, `Error`, `OOMKilled`.
    pub reason: String,
    /// A sentence about its end.
    pub message: String,
}

/// Everything of one node that the runtime has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Sandboxes, in no particular order.
    pub sandboxes: Vec<SandboxInfo>,
    /// Containers, in no particular order.
    pub containers: Vec<ContainerInfo>,
}

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its content id.
    pub id: String,
    /// Its names.
    pub names: Vec<String>,
}

/// What a command in a container did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutcome {
    /// Exit code.
    pub exit_code: i32,
    /// Standard output and error, bounded.
    pub output: Vec<u8>,
}

/// What a runtime is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// Such as `containerd`; also the scheme of container ids.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A call to a runtime that failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The runtime does not answer at all.
    #[error("the container runtime is not reachable: {message}")]
    Unreachable {
        /// What happened.
        message: String,
    },
    /// The image, sandbox or container is not there.
    #[error("{what} is not there")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// An image could not be fetched.
    #[error("image {image:?} could not be pulled: {message}")]
    Pull {
        /// The image's name.
        image: String,
        /// What happened.
        message: String,
    },
    /// The runtime refused or failed.
    #[error("{operation} failed: {message}")]
    Failed {
        /// What was attempted.
        operation: &'static str,
        /// What happened.
        message: String,
    },
    /// A file operation of the runtime failed.
    #[error("{operation} failed")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// An image archive cannot be used.
    #[error("the image archive cannot be imported")]
    Image(#[from] crate::image::ImageError),
}

impl RuntimeError {
    /// The whole chain of causes in one line, for statuses and logs.
    #[must_use]
    pub fn one_line(&self) -> String {
        crate::error_chain(self)
    }
}

/// What runs containers on this machine.
///
/// Stops and removals of what is already gone succeed, so that every call may be repeated.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Name and version.
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError>;
    /// Succeeds if pods can be run now.
    async fn check_ready(&self) -> Result<(), RuntimeError>;
    /// Lists everything that carries this node's labels.
    async fn inventory(&self) -> Result<Inventory, RuntimeError>;

    /// Makes a sandbox and its network; gives its id.
    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<String, RuntimeError>;
    /// Ends everything in a sandbox and gives its network back.
    async fn stop_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError>;
    /// Removes a sandbox and its containers.
    async fn remove_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError>;

    /// Looks an image up by name.
    async fn image(&self, image: &str) -> Result<Option<ImageInfo>, RuntimeError>;
    /// Fetches an image.
    async fn pull_image(&self, image: &str) -> Result<ImageInfo, RuntimeError>;
    /// Takes in an image archive (OCI layout in a tar file); gives the names it holds.
    async fn import_image(&self, archive: &Path) -> Result<Vec<String>, RuntimeError>;

    /// Makes a container; gives its id. `sandbox` is what the sandbox was made of.
    async fn create_container(
        &self,
        sandbox_id: &str,
        sandbox: &SandboxConfig,
        config: &ContainerConfig,
    ) -> Result<String, RuntimeError>;
    /// Starts a container. One that cannot be started is listed as exited afterwards.
    async fn start_container(&self, container_id: &str) -> Result<(), RuntimeError>;
    /// Asks a container to end, waits at most `grace`, then kills it. Returns when it has ended.
    async fn stop_container(&self, container_id: &str, grace: Duration) -> Result<(), RuntimeError>;
    /// Removes a container, killing it if it runs.
    async fn remove_container(&self, container_id: &str) -> Result<(), RuntimeError>;
    /// Runs a command in a running container.
    async fn exec(
        &self,
        container_id: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutcome, RuntimeError>;
    /// Starts a container's log file anew after it was rotated away. A runtime that rotates by itself
    /// does nothing.
    async fn reopen_log(&self, container_id: &str) -> Result<(), RuntimeError>;
}
