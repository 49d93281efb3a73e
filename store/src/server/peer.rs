//! The peer service: what the other servers call.
//!
//! It trusts its caller. Whoever hosts it must admit servers of this cluster only, by their
//! certificates, and must run it on the consensus runtime (D8, D9).

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use trireme_proto::peer::v1 as proto;
use trireme_proto::peer::v1::peer_server::{Peer, PeerServer};

use crate::limits;
use crate::raft::{LeaseQuestion, Node};

/// The service as routes, to be hosted.
pub(crate) fn routes(node: Arc<Node>) -> Routes {
    let server = PeerServer::new(PeerService { node })
        .max_decoding_message_size(limits::PEER_MESSAGE_BYTES)
        .max_encoding_message_size(limits::PEER_MESSAGE_BYTES);
    Routes::new(server)
}

/// The answers to a stream of appends.
type Appended = BoxStream<'static, Result<proto::AppendResponse, Status>>;

struct PeerService {
    node: Arc<Node>,
}

#[async_trait::async_trait]
impl Peer for PeerService {
    type AppendsStream = Appended;

    async fn appends(&self, request: Request<Streaming<proto::AppendRequest>>) -> Result<Response<Appended>, Status> {
        let answers = self.node.handle_appends(request.into_inner())?;
        Ok(Response::new(answers.boxed()))
    }

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

    async fn keep_lease_alive(
        &self,
        request: Request<proto::LeaseRequest>,
    ) -> Result<Response<proto::LeaseResponse>, Status> {
        let answer = self.node.handle_lease(request.into_inner(), LeaseQuestion::KeepAlive);
        answer.await.map(Response::new)
    }

    async fn lease_time_to_live(
        &self,
        request: Request<proto::LeaseRequest>,
    ) -> Result<Response<proto::LeaseResponse>, Status> {
        let answer = self.node.handle_lease(request.into_inner(), LeaseQuestion::TimeToLive);
        answer.await.map(Response::new)
    }

    async fn change_members(
        &self,
        request: Request<proto::ChangeMembersRequest>,
    ) -> Result<Response<proto::ChangeMembersResponse>, Status> {
        self.node.handle_change(request.into_inner()).await.map(Response::new)
    }

    async fn condition(
        &self,
        _request: Request<proto::ConditionRequest>,
    ) -> Result<Response<proto::ConditionResponse>, Status> {
        Ok(Response::new(self.node.handle_condition()))
    }

    async fn quarantine(
        &self,
        request: Request<proto::QuarantineRequest>,
    ) -> Result<Response<proto::QuarantineResponse>, Status> {
        Ok(Response::new(self.node.handle_quarantine(request.get_ref())))
    }

    async fn snapshot_progress(
        &self,
        request: Request<proto::SnapshotProgressRequest>,
    ) -> Result<Response<proto::SnapshotProgressResponse>, Status> {
        Ok(Response::new(self.node.handle_snapshot_progress(request.get_ref())))
    }
}

/// What a quarantined server still tells its peers: that it is, and why. Everything else is refused, so that it has
/// no part in anything. Host it where the peer service would be.
pub fn quarantined_peer_service(server_id: u64, cause: String) -> Routes {
    Routes::new(PeerServer::new(QuarantinedPeer { server_id, cause }))
}

struct QuarantinedPeer {
    server_id: u64,
    cause: String,
}

impl QuarantinedPeer {
    fn refuse<T>(&self) -> Result<Response<T>, Status> {
        Err(crate::raft::quarantined(&self.cause))
    }
}

#[async_trait::async_trait]
impl Peer for QuarantinedPeer {
    type AppendsStream = Appended;

    async fn appends(&self, _: Request<Streaming<proto::AppendRequest>>) -> Result<Response<Appended>, Status> {
        self.refuse()
    }

    async fn append(&self, _: Request<proto::AppendRequest>) -> Result<Response<proto::AppendResponse>, Status> {
        self.refuse()
    }

    async fn vote(&self, _: Request<proto::VoteRequest>) -> Result<Response<proto::VoteResponse>, Status> {
        self.refuse()
    }

    async fn pre_vote(&self, _: Request<proto::VoteRequest>) -> Result<Response<proto::VoteResponse>, Status> {
        self.refuse()
    }

    async fn install_snapshot(
        &self,
        _: Request<Streaming<proto::InstallSnapshotRequest>>,
    ) -> Result<Response<proto::InstallSnapshotResponse>, Status> {
        self.refuse()
    }

    async fn transfer_leader(
        &self,
        _: Request<proto::TransferLeaderRequest>,
    ) -> Result<Response<proto::TransferLeaderResponse>, Status> {
        self.refuse()
    }

    async fn propose(&self, _: Request<proto::ProposeRequest>) -> Result<Response<proto::ProposeResponse>, Status> {
        self.refuse()
    }

    async fn read_index(
        &self,
        _: Request<proto::ReadIndexRequest>,
    ) -> Result<Response<proto::ReadIndexResponse>, Status> {
        self.refuse()
    }

    async fn keep_lease_alive(
        &self,
        _: Request<proto::LeaseRequest>,
    ) -> Result<Response<proto::LeaseResponse>, Status> {
        self.refuse()
    }

    async fn lease_time_to_live(
        &self,
        _: Request<proto::LeaseRequest>,
    ) -> Result<Response<proto::LeaseResponse>, Status> {
        self.refuse()
    }

    async fn change_members(
        &self,
        _: Request<proto::ChangeMembersRequest>,
    ) -> Result<Response<proto::ChangeMembersResponse>, Status> {
        self.refuse()
    }

    async fn condition(
        &self,
        _: Request<proto::ConditionRequest>,
    ) -> Result<Response<proto::ConditionResponse>, Status> {
        Ok(Response::new(proto::ConditionResponse {
            server_id: self.server_id,
            quarantine: self.cause.clone(),
            ..proto::ConditionResponse::default()
        }))
    }

    async fn quarantine(
        &self,
        _: Request<proto::QuarantineRequest>,
    ) -> Result<Response<proto::QuarantineResponse>, Status> {
        Ok(Response::new(proto::QuarantineResponse { quarantined: true }))
    }

    async fn snapshot_progress(
        &self,
        _: Request<proto::SnapshotProgressRequest>,
    ) -> Result<Response<proto::SnapshotProgressResponse>, Status> {
        self.refuse()
    }
}
