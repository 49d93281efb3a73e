//! Fuzzing: everything that decodes bytes from outside meets bytes that nobody meant.
//!
//! [`targets`] is the one list of what is fuzzed. `tests/fuzz/corpus/` holds real encodings, which the targets make themselves,
//! and every input that once broke something. `./x test` gives each target its corpus and a fixed number of mutations of it;
//! `./x fuzz TARGET` goes on. A run is its seed, its target and its number: the same three give the same input. What ends
//! the whole process, such as a stack that is used up, leaves seed and number in `target/fuzz/TARGET.at`, and
//! `./x fuzz TARGET --seed S --number N` repeats it.

mod corpus;
mod mutate;
mod run;
pub mod targets;
mod usage;

pub use corpus::Corpus;
pub use run::{Broken, Found, Runner};

/// What the command line's YAML reader takes for its package: its limits.
#[expect(dead_code, reason = "the command line's other limits are not needed here")]
#[path = "../../../cli/src/limits.rs"]
mod limits;
