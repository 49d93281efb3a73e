//! Metrics: numbers that say how this server does, in the text format that Prometheus reads.
//!
//! Each component has one struct of them, made with it and registered once. What happens often is counted with relaxed
//! atomics; what stands somewhere is looked at when somebody asks. Nothing here decides anything.

mod page;
mod process;
mod registry;
mod value;

pub use page::{Family, Kind, Page};
pub(crate) use process::ProcessMetrics;
pub(crate) use registry::{Collect, Registry};
pub(crate) use value::{Counter, Histogram, Level};
