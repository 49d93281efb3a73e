//! Joining a cluster with a token, and renewing the certificate that it gave.
//!
//! The joining side trusts nothing but the digest in its token: it says the secret only to a server
//! whose chain holds the CA certificate with that digest.

use rcgen::{CertificateParams, KeyPair};
use trireme_proto::v1;
use trireme_proto::v1::cluster_client::ClusterClient;

use crate::client::Client;
use crate::config::{ClientConfig, ConfigError, Identity};
use crate::connection::{ConnectError, Connection};
use crate::dial::Tls;
use crate::error::ClientError;
use crate::token::{CaDigest, Token, TokenRole};

/// What a joining program says.
#[derive(Debug, Clone)]
pub struct JoinParams {
    /// API addresses (`host:port`) of servers, tried in order.
    pub servers: Vec<String>,
    /// The token.
    pub token: Token,
    /// The role this program takes; a token of another role is refused before anything is sent.
    pub role: TokenRole,
    /// The name the node or server wants.
    pub name: String,
    /// For a server: its API address as others reach it; empty for a node.
    pub api_address: String,
    /// For a server: its peer address as others reach it; empty for a node.
    pub peer_address: String,
    /// Extra names and addresses for the certificate.
    pub subject_alt_names: Vec<String>,
}

/// What a program that joined holds.
#[derive(Debug, Clone)]
pub struct Joined {
    /// Its certificate and the key made here, which never left this program.
    pub identity: Identity,
    /// The cluster's CA certificate, PEM.
    pub ca_pem: String,
    /// API addresses of all servers.
    pub servers: Vec<String>,
    /// The cluster's id.
    pub cluster_id: String,
    /// For a server: the CA's private key, PEM; empty for a node.
    pub ca_key_pem: String,
    /// For a server: its id in Raft; 0 for a node.
    pub server_id: u64,
}

/// Why joining failed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The token is for the other role.
    #[error("this token lets a {token} join, and this is a {wanted}")]
    WrongRole {
        /// The token's role.
        token: TokenRole,
        /// The role asked for.
        wanted: TokenRole,
    },
    /// The server belongs to another cluster than the token.
    #[error("the server's CA certificate has the digest {server}, but the token was made for {token}")]
    WrongCluster {
        /// The server's.
        server: CaDigest,
        /// The token's.
        token: CaDigest,
    },
    /// The addresses cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The key or the request could not be made.
    #[error("cannot make a certificate request: {0}")]
    Request(String),
    /// The servers could not be reached, or refused.
    #[error(transparent)]
    Call(#[from] ClientError),
}

/// Joins the cluster.
///
/// # Errors
/// See [`JoinError`]; a refused token is a [`ClientError::Api`] with reason `Unauthorized` or `Forbidden`.
pub async fn join(params: JoinParams) -> Result<Joined, JoinError> {
    join_in_place_of(params, String::new()).await
}

/// Joins the cluster in the place of a server that does not answer any more, given by its name or id; that one is removed
/// for good. With an empty `replaces` it is [`join`].
///
/// # Errors
/// As [`join`].
pub async fn join_in_place_of(params: JoinParams, replaces: String) -> Result<Joined, JoinError> {
    let token = &params.token;
    if token.role != params.role {
        return Err(JoinError::WrongRole {
            token: token.role,
            wanted: params.role,
        });
    }
    let (key_pem, csr_pem) = certificate_request()?;
    let (tls, seen) = Tls::pinned(token.ca_digest)?;
    let client = Client::over(Connection::with_tls(
        ClientConfig::new(params.servers.clone(), "", None),
        tls,
    )?);
    let request = v1::JoinRequest {
        token: token.to_string(),
        csr_pem,
        name: params.name.clone(),
        api_address: params.api_address.clone(),
        peer_address: params.peer_address.clone(),
        subject_alt_names: params.subject_alt_names.clone(),
        replaces,
    };
    // A join that is carried out twice is harmless for a node, and for a server costs one unused Raft id, which the
    // server side notices by the name; a lost answer is therefore an unknown outcome and not repeated here.
    let call = |link: crate::Link| {
        let request = request.clone();
        async move { ClusterClient::new(link.channel).join(request).await }
    };
    let answer = client.write(call).await.map_err(|error| match (error, seen.ca()) {
        (ClientError::Connect(ConnectError { untrusted: true, .. }), Some(server)) => JoinError::WrongCluster {
            server,
            token: token.ca_digest,
        },
        (error, _) => JoinError::Call(error),
    })?;
    Ok(Joined {
        identity: Identity {
            cert_pem: answer.certificate_pem,
            key_pem,
        },
        ca_pem: answer.ca_certificate_pem,
        servers: answer.servers,
        cluster_id: answer.cluster_id,
        ca_key_pem: answer.ca_key_pem,
        server_id: answer.server_id,
    })
}

/// Gets a fresh certificate, for a fresh key, of the identity that the client has now. The caller stores
/// it and hands it to [`Connection::set_identity`].
///
/// # Errors
/// [`JoinError::Request`] and [`JoinError::Call`].
pub async fn renew(client: &Client) -> Result<Identity, JoinError> {
    let (key_pem, csr_pem) = certificate_request()?;
    let call = |link: crate::Link| {
        let request = v1::RenewCertificateRequest {
            csr_pem: csr_pem.clone(),
        };
        async move { ClusterClient::new(link.channel).renew_certificate(request).await }
    };
    // Signing changes nothing in the cluster, so it may be repeated like a read.
    let answer = client.read(call).await?;
    Ok(Identity {
        cert_pem: answer.certificate_pem,
        key_pem,
    })
}

/// A fresh key and a request for it. The subject is the server's to decide.
fn certificate_request() -> Result<(String, String), JoinError> {
    let failed = |e: rcgen::Error| JoinError::Request(e.to_string());
    let key = KeyPair::generate().map_err(failed)?;
    let request = CertificateParams::default().serialize_request(&key).map_err(failed)?;
    Ok((key.serialize_pem(), request.pem().map_err(failed)?))
}
