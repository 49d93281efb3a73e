//! Connections to the other servers: mutual TLS, and made sure that it is that very server.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use trireme_store::{PeerConnector, tune};

use super::tls::{CertificateSource, TlsError, client_config};
use crate::pki::server_tls_name;

pub use trireme_store::ConnectError;

/// Makes connections to the other servers, for consensus and for calls among API servers.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
}

impl Connector {
    /// Connections that present the certificate of `source`, and trust servers of the CA `ca_pem` alone.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(source: Arc<CertificateSource>, ca_pem: &str) -> Result<Self, TlsError> {
        Ok(Self {
            tls: TlsConnector::from(client_config(source, ca_pem)?),
        })
    }

    /// A channel to server `server_id` at `address` (`host:port`), which connects when it is first used and again
    /// whenever it is lost.
    ///
    /// # Errors
    /// [`ConnectError`] if the address cannot be one.
    pub fn channel(&self, server_id: u64, address: &str) -> Result<Channel, ConnectError> {
        let unusable = |reason: String| ConnectError {
            server_id,
            address: address.to_owned(),
            reason,
        };
        let endpoint =
            tune(Endpoint::from_shared(format!("http://{address}")).map_err(|error| unusable(error.to_string()))?);
        let name = ServerName::try_from(server_tls_name(server_id)).map_err(|error| unusable(error.to_string()))?;
        let (tls, address) = (self.tls.clone(), address.to_owned());
        Ok(
            endpoint.connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
                let (tls, name, address) = (tls.clone(), name.clone(), address.clone());
                async move {
                    let stream = TcpStream::connect(&address).await?;
                    stream.set_nodelay(true)?;
                    tls.connect(name, stream).await.map(TokioIo::new)
                }
            })),
        )
    }
}

impl PeerConnector for Connector {
    fn connect(&self, server_id: u64, peer_address: &str) -> Result<Channel, ConnectError> {
        self.channel(server_id, peer_address)
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Connector")
    }
}
