//! Waiting for a local cluster: for its servers to form a quorum and its nodes to be ready, while none of its processes
//! ends.

use anyhow::Result;
use tokio::time::Instant;
use trireme_client::{Client, ClientError};
use trireme_proto::v1::Member;

use super::{Up, is_ready};
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::local::process::{ProcessRecord, log_tail};
use crate::object::Object;
use crate::resolve::{Discovery, reference};
use crate::resources::{Resources, Selection};

impl Up {
    /// One round of waiting: fails if a process ended or the time is over.
    pub(super) async fn pause(&mut self, what: &str) -> Result<()> {
        if let Some((name, status)) = self.ended() {
            return Err(self.died(&name, status).into());
        }
        if Instant::now() >= self.deadline {
            let help = format!("see the logs in {}", self.layout.root().join("logs").display());
            let message = format!("gave up after {} s of waiting for {what}", limits::UP_TIMEOUT.as_secs());
            return Err(Failure::new(Exit::Timeout, message).help(help).into());
        }
        tokio::time::sleep(limits::LOCAL_POLL).await;
        Ok(())
    }

    /// A process's end as a failure of ours: its own words, and its exit code.
    fn died(&self, name: &str, status: std::process::ExitStatus) -> Failure {
        let log = self.layout.log(name);
        let tail = log_tail(&log);
        let said = tail.iter().rev().find_map(|line| line.strip_prefix("error: "));
        let exit = crate::exit::EXIT_CODES
            .iter()
            .map(|(exit, _)| *exit)
            .find(|exit| status.code() == Some(*exit as i32));
        let message = match said {
            Some(said) => format!("{name}: {said}"),
            None => format!("{name} ended with {status}; its last words: {}", tail.join(" | ")),
        };
        let remedy = tail
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix("help: "))
            .map(|help| format!("{help}; "));
        let help = format!("{}see {}", remedy.unwrap_or_default(), log.display());
        Failure::new(exit.unwrap_or(Exit::Other), message).help(help)
    }

    pub(super) async fn wait_for_members(&mut self, client: &Client) -> Result<()> {
        let names: Vec<String> = self.plan.servers.iter().map(|server| server.name.clone()).collect();
        let mut told: Vec<String> = Vec::new();
        loop {
            match client.cluster_status().await {
                Ok(status) => {
                    if let Some(member) = status.members.iter().find(|m| m.health == "Quarantined") {
                        return Err(quarantined(member).into());
                    }
                    for member in status.members.iter().filter(|m| names.contains(&m.name) && votes(m)) {
                        if !told.contains(&member.name) {
                            self.progress.step(format!("{} is in the quorum", member.name));
                            told.push(member.name.clone());
                        }
                    }
                    if told.len() == names.len() && status.leader_id != 0 {
                        return Ok(());
                    }
                }
                Err(error) if passes(&error) => {}
                Err(error) => return Err(error.into()),
            }
            self.pause("the servers to form a quorum").await?;
        }
    }

    /// Whether the agent that runs now has its node's pods in hand.
    fn is_in_service(&self, name: &str) -> bool {
        let process = ProcessRecord::read(&self.layout.pid(name)).and_then(|record| u32::try_from(record.pid).ok());
        process.is_some_and(|id| trireme_node_agent::is_in_service(&self.layout.agent(name), id))
    }

    /// Waits until every agent's node is ready. Right after a `down` and `up` the cluster still holds what it was told
    /// before, so the agents must also have told how their pods are now.
    pub(super) async fn wait_for_nodes(&mut self, client: &Client) -> Result<()> {
        let resources = Resources::new(client);
        let mut told: Vec<String> = Vec::new();
        loop {
            match nodes(client, &resources).await {
                Ok(nodes) => {
                    for node in nodes.iter().filter(|node| is_ready(node)) {
                        let mine = self.plan.agents.iter().any(|agent| agent.name == node.name());
                        if mine && self.is_in_service(node.name()) && !told.iter().any(|name| name == node.name()) {
                            self.progress.step(format!("{} is ready", node.name()));
                            told.push(node.name().to_owned());
                        }
                    }
                    if told.len() == self.plan.agents.len() {
                        break;
                    }
                }
                Err(error) if error.downcast_ref::<ClientError>().is_some_and(passes) => {}
                Err(error) => return Err(error),
            }
            self.pause("the nodes to become ready").await?;
        }
        if self.plan.agents.iter().any(|agent| !agent.joined) {
            self.plan.agents.iter_mut().for_each(|agent| agent.joined = true);
            self.plan.write(&self.layout)?;
        }
        Ok(())
    }
}

/// Whether a failure may pass while a cluster comes up.
pub(super) fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Connect(error) => !error.untrusted,
        ClientError::Unavailable { .. } | ClientError::UnknownOutcome { .. } => true,
        ClientError::Api(_) | ClientError::Decode(_) => false,
    }
}

/// A server that will never vote again, so that waiting for it is in vain.
fn quarantined(member: &Member) -> Failure {
    let message = format!("{} is quarantined: {}", member.name, member.health_message);
    let help = format!(
        "the other servers serve on; `trireme cluster replace {}` and delete its folder, then run `trireme up` again",
        member.name
    );
    Failure::new(Exit::Other, message).help(help)
}

fn votes(member: &Member) -> bool {
    matches!(member.role.as_str(), "Leader" | "Follower") && member.health == "Healthy"
}

async fn nodes(client: &Client, resources: &Resources) -> Result<Vec<Object>> {
    let discovery = Discovery::new(client.discover().await?.resources);
    let kind = discovery.resource("nodes")?;
    resources.list(&reference(kind, "", ""), &Selection::default()).await
}
