//! The other servers, as this server calls them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tonic::transport::Channel;
use trireme_proto::v1::{
    ForwardHeartbeatsRequest, ServerStatusRequest, ServerStatusResponse, server_internal_client::ServerInternalClient,
};
use trireme_store::{Member, Store};

use crate::{services::cluster::StatusSource, status::ApiError, transport::Connector};

/// Calls to the other servers' API ports.
pub struct ServerPeers {
    store: Arc<Store>,
    connector: Arc<Connector>,
    channels: Mutex<BTreeMap<(u64, String), Channel>>,
}

impl ServerPeers {
    /// The servers that `store` knows of.
    pub fn new(store: Arc<Store>, connector: Arc<Connector>) -> Self {
        Self {
            store,
            connector,
            channels: Mutex::default(),
        }
    }

    /// Whether this server leads.
    pub fn leads(&self) -> bool {
        self.store
            .leader()
            .is_some_and(|leader| leader.id == self.store.server_id())
    }

    /// All servers but this one.
    pub fn others(&self) -> Vec<Member> {
        let own = self.store.server_id();
        self.store
            .members()
            .into_iter()
            .filter(|member| member.id != own)
            .collect()
    }

    /// A client of one server, over a connection that is kept.
    ///
    /// # Errors
    /// If its address is not one.
    pub fn client(&self, member: &Member) -> Result<ServerInternalClient<Channel>, ApiError> {
        let key = (member.id, member.api_address.clone());
        let mut channels = self
            .channels
            .lock()
            .expect("no code panics while it holds the channels");
        let channel = match channels.get(&key) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self
                    .connector
                    .channel(member.id, &member.api_address)
                    .map_err(|error| ApiError::internal(format!("server {}: {error}", member.name)))?;
                channels.insert(key, channel.clone());
                channel
            }
        };
        Ok(ServerInternalClient::new(channel))
    }

    /// Passes heartbeats on to the leader.
    ///
    /// # Errors
    /// If there is none, or it does not take them.
    pub async fn forward_heartbeats(&self, request: ForwardHeartbeatsRequest) -> Result<(), ApiError> {
        let leader = self
            .store
            .leader()
            .ok_or_else(|| ApiError::unavailable("there is no leader at present"))?;
        let mut client = self.client(&leader)?;
        match client.forward_heartbeats(request).await {
            Ok(_) => Ok(()),
            Err(status) => Err(ApiError::unavailable(format!("the leader did not take them: {status}"))),
        }
    }
}

#[async_trait::async_trait]
impl StatusSource for ServerPeers {
    async fn status_of(&self, member: &Member) -> Result<ServerStatusResponse, ApiError> {
        match self.client(member)?.server_status(ServerStatusRequest {}).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(ApiError::unavailable(status.message())),
        }
    }
}
