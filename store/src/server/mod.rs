//! The store's network services. Thin: they carry messages and decide nothing.

pub(crate) mod etcd;
mod peer;

pub use peer::quarantined_peer_service;
pub(crate) use peer::routes;
