//! Clients and watchers that speak etcd's API and record what they send and are told. They judge nothing.

mod client;
mod link;
mod upkeep;
mod watcher;
mod wire;

pub use client::{ClientRecord, read_all, run_client, write_last};
pub use link::{Shared, Target};
pub use upkeep::{compact_now_and_then, state_hash};
pub use watcher::{Stream, WatchRecord, watch_all, watch_some, witness};
