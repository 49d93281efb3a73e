//! The node agents' service: sessions, assignments, status reports, logs on their way back.
//!
//! Every call acts for the node that the caller's certificate names, and touches only what belongs to it (I6).

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use prost::Message;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use trireme_logic::object::{Object, ObjectKey};
use trireme_proto::{
    api::core::v1::{Node, PodStatus},
    v1::{
        AssignedKind, AssignedObject, AssignmentsMessage, AssignmentsRequest, Heartbeat, Hello, PodStatusReport,
        ReportStatusRequest, ReportStatusResponse, SendLogsRequest, SendLogsResponse, SessionRequest, SessionResponse,
        Welcome, node_agent_server::NodeAgent, report_status_response::Outcome, session_request, session_response,
    },
};
use trireme_store::kv::{Consistency, KeyRange, Kv, RangeRequest, Revision};

use crate::{
    limits::{ASSIGNMENTS_DEBOUNCE, NODE_HEARTBEAT_PERIOD, SESSION_COMMANDS_IN_FLIGHT, STATUS_REPORTS_CONCURRENT},
    pipeline::{Identity, Permit},
    registry::{ReadFrom, Registry, ReportOutcome},
    run::{
        assignments::{AssignmentSet, Difference},
        heartbeats::Heartbeats,
        servers::ServerList,
        sessions::NodeSessions,
        world_cache::WorldCache,
    },
    status::{ApiError, Reason},
};

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct NodeAgentService {
    /// The store, for its latest revision.
    pub kv: Arc<dyn Kv>,
    /// Where nodes and pod states are stored.
    pub registry: Arc<Registry>,
    /// What this server knows of the cluster.
    pub world: Arc<WorldCache>,
    /// Who is connected here.
    pub sessions: Arc<NodeSessions>,
    /// Who lives.
    pub heartbeats: Arc<Heartbeats>,
    /// What agents are told of the servers.
    pub servers: Arc<ServerList>,
}

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl NodeAgent for NodeAgentService {
    type SessionStream = Outgoing<SessionResponse>;
    type AssignmentsStream = Outgoing<AssignmentsMessage>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let permit = node_permit(&request)?;
        let mut incoming = request.into_inner();
        let Some(hello) = first_hello(&mut incoming).await? else {
            return Err(ApiError::bad_request("the first message of a session must be `hello`").into());
        };
        self.register(&permit, &hello).await?;

        let (commands, outgoing) = mpsc::channel(SESSION_COMMANDS_IN_FLIGHT);
        let node = permit.require_node()?.to_owned();
        let session = self.sessions.open(&node, commands.clone());
        self.heartbeats.record(
            &node,
            Heartbeat {
                ready: true,
                message: String::new(),
            },
            Instant::now(),
        );
        tracing::info!(node, session, agent = hello.agent_version, "node connected");

        let service = self.clone();
        tokio::spawn(async move {
            service.serve_session(&node, incoming, commands).await;
            service.sessions.close(&node, session);
            tracing::info!(node, session, "node disconnected");
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing).map(Ok))))
    }

    async fn assignments(
        &self,
        request: Request<AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let permit = node_permit(&request)?;
        // The first set must hold every pod that was bound before this call, or a restarted agent could
        // run a pod that is already gone (kubernetes#59848).
        let revision = latest_revision(&*self.kv).await?;
        self.world.wait_for(revision).await?;
        let (sender, receiver) = mpsc::channel(1);
        let (service, node) = (self.clone(), permit.require_node()?.to_owned());
        tokio::spawn(async move {
            if let Err(error) = service.stream_assignments(&node, &sender).await {
                // The agent asks again.
                let _ = sender.send(Err(error.into())).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn report_status(
        &self,
        request: Request<ReportStatusRequest>,
    ) -> Result<Response<ReportStatusResponse>, Status> {
        let permit = node_permit(&request)?;
        let bytes = request.get_ref().pods.iter().map(|pod| pod.status.len()).sum();
        let _seat = self.registry.admit(&permit, bytes).await?;
        let outcomes: Vec<Result<Outcome, ApiError>> = futures::stream::iter(request.into_inner().pods)
            .map(|report| self.store_report(&permit, report))
            .buffered(STATUS_REPORTS_CONCURRENT)
            .collect()
            .await;
        let outcomes: Result<Vec<i32>, ApiError> = outcomes
            .into_iter()
            .map(|outcome| outcome.map(|outcome| outcome as i32))
            .collect();
        Ok(Response::new(ReportStatusResponse { outcomes: outcomes? }))
    }

    async fn send_logs(
        &self,
        request: Request<Streaming<SendLogsRequest>>,
    ) -> Result<Response<SendLogsResponse>, Status> {
        let permit = node_permit(&request)?;
        let mut frames = request.into_inner();
        let mut receiver = None;
        while let Some(frame) = frames.message().await? {
            if receiver.is_none() {
                receiver = self
                    .sessions
                    .take_log_request(permit.require_node()?, &frame.request_id);
            }
            let Some(sender) = &receiver else {
                return Err(ApiError::not_found_other("nobody waits for this log any more").into());
            };
            let piece = if frame.error.is_empty() {
                Ok(frame.data)
            } else {
                Err(frame.error)
            };
            if sender.send(piece).await.is_err() {
                // The user hung up; ending the call tells the agent to stop reading.
                break;
            }
        }
        Ok(Response::new(SendLogsResponse {}))
    }
}

impl NodeAgentService {
    async fn register(&self, permit: &Permit, hello: &Hello) -> Result<(), ApiError> {
        let node = Node::decode(hello.node.clone())
            .map_err(|error| ApiError::bad_request(format!("the node in `hello` does not decode: {error}")))?;
        self.registry.upsert_node(permit, node).await.map(drop)
    }

    /// Takes heartbeats until the session ends, and tells the node when the servers change.
    async fn serve_session(
        &self,
        node: &str,
        mut incoming: Streaming<SessionRequest>,
        commands: mpsc::Sender<SessionResponse>,
    ) {
        let mut servers = self.servers.subscribe();
        servers.mark_changed();
        loop {
            tokio::select! {
                biased;
                message = incoming.message() => match message {
                    Ok(Some(SessionRequest { message: Some(session_request::Message::Heartbeat(heartbeat)) })) => {
                        self.heartbeats.record(node, heartbeat, Instant::now());
                    }
                    Ok(Some(SessionRequest { message: Some(session_request::Message::Hello(_)) | None })) => {}
                    Ok(None) | Err(_) => return,
                },
                changed = servers.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let welcome = Welcome {
                        servers: servers.borrow_and_update().clone(),
                        heartbeat_period_ms: NODE_HEARTBEAT_PERIOD.as_millis() as u32,
                    };
                    let response = SessionResponse { message: Some(session_response::Message::Welcome(welcome)) };
                    if commands.send(response).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn store_report(&self, permit: &Permit, report: PodStatusReport) -> Result<Outcome, ApiError> {
        let status = PodStatus::decode(report.status).map_err(|error| {
            ApiError::bad_request(format!("the status of pod {} does not decode: {error}", report.name))
        })?;
        let outcome = self
            .registry
            .update_pod_status(
                permit,
                &ObjectKey::new(report.namespace, report.name),
                &report.uid,
                &status,
                report.terminated,
            )
            .await?;
        Ok(match outcome {
            ReportOutcome::Stored => Outcome::Stored,
            ReportOutcome::Gone => Outcome::Gone,
            ReportOutcome::NotYours => Outcome::NotYours,
            ReportOutcome::Stale => Outcome::Stale,
        })
    }
}

fn node_permit<T>(request: &Request<T>) -> Result<Permit, ApiError> {
    Permit::node(Identity::of_request(request)?)
}

async fn first_hello(incoming: &mut Streaming<SessionRequest>) -> Result<Option<Hello>, Status> {
    match incoming.message().await? {
        Some(SessionRequest {
            message: Some(session_request::Message::Hello(hello)),
        }) => Ok(Some(hello)),
        _ => Ok(None),
    }
}

/// The revision of the last write that anybody acknowledged.
async fn latest_revision(kv: &dyn Kv) -> Result<Revision, ApiError> {
    let nothing = RangeRequest {
        count_only: true,
        ..RangeRequest::latest(KeyRange::key("/"))
    };
    Ok(kv.range(nothing, Consistency::Linearizable).await?.revision)
}

impl NodeAgentService {
    /// Sends the full set, then differences, until the agent hangs up.
    async fn stream_assignments(
        &self,
        node: &str,
        sender: &mpsc::Sender<Result<AssignmentsMessage, Status>>,
    ) -> Result<(), ApiError> {
        let wakeup = self.world.node_wakeup(node);
        let mut sent = AssignmentSet::default();
        let mut complete = true;
        loop {
            // Registered before the world is read, so that no change falls between the two.
            let changed = wakeup.notified();
            let current = self.world.read(|world| AssignmentSet::of(world, node));
            if let Some(difference) = sent.advance_to(current, complete) {
                complete = false;
                let message = self.tell(difference).await?;
                if sender.send(Ok(message)).await.is_err() {
                    return Ok(());
                }
            }
            tokio::select! {
                () = changed => {}
                () = sender.closed() => return Ok(()),
            }
            // Several pods bound in one pass travel in one message.
            tokio::time::sleep(ASSIGNMENTS_DEBOUNCE).await;
        }
    }

    /// The message that tells a difference, with pods as they are stored. One that is gone meanwhile is left out: the world
    /// will show that next.
    async fn tell(&self, difference: Difference) -> Result<AssignmentsMessage, ApiError> {
        let mut upserts = Vec::with_capacity(difference.upserts.len());
        for (kind, object) in difference.upserts {
            let whole = match kind {
                AssignedKind::Pod => self.whole_pod(&*object).await?,
                AssignedKind::ConfigMap | AssignedKind::Secret => Some(object.to_protobuf()),
            };
            upserts.extend(whole.map(|object| AssignedObject {
                kind: kind as i32,
                object,
            }));
        }
        Ok(AssignmentsMessage {
            complete: difference.complete,
            revision: difference.revision,
            upserts,
            removals: difference.removals,
        })
    }

    /// A pod as it is stored, of which the world has an excerpt; perhaps a newer version. `None` if it is gone or cannot be
    /// read, and if another has its name by now, which may be another node's.
    async fn whole_pod(&self, excerpt: &dyn Object) -> Result<Option<Bytes>, ApiError> {
        let permit = Permit::system("assignments", None);
        let (ops, key) = (excerpt.ops(), excerpt.key());
        let stored = match self.registry.get(&permit, ops, &key, ReadFrom::Anything).await {
            Err(error) if error.reason() == Reason::NotFound => return Ok(None),
            found => found?,
        };
        let mut pod = match stored.decode() {
            Ok(pod) => pod,
            Err(error) => {
                tracing::error!(pod = %key, %error, "its node is not told of a pod that cannot be read");
                return Ok(None);
            }
        };
        // Who owns its fields is nothing to the node.
        pod.metadata_mut().managed_fields = Vec::new();
        let is_the_same = pod.metadata().uid == excerpt.metadata().uid;
        Ok(is_the_same.then(|| pod.to_protobuf()))
    }
}
