//! Several stores in one process, over loopback TCP, each with its own directory.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by tests, which fail by panicking"
)]

pub mod proxy;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use trireme_store::kv::{
    Compare, CompareResult, CompareTarget, Consistency, KeyRange, Kv, KvError, Leadership, Op, RangeRequest, Revision,
    Txn, TxnResponse,
};
use trireme_store::{
    MemberNode, OpenError, PeerConnector, PlainConnector, Sizes, SpaceLimits, Store, StoreConfig, Timings,
};

/// How long a condition may take to come true. Only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub struct Server {
    pub store: Arc<Store>,
    listener: JoinHandle<()>,
    stop: CancellationToken,
}

/// Servers by id, and where those that are down had been.
pub struct Cluster {
    pub servers: BTreeMap<u64, Server>,
    addresses: BTreeMap<u64, SocketAddr>,
    setup: Setup,
    /// How the servers reach each other, if the setup does not say.
    pub connector: Arc<dyn PeerConnector>,
    /// Last, so that it is removed once no server works in it any more: a server ends the process when its disk fails it.
    pub directory: TempDir,
}

/// How the server of an id reaches the others.
pub type Network = Arc<dyn Fn(u64) -> Arc<dyn PeerConnector> + Send + Sync>;

/// What is out of the ordinary about a cluster.
#[derive(Clone)]
pub struct Setup {
    pub sizes: Sizes,
    /// A last hand at every server's configuration.
    pub configure: Arc<dyn Fn(&mut StoreConfig) + Send + Sync>,
    /// How a server reaches the others.
    pub network: Option<Network>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            sizes: Sizes::default(),
            configure: Arc::new(|_| {}),
            network: None,
        }
    }
}

impl Cluster {
    /// A cluster of voters 1 to `count`.
    pub async fn start(count: u64) -> Self {
        Self::start_with(count, Sizes::default()).await
    }

    /// No server yet.
    pub fn empty() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            servers: BTreeMap::new(),
            addresses: BTreeMap::new(),
            setup: Setup::default(),
            connector: Arc::new(PlainConnector),
        }
    }

    /// The same, with sizes of its own.
    pub async fn start_with(count: u64, sizes: Sizes) -> Self {
        let setup = Setup {
            sizes,
            ..Setup::default()
        };
        Self::start_as(count, setup).await
    }

    /// The same, out of the ordinary.
    pub async fn start_as(count: u64, setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut cluster = Self {
            directory,
            servers: BTreeMap::new(),
            addresses: BTreeMap::new(),
            setup,
            connector: Arc::new(PlainConnector),
        };
        let listener = cluster.bind(1).await;
        let store = Store::bootstrap_cluster(cluster.config(1), cluster.connector_of(1))
            .await
            .unwrap();
        cluster.host(1, store, listener);
        cluster.wait_for_leader().await;
        for _ in 1..count {
            let id = cluster.join().await;
            cluster.store(1).promote(id).await.unwrap();
        }
        cluster
            .wait("everyone knows all voters", |cluster| {
                cluster
                    .servers
                    .values()
                    .all(|server| server.store.members().iter().filter(|member| member.voter).count() as u64 == count)
            })
            .await;
        cluster
    }

    /// Adds a server as a learner.
    pub async fn join(&mut self) -> u64 {
        let through = self.servers.values().next().unwrap().store.clone();
        let id = through.allocate_server_id().await.unwrap();
        let listener = self.bind(id).await;
        let config = self.config(id);
        through.add_learner(id, config.node.clone()).await.unwrap();
        let store = Store::open(config, self.connector_of(id)).await.unwrap();
        self.host(id, store, listener);
        id
    }

    fn connector_of(&self, id: u64) -> Arc<dyn PeerConnector> {
        match &self.setup.network {
            Some(network) => network(id),
            None => self.connector.clone(),
        }
    }

    pub fn config(&self, id: u64) -> StoreConfig {
        let address = self.addresses.get(&id).map_or_else(String::new, ToString::to_string);
        let node = MemberNode {
            name: format!("server-{id}"),
            api_address: address.clone(),
            peer_address: address,
        };
        let mut config = StoreConfig::new(self.directory.path().join(id.to_string()), "test-cluster", id, node);
        config.timings = Timings {
            heartbeat_period_ms: 100,
            election_timeout_min_ms: 1_000,
            election_timeout_max_ms: 2_000,
        };
        config.sizes = self.setup.sizes;
        // Nothing to be kept back in a directory for tests, and no full disk to be feared.
        config.space = SpaceLimits {
            reserve_bytes: 0,
            low_bytes: 0,
            critical_bytes: 0,
        };
        (self.setup.configure)(&mut config);
        config
    }

    async fn bind(&mut self, id: u64) -> TcpListener {
        let address = self
            .addresses
            .get(&id)
            .copied()
            .unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        let listener = TcpListener::bind(address).await.unwrap();
        self.addresses.insert(id, listener.local_addr().unwrap());
        listener
    }

    fn host(&mut self, id: u64, store: Store, listener: TcpListener) {
        let stop = CancellationToken::new();
        let routes = store.peer_service();
        let stopped = stop.clone().cancelled_owned();
        // The listener belongs to the runtime that made it; the calls run where the store wants them.
        let listener = listener.into_std().unwrap();
        let listener = store.consensus_runtime().spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            let server = tonic::transport::Server::builder().add_routes(routes);
            tokio::select! {
                served = server.serve_with_incoming(incoming) => served.unwrap(),
                () = stopped => {}
            }
        });
        self.servers.insert(
            id,
            Server {
                store: Arc::new(store),
                listener,
                stop,
            },
        );
    }

    /// Stops a server in order.
    pub async fn stop(&mut self, id: u64) {
        let Server { store, listener, stop } = self.servers.remove(&id).unwrap();
        stop.cancel();
        let _ = listener.await;
        store.shutdown().await;
    }

    /// Ends a server at once, with all that it had not sent yet. It cannot be restarted in this process.
    pub fn kill(&mut self, id: u64) {
        let Server {
            store,
            listener,
            stop: _,
        } = self.servers.remove(&id).unwrap();
        listener.abort();
        drop(Arc::into_inner(store).expect("the test holds no other handle"));
    }

    /// Starts a stopped server again, with what is on its disk.
    pub async fn restart(&mut self, id: u64) {
        self.restart_as(id, |_| {}).await.unwrap();
    }

    /// Starts a stopped server again, with another configuration.
    pub async fn restart_as(&mut self, id: u64, change: impl FnOnce(&mut StoreConfig)) -> Result<(), OpenError> {
        let listener = self.bind(id).await;
        let mut config = self.config(id);
        change(&mut config);
        let store = Store::open(config, self.connector_of(id)).await?;
        self.host(id, store, listener);
        Ok(())
    }

    /// Lets a stopped server have another address when it is started again.
    pub fn move_elsewhere(&mut self, id: u64) {
        self.addresses.remove(&id);
    }

    /// Hosts, in the place of a server that is quarantined, what such a server still tells.
    pub async fn host_quarantined(&mut self, id: u64, cause: &str) -> JoinHandle<()> {
        let listener = self.bind(id).await;
        let routes = trireme_store::quarantined_peer_service(id, cause.to_owned());
        tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let server = tonic::transport::Server::builder().add_routes(routes);
            server.serve_with_incoming(incoming).await.unwrap();
        })
    }

    /// Takes in a server that was made outside, under the address that its configuration shall have.
    pub async fn adopt(&mut self, id: u64) {
        self.restart(id).await;
    }

    pub fn store(&self, id: u64) -> Arc<Store> {
        self.servers[&id].store.clone()
    }

    /// The id of the server that leads and may act on it.
    pub async fn wait_for_leader(&self) -> u64 {
        self.wait("a leader", |cluster| cluster.ready_leader().is_some()).await;
        self.ready_leader().expect("it was there a moment ago")
    }

    fn ready_leader(&self) -> Option<u64> {
        let ready: Vec<(u64, u64)> = self
            .servers
            .iter()
            .filter_map(|(id, server)| {
                server
                    .store
                    .leadership()
                    .borrow()
                    .map(|leadership| (leadership.term, *id))
            })
            .collect();
        ready.into_iter().max().map(|(_, id)| id)
    }

    /// A running server that does not lead.
    pub fn follower(&self, leader: u64) -> u64 {
        *self.servers.keys().find(|id| **id != leader).unwrap()
    }

    /// Waits until `condition` holds.
    pub async fn wait(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(tokio::time::Instant::now() < deadline, "{what}: {:#?}", self.statuses());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn statuses(&self) -> Vec<trireme_store::StoreStatus> {
        self.servers.values().map(|server| server.store.status()).collect()
    }

    /// Waits until all have applied the same and checks that they then hold the same (I2).
    pub async fn wait_until_equal(&self) {
        self.wait("all apply the same", |cluster| {
            let statuses = cluster.statuses();
            statuses.iter().all(|status| {
                status.applied_index == statuses[0].applied_index
                    && status.applied_index == status.last_log_index
                    && status.state_hash_index == status.applied_index
            })
        })
        .await;
        let statuses = self.statuses();
        for status in &statuses {
            assert_eq!(status.state_hash, statuses[0].state_hash, "{statuses:#?}");
            assert_eq!(status.applied_revision, statuses[0].applied_revision);
        }
    }
}

