//! Is the store what it says it is? Concurrent clients speak etcd's API to three real processes while those are killed,
//! stopped, cut off from one another, replaced or robbed of their disk; what the clients saw is then judged.
//!
//! [`load`] chooses the requests, [`driver`] sends and records them, [`faults`] breaks and mends, [`check`] decides whether
//! the answers have one order that [`model`] agrees with, [`replay`] plays that order back, and by it
//! [`crate::watch_rules`] judges every watch. The same runs against etcd: it is the reference.

pub mod check;
pub mod driver;
pub mod faults;
pub mod history;
pub mod judge;
mod known;
pub mod load;
pub mod members;
pub mod model;
pub mod past;
pub mod regressions;
pub mod replay;
mod run;
pub mod work;

pub use run::{Report, RunOptions, run, targets};
