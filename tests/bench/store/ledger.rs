//! Which process used how much of the processor in each phase: what a figure was bounded by.

use tokio::time::Instant;

use crate::harness::etcd::{EtcdCluster, Peer, Usage};

/// What one phase cost.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Whose servers.
    pub peer: Peer,
    /// What was done.
    pub name: &'static str,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Processor seconds of each server, user and system.
    pub servers: Vec<f64>,
    /// Processor seconds of this process, which makes the load.
    pub client: f64,
}

/// The beginning of a phase.
#[derive(Debug)]
pub struct Meter {
    began: Instant,
    servers: Vec<Usage>,
    client: f64,
}

impl Meter {
    /// Begins a phase.
    pub fn start(cluster: &EtcdCluster) -> Self {
        Self {
            began: Instant::now(),
            servers: usages(cluster),
            client: own_seconds(),
        }
    }

    /// Ends the phase. A server that was restarted in it counts from its restart.
    pub fn stop(self, cluster: &EtcdCluster, name: &'static str) -> Phase {
        let after = usages(cluster);
        let spent = |after: &Usage, before: &Usage| {
            let since = after.cpu_seconds - before.cpu_seconds;
            if since < 0.0 { after.cpu_seconds } else { since }
        };
        Phase {
            peer: cluster.peer(),
            name,
            seconds: self.began.elapsed().as_secs_f64(),
            servers: after
                .iter()
                .zip(&self.servers)
                .map(|(after, before)| spent(after, before))
                .collect(),
            client: own_seconds() - self.client,
        }
    }
}

impl Phase {
    /// Processor seconds of all servers.
    pub fn servers_seconds(&self) -> f64 {
        self.servers.iter().sum()
    }
}

/// The phases as a table for a terminal.
pub fn table(phases: &[Phase]) -> String {
    let mut text = format!(
        "{:8} {:28} {:>8} {:>24} {:>8} {:>7}\n",
        "peer", "phase", "wall s", "CPU s of servers", "client", "cores"
    );
    for phase in phases {
        let servers: Vec<String> = phase.servers.iter().map(|seconds| format!("{seconds:.2}")).collect();
        text.push_str(&format!(
            "{:8} {:28} {:8.2} {:>24} {:8.2} {:7.2}\n",
            format!("{:?}", phase.peer).to_lowercase(),
            phase.name,
            phase.seconds,
            servers.join(" + "),
            phase.client,
            (phase.servers_seconds() + phase.client) / phase.seconds.max(1e-9),
        ));
    }
    text
}

fn usages(cluster: &EtcdCluster) -> Vec<Usage> {
    (0..cluster.len())
        .map(|member| cluster.usage(member).unwrap_or_default())
        .collect()
}

fn own_seconds() -> f64 {
    Usage::of(std::process::id()).unwrap_or_default().cpu_seconds
}
