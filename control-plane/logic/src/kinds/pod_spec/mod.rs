//! The pod spec, which pods and the templates of workloads have alike: defaults and checks.

pub mod defaults;
mod images;
mod scheduling;
mod tolerations;
mod validate;
mod validate_container;
mod validate_volume;

pub(crate) use self::{
    scheduling::node_selector as validate_node_selector, validate_volume::host_path as validate_host_path,
};
pub use self::{
    tolerations::validate as validate_tolerations,
    validate::{validate, validate_template},
};
