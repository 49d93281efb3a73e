//! What the end-to-end tests, the chaos test, the proof and the benchmarks share: a cluster of real processes.
#![forbid(unsafe_code)]

#[path = "bench/mod.rs"]
pub mod bench;
#[path = "chaos/mod.rs"]
pub mod chaos;
#[path = "harness/mod.rs"]
pub mod harness;
#[path = "linear/mod.rs"]
pub mod linear;
#[path = "watch_rules/mod.rs"]
pub mod watch_rules;
