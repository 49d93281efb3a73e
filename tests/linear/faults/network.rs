//! Members in network namespaces of their own, joined by a bridge. What is cut is dropped by nftables where it arrives.
//!
//! Clients connect inside a member's namespace, so that they always reach it: what is cut is between members only.

use std::process::Command;

use anyhow::{Result, anyhow};

use super::tool::{run, run_with_input};

/// The networks that are tried: one that nobody uses is needed, a private one that is rarely met.
const NETWORK_PREFIX: &str = "10.231";

/// Namespaces and the bridge between them. Dropping this takes them away.
#[derive(Debug)]
pub struct Network {
    /// Part of every name, so that several runs can go on at once.
    tag: u8,
    members: usize,
}

impl Network {
    /// Makes namespaces for so many members. Nothing is cut.
    ///
    /// # Errors
    /// If a tool fails.
    pub fn make(members: usize) -> Result<Self> {
        for _ in 0..20 {
            let tag = rand::random_range(1..=250);
            // Another run may have the tag: its bridge is not ours to take away.
            match run(&["ip", "link", "add", &format!("trl{tag}"), "type", "bridge"]) {
                Ok(_) => {
                    let network = Self { tag, members };
                    network.furnish()?;
                    return Ok(network);
                }
                Err(error) if error.to_string().contains("File exists") => {}
                Err(error) => return Err(error),
            }
        }
        Err(anyhow!("no name for a bridge is free"))
    }

    fn furnish(&self) -> Result<()> {
        let bridge = self.bridge();
        run(&["ip", "link", "set", &bridge, "up"])?;
        for member in 0..self.members {
            let (namespace, outer) = (self.namespace(member), self.link(member));
            let address = format!("{}/24", self.address(member));
            run(&["ip", "netns", "add", &namespace])?;
            run(&[
                "ip", "link", "add", &outer, "type", "veth", "peer", "name", "eth0", "netns", &namespace,
            ])?;
            run(&["ip", "link", "set", &outer, "master", &bridge, "up"])?;
            run(&["ip", "-n", &namespace, "link", "set", "lo", "up"])?;
            run(&["ip", "-n", &namespace, "address", "add", &address, "dev", "eth0"])?;
            run(&["ip", "-n", &namespace, "link", "set", "eth0", "up"])?;
        }
        self.heal()
    }

    fn bridge(&self) -> String {
        format!("trl{}", self.tag)
    }

    fn link(&self, member: usize) -> String {
        format!("trl{}-{}", self.tag, member + 1)
    }

    /// A member's namespace.
    pub fn namespace(&self, member: usize) -> String {
        format!("trl{}-{}", self.tag, member + 1)
    }

    /// A member's address, by which the others reach it.
    pub fn address(&self, member: usize) -> String {
        format!("{NETWORK_PREFIX}.{}.{}", self.tag, member + 1)
    }

    /// Cuts exactly these directions, each from one member to another. All else is whole.
    ///
    /// # Errors
    /// If nftables refuses.
    pub fn cut(&self, directions: &[(usize, usize)]) -> Result<()> {
        for member in 0..self.members {
            let mut rules = String::from(
                "table inet trireme_test {}\nflush table inet trireme_test\ntable inet trireme_test {\n chain input {\n  type filter hook input priority 0;\n",
            );
            for (from, _) in directions.iter().filter(|(_, to)| *to == member) {
                rules.push_str(&format!("  ip saddr {} drop\n", self.address(*from)));
            }
            rules.push_str(" }\n}\n");
            run_with_input(
                &["ip", "netns", "exec", &self.namespace(member), "nft", "-f", "-"],
                &rules,
            )?;
        }
        Ok(())
    }

    /// Cuts a member off from all others.
    ///
    /// # Errors
    /// As [`Network::cut`].
    pub fn isolate(&self, member: usize) -> Result<()> {
        let others = (0..self.members).filter(|other| *other != member);
        let links: Vec<(usize, usize)> = others.flat_map(|other| [(member, other), (other, member)]).collect();
        self.cut(&links)
    }

    /// Lets a member be heard but hear nobody, or the other way round.
    ///
    /// # Errors
    /// As [`Network::cut`].
    pub fn one_way(&self, member: usize, deaf: bool) -> Result<()> {
        let others = (0..self.members).filter(|other| *other != member);
        let links: Vec<(usize, usize)> = others
            .map(|other| if deaf { (other, member) } else { (member, other) })
            .collect();
        self.cut(&links)
    }

    /// Makes the network whole.
    ///
    /// # Errors
    /// As [`Network::cut`].
    pub fn heal(&self) -> Result<()> {
        self.cut(&[])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let quiet = |line: &[&str]| {
            // What was never made cannot be taken away, and there is nobody to tell.
            let _ = Command::new("ip").args(line).output();
        };
        for member in 0..self.members {
            quiet(&["netns", "delete", &self.namespace(member)]);
        }
        quiet(&["link", "delete", &self.bridge()]);
    }
}
