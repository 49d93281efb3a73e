//! The node agent: runs the pods that are bound to this node, and tells the cluster how they are.
//!
//! The parts: `session` hears what is wanted; `pod` decides, purely, the next single operation of each
//! pod; `runtime` carries it out and lists what there is; `agent` drives them; `journal` remembers
//! what must survive a restart. Containers outlive the agent; nothing is ended because the cluster
//! cannot be reached.

mod agent;
mod config;
mod convert;
mod events;
mod hooks;
pub mod image;
mod journal;
pub mod limits;
pub mod logs;
pub mod network;
mod node;
mod operations;
pub mod paths;
mod pod;
mod prober;
pub mod runtime;
mod session;
mod time;
mod volume;

pub use agent::{AgentError, is_in_service, run, teardown};
pub use config::{AgentConfig, RuntimeChoice};
pub use runtime::process::{ShimCommand, shim_main};
pub use time::{Moment, wall_now};

/// An error with all its causes in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
