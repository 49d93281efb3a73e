//! A local cluster of real processes, started and stopped as a user would.

mod cluster;
pub mod etcd;
mod look;
mod metrics;
mod wait;

pub use cluster::{Cluster, ClusterOptions, Member, Output, Runtime, faults_trireme, free_ports, workspace};
pub use look::{PATIENCE, condition, number, rows, runs, text};
pub use metrics::metrics;
pub use wait::{poll_until, wait_until};
