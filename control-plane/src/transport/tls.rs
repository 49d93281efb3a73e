//! TLS of both directions: mutual, one CA, one provider, certificates that change while connections run.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{
    DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};

use super::peer::subject_of;
use crate::pki::Subject;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text is unusable.
    #[error("{what} is not usable: {reason}")]
    Pem {
        /// Which.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The pieces do not fit together.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// This server's certificate and key, which renewal replaces while the server runs.
#[derive(Debug)]
pub struct CertificateSource(ArcSwap<CertifiedKey>);

/// AES with keys of 128 bits before those of 256: it is as far out of anybody's reach, takes a quarter less time, and is what
/// Go's servers prefer, too.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    let is_preferred = |suite: &rustls::SupportedCipherSuite| {
        let name = suite.suite().as_str();
        name.is_some_and(|name| name.contains("AES_128_GCM"))
    };
    provider.cipher_suites.sort_by_key(|suite| !is_preferred(suite));
    Arc::new(provider)
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |reason: String| TlsError::Pem { what, reason };
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(error.to_string()))?;
    if all.is_empty() {
        Err(unusable("it holds no PEM certificate".to_owned()))
    } else {
        Ok(all)
    }
}

fn certified(certificate_pem: &str, key_pem: &str) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(certificate_pem, "the certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|error| TlsError::Pem {
        what: "the private key",
        reason: error.to_string(),
    })?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Setup)
}

fn roots(ca_pem: &str) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_pem, "the CA certificate")? {
        roots.add(certificate).map_err(TlsError::Setup)?;
    }
    Ok(Arc::new(roots))
}

impl CertificateSource {
    /// Begins with this certificate chain (the CA's included, so that joining clients can compare its digest) and key.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(certificate_pem: &str, key_pem: &str) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(certified(
            certificate_pem,
            key_pem,
        )?))))
    }

    /// Uses another certificate and key from the next handshake on.
    ///
    /// # Errors
    /// See [`TlsError`]; the present certificate stays then.
    pub fn replace(&self, certificate_pem: &str, key_pem: &str) -> Result<(), TlsError> {
        self.0.store(Arc::new(certified(certificate_pem, key_pem)?));
        Ok(())
    }
}

impl ResolvesServerCert for CertificateSource {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ResolvesClientCert for CertificateSource {
    fn resolve(&self, _root_hint_subjects: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let current = self.0.load_full();
        current.key.choose_scheme(schemes).is_some().then_some(current)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// TLS of the listeners: HTTP/2 and HTTP/1.1, a client certificate is not demanded but verified if presented.
///
/// # Errors
/// See [`TlsError`].
pub fn server_config(source: Arc<CertificateSource>, ca_pem: &str) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca_pem)?, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsError::Pem {
            what: "the CA certificate",
            reason: error.to_string(),
        })?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(source);
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// TLS towards other servers: presents this server's certificate, and takes only certificates of servers.
///
/// # Errors
/// See [`TlsError`].
pub fn client_config(source: Arc<CertificateSource>, ca_pem: &str) -> Result<Arc<rustls::ClientConfig>, TlsError> {
    let inner = WebPkiServerVerifier::builder_with_provider(roots(ca_pem)?, provider())
        .build()
        .map_err(|error| TlsError::Pem {
            what: "the CA certificate",
            reason: error.to_string(),
        })?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServersOnly(inner)))
        .with_client_cert_resolver(source);
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// The usual verification, and then the role.
#[derive(Debug)]
struct ServersOnly(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for ServersOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        match subject_of(end_entity) {
            Some(Subject::Server(_)) => Ok(verified),
            _ => Err(rustls::Error::General(
                "the peer's certificate is not that of a server".to_owned(),
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
