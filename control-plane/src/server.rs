//! A server, put together: identity, replica, listeners, services, loops.
//!
//! Starting reads top to bottom in [`run`]; what a server keeps on disk beside its replica is in `home`.

mod etcd;
#[cfg(feature = "faults")]
mod faults;
mod home;
mod membership;
mod quarantined;
mod refound;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use trireme_client::token::Token;
use trireme_proto::v1::{node_agent_server::NodeAgentServer, server_internal_server::ServerInternalServer};
use trireme_store::{MemberNode, OpenError, Retention, Store, StoreConfig, Timings, kv::Kv};

pub use etcd::EtcdListen;
#[cfg(feature = "faults")]
pub use faults::FaultOptions;
pub use home::{HomeError, ServerIdentity};
pub use refound::{RefoundError, Restore, inspect, recover, restore};
#[cfg(feature = "faults")]
pub use trireme_store::Planted;

use crate::{
    environment::Environment,
    limits::{NODE_MESSAGE_MAX_BYTES, READINESS_LAG},
    pki::{PkiError, TokenStore},
    registry::Registry,
    run::{
        forwarding, heartbeats::Heartbeats, leader, leader::LoopContext, peers::ServerPeers, servers::ServerList,
        sessions::NodeSessions, tunnel::NodeTunnel, world_cache::WorldCache,
    },
    services::{
        cluster::ClusterService, internal::ServerInternalService, node::NodeAgentService, resources::ResourcesService,
    },
    transport::{
        Admits, BoundListener, CertificateSource, Connector, ListenError, MetricsReaders, MetricsSource, Readiness,
        RestService, TlsError, api_router, metrics_router, peer_router, server_config,
    },
};
use home::Home;

/// How to run a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Its name; unique in the cluster.
    pub name: String,
    /// Where it keeps everything. One server's alone.
    pub data_dir: PathBuf,
    /// What to do if `data_dir` holds no server yet. A server that is there goes on whatever this says.
    pub start: Start,
    /// Where clients, agents and joining servers reach it.
    pub listen: SocketAddr,
    /// Where the other servers reach it.
    pub peer_listen: SocketAddr,
    /// Where clients of etcd's API reach it, if they may.
    pub etcd_listen: Option<EtcdListen>,
    /// The host name or address under which others reach both ports.
    pub advertise_host: String,
    /// Extra names and addresses for its certificate.
    pub subject_alt_names: Vec<String>,
    /// Raft's timers.
    pub timings: Timings,
    /// How much of the history is kept.
    pub retention: Retention,
    /// Faults on purpose.
    #[cfg(feature = "faults")]
    pub faults: FaultOptions,
}

/// How a new server comes to be.
#[derive(Debug, Clone)]
pub enum Start {
    /// It is the first of a new cluster.
    ClusterInit,
    /// It joins a cluster.
    Join {
        /// API addresses (`host:port`) of servers there.
        servers: Vec<String>,
        /// A server token of that cluster.
        token: Token,
        /// The name or id of the dead server whose place it takes; empty for none.
        replaces: String,
    },
    /// It must be there already.
    Resume,
}

/// Why a server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A port cannot be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// etcd's API without TLS was asked for on an address that others can reach.
    #[error("etcd's API without TLS can be served on a loopback address only, not on {address}")]
    EtcdExposed {
        /// Which.
        address: SocketAddr,
    },
    /// Its certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Certificates cannot be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Its replica cannot be opened.
    #[error("cannot open the store")]
    Store(#[from] OpenError),
    /// Something that must run for ever ended.
    #[error("{what} ended: {why}")]
    Ended {
        /// What ended.
        what: &'static str,
        /// Why.
        why: String,
    },
}

