//! A cluster started by `trireme up`, in a folder and on ports of its own.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::process::Command;
use trireme_client::{Client, ClientConfig, Kubeconfig};
pub use trireme_proto::v1::Member;

use super::wait::poll_until;

/// How long the cluster may take for anything that it should do in seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which runtime the agents use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// Plain processes.
    Process,
    /// Containers, under a containerd of the agent's own.
    Cri,
}

/// How to start a cluster.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Server processes.
    pub servers: usize,
    /// Agent processes.
    pub agents: usize,
    /// The agents' runtime.
    pub runtime: Runtime,
    /// The program; by default the one that cargo built beside the test.
    pub trireme: PathBuf,
    /// Environment of all processes.
    pub environment: Vec<(String, String)>,
}

/// A running cluster. Dropping it stops it and deletes its data.
pub struct Cluster {
    options: ClusterOptions,
    directory: TempDir,
    base_port: u16,
}

/// What a command of the CLI printed and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; -1 if it was ended by a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            servers: 3,
            agents: 2,
            runtime: Runtime::Process,
            trireme: default_trireme(),
            environment: Vec::new(),
        }
    }
}

/// The program that `cargo build` left, unless the environment names another.
pub(super) fn default_trireme() -> PathBuf {
    if let Some(path) = std::env::var_os("TRIREME_BIN") {
        return path.into();
    }
    workspace().join("target/debug/trireme")
}

/// The program with the feature `faults`, which `./x test` leaves there, unless the environment names another.
pub fn faults_trireme() -> PathBuf {
    if let Some(path) = std::env::var_os("TRIREME_FAULTS_BIN") {
        return path.into();
    }
    workspace().join("target/faults/trireme")
}

/// The folder of the whole project.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

impl Cluster {
    /// Starts a cluster and waits until its servers are in quorum and its nodes are ready.
    ///
    /// # Errors
    /// If the program is not built, or `trireme up` fails.
    pub async fn start(options: ClusterOptions) -> Result<Self> {
        ensure!(
            options.trireme.is_file(),
            "{} does not exist: build it with `cargo build -p trireme`, or run `./x test`",
            options.trireme.display()
        );
        let directory = tempfile::Builder::new().prefix("trireme-test.").tempdir()?;
        let base_port = free_ports(options.servers * 2)?;
        let cluster = Self {
            options,
            directory,
            base_port,
        };
        cluster.up().await?;
        Ok(cluster)
    }

    /// Runs `trireme up` again: starts what is not running, with the data that is there.
    ///
    /// # Errors
    /// If it fails.
    pub async fn up(&self) -> Result<Output> {
        let runtime = match self.options.runtime {
            Runtime::Process => "process",
            Runtime::Cri => "cri",
        };
        let output = self
            .command()
            .arg("up")
            .arg("--detach")
            .args(["--servers", &self.options.servers.to_string()])
            .args(["--agents", &self.options.agents.to_string()])
            .args(["--base-port", &self.base_port.to_string()])
            .args(["--runtime", runtime])
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--image-dir")
            .arg(workspace().join("target/images"))
            .output()
            .await
            .context("running `trireme up`")?;
        let output = Output::of(&output);
        ensure!(
            output.code == 0,
            "`trireme up` failed:\n{}\n{}\n{}",
            output.stdout,
            output.stderr,
            self.logs_tail()
        );
        Ok(output)
    }

    /// Runs a command of the CLI against this cluster.
    ///
    /// # Errors
    /// If it cannot be run at all.
    pub async fn run(&self, arguments: &[&str]) -> Result<Output> {
        let output = self
            .command()
            .args(arguments)
            .output()
            .await
            .context("running trireme")?;
        Ok(Output::of(&output))
    }

