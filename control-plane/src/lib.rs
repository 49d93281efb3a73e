//! The control plane's shell: the door to the cluster's state, and the loops that act on it.
//!
//! A request comes in by [`transport`], passes [`pipeline`] step by typed step, and reaches [`registry`],
//! which alone speaks to the store; [`services`] are the gRPC ends. [`pki`] is the cluster's certificate
//! authority. What is decided, as opposed to carried out, lives in `trireme-logic`.
#![forbid(unsafe_code)]

pub mod environment;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod limits;
pub mod pipeline;
pub mod pki;
pub mod registry;
pub mod run;
pub mod server;
pub mod services;
pub mod status;
pub mod transport;

/// The version of the program, as clients see it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub use server::{EtcdListen, ServerConfig, ServerError, Start, run as run_server};
pub use trireme_store::{BackupError, BackupFile, RecoverError, Refounded, RestoreError, Retention, Survivor};
