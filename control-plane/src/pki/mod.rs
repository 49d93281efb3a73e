//! The cluster's certificate authority, the certificates it issues, and join tokens (D9).
//!
//! What a certificate says of its holder is decided here alone: a request's own wishes about its subject are
//! ignored. Checking certificates on connections is `transport`'s business.

mod authority;
pub mod files;
mod kubeconfig;
mod profile;
mod tokens;

pub use authority::{CertificateAuthority, IssuedIdentity, certificate_expiry, renewal_due};
pub use kubeconfig::write_admin_kubeconfig;
pub use profile::{GROUP_ADMINS, GROUP_NODES, GROUP_SERVERS, Profile, Subject, TLS_SERVER_NAME, server_tls_name};
pub use tokens::{NewToken, TokenError, TokenStore, TokenSummary};
pub use trireme_client::token::{CaDigest, Token, TokenRole};

use std::path::PathBuf;

/// Why keys or certificates could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A key or certificate could not be made.
    #[error("cannot make a certificate")]
    Generate(#[source] rcgen::Error),
    /// A certificate request is unusable.
    #[error("the certificate request is not usable: {reason}")]
    Request {
        /// Why.
        reason: String,
    },
    /// A stored certificate or key is unusable.
    #[error("{what} is not usable: {reason}")]
    Parse {
        /// Which.
        what: String,
        /// Why.
        reason: String,
    },
    /// A key and a certificate do not belong together.
    #[error("the CA's key does not belong to its certificate")]
    KeyMismatch,
    /// A name cannot stand in a certificate.
    #[error("{name:?} cannot stand in a certificate: {reason}")]
    Name {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read`, `write` and so on.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
