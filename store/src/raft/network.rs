//! What this server sends to the others for openraft: appends, heartbeats, votes, snapshots.
//!
//! Each call has a deadline, and each failure is reported as "unreachable", which makes openraft back
//! off. Nothing is retried here: openraft knows what is still worth sending.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::sync::mpsc;
use tonic::transport::Channel;
use trireme_proto::peer::v1 as proto;
use trireme_proto::peer::v1::append_response::Outcome;
use trireme_proto::peer::v1::install_snapshot_request::Part;

use super::appends::{Answer, Appends, Call, Carrier};
use super::metrics::SnapshotMetrics;
use super::pool::{PeerPool, Pick, Purpose};
use super::snapshot::{Piece, SnapshotData};
use super::types::{MemberNode, TypeConfig, Vote};
use super::wire::{self, WireError};
use super::{planted, record};
use crate::faults::Faults;
use crate::limits;

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotData>;

/// Makes the connections that openraft asks for.
pub(crate) struct NetworkFactory {
    pub(crate) own_id: u64,
    pub(crate) pool: Arc<PeerPool>,
    pub(crate) snapshot_metrics: Arc<SnapshotMetrics>,
    pub(crate) faults: Faults,
}

impl NetworkFactory {
    fn network(&self, target: u64, node: &MemberNode, purpose: Purpose) -> Network {
        Network {
            peer: Peer {
                own_id: self.own_id,
                target,
                address: node.peer_address.clone(),
                pool: self.pool.clone(),
                timeouts: 0,
            },
            purpose,
            snapshot_metrics: self.snapshot_metrics.clone(),
            early: planted::EarlyAcknowledger::new(self.faults),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, node: &MemberNode) -> Network {
        self.network(target, node, Purpose::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &MemberNode) -> Network {
        self.network(target, node, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &MemberNode) -> Network {
        self.network(target, node, Purpose::Snapshot)
    }
}

/// One line to one server.
pub(crate) struct Network {
    peer: Peer,
    /// What appends go over: entries and heartbeats differ.
    purpose: Purpose,
    snapshot_metrics: Arc<SnapshotMetrics>,
    early: planted::EarlyAcknowledger,
}

/// The server at the other end.
#[derive(Clone)]
pub(crate) struct Peer {
    own_id: u64,
    target: u64,
    address: String,
    pool: Arc<PeerPool>,
    /// Calls that timed out, one after the other.
    timeouts: u32,
}

/// Why a call failed.
pub(super) enum CallError {
    Timeout(Duration),
    Failed(String),
}

impl Peer {
    /// Makes one call, within `timeout`.
    async fn call<T, F, Fut>(&mut self, purpose: Purpose, timeout: Duration, call: F) -> Result<T, CallError>
    where
        F: FnOnce(proto::peer_client::PeerClient<Channel>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let pick = self.pick(purpose)?;
        self.call_on(&pick, purpose, timeout, call).await
    }

    /// The connection for calls of one purpose.
    pub(super) fn pick(&self, purpose: Purpose) -> Result<Pick, CallError> {
        self.pool
            .get(self.target, &self.address, purpose)
            .map_err(|error| CallError::Failed(error.to_string()))
    }

    /// Throws a connection away that has failed.
    pub(super) fn discard(&self, purpose: Purpose, pick: &Pick) {
        self.pool.discard(self.target, purpose, pick);
    }

    /// Makes one call over a connection, within `timeout`, and throws the connection away if it fails.
    pub(super) async fn call_on<T, F, Fut>(
        &mut self,
        pick: &Pick,
        purpose: Purpose,
        timeout: Duration,
        call: F,
    ) -> Result<T, CallError>
    where
        F: FnOnce(proto::peer_client::PeerClient<Channel>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        match tokio::time::timeout(timeout, call(pick.client.clone())).await {
            Ok(Ok(response)) => {
                self.timeouts = 0;
                Ok(response.into_inner())
            }
            Ok(Err(status)) => {
                self.discard(purpose, pick);
                Err(CallError::Failed(status.to_string()))
            }
            Err(_) => {
                self.note_timeout(purpose, pick);
                Err(CallError::Timeout(timeout))
            }
        }
    }

    /// One slow answer is a busy server; several in a row are a dead connection.
    fn note_timeout(&mut self, purpose: Purpose, pick: &Pick) {
        self.timeouts += 1;
        if self.timeouts >= limits::HEARTBEAT_TIMEOUTS_BEFORE_RECONNECT || purpose == Purpose::Append {
            self.timeouts = 0;
            self.discard(purpose, pick);
        }
    }

    pub(super) fn rpc_error(&self, action: RPCTypes, error: CallError) -> RPCError<TypeConfig> {
        match error {
            CallError::Timeout(timeout) => RPCError::Timeout(Timeout {
                action,
                id: self.own_id,
                target: self.target,
                timeout,
            }),
            CallError::Failed(what) => RPCError::Unreachable(Unreachable::from_string(what)),
        }
    }

    /// How much of a snapshot it has from an earlier attempt; 0 if it cannot be asked.
    async fn received_bytes(&mut self, transfer_id: &str, timeout: Duration) -> u64 {
        let transfer_id = transfer_id.to_owned();
        let asked = self.call(Purpose::Snapshot, timeout, |mut client| async move {
            client
                .snapshot_progress(proto::SnapshotProgressRequest { transfer_id })
                .await
        });
        asked.await.map_or(0, |progress| progress.received_bytes)
    }

    /// Sends entries, or a heartbeat.
    pub(crate) async fn append(
        &mut self,
        purpose: Purpose,
        request: proto::AppendRequest,
        timeout: Duration,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let response = self
            .call(
                purpose,
                timeout,
                |mut client| async move { client.append(request).await },
            )
            .await
            .map_err(|error| self.rpc_error(RPCTypes::AppendEntries, error))?;
        append_response(response).map_err(|error| malformed(&error))
    }
}

/// What carries a stream of appends to a server.
struct Line<'n> {
    peer: &'n mut Peer,
    /// Over which connection, once there is one.
    pick: Option<Pick>,
}

impl<'n> Line<'n> {
    fn to(peer: &'n mut Peer) -> Self {
        Self { peer, pick: None }
    }
}

impl Carrier for Line<'_> {
    async fn open(&mut self, timeout: Duration) -> Result<Call, CallError> {
        let (messages, mut queued) = mpsc::channel(limits::APPENDS_IN_FLIGHT);
        let queued = futures::stream::poll_fn(move |context| queued.poll_recv(context));
        let pick = self.pick.insert(self.peer.pick(Purpose::Append)?);
        let call = |mut client: proto::peer_client::PeerClient<Channel>| async move { client.appends(queued).await };
        let answers = self.peer.call_on(pick, Purpose::Append, timeout, call).await?;
        Ok(Call {
            messages,
            answers: answers.boxed(),
        })
    }

    fn failed(&mut self, error: CallError) -> RPCError<TypeConfig> {
        if let Some(pick) = &self.pick {
            self.peer.discard(Purpose::Append, pick);
        }
        self.peer.rpc_error(RPCTypes::AppendEntries, error)
    }
}

pub(super) fn malformed(error: &WireError) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(error))
}

