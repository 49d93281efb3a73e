//! The agent's conversation with the cluster: registering, heartbeats, assignments, statuses, logs.
//!
//! Every task here reconnects by itself, for as long as the agent runs, and hands what it hears to the
//! driver as [`SessionEvent`]s. None of them decides anything about pods.

mod assignments;
pub(crate) mod connection;
pub(crate) mod event_recorder;
mod heartbeat;
pub(crate) mod identity;
mod log_stream;
mod reconnect;
pub(crate) mod reporter;

pub(crate) use log_stream::{LogJob, RunningContainers, send as send_logs};

use crate::limits;
use connection::Cluster;
use event_recorder::EventRecorder;
use reporter::Reporter;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use trireme_proto::api::core::v1::{ConfigMap, Node, Pod, Secret};
use trireme_proto::v1;

/// What the cluster tells the driver.
#[derive(Debug)]
pub(crate) enum SessionEvent {
    /// The wanted set changed.
    Assignments(AssignmentChange),
    /// Somebody wants to read a log.
    FetchLogs(v1::FetchLogs),
    /// The cluster knows no such pod any more.
    Gone {
        /// Its uid.
        uid: String,
    },
}

/// A step of the wanted set.
#[derive(Debug, Default)]
pub(crate) struct AssignmentChange {
    /// The set is exactly what this holds.
    pub(crate) complete: bool,
    pub(crate) pods: Vec<Pod>,
    pub(crate) config_maps: Vec<ConfigMap>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) removals: Vec<Removal>,
}

/// An object that no longer concerns the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    pub(crate) kind: v1::AssignedKind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// How the node is, for its heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) ready: bool,
    pub(crate) message: String,
}

/// Starts the conversation. It ends when the set is dropped.
pub(crate) fn start(
    cluster: &Cluster,
    node: Node,
    health: watch::Receiver<Health>,
    (reporter, recorder): (&Reporter, &EventRecorder),
    events: &mpsc::Sender<SessionEvent>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let name = node.metadata.as_ref().map(|meta| meta.name.clone()).unwrap_or_default();
    tasks.spawn(recorder.clone().run(cluster.clone(), name));
    tasks.spawn(heartbeat::run(cluster.clone(), node, health, events.clone()));
    tasks.spawn(assignments::run(cluster.clone(), events.clone()));
    tasks.spawn(reporter.clone().run(cluster.clone(), events.clone()));
    tasks.spawn(identity::renew_forever(cluster.clone()));
    tasks
}

/// A heartbeat period that a server told, held to what makes sense.
fn bounded_period(milliseconds: u32) -> std::time::Duration {
    std::time::Duration::from_millis(milliseconds.into())
        .clamp(limits::HEARTBEAT_PERIOD_MIN, limits::HEARTBEAT_PERIOD_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heartbeat_period_is_bounded() {
        assert_eq!(bounded_period(0), limits::HEARTBEAT_PERIOD_MIN);
        assert_eq!(bounded_period(5_000).as_secs(), 5);
        assert_eq!(bounded_period(u32::MAX), limits::HEARTBEAT_PERIOD_MAX);
    }
}
