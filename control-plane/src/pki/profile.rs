//! What the certificates say: who the holder is, which role it has, under which names it is reached.

use std::{net::IpAddr, time::Duration};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};

use super::PkiError;
use crate::limits;

/// Organisation of admins.
pub const GROUP_ADMINS: &str = "system:masters";
/// Organisation of servers.
pub const GROUP_SERVERS: &str = "system:servers";
/// Organisation of nodes.
pub const GROUP_NODES: &str = "system:nodes";

/// A name that every server's certificate carries, for clients that reach servers by changing addresses.
pub const TLS_SERVER_NAME: &str = "trireme";

const ADMIN_NAME: &str = "trireme-admin";
const SERVER_PREFIX: &str = "system:server:";
const NODE_PREFIX: &str = "system:node:";

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The person with all rights.
    Admin,
    /// A server, by name.
    Server(String),
    /// A node, by name.
    Node(String),
}

/// A certificate's content, apart from key and dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    subject: Subject,
    alt_names: Vec<String>,
}

impl Subject {
    /// The common name.
    #[must_use]
    pub fn common_name(&self) -> String {
        match self {
            Self::Admin => ADMIN_NAME.to_owned(),
            Self::Server(name) => format!("{SERVER_PREFIX}{name}"),
            Self::Node(name) => format!("{NODE_PREFIX}{name}"),
        }
    }

    /// The organisation.
    #[must_use]
    pub fn organization(&self) -> &'static str {
        match self {
            Self::Admin => GROUP_ADMINS,
            Self::Server(_) => GROUP_SERVERS,
            Self::Node(_) => GROUP_NODES,
        }
    }

    /// Reads a subject back; `None` unless organisation and common name agree.
    #[must_use]
    pub fn parse(organization: &str, common_name: &str) -> Option<Self> {
        let named = |prefix| {
            common_name
                .strip_prefix(prefix)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
        };
        match organization {
            GROUP_ADMINS => Some(Self::Admin),
            GROUP_SERVERS => named(SERVER_PREFIX).map(Self::Server),
            GROUP_NODES => named(NODE_PREFIX).map(Self::Node),
            _ => None,
        }
    }
}

impl Profile {
    /// An admin's.
    #[must_use]
    pub fn admin() -> Self {
        Self {
            subject: Subject::Admin,
            alt_names: Vec::new(),
        }
    }

    /// A node's. It carries no address, since a node opens no port (D10).
    #[must_use]
    pub fn node(name: impl Into<String>) -> Self {
        Self {
            subject: Subject::Node(name.into()),
            alt_names: Vec::new(),
        }
    }

    /// A server's: reached as `localhost`, by the other servers under its id, and under `alt_names` (names or addresses;
    /// a port after a name is dropped, empty ones are skipped).
    #[must_use]
    pub fn server(name: impl Into<String>, server_id: u64, alt_names: impl IntoIterator<Item = String>) -> Self {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1", TLS_SERVER_NAME]
            .into_iter()
            .map(str::to_owned)
            .collect();
        names.push(server_tls_name(server_id));
        for name in alt_names {
            let host = host_of(&name).to_owned();
            if !host.is_empty() && !names.contains(&host) {
                names.push(host);
            }
        }
        Self {
            subject: Subject::Server(name.into()),
            alt_names: names,
        }
    }

    /// Whom it names.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// How long such a certificate is valid.
    #[must_use]
    pub fn validity(&self) -> Duration {
        match self.subject {
            Subject::Admin => limits::ADMIN_VALIDITY,
            Subject::Server(_) | Subject::Node(_) => limits::LEAF_VALIDITY,
        }
    }

    pub(super) fn params(&self) -> Result<CertificateParams, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, self.subject.organization());
        params
            .distinguished_name
            .push(DnType::CommonName, self.subject.common_name());
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if matches!(self.subject, Subject::Server(_)) {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.subject_alt_names = self.alt_names.iter().map(|name| san(name)).collect::<Result<_, _>>()?;
        Ok(params)
    }
}

/// The name by which the certificate of one server is told from those of the others.
#[must_use]
pub fn server_tls_name(server_id: u64) -> String {
    format!("server-{server_id}.{TLS_SERVER_NAME}")
}

/// The host of `host`, `host:port`, `[v6]:port` or a bare IPv6 address.
fn host_of(address: &str) -> &str {
    if let Some(rest) = address.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match address.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => address,
    }
}

fn san(name: &str) -> Result<SanType, PkiError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.len() > 253 || !name.bytes().all(plain) {
        return Err(PkiError::Name {
            name: name.to_owned(),
            reason: "it is neither a DNS name nor an address".to_owned(),
        });
    }
    let text = name.to_ascii_lowercase();
    text.try_into()
        .map(SanType::DnsName)
        .map_err(|error: rcgen::Error| PkiError::Name {
            name: name.to_owned(),
            reason: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_read_back() {
        for subject in [
            Subject::Admin,
            Subject::Server("s-1".into()),
            Subject::Node("n-1".into()),
        ] {
            assert_eq!(
                Subject::parse(subject.organization(), &subject.common_name()),
                Some(subject)
            );
        }
    }

    #[test]
    fn a_subject_whose_parts_disagree_is_nobody() {
        for (organization, common_name) in [
            (GROUP_NODES, "system:server:a"),
            (GROUP_SERVERS, "system:node:a"),
            (GROUP_NODES, "system:node:"),
            ("", "trireme-admin"),
            ("system:other", "system:node:a"),
        ] {
            assert_eq!(
                Subject::parse(organization, common_name),
                None,
                "{organization} {common_name}"
            );
        }
    }

    #[test]
    fn hosts_lose_their_port() {
        for (address, expected) in [
            ("a:1", "a"),
            ("a", "a"),
            ("10.0.0.1:6443", "10.0.0.1"),
            ("[fe80::1]:2", "fe80::1"),
            ("::1", "::1"),
            ("", ""),
        ] {
            assert_eq!(host_of(address), expected, "{address}");
        }
    }

    #[test]
    fn names_that_cannot_stand_in_a_certificate_are_refused() {
        for name in ["a b", "a/b", "*.x y", "é"] {
            assert!(Profile::server("s", 1, [name.to_owned()]).params().is_err(), "{name}");
        }
    }
}
