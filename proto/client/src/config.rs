//! What a client must know to reach a cluster: the servers' addresses, whom to trust, who it is.

use std::path::PathBuf;
use std::time::Duration;

use crate::limits;

/// A certificate and its private key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate chain, PEM, leaf first.
    pub cert_pem: String,
    /// The private key, PEM.
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// How to reach a cluster and as whom.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// API addresses (`host:port`) of the servers, at least one.
    pub endpoints: Vec<String>,
    /// The cluster's CA certificate, PEM.
    pub ca_pem: String,
    /// Who this client is; none only for calls that need no certificate.
    pub identity: Option<Identity>,
    /// The name that servers' certificates must carry, if it is not the host of the address.
    pub tls_server_name: Option<String>,
    /// Begin with a random server instead of the first, so that many clients spread over the servers.
    pub spread: bool,
    /// See [`limits::CONNECT_TIMEOUT`].
    pub connect_timeout: Duration,
    /// See [`limits::REQUEST_TIMEOUT`].
    pub request_timeout: Duration,
    /// See [`limits::RETRY_FOR`].
    pub retry_for: Duration,
    /// See [`limits::RETRY_WHILE_UNREACHABLE`].
    pub retry_while_unreachable: Duration,
    /// Sent as `user-agent`.
    pub user_agent: String,
}

impl ClientConfig {
    /// A configuration with the usual times.
    #[must_use]
    pub fn new(endpoints: Vec<String>, ca_pem: impl Into<String>, identity: Option<Identity>) -> Self {
        Self {
            endpoints,
            ca_pem: ca_pem.into(),
            identity,
            tls_server_name: None,
            spread: false,
            connect_timeout: limits::CONNECT_TIMEOUT,
            request_timeout: limits::REQUEST_TIMEOUT,
            retry_for: limits::RETRY_FOR,
            retry_while_unreachable: limits::RETRY_WHILE_UNREACHABLE,
            user_agent: concat!("trireme/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// What is wrong with a [`ClientConfig`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The list of servers is empty.
    #[error("no server address is given")]
    NoEndpoints,
    /// An address is not `host:port`.
    #[error("the server address {address:?} is not host:port")]
    BadEndpoint {
        /// As given.
        address: String,
    },
    /// The CA certificate cannot be used.
    #[error("the CA certificate is not usable: {reason}")]
    BadCa {
        /// Why.
        reason: String,
    },
    /// The client certificate or key cannot be used.
    #[error("the client certificate or its key is not usable: {reason}")]
    BadIdentity {
        /// Why.
        reason: String,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Splits `host:port`, with `[v6]:port` allowed, and gives the host without brackets.
pub(crate) fn split_endpoint(address: &str) -> Result<(String, u16), ConfigError> {
    let bad = || ConfigError::BadEndpoint {
        address: address.to_owned(),
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    if host.is_empty() || port == 0 || (bracketed.is_none() && host.contains(':')) {
        return Err(bad());
    }
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_host_and_port() {
        for (address, expected) in [
            ("127.0.0.1:6443", Some(("127.0.0.1", 6443))),
            ("[::1]:6443", Some(("::1", 6443))),
            ("server-1.example:1", Some(("server-1.example", 1))),
            ("::1:6443", None),
            ("host", None),
            (":6443", None),
            ("host:0", None),
            ("host:70000", None),
            ("https://host:6443", None),
        ] {
            let got = split_endpoint(address).ok();
            let got = got.as_ref().map(|(host, port)| (host.as_str(), *port));
            assert_eq!(got, expected, "{address}");
        }
    }
}
