//! Servers that are added, removed and replaced while the leader is killed under it, at each moment that shows from outside:
//! when the change has just been asked for, when the newcomer has become a learner, and when it has become a voter. The same
//! command, given again, ends it; and no id is ever used twice.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use tokio::process::Child;
use tokio::time::{Instant, timeout};
use trireme_tests::harness::{Cluster, Member, PATIENCE, free_ports, wait_until};

use crate::damage::{Server, port_of, servers_only};

/// The server that comes and goes.
const NEWCOMER: &str = "server-9";
/// Between two looks at what is waited for.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// When the leader is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The newcomer has been started.
    Asked,
    /// It is a member.
    Learner,
    /// It votes.
    Voter,
}

/// The cluster, with the servers that were started again by hand.
struct Fleet<'c> {
    cluster: &'c Cluster,
    by_hand: BTreeMap<String, Server>,
    /// Ids that were seen, and whose they are.
    owners: BTreeMap<u64, String>,
}

impl Fleet<'_> {
    /// Kills the leader and starts it again, once another one leads or none can.
    async fn kill_leader(&mut self) -> Result<()> {
        let leader = loop {
            let leader = self.cluster.leader().await?;
            if leader.name != NEWCOMER {
                break leader;
            }
            // That one is not ours to start again. If it cannot hand the lead over now, it is asked again.
            self.cluster.run(&["cluster", "transfer-leader", "server-1"]).await?;
        };
        self.kill(&leader.name).await?;
        let directory = self.cluster.server_dir(&leader.name);
        let server = Server::start(self.cluster, &leader.name, &directory, port_of(&leader)?, &[])?;
        self.by_hand.insert(leader.name, server);
        Ok(())
    }

    async fn kill(&mut self, name: &str) -> Result<()> {
        match self.by_hand.remove(name) {
            Some(server) => server.stop().await,
            None => self.cluster.end_process(name, Signal::SIGKILL).await,
        }
    }

    /// Whether the cluster consists of these servers, all of which vote and are healthy, and no id has changed hands.
    async fn look(&mut self, names: &[&str]) -> Result<()> {
        let members = self.cluster.members().await?;
        for member in &members {
            let owner = self.owners.entry(member.id).or_insert_with(|| member.name.clone());
            if *owner != member.name {
                bail!("id {} was {owner}'s and is {}'s now", member.id, member.name);
            }
        }
        let found: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
        let wanted: BTreeSet<&str> = names.iter().copied().collect();
        ensure!(found == wanted, "{members:#?}");
        let settled = |member: &Member| member.health == "Healthy" && matches!(&*member.role, "Leader" | "Follower");
        ensure!(
            members.len() == names.len() && members.iter().all(settled),
            "{members:#?}"
        );
        Ok(())
    }

    /// Waits until [`look`](Self::look) finds nothing amiss. A newcomer whose joining broke off is started again.
    async fn settle(&mut self, names: &[&str], newcomer: Option<&mut Newcomer<'_>>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut newcomer = newcomer;
        loop {
            if let Some(newcomer) = &mut newcomer {
                newcomer.start_again_if_ended()?;
            }
            match self.look(names).await {
                Ok(()) => break,
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => tokio::time::sleep(LOOK_PERIOD).await,
            }
        }
        // It is of use, too.
        let name = format!("kept-{}", self.owners.len());
        let made = self
            .cluster
            .run(&["create", "configmap", &name, "--from-literal", "a=b"])
            .await?;
        ensure!(made.code == 0 || made.stderr.contains("already exists"), "{made:?}");
        Ok(())
    }

    /// The id that a name has now; it must be one that nobody had before.
    async fn fresh_id(&mut self, name: &str, before: &BTreeSet<u64>) -> Result<()> {
        let members = self.cluster.members().await?;
        let member = members
            .iter()
            .find(|member| member.name == name)
            .context("it is a member")?;
        ensure!(!before.contains(&member.id), "{} is used again: {before:?}", member.id);
        Ok(())
    }

    fn ids(&self) -> BTreeSet<u64> {
        self.owners.keys().copied().collect()
    }
}

/// A server on its way into the cluster.
struct Newcomer<'c> {
    cluster: &'c Cluster,
    name: String,
    directory: String,
    port: u16,
    arguments: Vec<String>,
    server: Server,
}

impl<'c> Newcomer<'c> {
    /// Starts it with the words that `cluster add` or `cluster replace` printed.
    fn start(cluster: &'c Cluster, name: &str, directory: &str, said: &str) -> Result<Self> {
        let line = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("trireme server "));
        let words = line.context("a command is shown")?.split_whitespace();
        // The name comes first, and is given anyway.
        let arguments: Vec<String> = words.skip(2).map(str::to_owned).collect();
        let port = free_ports(2)?;
        let server = launch(cluster, name, directory, port, &arguments)?;
        Ok(Self {
            cluster,
            name: name.to_owned(),
            directory: directory.to_owned(),
            port,
            arguments,
            server,
        })
    }

    fn start_again_if_ended(&mut self) -> Result<()> {
        if self.server.has_ended()? {
            self.server = launch(self.cluster, &self.name, &self.directory, self.port, &self.arguments)?;
        }
        Ok(())
    }

    /// Waits for the moment at which the leader is to be killed.
    async fn wait_for(&self, moment: Moment) -> Result<()> {
        wait_until(&format!("{moment:?}"), PATIENCE, || async {
            let members = self.cluster.members().await?;
            let own = members
                .iter()
                .find(|member| member.name == self.name && member.process_id != 0);
            let listed = members.iter().any(|member| member.name == self.name);
            Ok(match moment {
                Moment::Asked => true,
                Moment::Learner => listed,
                Moment::Voter => own.is_some_and(|member| matches!(&*member.role, "Leader" | "Follower")),
            })
        })
        .await
    }
}

