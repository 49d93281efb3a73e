//! The receiving side of what peers send, in openraft's terms: messages in, messages out.
//!
//! The gRPC service in `server/` only carries them.

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use openraft::errors::Fatal;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::Status;
use trireme_proto::peer::v1 as proto;
use trireme_proto::peer::v1::append_response::Outcome;
use trireme_proto::peer::v1::install_snapshot_request::Part;

use super::membership::change_from_wire;
use super::node::Node;
use super::received::checked;
use super::snapshot::{self, Receiving, SnapshotData};
use super::types::{SnapshotMeta, TypeConfig};
use super::wire::{self, WireError};
use super::{forward, record};
use crate::faults::{self, Failpoint};
use crate::limits;

/// What a quarantined server answers to everything but the question how it stands.
pub(crate) fn quarantined(cause: &str) -> Status {
    Status::unavailable(format!("this server is quarantined: {cause}"))
}

/// Consensus has ended here; the peer sees an unreachable server, which is what it is.
fn ended(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("consensus has ended: {error}"))
}

/// The answers to a stream of appends.
struct Answering {
    node: Arc<Node>,
    answers: BoxStream<'static, Result<StreamAppendResult<TypeConfig>, Fatal<TypeConfig>>>,
    /// Why a message was not handed to consensus, once all before it are answered.
    refused: oneshot::Receiver<Status>,
}

impl Answering {
    /// `None` once all messages are answered and no more will come.
    async fn next(&mut self) -> Option<Result<proto::AppendResponse, Status>> {
        let Some(answer) = self.answers.next().await else {
            return (&mut self.refused).await.ok().map(Err);
        };
        // What has become durable meanwhile does not count, either.
        let counts = self.node.takes_part();
        Some(counts.and_then(|()| Ok(append_response(&answer.map_err(ended)?.into()))))
    }
}

impl Node {
    /// A quarantined server gives no vote and acknowledges nothing, from the moment on that it is known.
    fn takes_part(&self) -> Result<(), Status> {
        self.gate.cause().map_or(Ok(()), |cause| Err(quarantined(&cause)))
    }

    /// Takes entries or a heartbeat.
    pub(crate) async fn handle_append(&self, request: proto::AppendRequest) -> Result<proto::AppendResponse, Status> {
        self.takes_part()?;
        let rpc = append_request(request)?;
        self.raft
            .append_entries(rpc)
            .await
            .map(|response| append_response(&response))
            .map_err(ended)
    }

    /// Takes appends one after the other. Each goes to consensus when it comes, so that those which meet the log's writer at
    /// work share its next sync; the answers come in the same order, each once its entries are durable.
    pub(crate) fn handle_appends<S>(
        self: &Arc<Self>,
        messages: S,
    ) -> Result<impl Stream<Item = Result<proto::AppendResponse, Status>> + Send + use<S>, Status>
    where
        S: Stream<Item = Result<proto::AppendRequest, Status>> + Send + Unpin + 'static,
    {
        self.takes_part()?;
        let node = self.clone();
        let (refuse, refused) = oneshot::channel();
        let requests = stream::unfold((messages, refuse), move |(mut messages, refuse)| {
            let node = node.clone();
            async move {
                let message = messages.next().await?;
                let request = node
                    .takes_part()
                    .and(message)
                    .and_then(|message| Ok(append_request(message)?));
                match request {
                    Ok(request) => Some((request, (messages, refuse))),
                    Err(status) => {
                        // Nobody listens any more if the stream has ended with an answer before this one's.
                        let _ = refuse.send(status);
                        None
                    }
                }
            }
        });
        let answers = self.raft.stream_append(requests).boxed();
        let answering = Answering {
            node: self.clone(),
            answers,
            refused,
        };
        Ok(stream::unfold(Some(answering), |answering| async move {
            let mut answering = answering?;
            let answer = answering.next().await?;
            let goes_on = answer.as_ref().is_ok_and(is_success);
            Some((answer, goes_on.then_some(answering)))
        }))
    }

    /// Answers a candidate.
    pub(crate) async fn handle_vote(&self, request: proto::VoteRequest) -> Result<proto::VoteResponse, Status> {
        self.takes_part()?;
        let rpc = vote_request(request)?;
        self.raft
            .vote(rpc)
            .await
            .map(|response| vote_response(&response))
            .map_err(ended)
    }

    /// Answers a server that considers to stand.
    pub(crate) async fn handle_pre_vote(&self, request: proto::VoteRequest) -> Result<proto::VoteResponse, Status> {
        self.takes_part()?;
        let rpc = vote_request(request)?;
        self.raft
            .pre_vote(rpc)
            .await
            .map(|response| vote_response(&response))
            .map_err(ended)
    }

