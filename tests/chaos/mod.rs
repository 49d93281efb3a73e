//! Kills leaders while clients write, and checks that nothing that was promised is broken.
//!
//! [`workload`] does and records, [`faults`] breaks and mends, [`check`] judges the record (a pure function of
//! it), [`run`] is the whole. The invariants checked are I1 to I4 of docs/ARCHITECTURE.md.

pub mod check;
pub mod faults;
pub mod history;
mod run;
pub mod workload;

pub use run::{ChaosOptions, ChaosReport, run};
