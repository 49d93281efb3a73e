//! Comparing the servers' states: each remembers its hash at some indexes, and whoever leads compares them.
//!
//! The hash of an index covers everything that was applied up to it (I2), so two servers that differ at one common
//! index have diverged, and two that agree there had not until then. Nothing here asks anyone: the samples come from the
//! peers by `raft/watchman.rs`, which also acts on the verdict.

mod samples;
mod verdict;

pub(crate) use samples::Samples;
pub(crate) use verdict::{Difference, Verdict, judge};
