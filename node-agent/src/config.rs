//! What the agent is told at its start.

use crate::limits;
use crate::network::PodCidr;
use crate::paths::Layout;
use crate::runtime::process::ShimCommand;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Which runtime runs the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// An own containerd, which the agent starts and watches over. Needs root.
    Containerd,
    /// A runtime that is there already, by the socket of its CRI.
    Cri {
        /// The socket's path.
        socket: PathBuf,
    },
    /// Plain processes of this user, without isolation.
    Process,
}

impl RuntimeChoice {
    /// An own containerd where that works (root, and everything installed), else plain processes.
    #[must_use]
    pub fn detect() -> Self {
        let is_installed = crate::runtime::containerd::is_installed();
        if nix::unistd::geteuid().is_root() && is_installed {
            Self::Containerd
        } else {
            Self::Process
        }
    }
}

/// The agent's configuration.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The node's name; it becomes the object's name.
    pub node_name: String,
    /// Where everything of this node is kept. Made absolute at the start.
    pub data_dir: PathBuf,
    /// API addresses (`host:port`) of servers. After the first session the servers' own list counts.
    pub servers: Vec<String>,
    /// The join token; needed only until a certificate is stored in `data_dir`.
    pub token: Option<String>,
    /// Which runtime runs the pods.
    pub runtime: RuntimeChoice,
    /// Each `*.tar` in here is imported as an image archive at the start.
    pub image_dir: Option<PathBuf>,
    /// The node's pod addresses; derived from the node's name if unset.
    pub pod_cidr: Option<PodCidr>,
    /// The node's own address; found by the route to the servers if unset.
    pub address: Option<IpAddr>,
    /// Further labels of the node.
    pub labels: BTreeMap<String, String>,
    /// The most pods that the node takes.
    pub pods_max: u32,
    /// How the process runtime starts its shims.
    pub shim: ShimCommand,
}

impl AgentConfig {
    /// A configuration with the usual values.
    #[must_use]
    pub fn new(node_name: impl Into<String>, data_dir: impl Into<PathBuf>, servers: Vec<String>) -> Self {
        Self {
            node_name: node_name.into(),
            data_dir: data_dir.into(),
            servers,
            token: None,
            runtime: RuntimeChoice::detect(),
            image_dir: None,
            pod_cidr: None,
            address: None,
            labels: BTreeMap::new(),
            pods_max: limits::PODS_MAX_DEFAULT,
            shim: ShimCommand::default(),
        }
    }

    /// The node's pod addresses.
    pub(crate) fn pod_addresses(&self) -> PodCidr {
        self.pod_cidr.unwrap_or_else(|| match self.runtime {
            RuntimeChoice::Process => PodCidr::for_loopback(&self.node_name),
            RuntimeChoice::Containerd | RuntimeChoice::Cri { .. } => PodCidr::for_bridge(&self.node_name),
        })
    }

    pub(crate) fn layout(&self) -> std::io::Result<Layout> {
        std::path::absolute(Path::new(&self.data_dir)).map(Layout::new)
    }
}
