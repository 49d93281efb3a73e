//! Placeholder for the registry's tests.
