//! Is there one order of all requests, each at one moment between its sending and its answer, that the model agrees with?
//!
//! This is the search of Wing and Gong with Lowe's memory of configurations that led nowhere, for the model as a whole
//! rather than key by key: every answer tells the revision, which the whole store shares, so a write has one place only
//! and a read commutes with its neighbours. What is left to guess is which request of unknown outcome made a revision
//! that no answer tells of; `evidence` finds most of those too. So histories of tens of thousands of requests are
//! decided in seconds, and across keys: a key-by-key check would let two keys disagree about which came first.

mod evidence;
mod search;
mod verdict;

pub use evidence::{Change, Evidence};
pub use search::check;
pub use verdict::{Broken, Verdict};

#[cfg(test)]
mod known;
#[cfg(test)]
mod property;
