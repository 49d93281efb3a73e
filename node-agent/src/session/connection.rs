//! The one file that knows the client library: a connection to whichever server answers.

use super::identity::IdentityStore;
use crate::limits;
use std::time::Duration;
use tonic::transport::Channel;
use trireme_client::join::renew;
use trireme_client::token::{Token, TokenRole};
use trireme_client::{Api, Client, ClientConfig, ClientError, Identity, JoinError, JoinParams, Link, join};
use trireme_proto::api::core::v1::Event;
use trireme_proto::v1;
use trireme_proto::v1::node_agent_client::NodeAgentClient;

/// What a node needs to be known by the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) identity: Identity,
    pub(crate) ca_pem: String,
    pub(crate) servers: Vec<String>,
}

/// Why a conversation with a server ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No server could be reached.
    #[error(transparent)]
    Connect(#[from] trireme_client::ConnectError),
    /// The server refused, or the connection broke.
    #[error("{} ({:?})", .0.message(), .0.code())]
    Status(#[from] Box<tonic::Status>),
    /// The server ended the stream.
    #[error("the server ended the stream")]
    Ended,
    /// The server said something that makes no sense.
    #[error("the server's message cannot be used: {0}")]
    Malformed(String),
    /// The server is behind what was heard before.
    #[error("the server is at revision {got}, and {seen} was seen before")]
    Behind {
        /// The server's.
        got: i64,
        /// Seen before.
        seen: i64,
    },
}

impl From<tonic::Status> for CallError {
    fn from(status: tonic::Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// The cluster, by whichever of its servers answers.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    client: Client,
    store: IdentityStore,
}

impl Cluster {
    /// A handle; it connects when first used.
    pub(crate) fn new(credentials: &Credentials, store: IdentityStore) -> Result<Self, trireme_client::ConfigError> {
        let mut config = ClientConfig::new(
            credentials.servers.clone(),
            credentials.ca_pem.clone(),
            Some(credentials.identity.clone()),
        );
        // Many agents spread over the servers.
        config.spread = true;
        Ok(Self {
            client: Client::new(config)?,
            store,
        })
    }

    /// The agents' service on the present server.
    pub(crate) async fn node_agent(&self) -> Result<(NodeAgentClient<Channel>, Link), CallError> {
        let (stub, link) = self.client.node_agent().await?;
        let stub = stub.max_decoding_message_size(limits::ASSIGNMENTS_MESSAGE_MAX_BYTES);
        Ok((stub, link))
    }

    /// Goes to another server next time.
    pub(crate) fn abandon(&self, link: &Link) {
        self.client.connection().abandon(link);
    }

    /// Takes over and stores the servers' own list.
    pub(crate) fn set_servers(&self, servers: &[String]) {
        self.client.connection().set_endpoints(servers);
        if let Err(error) = self.store.save_servers(servers) {
            tracing::warn!(%error, "the list of servers cannot be stored");
        }
    }

    pub(crate) fn store(&self) -> &IdentityStore {
        &self.store
    }

    /// Gets a fresh certificate, stores it, and uses it from now on.
    pub(crate) async fn renew(&self) -> Result<(), RenewError> {
        let identity = renew(&self.client).await?;
        self.store.save_identity(&identity)?;
        self.client.connection().set_identity(&identity)?;
        Ok(())
    }

    /// Sends a batch of statuses.
    pub(crate) async fn report(&self, request: v1::ReportStatusRequest) -> Result<v1::ReportStatusResponse, CallError> {
        let (mut stub, link) = self.node_agent().await?;
        let answer = tokio::time::timeout(limits::STATUS_CALL_TIMEOUT, stub.report_status(request)).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => {
                self.abandon_unless_refused(&link, &status);
                Err(status.into())
            }
            Err(_) => {
                self.abandon(&link);
                Err(tonic::Status::deadline_exceeded("no answer in time").into())
            }
        }
    }

    /// Stores a new event.
    pub(crate) async fn create_event(&self, event: &Event) -> Result<Event, ClientError> {
        self.events_of(event).create(event).await
    }

    /// Replaces an event that this node made.
    pub(crate) async fn update_event(&self, event: &Event) -> Result<Event, ClientError> {
        self.events_of(event).update(event).await
    }

    fn events_of(&self, event: &Event) -> Api<Event> {
        let namespace = event.metadata.as_ref().map_or("", |meta| meta.namespace.as_str());
        Api::namespaced(&self.client, namespace)
    }

    /// A server that refuses a request works; one that cannot answer is left for another.
    pub(crate) fn abandon_unless_refused(&self, link: &Link, status: &tonic::Status) {
        let refused = matches!(
            status.code(),
            tonic::Code::InvalidArgument | tonic::Code::PermissionDenied
        );
        if !refused {
            self.abandon(link);
        }
    }
}

/// A certificate that could not be renewed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    /// The servers refused, or could not be reached.
    #[error("the servers gave no fresh certificate")]
    Call(#[from] JoinError),
    /// It could not be stored.
    #[error("the fresh certificate cannot be stored")]
    Store(#[from] std::io::Error),
    /// It cannot be used.
    #[error("the fresh certificate cannot be used")]
    Use(#[from] trireme_client::ConfigError),
}

/// Joins with a token; tries again for as long as no server can be reached.
pub(crate) async fn join_cluster(node: &str, servers: &[String], token: &str) -> Result<Credentials, JoinClusterError> {
    let token: Token = token.parse()?;
    let mut attempt = 0;
    loop {
        let params = JoinParams {
            servers: servers.to_vec(),
            token: token.clone(),
            role: TokenRole::Node,
            name: node.to_owned(),
            api_address: String::new(),
            peer_address: String::new(),
            subject_alt_names: Vec::new(),
        };
        match join(params).await {
            Ok(joined) => {
                let servers = if joined.servers.is_empty() {
                    servers.to_vec()
                } else {
                    joined.servers
                };
                return Ok(Credentials {
                    identity: joined.identity,
                    ca_pem: joined.ca_pem,
                    servers,
                });
            }
            Err(JoinError::Call(
                error
                @ (ClientError::Connect(_) | ClientError::Unavailable { .. } | ClientError::UnknownOutcome { .. }),
            )) => {
                let delay: Duration = super::reconnect::delay(attempt);
                attempt += 1;
                tracing::info!(%error, delay_ms = delay.as_millis(), "cannot join yet");
                tokio::time::sleep(delay).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A join that will not succeed by repeating it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinClusterError {
    /// The token is not well formed.
    #[error("the join token cannot be used")]
    Token(#[from] trireme_client::token::TokenError),
    /// The cluster refused.
    #[error("the cluster refused the node")]
    Refused(#[from] JoinError),
}
