//! The client side of Trireme: connections over mutual TLS to whichever server answers, calls that
//! are repeated only when that is safe, watches that resume, joining, and kubeconfig files.
//!
//! It holds no policy of its own: what a kind means, what a verb does, and what to print are its
//! callers' business. The CLI, the node agents, the servers and the tests all come through here.
#![forbid(unsafe_code)]

mod client;
mod config;
mod connection;
mod dial;
mod error;
pub mod join;
pub mod kubeconfig;
pub mod limits;
mod outcome;
mod refusal;
pub mod token;
mod typed;
mod watch;

pub use client::Client;
pub use config::{ClientConfig, ConfigError, Identity};
pub use connection::{ConnectError, Connection, Link};
pub use error::{ApiError, Cause, ClientError, STATUS_TYPE_URL};
pub use join::{JoinError, JoinParams, Joined, join};
pub use kubeconfig::{Kubeconfig, KubeconfigError};
pub use typed::{Api, DeleteOptions, Listed, TypedWatch, TypedWatchItem};
pub use watch::{Watch, WatchItem};
