//! The plan of a local cluster: which servers and agents there are, on which ports. Pure but for reading and writing it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::command::agent::RuntimeKind;
use crate::exit::{Exit, Failure};
use crate::local::layout::Layout;

/// Ports that one server takes: for clients, and for the other servers.
const PORTS_PER_SERVER: u16 = 2;

/// Where the ports of etcd's API begin, after the first port: behind those of as many servers as there may be.
const ETCD_PORTS_OFFSET: u16 = 18;

/// The plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    /// The servers; the first one founded the cluster.
    pub(crate) servers: Vec<ServerPlan>,
    /// The agents.
    pub(crate) agents: Vec<AgentPlan>,
    /// Which runtime the agents use; settled when the cluster was made.
    pub(crate) runtime: RuntimeKind,
    /// Where the agents find image archives.
    pub(crate) image_dir: Option<PathBuf>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerPlan {
    /// Its name.
    pub(crate) name: String,
    /// Its port for clients.
    pub(crate) api_port: u16,
    /// Its port for the other servers.
    pub(crate) peer_port: u16,
    /// Its port for clients of etcd's API, if it serves that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) etcd_port: Option<u16>,
}

impl ServerPlan {
    /// Its address for clients.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.api_port)
    }
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentPlan {
    /// Its name.
    pub(crate) name: String,
    /// Whether it has joined, so that it needs no token any more.
    pub(crate) joined: bool,
}

/// What the user asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// How many servers.
    pub(crate) servers: u16,
    /// How many agents.
    pub(crate) agents: u16,
    /// First of the servers' ports.
    pub(crate) base_port: u16,
    /// Which runtime.
    pub(crate) runtime: RuntimeKind,
    /// Where image archives are.
    pub(crate) image_dir: Option<PathBuf>,
    /// Whether the servers serve etcd's API.
    pub(crate) etcd: bool,
}

impl Plan {
    /// The plan of a cluster that is not there yet.
    pub(crate) fn new(wish: &Wish) -> Result<Self, Failure> {
        let mut plan = Self {
            servers: Vec::new(),
            agents: Vec::new(),
            runtime: wish.runtime,
            image_dir: None,
        };
        plan.grow(wish)?;
        Ok(plan)
    }

    /// Adds what the wish has more of. Nothing is ever taken away: that is what `cluster remove` and `drain` are for.
    pub(crate) fn grow(&mut self, wish: &Wish) -> Result<(), Failure> {
        let first_port = self.servers.first().map_or(wish.base_port, |server| server.api_port);
        while self.servers.len() < usize::from(wish.servers) {
            let number = self.servers.len() + 1;
            let offset = u16::try_from(number - 1)
                .ok()
                .and_then(|n| n.checked_mul(PORTS_PER_SERVER));
            let api_port = offset
                .and_then(|offset| first_port.checked_add(offset))
                .filter(|port| *port < u16::MAX);
            let Some(api_port) = api_port else {
                return Err(Failure::usage(format!(
                    "--base-port {first_port} leaves no ports for {} servers",
                    wish.servers
                )));
            };
            self.servers.push(ServerPlan {
                name: format!("server-{number}"),
                api_port,
                peer_port: api_port + 1,
                etcd_port: None,
            });
        }
        if wish.etcd {
            self.add_etcd_ports()?;
        }
        while self.agents.len() < usize::from(wish.agents) {
            self.agents.push(AgentPlan {
                name: format!("node-{}", self.agents.len() + 1),
                joined: false,
            });
        }
        if let Some(image_dir) = &wish.image_dir {
            self.image_dir = Some(image_dir.clone());
        }
        Ok(())
    }

    /// Gives each server that has none a port for etcd's API.
    fn add_etcd_ports(&mut self) -> Result<(), Failure> {
        let first = self.servers.first().map_or(0, |server| server.api_port);
        for (number, server) in (ETCD_PORTS_OFFSET..).zip(&mut self.servers) {
            let port = first
                .checked_add(number)
                .ok_or_else(|| Failure::usage(format!("--base-port {first} leaves no ports for etcd's API")))?;
            server.etcd_port.get_or_insert(port);
        }
        Ok(())
    }

    /// Where etcd's API is served.
    pub(crate) fn etcd_endpoints(&self) -> Vec<String> {
        let ports = self.servers.iter().filter_map(|server| server.etcd_port);
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// All servers' addresses.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.servers.iter().map(ServerPlan::address).collect()
    }

    /// Reads the plan; none if there is no cluster.
    pub(crate) fn read(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.plan();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let plan = serde_json::from_str(&text).map_err(|error| {
            let help = format!(
                "it was changed by hand; `trireme down --wipe --data-dir {}` deletes the cluster",
                layout.root().display()
            );
            Failure::new(Exit::Local, format!("{} is damaged: {error}", path.display())).help(help)
        })?;
        Ok(Some(plan))
    }

    /// Writes the plan, whole or not at all.
    pub(crate) fn write(&self, layout: &Layout) -> Result<()> {
        let path = layout.plan();
        let beside = path.with_extension("json.new");
        let text = format!("{:#}\n", serde_json::to_value(self)?);
        std::fs::write(&beside, text)
            .and_then(|()| std::fs::rename(&beside, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn wish(servers: u16, agents: u16, base_port: u16) -> Wish {
        Wish {
            servers,
            agents,
            base_port,
            runtime: RuntimeKind::Process,
            image_dir: None,
            etcd: false,
        }
    }

    #[test]
    fn a_plan_grows_and_never_shrinks() {
        let mut plan = Plan::new(&wish(1, 1, 7000)).unwrap();
        plan.grow(&wish(3, 2, 9000)).unwrap();
        let ports: Vec<(u16, u16)> = plan.servers.iter().map(|s| (s.api_port, s.peer_port)).collect();
        assert_eq!(ports, [(7000, 7001), (7002, 7003), (7004, 7005)]);
        assert_eq!(
            plan.agents.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(),
            ["node-1", "node-2"]
        );
        let before = plan.clone();
        plan.grow(&wish(1, 1, 7000)).unwrap();
        assert_eq!(plan, before);
    }

    #[test]
    fn etcd_has_ports_of_its_own() {
        let mut plan = Plan::new(&wish(1, 0, 7000)).unwrap();
        assert!(plan.etcd_endpoints().is_empty());
        let etcd = Wish {
            etcd: true,
            ..wish(3, 0, 7000)
        };
        plan.grow(&etcd).unwrap();
        let expected = ["127.0.0.1:7018", "127.0.0.1:7019", "127.0.0.1:7020"];
        assert_eq!(plan.etcd_endpoints(), expected);
        plan.grow(&wish(3, 0, 7000)).unwrap();
        assert_eq!(plan.etcd_endpoints(), expected);
        assert!(
            Plan::new(&Wish {
                etcd: true,
                ..wish(1, 0, 65530)
            })
            .is_err()
        );
    }

    #[test]
    fn ports_end() {
        assert!(Plan::new(&wish(3, 1, 65531)).is_err());
        assert!(Plan::new(&wish(3, 1, 65530)).is_ok());
    }

    #[test]
    fn kept_on_disk() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).unwrap();
        assert_eq!(Plan::read(&layout).unwrap(), None);
        let plan = Plan::new(&wish(3, 2, 7000)).unwrap();
        plan.write(&layout).unwrap();
        assert_eq!(Plan::read(&layout).unwrap(), Some(plan));
        std::fs::write(layout.plan(), "{").unwrap();
        assert_eq!(Failure::of(&Plan::read(&layout).unwrap_err()).exit, Exit::Local);
    }
}
