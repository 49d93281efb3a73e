//! What the servers ask of each other beside Raft.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use trireme_proto::v1::{
    FetchNodeLogsRequest, ForwardHeartbeatsRequest, ForwardHeartbeatsResponse, LogsChunk, ServerStatusRequest,
    ServerStatusResponse, server_internal_server::ServerInternal,
};
use trireme_store::Store;

use super::cluster::local_status;
use crate::{
    run::{heartbeats::Heartbeats, tunnel::NodeTunnel},
    status::ApiError,
};

/// The service. Only servers get this far: see the table of roles in `pipeline`.
#[derive(Clone)]
pub struct ServerInternalService {
    /// This server's name.
    pub name: String,
    /// This server's replica.
    pub store: Arc<Store>,
    /// Who lives.
    pub heartbeats: Arc<Heartbeats>,
    /// Where logs come from.
    pub tunnel: Arc<NodeTunnel>,
}

#[tonic::async_trait]
impl ServerInternal for ServerInternalService {
    type FetchNodeLogsStream = Pin<Box<dyn Stream<Item = Result<LogsChunk, Status>> + Send>>;

    async fn forward_heartbeats(
        &self,
        request: Request<ForwardHeartbeatsRequest>,
    ) -> Result<Response<ForwardHeartbeatsResponse>, Status> {
        self.heartbeats.merge(request.into_inner().heartbeats, Instant::now());
        Ok(Response::new(ForwardHeartbeatsResponse {}))
    }

    async fn fetch_node_logs(
        &self,
        request: Request<FetchNodeLogsRequest>,
    ) -> Result<Response<Self::FetchNodeLogsStream>, Status> {
        let request = request.into_inner();
        let stream = self
            .tunnel
            .local_logs(&request.node, request.fetch.unwrap_or_default())
            .ok_or_else(|| ApiError::not_found_other(format!("node {:?} is not connected here", request.node)))?;
        Ok(Response::new(Box::pin(stream.map(|chunk| chunk.map_err(Status::from)))))
    }

    async fn server_status(
        &self,
        _request: Request<ServerStatusRequest>,
    ) -> Result<Response<ServerStatusResponse>, Status> {
        Ok(Response::new(local_status(self.store.status(), &self.name)))
    }
}
