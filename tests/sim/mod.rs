//! The simulation: several real servers in one process, on a simulated network, clock and disk, all from one seed.
//!
//! [`run()`] lets a cluster work under faults ([`nemesis`]) while [`client`]s and [`watcher`]s record what they see,
//! mends everything, waits until all is at rest, and judges by [`invariants`]. The same seed gives the same [`trace`],
//! so a broken promise can be looked at again and again.

pub mod client;
mod convert;
pub mod invariants;
pub mod nemesis;
pub mod net;
pub mod objects;
mod run;
pub mod server;
pub mod stream;
pub mod trace;
pub mod upkeep;
pub mod watcher;
pub mod world;

pub use run::{Options, Report, run};
