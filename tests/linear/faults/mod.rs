//! What is done to the members while clients work, and how it is undone.

mod disk;
mod network;
mod tool;

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

pub use disk::Disk;
pub use network::Network;

use crate::harness::etcd::{EtcdCluster, Place};

/// How long a disk stands still at a time while it is slow, and how long it works in between.
const STALL: Duration = Duration::from_millis(300);
const STALL_GAP: Duration = Duration::from_millis(60);

/// One way to break the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// Nothing: the checker is run without faults first.
    None,
    /// The leader is killed with SIGKILL.
    Kill,
    /// A follower is killed.
    KillFollower,
    /// All are killed at once.
    KillAll,
    /// The leader is stopped with SIGSTOP, and wakes up believing that it still leads.
    Stop,
    /// A follower is stopped.
    StopFollower,
    /// All are stopped, and continued one after the other.
    StopAll,
    /// The leader is cut off from both others.
    Partition,
    /// One member, whichever, is cut off from both others.
    Halves,
    /// The leader hears nobody, but is heard; or the other way round.
    OneWay,
    /// The leader and a follower do not hear each other; the third member hears both.
    Bridge,
    /// The network falls apart in other ways every few hundred milliseconds.
    Flapping,
    /// A follower is removed for ever, and a new member takes its place.
    Replace,
    /// The leader is removed for ever, and a new member takes its place.
    ReplaceLeader,
    /// The leader's disk stands still again and again.
    SlowDisk,
    /// The leader's disk is full.
    FullDisk,
    /// The leader loses its power: what was not synced is gone.
    Power,
    /// All lose their power.
    PowerAll,
}

/// What a fault needs around the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: processes on loopback.
    Nothing,
    /// A network namespace for each; root only.
    Network,
    /// A file system for each; root only.
    Disks,
}

/// The surroundings that were made for a run.
#[derive(Debug)]
pub enum Surroundings {
    /// Loopback.
    Plain,
    /// Namespaces.
    Network(Network),
    /// File systems.
    Disks(Vec<Disk>),
}

/// What is broken now.
#[derive(Debug, Default)]
pub struct Broken {
    killed: Vec<usize>,
    stopped: Vec<usize>,
    full: Option<usize>,
    replaced: bool,
}

impl Fault {
    /// All of them, in the order of a long run.
    pub const ALL: [Self; 18] = [
        Self::None,
        Self::Kill,
        Self::Stop,
        Self::Partition,
        Self::KillAll,
        Self::OneWay,
        Self::Bridge,
        Self::Power,
        Self::Replace,
        Self::SlowDisk,
        Self::Halves,
        Self::PowerAll,
        Self::KillFollower,
        Self::StopFollower,
        Self::StopAll,
        Self::Flapping,
        Self::FullDisk,
        Self::ReplaceLeader,
    ];

    /// What it needs around the members.
    pub fn needs(self) -> Needs {
        match self {
            Self::None
            | Self::Kill
            | Self::KillFollower
            | Self::KillAll
            | Self::Stop
            | Self::StopFollower
            | Self::StopAll
            | Self::Replace
            | Self::ReplaceLeader => Needs::Nothing,
            Self::Partition | Self::Halves | Self::OneWay | Self::Bridge | Self::Flapping => Needs::Network,
            Self::SlowDisk | Self::FullDisk | Self::Power | Self::PowerAll => Needs::Disks,
        }
    }

    /// Breaks something, keeps it broken for about `hold`, and tells what must be mended.
    ///
    /// # Errors
    /// If it cannot be broken.
    pub async fn strike(
        self,
        cluster: &mut EtcdCluster,
        around: &mut Surroundings,
        random: &mut StdRng,
        hold: Duration,
    ) -> Result<Broken> {
        let leader = cluster.leader().await?;
        let all: Vec<usize> = (0..cluster.len()).collect();
        let others: Vec<usize> = all.iter().copied().filter(|member| *member != leader).collect();
        let follower = *others.choose(random).context("a cluster has followers")?;
        let mut broken = Broken::default();
        match self {
            Self::None => {}
            Self::Kill => broken.kill(cluster, &[leader])?,
            Self::KillFollower => broken.kill(cluster, &[follower])?,
            Self::KillAll => broken.kill(cluster, &all)?,
            Self::Stop => broken.stop(cluster, &[leader])?,
            Self::StopFollower => broken.stop(cluster, &[follower])?,
            Self::StopAll => broken.stop(cluster, &all)?,
            Self::Partition => around.network()?.isolate(leader)?,
            Self::Halves => around.network()?.isolate(random.random_range(0..all.len()))?,
            Self::OneWay => around.network()?.one_way(leader, random.random_bool(0.5))?,
            Self::Bridge => around.network()?.cut(&[(leader, follower), (follower, leader)])?,
            Self::Flapping => flap(around.network()?, random, hold).await?,
            Self::Replace => {
                cluster.replace(follower, leader).await?;
                broken.replaced = true;
            }
            Self::ReplaceLeader => {
                cluster.replace(leader, follower).await?;
                broken.replaced = true;
            }
            Self::SlowDisk => around.disk(leader)?.stutter(hold, STALL, STALL_GAP).await?,
            Self::FullDisk => {
                around.disk(leader)?.fill()?;
                broken.full = Some(leader);
            }
            Self::Power => broken.cut_power(cluster, around, &[leader])?,
            Self::PowerAll => broken.cut_power(cluster, around, &all)?,
        }
        if !matches!(
            self,
            Self::Flapping | Self::SlowDisk | Self::Replace | Self::ReplaceLeader
        ) {
            tokio::time::sleep(hold).await;
        }
        Ok(broken)
    }