/// Runs a server until `shutdown`.
///
/// # Errors
/// See [`ServerError`]. Nothing was changed on disk if a port was taken or a join was refused.
pub async fn run(config: ServerConfig, shutdown: CancellationToken) -> Result<(), ServerError> {
    #[cfg(feature = "faults")]
    config
        .faults
        .arm(&config.data_dir)
        .map_err(|error| ServerError::Ended {
            what: "the arming of failpoints",
            why: error.to_string(),
        })?;
    let environment = Environment::system();
    // Both ports are tried before anything is made or any server is asked.
    let api_listener = BoundListener::bind(config.listen).await?;
    drop(BoundListener::bind(config.peer_listen).await?);
    let etcd_listener = EtcdListen::bind(config.etcd_listen).await?;
    let home = Home::open_or_found(&config, api_listener.address().port(), &environment).await?;

    let certificates = CertificateSource::new(&home.certificate_pem, &home.key_pem)?;
    let ca_pem = home.authority.certificate_pem().to_owned();
    let connector = Arc::new(Connector::new(certificates.clone(), &ca_pem)?);
    let store = match open_store(&config, &home, connector.clone()).await {
        Ok(store) => Arc::new(store),
        Err(OpenError::Quarantined { cause }) => {
            return quarantined::serve(&config, &home, api_listener, &cause, shutdown).await;
        }
        Err(error) => return Err(error.into()),
    };
    let stop = shutdown.child_token();
    let mut tasks = JoinSet::new();

    let peer_listener = on_consensus(&store, BoundListener::bind(config.peer_listen)).await?;
    let peer_tls = server_config(certificates.clone(), &ca_pem)?;
    let peer_routes = peer_router(store.peer_service());
    let stop_peer = stop.child_token();
    store
        .consensus_runtime()
        .spawn(peer_listener.serve(peer_tls, peer_routes, Admits::ServersOnly, stop_peer));

    let server = Server::assemble(&home, store.clone(), connector, environment.clone());
    let api_tls = server_config(certificates.clone(), &ca_pem)?;
    let router = api_router(server.routes(&home), &server.readiness(), server.rest())
        .merge(metrics_router(server.metrics(), MetricsReaders::Admins));
    let stop_api = stop.child_token();
    tasks.spawn(async move {
        api_listener.serve(api_tls, router, Admits::Anyone, stop_api).await;
        Ok(())
    });
    let etcd_tls = server_config(certificates.clone(), &ca_pem)?;
    let etcd_host = etcd::Host {
        server: &server,
        advertise_host: &config.advertise_host,
        tls: etcd_tls,
    };
    etcd_host.spawn(&mut tasks, etcd_listener, stop.child_token());
    server.spawn_loops(&mut tasks);
    membership::spawn(&mut tasks, &home, &server, certificates, environment);
    tracing::info!(
        server = home.identity.name,
        id = home.identity.server_id,
        api = home.identity.api_address,
        peer = home.identity.peer_address,
        "server is up"
    );

    let outcome = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = tasks.join_next() => match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Ok(()),
        },
    };
    stop.cancel();
    tasks.shutdown().await;
    let quarantine = store.quarantined();
    store.shutdown().await;
    match quarantine {
        Some(cause) if !shutdown.is_cancelled() => {
            // Whatever else ended, ended because of it.
            drop((server, store));
            let api_listener = BoundListener::bind(config.listen).await?;
            quarantined::serve(&config, &home, api_listener, &cause, shutdown).await
        }
        Some(_) | None => {
            shutdown.cancel();
            outcome
        }
    }
}

async fn open_store(config: &ServerConfig, home: &Home, connector: Arc<Connector>) -> Result<Store, OpenError> {
    let identity = &home.identity;
    let node = MemberNode {
        name: identity.name.clone(),
        api_address: identity.api_address.clone(),
        peer_address: identity.peer_address.clone(),
    };
    let mut store_config = StoreConfig::new(home.store_dir(), &identity.cluster_id, identity.server_id, node);
    store_config.timings = config.timings;
    store_config.retention = config.retention;
    #[cfg(feature = "faults")]
    config.faults.choose(&mut store_config);
    if identity.founder {
        Store::bootstrap_cluster(store_config, connector).await
    } else {
        Store::open(store_config, connector).await
    }
}

/// Runs something on the consensus runtime, so that its sockets belong there (D8).
async fn on_consensus<T: Send + 'static>(
    store: &Store,
    work: impl Future<Output = Result<T, ListenError>> + Send + 'static,
) -> Result<T, ServerError> {
    match store.consensus_runtime().spawn(work).await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => Err(ServerError::Ended {
            what: "the consensus runtime",
            why: error.to_string(),
        }),
    }
}

/// The parts of a running server.
pub(crate) struct Server {
    pub(crate) store: Arc<Store>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) servers: Arc<ServerList>,
    kv: Arc<dyn Kv>,
    world: Arc<WorldCache>,
    heartbeats: Arc<Heartbeats>,
    sessions: Arc<NodeSessions>,
    peers: Arc<ServerPeers>,
    tunnel: Arc<NodeTunnel>,
}