    /// Runs a command that must succeed; gives what it printed.
    ///
    /// # Errors
    /// If it fails.
    pub async fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments).await?;
        ensure!(
            output.code == 0,
            "`trireme {}` ended with {}:\n{}{}",
            arguments.join(" "),
            output.code,
            output.stdout,
            output.stderr
        );
        Ok(output.stdout)
    }

    /// Runs a command with something on its standard input.
    ///
    /// # Errors
    /// If it cannot be run at all.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Result<Output> {
        use tokio::io::AsyncWriteExt;
        let mut child = self
            .command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("running trireme")?;
        let mut stdin = child.stdin.take().context("standard input was asked for")?;
        // A command may refuse its input before it has read all of it; its exit code tells.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        Ok(Output::of(&child.wait_with_output().await?))
    }

    /// A command of the CLI, for callers that want to run it their own way.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.options.trireme);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .envs(self.options.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// The cluster's folder.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The admin's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data_dir().join("admin.kubeconfig")
    }

    /// A client with the admin's certificate.
    ///
    /// # Errors
    /// If the kubeconfig cannot be used.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::new(self.client_config()?)?)
    }

    /// What [`Cluster::client`] is made of.
    ///
    /// # Errors
    /// If the kubeconfig cannot be used.
    pub fn client_config(&self) -> Result<ClientConfig> {
        let path = self.kubeconfig();
        Ok(Kubeconfig::read(&path)?.access(None, &self.data_dir())?.config)
    }

    /// A client that talks to one server only.
    ///
    /// # Errors
    /// If the kubeconfig cannot be used.
    pub fn client_of(&self, member: &Member) -> Result<Client> {
        let config = ClientConfig {
            endpoints: vec![member.api_address.clone()],
            ..self.client_config()?
        };
        Ok(Client::new(config)?)
    }

    /// The servers, as a server that answers sees them.
    ///
    /// # Errors
    /// If none answers.
    pub async fn members(&self) -> Result<Vec<Member>> {
        Ok(self.client()?.cluster_status().await?.members)
    }

    /// Waits until there is a leader other than `former`.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn leader_other_than(&self, former: u64) -> Result<Member> {
        poll_until("a new leader", PATIENCE, || async {
            let status = self.client()?.cluster_status().await?;
            let leader = status.leader_id;
            Ok(status.members.into_iter().find(|member| {
                member.id == leader && leader != former && member.process_id != 0 && member.role == "Leader"
            }))
        })
        .await
    }

    /// Waits until there is a leader.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn leader(&self) -> Result<Member> {
        self.leader_other_than(0).await
    }

    /// Waits until every server is healthy.
    ///
    /// # Errors
    /// If they are not in time.
    pub async fn all_healthy(&self) -> Result<Vec<Member>> {
        poll_until("all servers to be healthy", PATIENCE, || async {
            let members = self.members().await?;
            let healthy = members.iter().filter(|member| member.health == "Healthy").count();
            if healthy < self.options.servers {
                bail!("{healthy} of {} servers are healthy: {members:?}", self.options.servers);
            }
            Ok(Some(members))
        })
        .await
    }

    /// Sends a signal to a server's process.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn signal(&self, member: &Member, signal: Signal) -> Result<()> {
        let pid = i32::try_from(member.process_id)?;
        ensure!(pid > 1, "server {} has no process", member.name);
        ensure!(self.owns_process(pid), "process {pid} is not one of this cluster's");
        kill(Pid::from_raw(pid), signal).with_context(|| format!("sending {signal} to {pid}"))
    }

    /// Whether a process was started for this cluster: its command line names our folder.
    pub(super) fn owns_process(&self, pid: i32) -> bool {
        let folder = self.data_dir().into_os_string();
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*folder.to_string_lossy()))
    }

    /// What a server or agent has logged so far.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.data_dir().join("logs").join(format!("{name}.log"))).unwrap_or_default()
    }

    /// The ends of all logs, for a failure's message.
    pub fn logs_tail(&self) -> String {
        let Ok(entries) = std::fs::read_dir(self.data_dir().join("logs")) else {
            return String::new();
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let mut text = String::new();
        for path in paths {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            text.push_str(&format!("--- {}\n", path.display()));
            for line in &lines[lines.len().saturating_sub(30)..] {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }

    /// Keeps the folder after the end, for a look at what went wrong; says where.
    pub fn keep(&mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.data_dir()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let result = std::process::Command::new(&self.options.trireme)
            .args(["down", "--data-dir"])
            .arg(self.data_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !result.is_ok_and(|status| status.success()) {
            eprintln!("`trireme down` failed for {}", self.data_dir().display());
        }
    }
}

impl Output {
    fn of(output: &std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The first of `count` neighbouring ports on loopback that nobody uses now.
///
/// # Errors
/// If there seem to be none.
pub fn free_ports(count: usize) -> Result<u16> {
    let count = u16::try_from(count)?;
    for _ in 0..200 {
        let base = rand::random_range(20_000..32_000_u16);
        let all_free = (base..base + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        if all_free {
            return Ok(base);
        }
    }
    Err(anyhow!("no {count} neighbouring ports are free"))
}
