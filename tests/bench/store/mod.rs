//! `./x bench store`: Debian's etcd and Trireme, three servers each, in turn on one disk, asked by the same client.
//!
//! A round starts new servers of one peer, measures, and stops them, so that never more than one cluster runs. What
//! costs minutes (memory, restarts, failovers, pauses) is done in the first round only.

mod crowd;
pub mod drive;
mod failover;
pub mod figures;
mod flood;
mod frame;
pub mod histogram;
mod hpack;
pub mod ledger;
mod memory;
mod messages;
pub mod noise;
mod pauses;
pub mod pulse;
mod restart;
mod steady;
pub mod table;
pub mod watch;
pub mod wire;
pub mod work;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use self::{
    figures::{Figure, Samples},
    ledger::{Meter, Phase},
};
use crate::harness::{
    etcd::{EtcdCluster, EtcdOptions, Peer},
    workspace,
};

/// How much etcd may hold: by default it would refuse writes at 2 GiB.
const ETCD_QUOTA: &str = "--quota-backend-bytes=8589934592";
/// What etcd logs: by default a line for every request that takes over 100 ms, which with a thousand clients is every
/// request, and costs it more than the request.
const ETCD_LOG_LEVEL: &str = "--log-level=error";

/// A group of figures that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// Puts of many clients.
    Put,
    /// Puts of one client.
    One,
    /// Linearizable reads of one key.
    Read,
    /// Ranges.
    Range,
    /// One writer, many watchers.
    Watch,
    /// One writer, very many watchers on one server.
    Crowd,
    /// Small writes alone and beside a flood of large reads.
    Flood,
    /// Memory after many keys.
    Memory,
    /// Restart of a server that holds much.
    Restart,
    /// First write after the leader's kill.
    Failover,
    /// Longest pause of writes during chores.
    Pauses,
}

/// How much of everything.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// Rounds of what is repeated.
    pub rounds: usize,
    /// How long a load runs before it is measured.
    pub lead_in: Duration,
    /// How long a load is measured.
    pub measured: Duration,
    /// Keys that the closed loops use.
    pub keys: u64,
    /// Length of their values.
    pub value_bytes: usize,
    /// Keys that a range reads.
    pub width: u64,
    /// Many clients.
    pub clients: usize,
    /// Many more clients.
    pub crowd: usize,
    /// Watchers.
    pub watchers: usize,
    /// Very many watchers, on one server.
    pub watcher_crowd: usize,
    /// Keys after which memory is looked at.
    pub memory_keys: u64,
    /// How long the servers come to rest before that.
    pub settle: Duration,
    /// Bytes of values that a restarted server holds.
    pub restart_bytes: u64,
    /// How often it is restarted.
    pub restarts: usize,
    /// How often Trireme's leader is killed.
    pub kills: usize,
    /// How often etcd's is.
    pub kills_of_etcd: usize,
    /// Keys that are there during the chores.
    pub pause_keys: u64,
    /// Entries that a server misses before it is caught up; more than either peer keeps in its log.
    pub entries_behind: u64,
}

impl Sizes {
    /// Those that docs/BENCHMARKS.md is made with.
    pub fn full() -> Self {
        Self {
            rounds: 3,
            lead_in: Duration::from_secs(2),
            measured: Duration::from_secs(6),
            keys: 100_000,
            value_bytes: 256,
            width: 1_000,
            clients: 1_000,
            crowd: 8_000,
            watchers: 1_000,
            watcher_crowd: 10_000,
            memory_keys: 1_000_000,
            settle: Duration::from_secs(10),
            restart_bytes: 1_000_000_000,
            restarts: 3,
            kills: 50,
            kills_of_etcd: 10,
            pause_keys: 200_000,
            entries_behind: 120_000,
        }
    }

    /// A look that takes a few minutes.
    pub fn quick() -> Self {
        Self {
            rounds: 1,
            lead_in: Duration::from_millis(500),
            measured: Duration::from_millis(2_500),
            keys: 20_000,
            memory_keys: 100_000,
            settle: Duration::from_secs(2),
            restart_bytes: 50_000_000,
            restarts: 1,
            kills: 3,
            kills_of_etcd: 2,
            pause_keys: 20_000,
            entries_behind: 12_000,
            ..Self::full()
        }
    }
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Trireme's program.
    pub trireme: PathBuf,
    /// etcd's program.
    pub etcd: PathBuf,
    /// Where the data is, which decides the disk.
    pub parent: PathBuf,
    /// Whose servers; in that order.
    pub peers: Vec<Peer>,
    /// Which figures.
    pub groups: Vec<Group>,
    /// How much of everything.
    pub sizes: Sizes,
}

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The figures.
    pub samples: Samples,
    /// What each phase cost.
    pub phases: Vec<Phase>,
    /// What a reader should know beside the figures.
    pub notes: Vec<String>,
    /// Groups that failed, and why.
    pub failures: Vec<String>,
}

