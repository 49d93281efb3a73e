//! An own containerd for the agent: configured, started and watched over by it, and outliving it.
//!
//! containerd keeps the containers of a node. It leads a session of its own, so it goes on when the
//! agent ends; the next agent finds its socket answering and adopts it. If containerd itself ends, its
//! containers go on under their shims, and it is started again.

use super::cri::CriRuntime;
use super::{Runtime, RuntimeError};
use crate::image::pack::PAUSE_IMAGE;
use crate::limits;
use crate::network::{PodCidr, bridge_name};
use crate::paths::{make_private_directory, write_file_durably};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::Instant;

const POLL_PERIOD: Duration = Duration::from_millis(20);
/// Bit of `CAP_SYS_RESOURCE` in the kernel's capability sets.
const CAP_SYS_RESOURCE: u32 = 24;
const PID_FILE: &str = "containerd.pid";
/// Directories where distributions install the network plugins.
const CNI_DIRECTORIES: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
/// OCI runtimes, in order of preference.
const OCI_RUNTIMES: [&str; 2] = ["runc", "crun"];

/// How to run an own containerd.
#[derive(Clone, Debug)]
pub struct ContainerdConfig {
    /// Where its configuration and images lie; survives a reboot.
    pub directory: PathBuf,
    /// Where its socket and state lie; short, and gone after a reboot.
    pub run_directory: PathBuf,
    /// The agent's name on this machine, which names its bridge and its containers.
    pub node: String,
    /// The node's pod addresses.
    pub pod_cidr: PodCidr,
}

/// What is missing or wrong for an own containerd.
#[derive(Debug, thiserror::Error)]
pub enum ContainerdError {
    /// A program is not installed.
    #[error("{program} is not installed; install {package}")]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// It needs root.
    #[error("an own containerd needs root; use the process runtime instead")]
    NotRoot,
    /// A file could not be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It could not be started.
    #[error("containerd cannot be started")]
    Spawn(#[source] std::io::Error),
    /// It ended, or its socket never answered.
    #[error("containerd did not come up: {detail}")]
    NotUp {
        /// The end of its log.
        detail: String,
    },
}

/// A running own containerd.
#[derive(Debug)]
pub struct Containerd {
    config: ContainerdConfig,
}

impl ContainerdConfig {
    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run_directory.join("containerd.sock")
    }

    /// Where runtime state of the agent with this data directory goes, unless configured otherwise.
    #[must_use]
    pub fn default_run_directory(data_directory: &Path) -> PathBuf {
        let name = hex::encode(&crate::network::hash(&data_directory.display().to_string())[..6]);
        Path::new("/run/trireme").join(name)
    }
}

