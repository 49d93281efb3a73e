//! The store's network services. Thin: they carry messages and decide nothing.

mod peer;

pub(crate) use peer::routes;
pub use peer::quarantined_peer_service;