    /// Takes the lead, if it is this server that should.
    pub(crate) async fn handle_transfer(
        &self,
        request: proto::TransferLeaderRequest,
    ) -> Result<proto::TransferLeaderResponse, Status> {
        self.takes_part()?;
        let rpc = transfer_request(request)?;
        let taken = self.raft.handle_transfer_leader(rpc).await.map_err(ended)?;
        Ok(proto::TransferLeaderResponse {
            refusal: taken.err().map_or_else(String::new, |error| error.to_string()),
        })
    }

    /// Takes commands, as the leader.
    pub(crate) async fn handle_propose(&self, request: proto::ProposeRequest) -> proto::ProposeResponse {
        let patience = std::time::Duration::from_millis(request.timeout_ms).min(limits::PROPOSAL_DEADLINE);
        let attempts = self
            .propose_forwarded(forward::commands_from_wire(request), Instant::now() + patience)
            .await;
        let leader = self.view().leader.unwrap_or(0);
        let results = attempts
            .into_iter()
            .map(|attempt| forward::attempt_to_wire(attempt, leader))
            .collect();
        proto::ProposeResponse { results }
    }

    /// Gives a read index, as the leader.
    pub(crate) async fn handle_read_index(&self) -> proto::ReadIndexResponse {
        use proto::read_index_response::Outcome;
        let view = self.view();
        let not_leader = |reason: String| {
            Outcome::NotLeader(proto::NotLeader {
                leader_id: view.leader.unwrap_or(0),
                reason,
            })
        };
        let outcome = if view.leader == Some(self.config.server_id) {
            // The round is shared with the reads of this server and of the other followers.
            match self.read_index().await {
                Ok(index) => Outcome::LogIndex(index),
                Err(error) => not_leader(error.to_string()),
            }
        } else {
            not_leader("this server does not lead".into())
        };
        proto::ReadIndexResponse { outcome: Some(outcome) }
    }

    /// Changes the membership, as the leader.
    pub(crate) async fn handle_change(
        &self,
        request: proto::ChangeMembersRequest,
    ) -> Result<proto::ChangeMembersResponse, Status> {
        Ok(self.change_for_peer(change_from_wire(request)?).await)
    }

    /// Tells how this replica stands.
    pub(crate) fn handle_condition(&self) -> proto::ConditionResponse {
        self.condition()
    }

    /// Looks whether this replica's state is the one that the leader says it should be, and goes into quarantine if not.
    pub(crate) fn handle_quarantine(&self, request: &proto::QuarantineRequest) -> proto::QuarantineResponse {
        let own = self.samples().get(&request.index).copied();
        if let Some(own) = own
            && own[..] != request.expected[..]
        {
            self.quarantine(&super::watchman::difference(request.index));
        }
        proto::QuarantineResponse {
            quarantined: self.gate.cause().is_some(),
        }
    }

    /// Tells how much of a snapshot is here.
    pub(crate) fn handle_snapshot_progress(
        &self,
        request: &proto::SnapshotProgressRequest,
    ) -> proto::SnapshotProgressResponse {
        proto::SnapshotProgressResponse {
            received_bytes: snapshot::received_bytes(&self.config.snapshots_dir(), &request.transfer_id),
        }
    }