pub(super) fn append_response(response: proto::AppendResponse) -> Result<AppendEntriesResponse<TypeConfig>, WireError> {
    Ok(match response.outcome.ok_or(WireError::Missing("outcome"))? {
        Outcome::Success(proto::Unit {}) => AppendEntriesResponse::Success,
        Outcome::PartialSuccess(partial) => {
            AppendEntriesResponse::PartialSuccess(partial.matching.map(wire::log_id_from_wire))
        }
        Outcome::Conflict(proto::Unit {}) => AppendEntriesResponse::Conflict,
        Outcome::HigherVote(vote) => AppendEntriesResponse::HigherVote(wire::vote_from_wire(Some(vote))?),
    })
}

pub(super) fn append_request(rpc: AppendEntriesRequest<TypeConfig>) -> proto::AppendRequest {
    proto::AppendRequest {
        vote: Some(wire::vote_to_wire(&rpc.vote)),
        previous: rpc.prev_log_id.map(wire::log_id_to_wire),
        leader_commit: rpc.leader_commit.map(wire::log_id_to_wire),
        entries: rpc
            .entries
            .into_iter()
            .map(|mut entry| record::seal(&mut entry))
            .collect(),
    }
}

pub(super) fn vote_request(rpc: &VoteRequest<TypeConfig>) -> proto::VoteRequest {
    proto::VoteRequest {
        vote: Some(wire::vote_to_wire(&rpc.vote)),
        last_log_id: rpc.last_log_id.map(wire::log_id_to_wire),
        leadership_transfer: rpc.leadership_transfer,
    }
}

pub(super) fn vote_response(response: proto::VoteResponse) -> Result<VoteResponse<TypeConfig>, WireError> {
    Ok(VoteResponse::new(
        wire::vote_from_wire(response.vote)?,
        response.last_log_id.map(wire::log_id_from_wire),
        response.granted,
    ))
}

