//! What the end-to-end tests, the chaos test, the proof and the benchmarks share: a cluster of real processes.
//! The simulation has servers of its own.
#![forbid(unsafe_code)]

#[path = "bench/mod.rs"]
pub mod bench;
#[path = "chaos/mod.rs"]
pub mod chaos;
#[path = "harness/mod.rs"]
pub mod harness;
#[path = "linear/mod.rs"]
pub mod linear;
#[path = "sim/mod.rs"]
pub mod sim;
#[path = "watch_rules/mod.rs"]
pub mod watch_rules;
