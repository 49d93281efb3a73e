//! A connection to a cluster: one live channel to one of its servers, replaced when that server fails.
//!
//! The order of servers is fixed by the configuration; after a failure the next one is tried. A server
//! that accepts connections but does not answer (stopped, overloaded) costs only the stagger, since
//! the next one is tried beside it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tonic::transport::Channel;

use crate::config::{ClientConfig, ConfigError, Identity, split_endpoint};
use crate::dial::{DialError, Tls, dial};
use crate::limits;
use crate::refusal::Refusal;

/// No server could be reached.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no server can be reached ({})", attempts.join("; "))]
pub struct ConnectError {
    /// One sentence a server that was tried.
    pub attempts: Vec<String>,
    /// True if a server was reached but the two sides do not trust each other, so that trying again is no use.
    pub untrusted: bool,
}

/// A live channel and the server it leads to.
#[derive(Debug, Clone)]
pub struct Link {
    /// The channel; every call on it goes to the one server.
    pub channel: Channel,
    /// The server's address.
    pub endpoint: String,
    /// Counts the links of a connection, to tell an old one from the present one.
    generation: u64,
    refusal: Refusal,
}

impl Link {
    /// Whether the server refused our certificate, which shows only when the link is used: then nothing that was sent
    /// over it was carried out, and trying again is no use.
    pub(crate) fn refused(&self) -> Option<ConnectError> {
        let reason = self.refusal.reason()?;
        Some(ConnectError {
            attempts: vec![format!("{}: {reason}", self.endpoint)],
            untrusted: true,
        })
    }
}

/// A handle on a cluster's servers. Cloning shares the live channel.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    config: ClientConfig,
    state: Mutex<State>,
    /// Held while dialling, so that many callers wait for one dial.
    dialling: tokio::sync::Mutex<()>,
}

struct State {
    endpoints: Vec<String>,
    /// Index of the endpoint to try first.
    next: usize,
    tls: Tls,
    live: Option<Link>,
    generation: u64,
}

impl Connection {
    /// Checks the configuration; connects only when first used.
    ///
    /// # Errors
    /// Every [`ConfigError`] but `Read`.
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let tls = Tls::new(
            &config.ca_pem,
            config.identity.as_ref(),
            config.tls_server_name.as_deref(),
        )?;
        Self::with_tls(config, tls)
    }

    pub(crate) fn with_tls(config: ClientConfig, tls: Tls) -> Result<Self, ConfigError> {
        if config.endpoints.is_empty() {
            return Err(ConfigError::NoEndpoints);
        }
        for endpoint in &config.endpoints {
            split_endpoint(endpoint)?;
        }
        let endpoints = config.endpoints.clone();
        let next = if config.spread {
            rand::random_range(0..endpoints.len())
        } else {
            0
        };
        let state = State {
            endpoints,
            next,
            tls,
            live: None,
            generation: 0,
        };
        let shared = Shared {
            config,
            state: Mutex::new(state),
            dialling: tokio::sync::Mutex::new(()),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The configuration that this connection was made with.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.shared.config
    }

    /// The servers known at present.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.state().endpoints.clone()
    }

    /// Takes over a fresh list of servers; unusable addresses and an empty list are ignored. A live
    /// channel is kept even if its server is no longer listed: it ends when that server ends it.
    pub fn set_endpoints(&self, endpoints: &[String]) {
        let usable: Vec<String> = endpoints
            .iter()
            .filter(|e| split_endpoint(e).is_ok())
            .cloned()
            .collect();
        if usable.is_empty() {
            return;
        }
        let mut state = self.state();
        if state.endpoints != usable {
            let current = state.live.as_ref().map(|live| live.endpoint.clone());
            state.next = current.and_then(|c| usable.iter().position(|e| *e == c)).unwrap_or(0);
            state.endpoints = usable;
        }
    }

    /// Presents a fresh certificate from the next dial on.
    ///
    /// # Errors
    /// [`ConfigError::BadIdentity`].
    pub fn set_identity(&self, identity: &Identity) -> Result<(), ConfigError> {
        let config = &self.shared.config;
        let tls = Tls::new(&config.ca_pem, Some(identity), config.tls_server_name.as_deref())?;
        self.state().tls = tls;
        Ok(())
    }

    /// The live channel, or a new one to the first server that answers.
    ///
    /// # Errors
    /// [`ConnectError`] once every server has been tried.
    pub async fn link(&self) -> Result<Link, ConnectError> {
        if let Some(live) = self.state().live.clone() {
            return Ok(live);
        }
        let _dialling = self.shared.dialling.lock().await;
        if let Some(live) = self.state().live.clone() {
            return Ok(live);
        }
        let (order, tls) = {
            let state = self.state();
            let count = state.endpoints.len();
            let order: Vec<String> = (0..count)
                .map(|i| state.endpoints[(state.next + i) % count].clone())
                .collect();
            (order, state.tls.clone())
        };
        let (endpoint, (channel, refusal)) = self.race(order, &tls).await?;
        let mut state = self.state();
        state.generation += 1;
        state.next = state.endpoints.iter().position(|e| *e == endpoint).unwrap_or(0);
        let link = Link {
            channel,
            endpoint,
            generation: state.generation,
            refusal,
        };
        state.live = Some(link.clone());
        tracing::debug!(server = %link.endpoint, "connected");
        Ok(link)
    }

    /// Gives up a link that failed, so that the next call goes to another server. A link that has been replaced
    /// already is left alone.
    pub fn abandon(&self, link: &Link) {
        let mut state = self.state();
        if state
            .live
            .as_ref()
            .is_some_and(|live| live.generation == link.generation)
        {
            tracing::debug!(server = %link.endpoint, "giving up this server for now");
            state.live = None;
            state.next = (state.next + 1) % state.endpoints.len();
        }
    }

    /// Dials servers in order, each [`limits::CONNECT_STAGGER`] after the one before or as soon as that one
    /// failed, and takes the first that answers.
    async fn race(&self, order: Vec<String>, tls: &Tls) -> Result<(String, (Channel, Refusal)), ConnectError> {
        let config = &self.shared.config;
        let mut waiting = order.into_iter();
        let mut running = FuturesUnordered::new();
        let mut attempts = Vec::new();
        let mut untrusted = false;
        let start = |endpoint: String| async move {
            let result = dial(&endpoint, tls, config.connect_timeout, &config.user_agent).await;
            (endpoint, result)
        };
        running.extend(waiting.next().map(&start));
        while !running.is_empty() {
            tokio::select! {
                biased;
                Some((endpoint, result)) = running.next() => match result {
                    Ok(dialled) => return Ok((endpoint, dialled)),
                    Err(error) => {
                        tracing::debug!(%error, "cannot connect");
                        untrusted |= matches!(error, DialError::Tls { .. });
                        attempts.push(error.to_string());
                        running.extend(waiting.next().map(&start));
                    }
                },
                () = tokio::time::sleep(limits::CONNECT_STAGGER) => running.extend(waiting.next().map(&start)),
            }
        }
        Err(ConnectError { attempts, untrusted })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // No code panics while it holds this lock, and every change under it is complete.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("endpoints", &self.endpoints())
            .finish_non_exhaustive()
    }
}
