//! The gRPC ends: each turns a message into the pipeline's types, and the outcome into a message.

pub mod cluster;
pub(crate) mod frames;
pub mod internal;
pub mod node;
pub mod resources;
pub(crate) mod verbs;
