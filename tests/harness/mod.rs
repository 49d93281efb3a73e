//! A local cluster of real processes, started and stopped as a user would.

mod cluster;
mod wait;

pub use cluster::{Cluster, ClusterOptions, Member, Output, Runtime};
pub use wait::{poll_until, wait_until};