    /// Mends everything.
    ///
    /// # Errors
    /// If a member does not start, or cannot be continued.
    pub async fn mend(
        self,
        cluster: &mut EtcdCluster,
        around: &mut Surroundings,
        random: &mut StdRng,
        broken: Broken,
    ) -> Result<()> {
        match around {
            Surroundings::Plain => {}
            Surroundings::Network(network) => network.heal()?,
            Surroundings::Disks(disks) => {
                if let Some(full) = broken.full {
                    disks[full].relieve()?;
                }
                if matches!(self, Self::Power | Self::PowerAll) {
                    for member in &broken.killed {
                        disks[*member].power_on()?;
                    }
                }
            }
        }
        for member in &broken.stopped {
            cluster.resume(*member)?;
            if broken.stopped.len() > 1 {
                tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
            }
        }
        for member in 0..cluster.len() {
            // A full or slow disk may have ended a member by itself.
            let ended = cluster.ended(member);
            if ended.is_some() || broken.killed.contains(&member) {
                cluster.restart(member)?;
            }
        }
        Ok(())
    }
}

impl Broken {
    fn kill(&mut self, cluster: &mut EtcdCluster, members: &[usize]) -> Result<()> {
        // All signals first: those that are reaped later would see the others go.
        for member in members {
            cluster.signal(*member, Signal::SIGKILL)?;
        }
        for member in members {
            cluster.reap(*member)?;
            self.killed.push(*member);
        }
        Ok(())
    }

    fn stop(&mut self, cluster: &EtcdCluster, members: &[usize]) -> Result<()> {
        for member in members {
            cluster.pause(*member)?;
            self.stopped.push(*member);
        }
        Ok(())
    }

    /// The file systems go first: what the processes write after that goes nowhere, as after a loss of power.
    fn cut_power(&mut self, cluster: &mut EtcdCluster, around: &mut Surroundings, members: &[usize]) -> Result<()> {
        for member in members {
            around.disk(*member)?.power_off()?;
        }
        self.kill(cluster, members)
    }

    /// Whether a member was put in another's place.
    pub fn replaced(&self) -> bool {
        self.replaced
    }
}

impl Surroundings {
    /// Makes what a fault needs, for so many members, below a folder.
    ///
    /// # Errors
    /// If this is not root, or a tool is missing.
    pub fn make(needs: Needs, members: usize, folder: &Path) -> Result<Self> {
        ensure!(
            needs == Needs::Nothing || nix::unistd::geteuid().is_root(),
            "this fault needs root, for network namespaces or file systems"
        );
        match needs {
            Needs::Nothing => Ok(Self::Plain),
            Needs::Network => Ok(Self::Network(Network::make(members)?)),
            Needs::Disks => {
                let disks = (0..members).map(|member| Disk::make(folder, &format!("disk-{}", member + 1)));
                Ok(Self::Disks(disks.collect::<Result<_>>()?))
            }
        }
    }

    /// Where each member is to live.
    pub fn places(&self, members: usize) -> Vec<Place> {
        let place = |member: usize| match self {
            Self::Plain => Place::default(),
            Self::Network(network) => Place {
                network: Some((network.namespace(member), network.address(member))),
                data_dir: None,
            },
            Self::Disks(disks) => Place {
                network: None,
                data_dir: Some(disks[member].path().to_owned()),
            },
        };
        (0..members).map(place).collect()
    }

    fn network(&mut self) -> Result<&mut Network> {
        match self {
            Self::Network(network) => Ok(network),
            Self::Plain | Self::Disks(_) => anyhow::bail!("the members share the host's network"),
        }
    }

    fn disk(&mut self, member: usize) -> Result<&mut Disk> {
        match self {
            Self::Disks(disks) => disks.get_mut(member).context("each member has a disk"),
            Self::Plain | Self::Network(_) => anyhow::bail!("the members share the host's disk"),
        }
    }
}

/// Cuts other links every few hundred milliseconds.
async fn flap(network: &mut Network, random: &mut StdRng, hold: Duration) -> Result<()> {
    let until = tokio::time::Instant::now() + hold;
    while tokio::time::Instant::now() < until {
        let links = (0..3).flat_map(|from| (0..3).map(move |to| (from, to)));
        let cut: Vec<(usize, usize)> = links
            .filter(|(from, to)| from != to && random.random_bool(0.4))
            .collect();
        network.cut(&cut)?;
        tokio::time::sleep(Duration::from_millis(random.random_range(100..900))).await;
    }
    Ok(())
}