    /// Receives a snapshot, whole, and installs it.
    pub(crate) async fn handle_snapshot<S>(&self, mut parts: S) -> Result<proto::InstallSnapshotResponse, Status>
    where
        S: Stream<Item = Result<proto::InstallSnapshotRequest, Status>> + Send + Unpin,
    {
        self.takes_part()?;
        let Part::Header(header) = next_part(&mut parts).await? else {
            return Err(Status::invalid_argument("a snapshot begins with its header"));
        };
        let vote = wire::vote_from_wire(header.vote)?;
        let own_vote = self
            .raft
            .with_raft_state(|state| *state.vote_ref())
            .await
            .map_err(ended)?;
        if own_vote > vote {
            // The sender has been deposed: no need to carry all that over.
            return Ok(proto::InstallSnapshotResponse {
                vote: Some(wire::vote_to_wire(&own_vote)),
            });
        }
        let meta = SnapshotMeta {
            last_log_id: header.last_log_id.map(wire::log_id_from_wire),
            last_membership: wire::stored_membership_from_wire(
                header.membership.ok_or(WireError::Missing("membership"))?,
            )?,
        };
        let turn = self
            .snapshot_turns
            .take(limits::SNAPSHOT_IDLE_TIMEOUT)
            .await
            .ok_or_else(|| Status::resource_exhausted("another snapshot is being installed"))?;
        let io = |error: std::io::Error| Status::internal(format!("receiving a snapshot: {error}"));
        let directory = self.config.snapshots_dir();
        let mut receiving = Receiving::start(&directory, &header.transfer_id, header.offset)
            .await
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::InvalidInput => Status::failed_precondition(error.to_string()),
                _ => io(error),
            })?;
        let trailer = loop {
            let next = tokio::select! {
                biased;
                () = turn.displaced() => Err(Status::aborted("a later attempt has taken its place")),
                next = next_part(&mut parts) => next,
            };
            match next {
                Ok(Part::Chunk(chunk)) => {
                    receiving.add(&chunk).await.map_err(io)?;
                    self.snapshot_metrics.received_bytes.add(chunk.len() as u64);
                    self.progress.note();
                }
                Ok(Part::Trailer(trailer)) => break trailer,
                Ok(Part::Header(_)) => return Err(Status::invalid_argument("a snapshot has one header")),
                Err(broken) => {
                    // What has come stays: the transfer can go on there.
                    receiving.pause().await;
                    return Err(broken);
                }
            }
        };
        let received = receiving.finish(trailer.length, trailer.crc32).await.map_err(io)?;
        let received = checked(received, meta.last_log_id).await.map_err(|error| {
            tracing::error!(%error, "refused a snapshot that the leader has sent");
            io(error)
        })?;
        tracing::info!(bytes = trailer.length, last = ?meta.last_log_id, "received a snapshot");
        faults::point(Failpoint::SnapshotReceived);
        let snapshot = Snapshot {
            meta,
            snapshot: SnapshotData::Received(received),
        };
        let response = self.raft.install_full_snapshot(vote, snapshot).await.map_err(ended)?;
        self.snapshot_metrics.received.add(1);
        Ok(proto::InstallSnapshotResponse {
            vote: Some(wire::vote_to_wire(&response.vote)),
        })
    }
}

async fn next_part<S>(parts: &mut S) -> Result<Part, Status>
where
    S: Stream<Item = Result<proto::InstallSnapshotRequest, Status>> + Send + Unpin,
{
    let next = tokio::time::timeout(limits::SNAPSHOT_IDLE_TIMEOUT, parts.next())
        .await
        .map_err(|_| Status::deadline_exceeded("the snapshot's sender made no progress"))?;
    let part = next
        .ok_or_else(|| Status::data_loss("the snapshot ends before its trailer"))??
        .part;
    part.ok_or_else(|| Status::invalid_argument("an empty part of a snapshot"))
}

fn append_response(response: &AppendEntriesResponse<TypeConfig>) -> proto::AppendResponse {
    let outcome = match response {
        AppendEntriesResponse::Success => Outcome::Success(proto::Unit {}),
        AppendEntriesResponse::PartialSuccess(matching) => Outcome::PartialSuccess(proto::PartialSuccess {
            matching: (*matching).map(wire::log_id_to_wire),
        }),
        AppendEntriesResponse::Conflict => Outcome::Conflict(proto::Unit {}),
        AppendEntriesResponse::HigherVote(vote) => Outcome::HigherVote(wire::vote_to_wire(vote)),
    };
    proto::AppendResponse { outcome: Some(outcome) }
}

fn is_success(response: &proto::AppendResponse) -> bool {
    matches!(response.outcome, Some(Outcome::Success(proto::Unit {})))
}

pub(super) fn append_request(request: proto::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, WireError> {
    Ok(AppendEntriesRequest {
        vote: wire::vote_from_wire(request.vote)?,
        prev_log_id: request.previous.map(wire::log_id_from_wire),
        leader_commit: request.leader_commit.map(wire::log_id_from_wire),
        entries: request
            .entries
            .into_iter()
            .map(|entry| record::open(entry).map_err(WireError::from))
            .collect::<Result<_, _>>()?,
    })
}

/// A message as consensus takes it.
pub(super) fn transfer_request(
    request: proto::TransferLeaderRequest,
) -> Result<TransferLeaderRequest<TypeConfig>, Status> {
    let from = wire::vote_from_wire(request.from_leader)?;
    let last_log_id = request.last_log_id.map(wire::log_id_from_wire);
    Ok(TransferLeaderRequest::new(from, request.to, last_log_id))
}

pub(super) fn vote_request(request: proto::VoteRequest) -> Result<VoteRequest<TypeConfig>, WireError> {
    let mut rpc = VoteRequest::new(
        wire::vote_from_wire(request.vote)?,
        request.last_log_id.map(wire::log_id_from_wire),
    );
    rpc.leadership_transfer = request.leadership_transfer;
    Ok(rpc)
}

pub(super) fn vote_response(response: &VoteResponse<TypeConfig>) -> proto::VoteResponse {
    proto::VoteResponse {
        vote: Some(wire::vote_to_wire(&response.vote)),
        granted: response.vote_granted,
        last_log_id: response.last_log_id.map(wire::log_id_to_wire),
    }
}
