//! Controllers that live in one file, and what holds for all of them together.

mod convergence;
mod garbage;
mod housekeeping;
mod namespaces;
