//! Clients that nobody here wrote, against a cluster of real processes: they must not be able to tell the difference.
//!
//! What a client prints is compared with what it prints of a cluster of Kubernetes, but for what differs from run to run.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests")]

mod balancer;
mod expectation;
mod kube_rs;
mod kubectl;
mod manifests;
mod needed;
mod python;
mod verbs;
