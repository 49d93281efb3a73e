//! What etcd's key-value API promises, as a state machine of a few lines. Pure: no clock, no I/O, no randomness.
//!
//! It is written from the API's contract and shares nothing with the store, so that the two can disagree.

mod state;
mod types;

pub use state::{Applied, State};
pub use types::{Answer, Compare, Event, KeyAnswer, KeyOp, KeyRange, KeyValue, Op, Ordering, Refusal, Target, Txn};
