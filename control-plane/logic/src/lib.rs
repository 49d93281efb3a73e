//! Every decision of the control plane, as pure functions.
//!
//! Kinds (defaults, validation, columns), admission, the scheduler and the controllers live here. Nothing
//! in this package reads a clock, a random source, a socket or a file: what it needs is handed in, and
//! what it decides is returned as data for `trireme-control-plane` to carry out.
#![forbid(unsafe_code)]

pub mod admission;
pub mod apply;
pub mod controller;
pub mod controllers;
pub mod cron;
pub mod discovery;
pub mod disruption;
pub mod field_error;
pub mod human;
pub mod json;
pub mod kind;
pub mod kinds;
pub mod limits;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod scheduler;
pub mod selection;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod validation;
pub mod version;
pub mod world;
