//! One connection to one server: TCP, mutual TLS, HTTP/2. Not which server, and not again: when the connection
//! is lost, the channel fails every later call with [`NotSent`] instead of silently dialling anew.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::config::{ConfigError, Identity, split_endpoint};
use crate::limits;
use crate::refusal::{Attentive, Refusal};
use crate::token::CaDigest;

/// Marks errors of calls that were certainly never sent.
#[derive(Debug, thiserror::Error)]
#[error("the connection was lost before the request was sent")]
pub(crate) struct NotSent;

/// Why one server could not be reached.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{address}: {reason}")]
    Connect { address: String, reason: String },
    #[error("{address}: no answer within {} ms", after.as_millis())]
    Timeout { address: String, after: Duration },
    #[error("{address}: {reason}")]
    Tls { address: String, reason: String },
}

/// The pieces of TLS that all dials of one client share.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    server_name: Option<ServerName<'static>>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Reads every certificate of a PEM text.
fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())?;
    if certificates.is_empty() {
        return Err("it holds no PEM certificate".to_owned());
    }
    Ok(certificates)
}

impl Tls {
    /// Trusts one CA, and presents `identity` if there is one.
    pub(crate) fn new(
        ca_pem: &str,
        identity: Option<&Identity>,
        server_name: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let bad_ca = |reason: String| ConfigError::BadCa { reason };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca_pem).map_err(bad_ca)? {
            roots.add(certificate).map_err(|e| bad_ca(e.to_string()))?;
        }
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| bad_ca(e.to_string()))?
            .with_root_certificates(roots);
        let bad_identity = |reason: String| ConfigError::BadIdentity { reason };
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = certificates(&identity.cert_pem).map_err(bad_identity)?;
                let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
                    .map_err(|e| bad_identity(e.to_string()))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| bad_identity(e.to_string()))?
            }
        };
        let server_name = server_name
            .map(|name| ServerName::try_from(name.to_owned()))
            .transpose()
            .map_err(|e| bad_ca(format!("tls-server-name: {e}")))?;
        Ok(Self::from_config(config, server_name))
    }

    /// Trusts whatever chain holds the CA certificate with this digest. The digests that were seen
    /// instead are left in the returned cell.
    pub(crate) fn pinned(digest: CaDigest) -> Result<(Self, SeenDigests), ConfigError> {
        let seen = SeenDigests::default();
        let verifier = PinnedCa {
            digest,
            provider: provider(),
            seen: seen.clone(),
        };
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| ConfigError::BadCa { reason: e.to_string() })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok((Self::from_config(config, None), seen))
    }

    fn from_config(mut config: rustls::ClientConfig, server_name: Option<ServerName<'static>>) -> Self {
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self {
            connector: TlsConnector::from(Arc::new(config)),
            server_name,
        }
    }
}

/// The digests of the certificates that a server showed when none of them was the pinned one.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeenDigests(Arc<Mutex<Vec<CaDigest>>>);

impl SeenDigests {
    /// The digest of the last certificate of the chain, where the CA stands.
    pub(crate) fn ca(&self) -> Option<CaDigest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last().copied()
    }
}

/// Verifies a chain as usual, against the one certificate in it that has the expected digest.
#[derive(Debug)]
struct PinnedCa {
    digest: CaDigest,
    provider: Arc<CryptoProvider>,
    seen: SeenDigests,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(ca) = intermediates.iter().find(|der| CaDigest::of_der(der) == self.digest) else {
            let chain = std::iter::once(end_entity).chain(intermediates);
            *self.seen.0.lock().unwrap_or_else(PoisonError::into_inner) =
                chain.map(|der| CaDigest::of_der(der)).collect();
            return Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

type TlsIo = TokioIo<Attentive<tokio_rustls::client::TlsStream<TcpStream>>>;

/// Connects to one server, within `timeout`.
pub(crate) async fn dial(
    address: &str,
    tls: &Tls,
    timeout: Duration,
    user_agent: &str,
) -> Result<(Channel, Refusal), DialError> {
    let attempt = async {
        let refusal = Refusal::default();
        let io = open(address, tls, refusal.clone()).await?;
        let connect_error = |e: &dyn std::error::Error| DialError::Connect {
            address: address.to_owned(),
            reason: chain(e),
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .and_then(|e| e.user_agent(user_agent.to_owned()))
            .map_err(|e| connect_error(&e))?;
        let origin = format!("https://{address}")
            .parse()
            .map_err(|e: http::uri::InvalidUri| connect_error(&e))?;
        let channel = endpoint
            .origin(origin)
            .http2_keep_alive_interval(limits::KEEPALIVE_INTERVAL)
            .keep_alive_timeout(limits::KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
            .connect_with_connector(once(io))
            .await
            .map_err(|e| connect_error(&e))?;
        Ok((channel, refusal))
    };
    tokio::time::timeout(timeout, attempt).await.unwrap_or_else(|_| {
        Err(DialError::Timeout {
            address: address.to_owned(),
            after: timeout,
        })
    })
}

/// A connector that hands out one ready connection, and after it only [`NotSent`].
fn once(
    io: TlsIo,
) -> impl tower::Service<http::Uri, Response = TlsIo, Error = NotSent, Future = std::future::Ready<Result<TlsIo, NotSent>>>
+ Send
+ 'static {
    let mut io = Some(io);
    tower::service_fn(move |_uri| std::future::ready(io.take().ok_or(NotSent)))
}

async fn open(address: &str, tls: &Tls, refusal: Refusal) -> Result<TlsIo, DialError> {
    let connect_error = |reason: String| DialError::Connect {
        address: address.to_owned(),
        reason,
    };
    let (host, port) = split_endpoint(address).map_err(|e| connect_error(e.to_string()))?;
    let tcp = TcpStream::connect((host.as_str(), port))
        .await
        .map_err(|e| connect_error(plain(&e)))?;
    tcp.set_nodelay(true).map_err(|e| connect_error(plain(&e)))?;
    let tls_error = |reason: String| DialError::Tls {
        address: address.to_owned(),
        reason,
    };
    let name = match &tls.server_name {
        Some(name) => name.clone(),
        None => match host.parse::<IpAddr>() {
            Ok(ip) => ServerName::IpAddress(ip.into()),
            Err(_) => ServerName::try_from(host).map_err(|e| tls_error(e.to_string()))?,
        },
    };
    let stream = tls
        .connector
        .connect(name, tcp)
        .await
        .map_err(|e| tls_error(plain(&e)))?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(tls_error(
            "it is no Trireme server: it does not speak HTTP/2".to_owned(),
        ));
    }
    Ok(TokioIo::new(Attentive::new(stream, refusal)))
}

/// The sentence of an I/O error, without Rust's `(os error N)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
