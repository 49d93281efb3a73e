//! What the end-to-end tests, the chaos test and the benchmarks share: a cluster of real processes.
#![forbid(unsafe_code)]

#[path = "bench/mod.rs"]
pub mod bench;
#[path = "chaos/mod.rs"]
pub mod chaos;
#[path = "harness/mod.rs"]
pub mod harness;
