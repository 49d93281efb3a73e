//! Three members that speak etcd's API: Debian's etcd or Trireme's servers, started, broken and mended the same way.
//!
//! Whoever measures or judges a store through that API need not know which of the two it is. The processes run on
//! loopback, or each in a network namespace of its own; their data is in one folder, or where a [`Place`] says.
//! Everything is plain text on loopback addresses; nothing here breaks the network or a disk.

mod connect;
mod programs;
mod usage;

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::transport::Channel;
use trireme_proto::etcd::server::{
    Member as KnownMember, MemberListRequest, MemberRemoveRequest, StatusRequest, StatusResponse,
    cluster_client::ClusterClient, maintenance_client::MaintenanceClient,
};

pub use connect::{NETWORK_NAMESPACES, connect};
pub use usage::Usage;

use super::{
    cluster::{default_trireme, faults_trireme, free_ports},
    look::runs,
    wait::poll_until,
};

/// How long the members may take for anything that they should do in seconds.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long one member may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long a change of the members may take before it is asked for again.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Ports that one member takes at most: for etcd's clients, for the other members, for Trireme's own clients.
pub(super) const PORTS_PER_MEMBER: usize = 3;
/// The first port in a network namespace, where nobody else is.
const PORT_IN_NAMESPACE: u16 = 2_379;

/// Whose members they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    /// Debian's etcd.
    Etcd,
    /// This project's servers.
    Trireme,
}

/// Where one member lives.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The network namespace and the member's address in it, by which the others reach it. None: loopback.
    pub network: Option<(String, String)>,
    /// A folder for its data, for instance a file system of its own. None: below the cluster's folder.
    pub data_dir: Option<PathBuf>,
}

/// How to start the members.
#[derive(Debug, Clone)]
pub struct EtcdOptions {
    /// Whose.
    pub peer: Peer,
    /// Trireme's program.
    pub trireme: PathBuf,
    /// etcd's program.
    pub etcd: PathBuf,
    /// The folder in which the cluster's own folder is made: decides which disk it is. None: the system's.
    pub parent: Option<PathBuf>,
    /// One place a member.
    pub places: Vec<Place>,
    /// Further arguments for every member.
    pub arguments: Vec<String>,
    /// Environment of every member.
    pub environment: Vec<(String, String)>,
}

/// Running members. Dropping them ends them and deletes their data.
#[derive(Debug)]
pub struct EtcdCluster {
    options: EtcdOptions,
    directory: TempDir,
    members: Vec<Member>,
}

/// One member.
#[derive(Debug)]
struct Member {
    /// Its name; a replaced member's successor has another.
    name: String,
    place: Place,
    ports: [u16; PORTS_PER_MEMBER],
    data_dir: PathBuf,
    log: PathBuf,
    /// How often this place has been given to a new member.
    generation: u32,
    child: Option<Child>,
}

impl EtcdOptions {
    /// Three members on loopback, of the program that can be broken.
    pub fn breakable(arguments: &[&str]) -> Self {
        Self {
            trireme: faults_trireme(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            ..Self::new(Peer::Trireme)
        }
    }

    /// Three members on loopback.
    pub fn new(peer: Peer) -> Self {
        Self {
            peer,
            trireme: default_trireme(),
            etcd: PathBuf::from("etcd"),
            parent: None,
            places: vec![Place::default(); 3],
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }
}

impl EtcdCluster {
    /// Starts the members and waits until all are in the quorum.
    ///
    /// # Errors
    /// If a program is missing, ends early, or no leader is found in time.
    pub async fn start(options: EtcdOptions) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("trireme-etcd.");
        let directory = match &options.parent {
            Some(parent) => builder.tempdir_in(parent)?,
            None => builder.tempdir()?,
        };
        let base_port = free_ports(options.places.len() * PORTS_PER_MEMBER)?;
        let mut next_port = base_port;
        let mut members = Vec::new();
        for (index, place) in options.places.iter().enumerate() {
            let first = if place.network.is_some() {
                PORT_IN_NAMESPACE
            } else {
                next_port
            };
            next_port += 3;
            let name = format!("member-{}", index + 1);
            members.push(Member {
                data_dir: place.data_dir.as_deref().unwrap_or(directory.path()).join(&name),
                log: directory.path().join(format!("{name}.log")),
                place: place.clone(),
                ports: [first, first + 1, first + 2],
                generation: 0,
                child: None,
                name,
            });
        }
        let mut cluster = Self {
            options,
            directory,
            members,
        };
        let started = match cluster.options.peer {
            Peer::Etcd => cluster.start_etcd(),
            Peer::Trireme => cluster.start_trireme().await,
        };
        let ready = match started {
            Ok(()) => cluster.wait_until_whole().await,
            Err(error) => Err(error),
        };
        ready.map_err(|error| error.context(cluster.logs_tail()))?;
        Ok(cluster)
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none, which is never so.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whose members they are.
    pub fn peer(&self) -> Peer {
        self.options.peer
    }

    /// The addresses of etcd's API as URLs, by member. Those of namespaces are reached by [`EtcdCluster::connect`] only.
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.members.len()).map(|member| self.endpoint(member)).collect()
    }

