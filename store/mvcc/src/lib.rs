//! The deterministic state machine of the store: revisions, transactions, ranges, history, compaction.
//!
//! It follows the etcd v3 data model. It is pure: no clock, no randomness, no threads, no async; it
//! touches the world only through the [`storage::Storage`] trait that it is handed. What it computes
//! depends on nothing but the entries applied, so that every server that applied the same entries
//! holds the same state (invariant I2), byte for byte, which [`machine::StateMachine::hash`] lets
//! servers compare.
//!
//! The way in is [`machine::StateMachine::apply`]; the ways out are [`range::range`], [`execute::look`],
//! [`history::history`], [`hash_kv::hash_kv`], [`lease`] and [`snapshot::Exporter`], each over a consistent view of the
//! storage.

#![forbid(unsafe_code)]

pub mod alarm;
pub mod check;
mod codec;
pub mod command;
pub mod compact;
pub mod execute;
pub mod hash;
pub mod hash_kv;
pub mod history;
pub mod index;
pub mod keys;
pub mod lease;
pub mod limits;
pub mod machine;
pub mod memory;
pub mod meta;
pub mod outcome;
pub mod range;
pub mod rank;
pub mod recall;
pub mod record;
mod scan;
pub mod slice;
pub mod snapshot;
pub mod storage;
pub mod types;
mod view;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod testing;
