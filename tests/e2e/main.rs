//! End-to-end tests: a cluster of real processes, used as a person would.