/// Servers under measurement.
struct Session<'s> {
    cluster: &'s mut EtcdCluster,
    sizes: &'s Sizes,
    report: &'s mut Report,
}

/// The folder for the data unless another one is named: on the disk of the project, since a system's folder for what
/// is temporary may be memory, where a sync costs nothing.
///
/// # Errors
/// If it cannot be made.
pub fn default_parent() -> Result<PathBuf> {
    let parent = workspace().join("target/bench");
    std::fs::create_dir_all(&parent).with_context(|| format!("making {}", parent.display()))?;
    Ok(parent)
}

/// Measures everything, one after the other. A group that fails is noted, and the others go on.
pub async fn run(options: &StoreOptions) -> Report {
    const STEADY: [Group; 6] = [
        Group::Put,
        Group::One,
        Group::Read,
        Group::Range,
        Group::Watch,
        Group::Flood,
    ];
    const ONCE: [Group; 5] = [
        Group::Crowd,
        Group::Memory,
        Group::Pauses,
        Group::Restart,
        Group::Failover,
    ];
    let mut report = Report::default();
    for round in 0..options.sizes.rounds {
        for peer in &options.peers {
            let steady: Vec<Group> = STEADY
                .into_iter()
                .filter(|group| options.groups.contains(group))
                .collect();
            if !steady.is_empty() {
                run_groups(options, *peer, round, &steady, &mut report).await;
            }
            for group in ONCE {
                if round == 0 && options.groups.contains(&group) {
                    run_groups(options, *peer, round, &[group], &mut report).await;
                }
            }
        }
    }
    report
}

/// Runs groups on new servers.
async fn run_groups(options: &StoreOptions, peer: Peer, round: usize, groups: &[Group], report: &mut Report) {
    let name = format!("{peer:?}").to_lowercase();
    let cluster_options = EtcdOptions {
        trireme: options.trireme.clone(),
        etcd: options.etcd.clone(),
        parent: Some(options.parent.clone()),
        arguments: match peer {
            Peer::Etcd => vec![ETCD_QUOTA.to_owned(), ETCD_LOG_LEVEL.to_owned()],
            Peer::Trireme => Vec::new(),
        },
        ..EtcdOptions::new(peer)
    };
    let mut cluster = match EtcdCluster::start(cluster_options).await {
        Ok(cluster) => cluster,
        Err(error) => {
            report
                .failures
                .push(format!("{name}: starting for {groups:?}: {error:#}"));
            return;
        }
    };
    for (index, group) in groups.iter().enumerate() {
        eprintln!("bench: round {}, {name}: {group:?}", round + 1);
        let mut session = Session {
            cluster: &mut cluster,
            sizes: &options.sizes,
            report,
        };
        if let Err(error) = session.run(*group, index == 0).await {
            eprintln!("bench: {name} {group:?} failed: {error:#}\n{}", cluster.logs_tail());
            report.failures.push(format!("{name} {group:?}: {error:#}"));
        }
    }
}

impl Session<'_> {
    async fn run(&mut self, group: Group, first: bool) -> Result<()> {
        let steady = matches!(
            group,
            Group::Put | Group::One | Group::Read | Group::Range | Group::Watch | Group::Flood
        );
        if steady && first {
            self.prepare().await?;
        }
        match group {
            Group::Put => self.puts().await,
            Group::One => self.one().await,
            Group::Read => self.reads().await,
            Group::Range => self.ranges().await,
            Group::Watch => self.watches().await,
            Group::Crowd => self.crowd().await,
            Group::Flood => self.floods().await,
            Group::Memory => self.memory().await,
            Group::Restart => self.restarts().await,
            Group::Failover => self.failovers().await,
            Group::Pauses => self.pauses().await,
        }
    }

    /// `HOST:PORT` of every server's etcd API.
    fn addresses(&self) -> Vec<String> {
        let endpoints = self.cluster.endpoints();
        let bare = endpoints
            .iter()
            .map(|endpoint| endpoint.trim_start_matches("http://").to_owned());
        bare.collect()
    }

    async fn leader_address(&self) -> Result<String> {
        Ok(self.addresses().swap_remove(self.cluster.leader().await?))
    }

    fn add(&mut self, figure: Figure, value: f64) {
        self.report.samples.add(figure, self.cluster.peer(), value);
    }

    fn note(&mut self, text: &str) {
        let peer = format!("{:?}", self.cluster.peer()).to_lowercase();
        self.report.notes.push(format!("{peer}: {text}"));
    }

    fn meter(&self) -> Meter {
        Meter::start(self.cluster)
    }

    /// Notes what a phase cost; gives the processor seconds of all servers.
    fn note_phase(&mut self, meter: Meter, name: &'static str) -> f64 {
        let phase = meter.stop(self.cluster, name);
        let seconds = phase.servers_seconds();
        self.report.phases.push(phase);
        seconds
    }
}
