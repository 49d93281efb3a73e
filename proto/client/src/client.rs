//! The client: typed stubs for every service, and the one loop that repeats calls.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Response, Status};
use trireme_proto::v1;
use trireme_proto::v1::cluster_client::ClusterClient;
use trireme_proto::v1::node_agent_client::NodeAgentClient;
use trireme_proto::v1::resources_client::ResourcesClient;
use trireme_proto::v1::server_internal_client::ServerInternalClient;

use crate::config::{ClientConfig, ConfigError};
use crate::connection::{ConnectError, Connection, Link};
use crate::error::ClientError;
use crate::limits;
use crate::outcome::{Repeat, Verdict, judge, may_be_own_echo};

/// A client of a cluster. Cloning shares its connection.
#[derive(Debug, Clone)]
pub struct Client {
    connection: Connection,
}

/// The resources stub on one link.
#[must_use]
pub(crate) fn resources_on(link: &Link) -> ResourcesClient<Channel> {
    ResourcesClient::new(link.channel.clone())
        .max_decoding_message_size(limits::RESPONSE_MAX_BYTES)
        .max_encoding_message_size(limits::RESPONSE_MAX_BYTES)
}

impl Client {
    /// A client; it connects when first used.
    ///
    /// # Errors
    /// See [`Connection::new`].
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            connection: Connection::new(config)?,
        })
    }

    /// A client over an existing connection.
    #[must_use]
    pub fn over(connection: Connection) -> Self {
        Self { connection }
    }

    /// The connection beneath.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The resources service on the present server, for streams and for callers with rules of their own
    /// for repeating. Failures of calls on it should be told to [`Connection::abandon`].
    ///
    /// # Errors
    /// [`ConnectError`] if no server can be reached.
    pub async fn resources(&self) -> Result<(ResourcesClient<Channel>, Link), ConnectError> {
        let link = self.connection.link().await?;
        Ok((resources_on(&link), link))
    }

    /// The cluster service on the present server. See [`Client::resources`].
    ///
    /// # Errors
    /// [`ConnectError`] if no server can be reached.
    pub async fn cluster(&self) -> Result<(ClusterClient<Channel>, Link), ConnectError> {
        let link = self.connection.link().await?;
        Ok((ClusterClient::new(link.channel.clone()), link))
    }

    /// The node agents' service on the present server. See [`Client::resources`].
    ///
    /// # Errors
    /// [`ConnectError`] if no server can be reached.
    pub async fn node_agent(&self) -> Result<(NodeAgentClient<Channel>, Link), ConnectError> {
        let link = self.connection.link().await?;
        let stub = NodeAgentClient::new(link.channel.clone())
            .max_decoding_message_size(limits::RESPONSE_MAX_BYTES)
            .max_encoding_message_size(limits::RESPONSE_MAX_BYTES);
        Ok((stub, link))
    }

    /// The servers' own service on the present server. See [`Client::resources`].
    ///
    /// # Errors
    /// [`ConnectError`] if no server can be reached.
    pub async fn server_internal(&self) -> Result<(ServerInternalClient<Channel>, Link), ConnectError> {
        let link = self.connection.link().await?;
        Ok((ServerInternalClient::new(link.channel.clone()), link))
    }

    /// Makes a call that changes nothing, on another server if one fails.
    ///
    /// # Errors
    /// Every [`ClientError`] but `UnknownOutcome`.
    pub async fn read<T, F, Fut>(&self, call: F) -> Result<T, ClientError>
    where
        F: Fn(Link) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        self.repeat(Repeat::Read, call).await
    }

    /// Makes a call that changes something. It is repeated only if it was certainly not carried out.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn write<T, F, Fut>(&self, call: F) -> Result<T, ClientError>
    where
        F: Fn(Link) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        self.repeat(Repeat::Write, call).await
    }

    /// Makes a call that changes something and cannot be carried out twice, because it names what it expects to
    /// find (a resource version, a uid, a name that must be free). It is repeated until a server decides. If a repetition is
    /// refused in a way that the lost first attempt may have caused, the outcome is unknown.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn write_preconditioned<T, F, Fut>(&self, call: F) -> Result<T, ClientError>
    where
        F: Fn(Link) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        self.repeat(Repeat::Preconditioned, call).await
    }

    /// Lists the kinds.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub async fn discover(&self) -> Result<v1::DiscoverResponse, ClientError> {
        self.read(|link| async move { resources_on(&link).discover(v1::DiscoverRequest {}).await })
            .await
    }

    /// Reads the state of the servers.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub async fn cluster_status(&self) -> Result<v1::StatusResponse, ClientError> {
        self.read(|link| async move { ClusterClient::new(link.channel).status(v1::StatusRequest {}).await })
            .await
    }

    async fn repeat<T, F, Fut>(&self, repeat: Repeat, call: F) -> Result<T, ClientError>
    where
        F: Fn(Link) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let config = self.connection.config();
        let started = Instant::now();
        let mut pause = limits::RETRY_PAUSE_MIN;
        let mut unknown_before: Option<String> = None;
        loop {
            let (error, wait) = match self.attempt(&call).await {
                Ok(answer) => return Ok(answer),
                Err(Attempt::Connect(error)) => {
                    let retry = !error.untrusted && started.elapsed() < config.retry_while_unreachable;
                    (ClientError::Connect(error), retry.then(|| jittered(pause)))
                }
                Err(Attempt::Called(Verdict::Refused(error))) => {
                    return Err(match unknown_before {
                        Some(message) if may_be_own_echo(&error) => ClientError::UnknownOutcome { message },
                        _ => ClientError::Api(error),
                    });
                }
                Err(Attempt::Called(Verdict::NotCarriedOut {
                    message, retry_after, ..
                })) => {
                    let error = ClientError::Unavailable { message };
                    (error, Some(retry_after.map_or_else(|| jittered(pause), hinted)))
                }
                Err(Attempt::Called(Verdict::Unknown { message })) => match repeat {
                    Repeat::Read => (ClientError::Unavailable { message }, Some(jittered(pause))),
                    Repeat::Write => return Err(ClientError::UnknownOutcome { message }),
                    Repeat::Preconditioned => {
                        unknown_before = Some(message.clone());
                        (ClientError::UnknownOutcome { message }, Some(jittered(pause)))
                    }
                },
            };
            match wait {
                Some(wait) if started.elapsed() + wait < config.retry_for => {
                    tracing::debug!(%error, ?wait, "trying again");
                    tokio::time::sleep(wait).await;
                }
                _ => {
                    return Err(match unknown_before {
                        Some(message) => ClientError::UnknownOutcome { message },
                        None => error,
                    });
                }
            }
            pause = (pause * 2).min(limits::RETRY_PAUSE_MAX);
        }
    }

    /// One attempt on one server. A server that failed it is given up.
    async fn attempt<T, F, Fut>(&self, call: &F) -> Result<T, Attempt>
    where
        F: Fn(Link) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let link = self.connection.link().await.map_err(Attempt::Connect)?;
        let timeout = self.connection.config().request_timeout;
        let verdict = match tokio::time::timeout(timeout, call(link.clone())).await {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(status)) => match link.refused() {
                Some(refused) => {
                    self.connection.abandon(&link);
                    return Err(Attempt::Connect(refused));
                }
                None => judge(&status),
            },
            Err(_) => Verdict::Unknown {
                message: format!("{} did not answer within {} s", link.endpoint, timeout.as_secs()),
            },
        };
        let move_on = match &verdict {
            Verdict::Refused(_) => false,
            Verdict::NotCarriedOut { move_on, .. } => *move_on,
            Verdict::Unknown { .. } => true,
        };
        if move_on {
            self.connection.abandon(&link);
        }
        Err(Attempt::Called(verdict))
    }
}

/// How one attempt failed.
enum Attempt {
    Connect(ConnectError),
    Called(Verdict),
}

/// A pause that a server asked for, and up to half as much again: never less, or it would be as full as before, and not all
/// at the same time. A hint beyond what is sensible is cut.
pub(crate) fn hinted(hint: Duration) -> Duration {
    hint.min(limits::RETRY_HINT_MAX).mul_f64(rand::random_range(1.0..=1.5))
}

/// Between half and the whole of a pause, so that clients that failed together do not come back together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_followed_but_not_for_ever() {
        for _ in 0..100 {
            let pause = hinted(Duration::from_millis(100));
            assert!((100..=150).contains(&pause.as_millis()), "{pause:?}");
            let pause = hinted(Duration::from_secs(3_600));
            assert!(
                pause >= limits::RETRY_HINT_MAX && pause <= limits::RETRY_HINT_MAX * 2,
                "{pause:?}"
            );
        }
    }
}