/// A put.
pub fn put(key: &str, value: impl Into<String>) -> Txn {
    let put = Op::put(key.to_owned(), value.into());
    Txn {
        compares: vec![],
        success: vec![put],
        failure: vec![],
    }
}

/// A put of a key that must not exist.
pub fn create(key: &str, value: impl Into<String>) -> Txn {
    let absent = Compare {
        range: KeyRange::key(key.to_owned()),
        result: CompareResult::Equal,
        target: CompareTarget::ModRevision(0),
    };
    Txn {
        compares: vec![absent],
        ..put(key, value)
    }
}

/// Writes, waiting for a leader as long as the outcome is certain.
pub async fn write(store: &Store, txn: Txn) -> TxnResponse {
    write_fenced(store, txn, None).await.unwrap()
}

pub async fn write_fenced(store: &Store, txn: Txn, fence: Option<Leadership>) -> Result<TxnResponse, KvError> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match store.txn(txn.clone(), fence).await {
            Err(KvError::Unavailable(_)) if tokio::time::Instant::now() < deadline => {}
            other => return other,
        }
    }
}

/// Reads one key.
pub async fn read(store: &Store, key: &str, consistency: Consistency) -> Option<String> {
    let request = RangeRequest::latest(KeyRange::key(key.to_owned()));
    let found = store.range(request, consistency).await.unwrap();
    found
        .kvs
        .first()
        .map(|kv| String::from_utf8(kv.value.to_vec()).unwrap())
}

/// Reads one key, linearizably.
pub async fn get(store: &Store, key: &str) -> Option<String> {
    read(store, key, Consistency::Linearizable).await
}

/// Counts the keys with a prefix, linearizably.
pub async fn count(store: &Store, prefix: &str) -> u64 {
    let request = RangeRequest {
        count_only: true,
        ..RangeRequest::latest(KeyRange::prefix(prefix.to_owned()))
    };
    store
        .range(request, Consistency::Linearizable)
        .await
        .unwrap()
        .count
        .unwrap()
}

/// The revision of the store.
pub fn revision(store: &Store) -> Revision {
    store.applied_revision()
}
