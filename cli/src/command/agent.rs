//! `agent`: runs a node agent. The one place where its flags become the agent's configuration.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Error, Result};
use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;
use trireme_node_agent::{AgentConfig, AgentError, RuntimeChoice};

use crate::command::server::{host_name, parse_token, stop_on_signal};
use crate::exit::{Exit, Failure};

/// Which runtime runs the pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RuntimeKind {
    /// Containers if this machine can run them (root, containerd installed), else processes.
    #[default]
    Auto,
    /// Containers.
    Cri,
    /// Plain processes of this user, without isolation.
    Process,
}

/// Flags of `agent`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme agent --join 10.0.0.1:6443 --token TOKEN --name node-1 --data-dir /var/lib/trireme
  trireme agent --join 10.0.0.1:6443 --token TOKEN --runtime cri --containerd-socket /run/containerd/containerd.sock

A node that has joined needs no token any more. Make tokens with `trireme token create --role node`. SIGTERM stops the
agent and leaves its containers running; the next agent takes them over.")]
pub(crate) struct AgentArgs {
    /// Address (host:port) of a server; repeatable
    #[arg(long, required = true, value_name = "HOST:PORT", value_delimiter = ',')]
    join: Vec<String>,
    /// The join token
    #[arg(long, env = "TRIREME_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The node's name, unique in the cluster; otherwise the host's name
    #[arg(long)]
    name: Option<String>,
    /// Where the agent keeps everything
    #[arg(long, default_value = "/var/lib/trireme", value_name = "DIR")]
    data_dir: PathBuf,
    /// Which runtime runs the pods
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    runtime: RuntimeKind,
    /// A container runtime that is there already, instead of one that the agent starts
    #[arg(long, value_name = "SOCKET")]
    containerd_socket: Option<PathBuf>,
    /// Folder with image archives (*.tar) that are imported at the start
    #[arg(long, value_name = "DIR")]
    image_dir: Option<PathBuf>,
    /// The node's pod addresses, such as 10.64.1.0/24; derived from its name if unset
    #[arg(long, value_name = "CIDR")]
    pod_cidr: Option<String>,
    /// The node's own address; found out if unset
    #[arg(long, value_name = "IP")]
    node_ip: Option<IpAddr>,
    /// A label of the node, KEY=VALUE; repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_delimiter = ',')]
    labels: Vec<String>,
    /// The most pods that the node takes
    #[arg(long, value_name = "COUNT")]
    max_pods: Option<u32>,
}

/// The runtime of a configuration. That containers are asked for by name is an order; `auto` takes what there is.
pub(crate) fn choose(kind: RuntimeKind, socket: Option<PathBuf>) -> RuntimeChoice {
    match (kind, socket) {
        (RuntimeKind::Process, _) => RuntimeChoice::Process,
        (RuntimeKind::Auto | RuntimeKind::Cri, Some(socket)) => RuntimeChoice::Cri { socket },
        (RuntimeKind::Cri, None) => RuntimeChoice::Containerd,
        (RuntimeKind::Auto, None) => RuntimeChoice::detect(),
    }
}

impl AgentArgs {
    /// Resolves the flags, once.
    fn config(self) -> Result<AgentConfig, Failure> {
        let name = self.name.map_or_else(host_name, Ok)?;
        let mut config = AgentConfig::new(name, self.data_dir, self.join);
        if let Some(token) = &self.token {
            parse_token(token)?;
        }
        config.token = self.token;
        config.runtime = choose(self.runtime, self.containerd_socket);
        config.image_dir = self.image_dir;
        if let Some(cidr) = &self.pod_cidr {
            let parsed = cidr.parse().map_err(|e| Failure::usage(format!("--pod-cidr: {e}")))?;
            config.pod_cidr = Some(parsed);
        }
        config.address = self.node_ip;
        for label in &self.labels {
            let (key, value) = label
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--label: {label:?} is not KEY=VALUE")))?;
            config.labels.insert(key.to_owned(), value.to_owned());
        }
        config.pods_max = self.max_pods.unwrap_or(config.pods_max);
        Ok(config)
    }
}

/// Runs the agent until it is told to stop.
pub(crate) fn run(args: AgentArgs) -> Result<()> {
    let config = args.config()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        stop_on_signal(&shutdown)?;
        trireme_node_agent::run(config, shutdown).await.map_err(explain)
    })
}

/// Gives each failure its exit code and remedy.
fn explain(error: AgentError) -> Error {
    let message = error.to_string();
    match error {
        AgentError::NoToken | AgentError::Expired => Failure::new(Exit::Forbidden, message)
            .help("make a token with `trireme token create --role node`")
            .into(),
        AgentError::InUse { .. } => Failure::new(Exit::Local, message)
            .help("stop it, or pass another --data-dir")
            .into(),
        other => Error::new(other),
    }
}
