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
    /// The node's pod addresses; derived from the node's name and the data directory if unset.
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

    /// The agent's name on this machine, from which its bridge, its pods' addresses, its control group and its containers'
    /// label are derived. Nodes of two clusters may have one name, but never one data directory.
    pub(crate) fn instance(&self) -> String {
        let directory = std::path::absolute(&self.data_dir).unwrap_or_else(|_| self.data_dir.clone());
        let digest = crate::network::hash(&directory.display().to_string());
        format!("{}-{}", self.node_name, hex::encode(&digest[..4]))
    }

    /// The node's pod addresses.
    pub(crate) fn pod_addresses(&self) -> PodCidr {
        self.pod_cidr.unwrap_or_else(|| match self.runtime {
            RuntimeChoice::Process => PodCidr::for_loopback(&self.instance()),
            RuntimeChoice::Containerd | RuntimeChoice::Cri { .. } => PodCidr::for_bridge(&self.instance()),
        })
    }

    pub(crate) fn layout(&self) -> std::io::Result<Layout> {
        std::path::absolute(Path::new(&self.data_dir)).map(Layout::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_two_clusters_on_one_machine_do_not_collide() {
        let one = AgentConfig::new("node-1", "/data/one/agents/node-1", Vec::new());
        let two = AgentConfig::new("node-1", "/data/two/agents/node-1", Vec::new());
        assert_ne!(one.instance(), two.instance());
        assert_ne!(one.pod_addresses(), two.pod_addresses());
        assert_eq!(one.instance(), one.clone().instance());
        assert!(one.instance().starts_with("node-1-"));
    }
}