    /// The address of one member's etcd API.
    pub fn endpoint(&self, member: usize) -> String {
        format!("http://127.0.0.1:{}", self.members[member].ports[0])
    }

    /// The network namespace of a member.
    pub fn namespace(&self, member: usize) -> Option<&str> {
        let network = self.members[member].place.network.as_ref();
        network.map(|(namespace, _)| namespace.as_str())
    }

    /// A connection to one member.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn connect(&self, member: usize) -> Result<Channel> {
        connect(&self.endpoint(member), self.namespace(member)).await
    }

    /// The id of a member's process; none while it is down.
    pub fn pid(&self, member: usize) -> Option<u32> {
        self.members[member].child.as_ref().map(Child::id)
    }

    /// Where a member keeps its data.
    pub fn data_dir(&self, member: usize) -> &Path {
        &self.members[member].data_dir
    }

    /// The folder that holds logs and, unless a [`Place`] says otherwise, data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What a member uses of the machine; none while it is down.
    pub fn usage(&self, member: usize) -> Option<Usage> {
        Usage::of(self.pid(member)?)
    }

    /// Sends a signal to a member's process.
    ///
    /// # Errors
    /// If it is down.
    pub fn signal(&self, member: usize, signal: Signal) -> Result<()> {
        let pid = self.pid(member).with_context(|| format!("member {member} is down"))?;
        kill(Pid::from_raw(i32::try_from(pid)?), signal).with_context(|| format!("sending {signal} to {pid}"))
    }

    /// Kills a member with SIGKILL and reaps it.
    ///
    /// # Errors
    /// If it is down, or cannot be killed.
    pub fn kill(&mut self, member: usize) -> Result<()> {
        self.signal(member, Signal::SIGKILL)?;
        self.reap(member)
    }

    /// Reaps a member that was sent a signal that ends it.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn reap(&mut self, member: usize) -> Result<()> {
        if let Some(mut child) = self.members[member].child.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// How a member ended by itself, if it did.
    pub fn ended(&mut self, member: usize) -> Option<ExitStatus> {
        let child = self.members[member].child.as_mut()?;
        let status = child.try_wait().ok().flatten()?;
        self.members[member].child = None;
        Some(status)
    }

    /// Stops a member as an operator would, with SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn terminate(&mut self, member: usize) -> Result<()> {
        self.signal(member, Signal::SIGTERM)?;
        self.signal(member, Signal::SIGCONT)?;
        let child = self.members[member].child.as_mut().context("it was signalled")?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while child.try_wait()?.is_none() {
            ensure!(
                tokio::time::Instant::now() < deadline,
                "member {member} does not end by SIGTERM"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.members[member].child = None;
        Ok(())
    }

    /// Stops a member with SIGSTOP: it hears nothing and says nothing, until [`EtcdCluster::resume`].
    ///
    /// # Errors
    /// If it is down.
    pub fn pause(&self, member: usize) -> Result<()> {
        self.signal(member, Signal::SIGSTOP)
    }

    /// Lets a stopped member go on.
    ///
    /// # Errors
    /// If it is down.
    pub fn resume(&self, member: usize) -> Result<()> {
        self.signal(member, Signal::SIGCONT)
    }

    /// Starts a member that is down, with its data. Does not wait.
    ///
    /// # Errors
    /// If it runs, or cannot be started.
    pub fn restart(&mut self, member: usize) -> Result<()> {
        ensure!(
            self.members[member].child.is_none() || self.ended(member).is_some(),
            "member {member} runs"
        );
        match self.options.peer {
            Peer::Etcd => self.spawn_etcd(member, &self.initial_cluster(), "new"),
            Peer::Trireme => self.spawn_trireme(member, &[], None),
        }
    }

    /// Takes a member out of the cluster for ever, deletes its data, and puts a new one in its place.
    ///
    /// # Errors
    /// If the others refuse, or the new one does not start.
    pub async fn replace(&mut self, member: usize, helper: usize) -> Result<()> {
        let name = &self.members[member].name;
        let known = self.members_known(helper).await?;
        // It may be out already, if an earlier attempt has got that far.
        let id = known.iter().find(|known| known.name == *name).map(|known| known.id);
        // A member that has seen the others for a short time only refuses, for some seconds; and an answer may get lost.
        poll_until("the others to let a member go", PATIENCE, || async {
            let Some(id) = id else { return Ok(Some(())) };
            if !self.members_known(helper).await?.iter().any(|known| known.id == id) {
                return Ok(Some(()));
            }
            let mut client = ClusterClient::new(self.connect(helper).await?);
            timeout(CHANGE_TIMEOUT, client.member_remove(MemberRemoveRequest { id })).await??;
            Ok(None)
        })
        .await?;
        if self.pid(member).is_some() {
            self.kill(member)?;
        }
        let out = &mut self.members[member];
        if out.data_dir.exists() {
            std::fs::remove_dir_all(&out.data_dir)?;
        }
        out.generation += 1;
        out.name = format!("member-{}-{}", member + 1, out.generation);
        match self.options.peer {
            Peer::Etcd => self.add_etcd(member, helper).await,
            Peer::Trireme => self.join_trireme(member, helper).await,
        }
    }

    /// What a member says of itself.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub async fn status(&self, member: usize) -> Result<StatusResponse> {
        let ask = async {
            let mut client = MaintenanceClient::new(self.connect(member).await?);
            anyhow::Ok(client.status(StatusRequest {}).await?.into_inner())
        };
        timeout(STATUS_TIMEOUT, ask)
            .await
            .with_context(|| format!("member {member} does not say how it is"))?
    }

    /// The leader, by the newest term that any member knows of; none if it is not known to lead by itself.
    pub async fn leader_now(&self) -> Option<usize> {
        let asked = futures::future::join_all((0..self.members.len()).map(|member| self.status(member))).await;
        let answers: Vec<(usize, StatusResponse)> = asked
            .into_iter()
            .enumerate()
            .filter_map(|(member, status)| Some((member, status.ok()?)))
            .collect();
        let term = answers.iter().map(|(_, status)| status.raft_term).max()?;
        let leads = |status: &StatusResponse| {
            let own = status.header.as_ref().map_or(0, |header| header.member_id);
            status.raft_term == term && status.leader == own && own != 0
        };
        answers
            .iter()
            .find(|(_, status)| leads(status))
            .map(|(member, _)| *member)
    }

    /// The newest term that any member knows of; 0 if none answers.
    pub async fn term(&self) -> u64 {
        let asked = futures::future::join_all((0..self.members.len()).map(|member| self.status(member))).await;
        asked
            .into_iter()
            .flatten()
            .map(|status| status.raft_term)
            .max()
            .unwrap_or(0)
    }

    /// Waits for a leader other than `former`.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn leader_other_than(&self, former: Option<usize>) -> Result<usize> {
        poll_until("a leader", PATIENCE, || async {
            Ok(self.leader_now().await.filter(|leader| Some(*leader) != former))
        })
        .await
    }

    /// Waits for a leader.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn leader(&self) -> Result<usize> {
        self.leader_other_than(None).await
    }

    /// Waits until every member is a voter and knows the same leader.
    ///
    /// # Errors
    /// If it is not so in time, or a member ends by itself meanwhile.
    pub async fn wait_until_whole(&self) -> Result<()> {
        let whole = poll_until("all members to follow one leader", PATIENCE, || async {
            if let Some(dead) = self.dead() {
                return Ok(Some(Err(anyhow!("{dead} ended by itself"))));
            }
            self.check_whole().await?;
            Ok(Some(Ok(())))
        });
        whole.await?
    }

    /// A member whose process ended without being told to.
    fn dead(&self) -> Option<&str> {
        let ended = |member: &&Member| {
            let pid = member.child.as_ref().and_then(|child| i32::try_from(child.id()).ok());
            pid.is_some_and(|pid| !runs(pid))
        };
        self.members.iter().find(ended).map(|member| member.name.as_str())
    }

    async fn check_whole(&self) -> Result<()> {
        let mut leaders = Vec::new();
        for member in 0..self.members.len() {
            let status = self.status(member).await?;
            ensure!(status.leader != 0, "member {member} knows no leader");
            ensure!(!status.is_learner, "member {member} has no vote yet");
            leaders.push(status.leader);
        }
        ensure!(
            leaders.iter().all(|leader| *leader == leaders[0]),
            "they follow {leaders:?}"
        );
        let known = self.members_known(0).await?.len();
        ensure!(known == self.members.len(), "there are {known} members");
        Ok(())
    }

    /// The members, as one of them knows them.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn members_known(&self, helper: usize) -> Result<Vec<KnownMember>> {
        let ask = async {
            let mut client = ClusterClient::new(self.connect(helper).await?);
            let list = client.member_list(MemberListRequest::default()).await?.into_inner();
            anyhow::Ok(list.members)
        };
        timeout(CHANGE_TIMEOUT, ask)
            .await
            .context("the members are not listed")?
    }

    /// The id that a member has in the cluster, as another one knows it.
    ///
    /// # Errors
    /// If it has none, or the other does not answer.
    pub async fn member_id(&self, member: usize, helper: usize) -> Result<u64> {
        let name = &self.members[member].name;
        let known = self.members_known(helper).await?;
        let found = known.iter().find(|known| known.name == *name);
        found
            .map(|found| found.id)
            .with_context(|| format!("{name} is not one of {known:?}"))
    }

    /// What a member has said so far.
    pub fn log(&self, member: usize) -> String {
        std::fs::read_to_string(&self.members[member].log).unwrap_or_default()
    }

    /// The ends of all logs, for a failure's message.
    pub fn logs_tail(&self) -> String {
        let mut text = String::new();
        for member in &self.members {
            let log = std::fs::read_to_string(&member.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            text.push_str(&format!("--- {}\n", member.log.display()));
            for line in &lines[lines.len().saturating_sub(20)..] {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }

    /// Keeps the folder after the end, for a look at what went wrong; says where.
    pub fn keep(&mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.directory.path().to_owned()
    }

    /// Starts a member's program with its output at the end of its log.
    fn spawn(&mut self, member: usize, mut command: Command) -> Result<()> {
        let member = &mut self.members[member];
        if let Some(parent) = member.data_dir.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let log = OpenOptions::new().create(true).append(true).open(&member.log)?;
        let program = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        member.child = Some(child);
        Ok(())
    }

    /// A command that runs in a member's network namespace. The process keeps its id: each program replaces the one before.
    fn command_at(&self, member: usize, program: &Path) -> Command {
        let mut command = match self.namespace(member) {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--net={NETWORK_NAMESPACES}/{namespace}"))
                    .arg("--")
                    .arg(program);
                command
            }
        };
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Fails if a member has ended, with its last words.
    fn check_runs(&mut self, member: usize) -> Result<()> {
        if let Some(status) = self.ended(member) {
            bail!("{} ended with {status}", self.members[member].name);
        }
        Ok(())
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(mut child) = member.child.take() {
                // It may have ended by itself; then there is nothing to kill, and it is reaped all the same.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
