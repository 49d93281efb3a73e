//! Breaks the leader, and mends it.

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::harness::{Cluster, Member};

/// How the leader is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// Killed with SIGKILL, then started again with its data.
    Kill,
    /// Stopped with SIGSTOP, then continued: it wakes up believing that it still leads.
    Stop,
}

impl Fault {
    /// Breaks a server.
    ///
    /// # Errors
    /// If its process cannot be signalled.
    pub fn strike(self, cluster: &Cluster, member: &Member) -> Result<()> {
        match self {
            Self::Kill => cluster.signal(member, Signal::SIGKILL),
            Self::Stop => cluster.signal(member, Signal::SIGSTOP),
        }
    }

    /// Mends it.
    ///
    /// # Errors
    /// If it does not start, or cannot be continued.
    pub async fn mend(self, cluster: &Cluster, member: &Member) -> Result<()> {
        match self {
            Self::Kill => cluster.up().await.map(drop),
            Self::Stop => cluster.signal(member, Signal::SIGCONT),
        }
    }
}