impl Containerd {
    /// Checks that everything is installed, writes the configuration, and starts containerd unless it
    /// runs already.
    ///
    /// # Errors
    /// See [`ContainerdError`].
    pub async fn start(config: ContainerdConfig) -> Result<Self, ContainerdError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(ContainerdError::NotRoot);
        }
        write_configuration(&config)?;
        let containerd = Self { config };
        if containerd.answers().await {
            tracing::info!(socket = %containerd.config.socket().display(), "adopted the running containerd");
        } else {
            containerd.spawn().await?;
        }
        Ok(containerd)
    }

    /// A client for this node's pods.
    #[must_use]
    pub fn runtime(&self) -> CriRuntime {
        CriRuntime::new(&self.config.socket(), &self.config.node)
    }

    /// Starts containerd again whenever it does not answer. Runs until it is dropped.
    pub async fn supervise(&self) {
        loop {
            tokio::time::sleep(limits::CONTAINERD_PROBE_PERIOD).await;
            if self.answers().await {
                continue;
            }
            tracing::warn!("containerd does not answer; starting it again");
            if let Err(error) = self.spawn().await {
                tracing::error!(error = crate::error_chain(&error), "containerd cannot be started again");
            }
        }
    }

    /// Ends containerd. Containers that run go on under their shims.
    ///
    /// # Errors
    /// Fails if it does not end in time.
    pub async fn stop(&self) -> Result<(), ContainerdError> {
        let Some(pid) = self.recorded_pid() else {
            return Ok(());
        };
        let _ = kill(pid, Signal::SIGTERM);
        let deadline = Instant::now() + limits::CONTAINERD_STOP_TIMEOUT;
        while self.recorded_pid().is_some() {
            if Instant::now() >= deadline {
                return Err(ContainerdError::NotUp {
                    detail: "it does not end after TERM".to_owned(),
                });
            }
            tokio::time::sleep(POLL_PERIOD).await;
        }
        Ok(())
    }

    /// Removes the node's bridge and its address records.
    pub async fn remove_network(&self) {
        let bridge = bridge_name(&self.config.node);
        // There may be none; then the tool's complaint is of no interest.
        let removal = tokio::process::Command::new("ip")
            .args(["link", "delete", &bridge])
            .stdin(Stdio::null())
            .output();
        let _ = removal.await;
        let _ = crate::paths::remove_tree(&self.config.run_directory.join("addresses"));
    }

    /// Removes what only a running containerd needs: its socket and state, and the empty control groups.
    pub fn remove_run_directory(&self) {
        let _ = crate::paths::remove_tree(&self.config.run_directory);
        let group = super::cri::cgroup_parent(&self.config.node);
        let group = group.trim_start_matches('/');
        // Version 2 has one hierarchy, version 1 one a controller.
        let root = Path::new("/sys/fs/cgroup");
        let _ = std::fs::remove_dir(root.join(group));
        for controller in std::fs::read_dir(root).into_iter().flatten().flatten() {
            // Only an empty group can be removed, so nothing that runs is in danger.
            let _ = std::fs::remove_dir(controller.path().join(group));
        }
    }

    async fn answers(&self) -> bool {
        UnixStream::connect(self.config.socket()).await.is_ok()
    }

    fn pid_file(&self) -> PathBuf {
        self.config.run_directory.join(PID_FILE)
    }

    fn log_file(&self) -> PathBuf {
        self.config.directory.join("containerd.log")
    }

    /// The process that the pid file names, if it is a containerd of ours that runs.
    fn recorded_pid(&self) -> Option<Pid> {
        let pid: i32 = std::fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok()?;
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        // The command line is empty for a process that ended, and another's names no file of ours.
        let path = configuration_file(&self.config).display().to_string();
        command
            .split(|byte| *byte == 0)
            .any(|word| word == path.as_bytes())
            .then(|| Pid::from_raw(pid))
    }

    async fn spawn(&self) -> Result<(), ContainerdError> {
        let _ = self.stop().await;
        let log_path = self.log_file();
        let log = std::fs::File::create(&log_path).map_err(|source| ContainerdError::Write {
            path: log_path.clone(),
            source,
        })?;
        let errors = log.try_clone().map_err(|source| ContainerdError::Write {
            path: log_path.clone(),
            source,
        })?;
        // `setsid` takes it out of our session, so that nothing that ends us ends it.
        let mut child = tokio::process::Command::new("setsid")
            .arg("containerd")
            .arg("--config")
            .arg(configuration_file(&self.config))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(ContainerdError::Spawn)?;
        // The child leads no process group, so `setsid` becomes containerd without a fork.
        if let Some(pid) = child.id() {
            let path = self.pid_file();
            write_file_durably(&path, pid.to_string().as_bytes(), 0o600)
                .map_err(|source| ContainerdError::Write { path, source })?;
        }
        self.await_service(&mut child).await?;
        // As long as we are its parent we must take its exit status.
        tokio::spawn(async move { child.wait().await });
        Ok(())
    }

    /// Its socket answers before it has read its own state back; until then it refuses every call.
    async fn await_service(&self, child: &mut tokio::process::Child) -> Result<(), ContainerdError> {
        let deadline = Instant::now() + limits::CONTAINERD_START_TIMEOUT;
        let runtime = self.runtime();
        while !self.answers().await || runtime.inventory().await.is_err() {
            let ended = child.try_wait().ok().flatten().is_some_and(|status| !status.success());
            if ended || Instant::now() >= deadline {
                return Err(ContainerdError::NotUp {
                    detail: last_line(&self.log_file()),
                });
            }
            tokio::time::sleep(POLL_PERIOD).await;
        }
        Ok(())
    }
}

fn last_line(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().last().unwrap_or("it wrote no log").to_owned()
}

fn configuration_file(config: &ContainerdConfig) -> PathBuf {
    config.directory.join("config.toml")
}

fn find_program(name: &str) -> Option<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    // A service manager's path may lack the administrators' directories.
    let extra = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut directories = std::env::split_paths(&search).chain(extra);
    directories.find_map(|directory| Some(directory.join(name)).filter(|path| path.is_file()))
}

