//! Connections to the other servers, one for each purpose.
//!
//! Heartbeats must not wait behind a batch of entries, nor entries behind a snapshot, so each has a
//! connection of its own (D8). A connection that failed is thrown away at once and made anew: a dead
//! one that lingers makes a healthy server look like a missing voter.
//!
//! How a connection is made, and with which certificates, is the business of whoever hands in the
//! [`PeerConnector`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use trireme_proto::peer::v1::peer_client::PeerClient;

use crate::limits;

/// Why no connection to a peer could be prepared. Not that the peer does not answer: that shows later.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare a connection to server {server_id} at {address}: {reason}")]
pub struct ConnectError {
    /// The server.
    pub server_id: u64,
    /// Its peer address.
    pub address: String,
    /// What is wrong.
    pub reason: String,
}

/// Makes connections to other servers.
pub trait PeerConnector: Send + Sync + 'static {
    /// A channel to server `server_id` at `peer_address` (`host:port`), which connects when it is first
    /// used. It must make sure that the server there is the one with this id. Called within the consensus
    /// runtime, for each purpose anew; every call gives a connection of its own.
    ///
    /// # Errors
    /// [`ConnectError`] if the address or the credentials cannot be used at all.
    fn connect(&self, server_id: u64, peer_address: &str) -> Result<Channel, ConnectError>;
}

/// Plain TCP without any proof of identity: for tests and measurements on the loopback interface.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainConnector;

impl PeerConnector for PlainConnector {
    fn connect(&self, server_id: u64, peer_address: &str) -> Result<Channel, ConnectError> {
        let endpoint = Endpoint::from_shared(format!("http://{peer_address}")).map_err(|error| ConnectError {
            server_id,
            address: peer_address.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(tune(endpoint).connect_lazy())
    }
}

/// The settings that a connection between servers should have, whatever secures it.
pub fn tune(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(Duration::from_secs(1))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .initial_connection_window_size(8 << 20)
        .initial_stream_window_size(4 << 20)
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// Log entries.
    Append,
    /// Heartbeats and elections.
    Heartbeat,
    /// Snapshots.
    Snapshot,
    /// Proposals, read indexes and changes of the membership, for the leader.
    Forward,
}

struct Pooled {
    address: String,
    client: PeerClient<Channel>,
    generation: u64,
}

/// A client, and which of its kind it is.
pub(crate) struct Pick {
    /// The client.
    pub(crate) client: PeerClient<Channel>,
    generation: u64,
}

/// All connections of this server.
pub(crate) struct PeerPool {
    connector: Arc<dyn PeerConnector>,
    pooled: Mutex<Pools>,
}

#[derive(Default)]
struct Pools {
    clients: BTreeMap<(u64, Purpose), Pooled>,
    /// Where the members are, as the membership has it. Consensus keeps to the address that it began with.
    addresses: BTreeMap<u64, String>,
    generation: u64,
}

impl fmt::Debug for PeerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerPool").finish_non_exhaustive()
    }
}

impl PeerPool {
    /// An empty pool.
    pub(crate) fn new(connector: Arc<dyn PeerConnector>) -> Self {
        Self {
            connector,
            pooled: Mutex::default(),
        }
    }

    /// From now on the members are at these addresses, whatever a caller may still have.
    pub(crate) fn set_addresses(&self, addresses: BTreeMap<u64, String>) {
        self.pooled.lock().unwrap_or_else(PoisonError::into_inner).addresses = addresses;
    }

    /// The client for `purpose` to server `id` at `address`, or where it has moved; made now if need be.
    pub(crate) fn get(&self, id: u64, address: &str, purpose: Purpose) -> Result<Pick, ConnectError> {
        let mut pools = self.pooled.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = pools.addresses.get(&id).cloned();
        let address = moved.as_deref().unwrap_or(address);
        if let Some(pooled) = pools.clients.get(&(id, purpose))
            && pooled.address == address
        {
            return Ok(Pick {
                client: pooled.client.clone(),
                generation: pooled.generation,
            });
        }
        let channel = self.connector.connect(id, address)?;
        let client = PeerClient::new(channel)
            .max_decoding_message_size(limits::PEER_MESSAGE_BYTES)
            .max_encoding_message_size(limits::PEER_MESSAGE_BYTES);
        pools.generation += 1;
        let generation = pools.generation;
        let pooled = Pooled {
            address: address.to_owned(),
            client: client.clone(),
            generation,
        };
        pools.clients.insert((id, purpose), pooled);
        Ok(Pick { client, generation })
    }

    /// Throws the connection of `pick` away, unless someone else has already.
    pub(crate) fn discard(&self, id: u64, purpose: Purpose, pick: &Pick) {
        let mut pools = self.pooled.lock().unwrap_or_else(PoisonError::into_inner);
        if pools
            .clients
            .get(&(id, purpose))
            .is_some_and(|pooled| pooled.generation == pick.generation)
        {
            pools.clients.remove(&(id, purpose));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_shared_until_it_fails_or_the_address_changes() {
        let pool = PeerPool::new(Arc::new(PlainConnector));
        let first = pool.get(1, "127.0.0.1:1", Purpose::Append).unwrap();
        let again = pool.get(1, "127.0.0.1:1", Purpose::Append).unwrap();
        assert_eq!(first.generation, again.generation);
        let other = pool.get(1, "127.0.0.1:1", Purpose::Heartbeat).unwrap();
        assert_ne!(first.generation, other.generation);
        let moved = pool.get(1, "127.0.0.1:2", Purpose::Append).unwrap();
        assert_ne!(first.generation, moved.generation);
        pool.discard(1, Purpose::Append, &first);
        let kept = pool.get(1, "127.0.0.1:2", Purpose::Append).unwrap();
        assert_eq!(moved.generation, kept.generation, "only the failed connection goes");
        pool.discard(1, Purpose::Append, &kept);
        assert_ne!(
            pool.get(1, "127.0.0.1:2", Purpose::Append).unwrap().generation,
            kept.generation
        );
        assert!(pool.get(1, "not an address", Purpose::Append).is_err());

        // Whoever still has the old address is led to the new one.
        pool.set_addresses(BTreeMap::from([(1, "127.0.0.1:3".to_owned())]));
        let old = pool.get(1, "127.0.0.1:2", Purpose::Heartbeat).unwrap();
        let new = pool.get(1, "127.0.0.1:3", Purpose::Heartbeat).unwrap();
        assert_eq!(old.generation, new.generation);
    }
}
