//! Sockets, TLS, HTTP and gRPC: the only place that knows them.
//!
//! What a connection's certificate says is checked and read here, once a connection, and given to each
//! request as its [`Peer`]. What the peer may do is decided in [`pipeline`](crate::pipeline).

mod activity;
mod authority;
mod body;
mod connector;
mod documents;
mod etcd;
mod listener;
mod media;
mod metrics;
mod peer;
mod rest;
mod routes;
mod tls;

#[cfg(feature = "fuzz")]
pub(crate) use rest::fuzz;

pub use connector::{ConnectError, Connector};
pub use etcd::{EtcdCallers, EtcdDirect, etcd_router};
pub use listener::{Admits, BoundListener, ListenError};
pub use metrics::{MetricsReaders, MetricsSource, metrics_router};
pub use peer::Peer;
pub use rest::RestService;
pub use routes::{Readiness, api_router, peer_router, quarantined_router};
pub use tls::{CertificateSource, TlsError, client_config, server_config};

#[cfg(test)]
mod tests;
