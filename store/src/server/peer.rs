//! The peer service: what the other servers call.
//!
//! It trusts its caller. Whoever hosts it must admit servers of this cluster only, by their
//! certificates, and must run it on the consensus runtime (D8, D9).

use std::sync::Arc;

use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use trireme_proto::peer::v1 as proto;
use trireme_proto::peer::v1::peer_server::{Peer, PeerServer};

use crate::limits;
use crate::raft::Node;

/// The service as routes, to be hosted.
pub(crate) fn routes(node: Arc<Node>) -> Routes {
    let server = PeerServer::new(PeerService { node })
        .max_decoding_message_size(limits::PEER_MESSAGE_BYTES)
        .max_encoding_message_size(limits::PEER_MESSAGE_BYTES);
    Routes::new(server)
}

struct PeerService {
    node: Arc<Node>,
}

#[async_trait::async_trait]
impl Peer for PeerService {
    async fn append(&self, request: Request<proto::AppendRequest>) -> Result<Response<proto::AppendResponse>, Status> {
        self.node.handle_append(request.into_inner()).await.map(Response::new)
    }

    async fn vote(&self, request: Request<proto::VoteRequest>) -> Result<Response<proto::VoteResponse>, Status> {
        self.node.handle_vote(request.into_inner()).await.map(Response::new)
    }

    async fn pre_vote(&self, request: Request<proto::VoteRequest>) -> Result<Response<proto::VoteResponse>, Status> {
        self.node.handle_pre_vote(request.into_inner()).await.map(Response::new)
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<proto::InstallSnapshotRequest>>,
    ) -> Result<Response<proto::InstallSnapshotResponse>, Status> {
        self.node.handle_snapshot(request.into_inner()).await.map(Response::new)
    }

    async fn transfer_leader(
        &self,
        request: Request<proto::TransferLeaderRequest>,
    ) -> Result<Response<proto::TransferLeaderResponse>, Status> {
        self.node.handle_transfer(request.into_inner()).await.map(Response::new)
    }

    async fn propose(
        &self,
        request: Request<proto::ProposeRequest>,
    ) -> Result<Response<proto::ProposeResponse>, Status> {
        Ok(Response::new(self.node.handle_propose(request.into_inner()).await))
    }

    async fn read_index(
        &self,
        _request: Request<proto::ReadIndexRequest>,
    ) -> Result<Response<proto::ReadIndexResponse>, Status> {
        Ok(Response::new(self.node.handle_read_index().await))
    }

    async fn change_members(
        &self,
        request: Request<proto::ChangeMembersRequest>,
    ) -> Result<Response<proto::ChangeMembersResponse>, Status> {
        self.node.handle_change(request.into_inner()).await.map(Response::new)
    }
}
