//! Who is at the other end of a connection, as far as its certificate says.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustls_pki_types::CertificateDer;
use trireme_store::lanes::Flow;

use crate::pki::Subject;

/// The other end of a connection. Only the listener makes one, after TLS has verified the certificate
/// against the cluster's CA.
#[derive(Debug, Clone)]
pub struct Peer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    subject: Option<Subject>,
    unknown_certificate: bool,
    address: SocketAddr,
    flow: Flow,
}

/// Connections that there have been so far, of all ports.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

impl Peer {
    /// `certificate` must have been verified; `None` if the client presented none.
    pub(super) fn new(certificate: Option<&CertificateDer<'_>>, address: SocketAddr) -> Self {
        let subject = certificate.and_then(subject_of);
        Self(Arc::new(Inner {
            unknown_certificate: certificate.is_some() && subject.is_none(),
            subject,
            address,
            flow: Flow(CONNECTIONS.fetch_add(1, Ordering::Relaxed)),
        }))
    }

    /// A peer that nobody has verified, for tests and simulation.
    #[cfg(any(test, feature = "sim"))]
    #[must_use]
    pub fn for_tests(subject: Option<Subject>) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        Self(Arc::new(Inner {
            subject,
            unknown_certificate: false,
            address,
            flow: Flow::default(),
        }))
    }

    /// Whom the certificate names; `None` if there was none, or it names nobody known.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        self.0.subject.as_ref()
    }

    /// True if there was a certificate, but its subject is none of ours.
    #[must_use]
    pub fn has_unknown_certificate(&self) -> bool {
        self.0.unknown_certificate
    }

    /// The connection, as one that takes turns with others.
    #[must_use]
    pub fn flow(&self) -> Flow {
        self.0.flow
    }

    /// Where the connection comes from.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }
}

/// Reads the subject of a certificate; `None` unless it has one organisation and one common name that agree.
pub(super) fn subject_of(certificate: &CertificateDer<'_>) -> Option<Subject> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = parsed.subject();
    let mut organizations = subject.iter_organization();
    let mut common_names = subject.iter_common_name();
    let parsed = Subject::parse(
        organizations.next()?.as_str().ok()?,
        common_names.next()?.as_str().ok()?,
    )?;
    // A second name would leave it open which one counts.
    (organizations.next().is_none() && common_names.next().is_none()).then_some(parsed)
}
