//! End-to-end tests: a cluster of real processes, used as a person would. One module a journey, one cluster a test.
//!
//! They run one at a time, since each brings a whole cluster up. They never wait for time to pass, only for conditions.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests")]

mod agents;
mod bad_input;
mod cri;
mod damage;
mod failover;
mod hostile;
mod journey;
mod manifests;
mod membership;