impl Server {
    fn assemble(home: &Home, store: Arc<Store>, connector: Arc<Connector>, environment: Environment) -> Self {
        let kv: Arc<dyn Kv> = store.clone();
        let peers = Arc::new(ServerPeers::new(store.clone(), connector));
        let sessions = Arc::new(NodeSessions::default());
        let (registry, world) = (Registry::start(kv.clone(), environment), WorldCache::new());
        registry.find_by(world.clone());
        Self {
            registry,
            servers: Arc::new(ServerList::new(home.identity.api_address.clone())),
            world,
            heartbeats: Arc::new(Heartbeats::default()),
            tunnel: Arc::new(NodeTunnel {
                sessions: sessions.clone(),
                peers: peers.clone(),
            }),
            store,
            kv,
            sessions,
            peers,
        }
    }

    fn routes(&self, home: &Home) -> Routes {
        let environment = self.registry.environment().clone();
        let resources = ResourcesService::new(self.registry.clone(), self.tunnel.clone());
        let cluster = ClusterService {
            cluster_id: home.identity.cluster_id.clone(),
            control: self.store.clone(),
            peers: self.peers.clone(),
            authority: home.authority.clone(),
            tokens: TokenStore::new(self.kv.clone(), environment.clone(), home.authority.digest()),
            environment,
        };
        let nodes = NodeAgentService {
            kv: self.kv.clone(),
            registry: self.registry.clone(),
            world: self.world.clone(),
            sessions: self.sessions.clone(),
            heartbeats: self.heartbeats.clone(),
            servers: self.servers.clone(),
        };
        let internal = ServerInternalService {
            name: home.identity.name.clone(),
            store: self.store.clone(),
            heartbeats: self.heartbeats.clone(),
            tunnel: self.tunnel.clone(),
        };
        Routes::new(resources.into_server())
            .add_service(cluster.into_server())
            .add_service(NodeAgentServer::new(nodes).max_decoding_message_size(NODE_MESSAGE_MAX_BYTES))
            .add_service(ServerInternalServer::new(internal))
    }

    /// The Kubernetes API over REST.
    fn rest(&self) -> Arc<RestService> {
        RestService::new(self.registry.clone(), self.tunnel.clone())
    }

    /// Ready while there is a leader and this server's world keeps up with its replica.
    fn readiness(&self) -> Readiness {
        let (store, world) = (self.store.clone(), self.world.clone());
        Arc::new(move || {
            if store.leader().is_none() {
                return Err("no leader is known".to_owned());
            }
            let behind = store.status().applied_revision.saturating_sub(world.revision());
            if behind > READINESS_LAG {
                return Err(format!("the world is {behind} revisions behind"));
            }
            Ok(())
        })
    }

    /// The page of metrics.
    fn metrics(&self) -> MetricsSource {
        let store = self.store.clone();
        Arc::new(move || {
            let store = store.clone();
            async move { store.metrics().await }.boxed()
        })
    }

    fn spawn_loops(&self, tasks: &mut JoinSet<Result<(), ServerError>>) {
        let (world, kv) = (self.world.clone(), self.kv.clone());
        tasks.spawn(async move {
            let ended = world.follow(kv).await;
            let why = ended.err().map_or_else(String::new, |error| error.to_string());
            Err(ServerError::Ended {
                what: "following the store",
                why,
            })
        });
        let (registry, world, heartbeats) = (self.registry.clone(), self.world.clone(), self.heartbeats.clone());
        let leadership = self.store.leadership();
        tasks.spawn(async move {
            leader::run(leadership, |leadership| {
                LoopContext::begin(registry.clone(), world.clone(), heartbeats.clone(), leadership)
            })
            .await;
            Ok(())
        });
        let store = self.store.clone();
        tasks.spawn(async move {
            store.stopped().await;
            Err(ServerError::Ended {
                what: "the store",
                why: "see its last message".to_owned(),
            })
        });
        let (heartbeats, peers) = (self.heartbeats.clone(), self.peers.clone());
        tasks.spawn(async move {
            forwarding::run(heartbeats, peers).await;
            Ok(())
        });
    }
}