impl Network {
    /// How long the answer to an append may take. openraft hands in the heartbeat's period for entries, too, but a batch of
    /// entries ends with an fsync on the other side and may rightly take longer.
    fn append_timeout(&self, option: &RPCOption) -> Duration {
        match self.purpose {
            Purpose::Heartbeat => option.soft_ttl(),
            Purpose::Append | Purpose::Snapshot | Purpose::Forward => option.soft_ttl().max(limits::APPEND_TIMEOUT),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let timeout = self.append_timeout(&option);
        let mut request = append_request(rpc);
        if let Some(answer) = self.early.take(&self.peer, self.purpose, &mut request) {
            return Ok(answer);
        }
        let answer = self.peer.append(self.purpose, request, timeout).await;
        self.early.observe(&answer);
        answer
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Answer>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        // A heartbeat is one append. What acknowledges early sees each append by itself.
        if self.purpose != Purpose::Append || self.early.is_at_work() {
            return stream_append_sequential(self, input, option);
        }
        let timeout = self.append_timeout(&option);
        let answers: BoxStream<'s, Answer> = Box::pin(Appends::new(Line::to(&mut self.peer), input, timeout).answers());
        Box::pin(std::future::ready(Ok(answers)))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = vote_request(&rpc);
        let response = self
            .peer
            .call(Purpose::Heartbeat, option.soft_ttl(), |mut client| async move {
                client.vote(request).await
            })
            .await
            .map_err(|error| self.peer.rpc_error(RPCTypes::Vote, error))?;
        vote_response(response).map_err(|error| malformed(&error))
    }

    // The trait's own version grants, which would switch pre-vote off.
    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = vote_request(&rpc);
        let response = self
            .peer
            .call(Purpose::Heartbeat, option.soft_ttl(), |mut client| async move {
                client.pre_vote(request).await
            })
            .await
            .map_err(|error| self.peer.rpc_error(RPCTypes::Vote, error))?;
        vote_response(response).map_err(|error| malformed(&error))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let SnapshotData::Live(export) = snapshot.snapshot else {
            let what = "this server has no live snapshot to send";
            return Err(StreamingError::Unreachable(Unreachable::from_string(what)));
        };
        let offset = self.peer.received_bytes(export.id(), limits::APPEND_TIMEOUT).await;
        if offset > 0 {
            tracing::info!(target = self.peer.target, offset, "the transfer of a snapshot goes on");
            self.snapshot_metrics.resumed.add(1);
        }
        let pieces = export
            .read_from(offset)
            .map_err(|error| StreamingError::Unreachable(Unreachable::new(&error)))?;
        export.set_begun(self.peer.target);
        let header = proto::SnapshotHeader {
            vote: Some(wire::vote_to_wire(&vote)),
            last_log_id: snapshot.meta.last_log_id.map(wire::log_id_to_wire),
            membership: Some(wire::stored_membership_to_wire(&snapshot.meta.last_membership)),
            transfer_id: export.id().to_owned(),
            offset,
        };
        let parts = snapshot_parts(header, pieces, self.snapshot_metrics.clone());
        let send = self
            .peer
            .call(Purpose::Snapshot, option.soft_ttl(), |mut client| async move {
                client.install_snapshot(parts).await
            });
        let sent = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            sent = send => sent,
        };
        let response = sent.map_err(|error| self.peer.rpc_error(RPCTypes::InstallSnapshot, error))?;
        export.set_done(self.peer.target);
        self.snapshot_metrics.sent.add(1);
        let vote = wire::vote_from_wire(response.vote).map_err(|error| malformed(&error))?;
        Ok(SnapshotResponse::new(vote))
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = proto::TransferLeaderRequest {
            from_leader: Some(wire::vote_to_wire(rpc.from_leader())),
            to: *rpc.to_node_id(),
            last_log_id: rpc.last_log_id().copied().map(wire::log_id_to_wire),
        };
        let response = self
            .peer
            .call(Purpose::Heartbeat, option.soft_ttl(), |mut client| async move {
                client.transfer_leader(request).await
            })
            .await
            .map_err(|error| self.peer.rpc_error(RPCTypes::TransferLeader, error))?;
        if response.refusal.is_empty() {
            return Ok(Ok(()));
        }
        tracing::info!(
            target = self.peer.target,
            refusal = response.refusal,
            "leadership was not taken over"
        );
        let expected = rpc.last_log_id().copied();
        Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual: None }))
    }
}

/// The messages of a snapshot. An error of the export ends them without a trailer, so that the
/// receiver knows that more is to come.
fn snapshot_parts(
    header: proto::SnapshotHeader,
    pieces: mpsc::Receiver<io::Result<Piece>>,
    metrics: Arc<SnapshotMetrics>,
) -> impl Stream<Item = proto::InstallSnapshotRequest> + Send + 'static {
    let part = |part| proto::InstallSnapshotRequest { part: Some(part) };
    let rest = futures::stream::unfold(Some((pieces, metrics)), move |rest| async move {
        let (mut pieces, metrics) = rest?;
        match pieces.recv().await {
            Some(Ok(Piece::Chunk(chunk))) => {
                metrics.sent_bytes.add(chunk.len() as u64);
                Some((part(Part::Chunk(chunk)), Some((pieces, metrics))))
            }
            Some(Ok(Piece::End { length, crc32 })) => {
                Some((part(Part::Trailer(proto::SnapshotTrailer { length, crc32 })), None))
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the export of a snapshot failed");
                None
            }
            None => None,
        }
    });
    futures::stream::once(async move { part(Part::Header(header)) }).chain(rest)
}