/// True if everything that an own containerd needs is installed.
#[must_use]
pub fn is_installed() -> bool {
    find_program("containerd").is_some()
        && OCI_RUNTIMES.iter().any(|name| find_program(name).is_some())
        && CNI_DIRECTORIES
            .iter()
            .any(|directory| Path::new(directory).join("bridge").is_file())
}

fn write_configuration(config: &ContainerdConfig) -> Result<(), ContainerdError> {
    if find_program("containerd").is_none() {
        return Err(ContainerdError::Missing {
            program: "containerd",
            package: "containerd",
        });
    }
    let oci_runtime = OCI_RUNTIMES
        .iter()
        .find_map(|name| find_program(name))
        .ok_or(ContainerdError::Missing {
            program: "runc",
            package: "runc",
        })?;
    let plugins = CNI_DIRECTORIES
        .map(PathBuf::from)
        .into_iter()
        .find(|directory| directory.join("bridge").is_file())
        .ok_or(ContainerdError::Missing {
            program: "bridge",
            package: "containernetworking-plugins",
        })?;
    let network_directory = config.directory.join("network");
    for directory in [&config.directory, &config.run_directory, &network_directory] {
        make_private_directory(directory).map_err(|source| ContainerdError::Write {
            path: directory.clone(),
            source,
        })?;
    }
    let write = |path: PathBuf, text: &str| {
        write_file_durably(&path, text.as_bytes(), 0o600).map_err(|source| ContainerdError::Write { path, source })
    };
    write(
        network_directory.join("10-trireme.conflist"),
        &network_configuration(config),
    )?;
    write(
        configuration_file(config),
        &daemon_configuration(config, &oci_runtime, &plugins, &network_directory),
    )
}

/// One bridge a node; its pods reach each other, the host and, by masquerading, the rest.
fn network_configuration(config: &ContainerdConfig) -> String {
    json!({
        "cniVersion": "0.4.0",
        "name": bridge_name(&config.node),
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge_name(&config.node),
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": config.run_directory.join("addresses"),
                    "ranges": [[{ "subnet": config.pod_cidr.to_string() }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
    .to_string()
}

fn daemon_configuration(
    config: &ContainerdConfig,
    oci_runtime: &Path,
    plugins: &Path,
    network_directory: &Path,
) -> String {
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    format!(
        r#"# Written by the Trireme agent at each start.
version = 2
root = {root}
state = {state}
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
address = {socket}

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = {restrict}
disable_tcp_service = true
stream_server_address = "127.0.0.1"
stream_server_port = "0"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "oci"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.oci]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.oci.options]
BinaryName = {oci_runtime}
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {plugins}
conf_dir = {network_directory}
"#,
        root = quoted(&config.directory.join("root")),
        state = quoted(&config.run_directory.join("state")),
        socket = quoted(&config.socket()),
        restrict = !may_lower_oom_score(),
        oci_runtime = quoted(oci_runtime),
        plugins = quoted(plugins),
        network_directory = quoted(network_directory),
    )
}

/// Protecting a process from the out-of-memory killer is a privilege that root in a container or a
/// small virtual machine may lack.
fn may_lower_oom_score() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .unwrap_or(0);
    bits & (1 << CAP_SYS_RESOURCE) != 0
}

impl From<ContainerdError> for RuntimeError {
    fn from(error: ContainerdError) -> Self {
        Self::Unreachable {
            message: crate::error_chain(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ContainerdConfig {
        ContainerdConfig {
            directory: PathBuf::from("/data/containerd"),
            run_directory: PathBuf::from("/run/trireme/x"),
            node: "node-1".to_owned(),
            pod_cidr: PodCidr::for_bridge("node-1"),
        }
    }

    #[test]
    fn the_network_is_one_bridge_with_the_nodes_block() {
        let network: serde_json::Value = serde_json::from_str(&network_configuration(&config())).unwrap();
        let bridge = &network["plugins"][0];
        assert_eq!(bridge["bridge"], bridge_name("node-1"));
        assert_eq!(bridge["ipam"]["ranges"][0][0]["subnet"], config().pod_cidr.to_string());
    }

    #[test]
    fn the_socket_path_fits_the_kernels_bound() {
        let long = PathBuf::from(format!("/{}", "d".repeat(300)));
        let run_directory = ContainerdConfig::default_run_directory(&long);
        let socket = ContainerdConfig {
            run_directory,
            ..config()
        }
        .socket();
        assert!(socket.display().to_string().len() < 100);
    }
}