fn launch(cluster: &Cluster, name: &str, directory: &str, port: u16, arguments: &[String]) -> Result<Server> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Server::start(cluster, name, &cluster.data_dir().join(directory), port, &arguments)
}

/// Begins a command, and does not wait for it.
fn begin(cluster: &Cluster, arguments: &[&str]) -> Result<Child> {
    let mut command = cluster.command();
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.spawn()?)
}

#[tokio::test]
async fn servers_come_and_go_whenever_the_leader_dies() -> Result<()> {
    let cluster = Cluster::start(servers_only(3)).await?;
    cluster.with_logs(come_and_go(&cluster).await)
}

async fn come_and_go(cluster: &Cluster) -> Result<()> {
    let three = ["server-1", "server-2", "server-3"];
    let four = [&three[..], &[NEWCOMER]].concat();
    let mut fleet = Fleet {
        cluster,
        by_hand: BTreeMap::new(),
        owners: BTreeMap::new(),
    };
    fleet.settle(&three, None).await?;
    for moment in [Moment::Asked, Moment::Learner, Moment::Voter] {
        let before = fleet.ids();
        let said = cluster.ok(&["cluster", "add", NEWCOMER]).await?;
        let mut newcomer = Newcomer::start(cluster, NEWCOMER, &format!("newcomer-{moment:?}"), &said)?;
        newcomer.wait_for(moment).await?;
        fleet.kill_leader().await?;
        let added = fleet.settle(&four, Some(&mut newcomer)).await;
        added.with_context(|| format!("added, the leader killed at {moment:?}"))?;
        fleet.fresh_id(NEWCOMER, &before).await?;

        // Removed again, the leader killed as soon as that was asked for.
        let mut removing = begin(cluster, &["cluster", "remove", NEWCOMER])?;
        fleet.kill_leader().await?;
        timeout(PATIENCE, removing.wait()).await??;
        wait_until("the removal, asked for again", PATIENCE, || async {
            let again = cluster.run(&["cluster", "remove", NEWCOMER]).await?;
            Ok(again.code == 0 || again.stderr.contains("there is no server"))
        })
        .await?;
        newcomer.server.stop().await?;
        fleet.settle(&three, None).await.context("removed")?;
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_server_is_replaced_although_the_leader_dies_meanwhile() -> Result<()> {
    let cluster = Cluster::start(servers_only(3)).await?;
    cluster.with_logs(replace(&cluster).await)
}

async fn replace(cluster: &Cluster) -> Result<()> {
    let three = ["server-1", "server-2", "server-3"];
    let mut fleet = Fleet {
        cluster,
        by_hand: BTreeMap::new(),
        owners: BTreeMap::new(),
    };
    fleet.settle(&three, None).await?;
    let before = fleet.ids();
    cluster.ok(&["cluster", "transfer-leader", "server-1"]).await?;
    fleet.kill("server-3").await?;
    wait_until("the loss to be seen", PATIENCE, || async {
        let members = cluster.members().await?;
        Ok(members
            .iter()
            .any(|member| member.name == "server-3" && member.health == "Unreachable"))
    })
    .await?;
    let mut replacing = begin(cluster, &["cluster", "replace", "server-3"])?;
    fleet.kill_leader().await?;
    timeout(PATIENCE, replacing.wait()).await??;
    let deadline = Instant::now() + PATIENCE;
    let said = loop {
        let again = cluster.run(&["cluster", "replace", "server-3"]).await?;
        if again.code == 0 {
            break again.stdout;
        }
        if again.stderr.contains("there is no server") {
            // The first one has done it, but its words are lost.
            break cluster.ok(&["cluster", "add", "server-3"]).await?;
        }
        ensure!(Instant::now() < deadline, "{again:?}");
        tokio::time::sleep(LOOK_PERIOD).await;
    };
    fleet.settle(&three[..2], None).await.context("the dead one is gone")?;
    // The newcomer bears its name, under an id of its own.
    fleet.owners.retain(|_, name| name != "server-3");
    let mut newcomer = Newcomer::start(cluster, "server-3", "in-its-place", &said)?;
    newcomer.wait_for(Moment::Learner).await?;
    fleet.kill_leader().await?;
    fleet.settle(&three, Some(&mut newcomer)).await.context("replaced")?;
    fleet.fresh_id("server-3", &before).await?;
    newcomer.server.stop().await
}
