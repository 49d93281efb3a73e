//! Measures what docs/BENCHMARKS.md shows.

pub mod api;
pub mod basics;
pub mod machine;
pub mod report;
pub mod store;
