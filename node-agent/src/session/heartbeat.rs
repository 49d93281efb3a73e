//! The session stream: registers the node, sends heartbeats, hears commands.

use super::connection::{CallError, Cluster};
use super::{Health, SessionEvent, bounded_period, reconnect};
use crate::limits;
use prost::Message as _;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use trireme_proto::api::core::v1::Node;
use trireme_proto::v1::{self, session_request, session_response};

/// Messages that may wait to be sent; more means that the connection hangs.
const OUTGOING_QUEUE: usize = 4;

/// Keeps a session for as long as the agent runs.
pub(super) async fn run(
    cluster: Cluster,
    node: Node,
    mut health: watch::Receiver<Health>,
    events: mpsc::Sender<SessionEvent>,
) {
    let mut failures = 0;
    loop {
        let began = Instant::now();
        let Err(error) = one_session(&cluster, &node, &mut health, &events).await;
        // A session that held for a while was no failure of connecting.
        failures = if began.elapsed() > limits::RECONNECT_BACKOFF_MAX {
            0
        } else {
            failures + 1
        };
        let delay = reconnect::delay(failures);
        tracing::info!(
            error = crate::error_chain(&error),
            delay_ms = delay.as_millis(),
            "the session ended"
        );
        tokio::time::sleep(delay).await;
    }
}

async fn one_session(
    cluster: &Cluster,
    node: &Node,
    health: &mut watch::Receiver<Health>,
    events: &mpsc::Sender<SessionEvent>,
) -> Result<std::convert::Infallible, CallError> {
    let (mut stub, link) = cluster.node_agent().await?;
    let (outgoing, queue) = mpsc::channel(OUTGOING_QUEUE);
    let hello = v1::Hello {
        node: node.encode_to_vec().into(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        process_id: std::process::id().into(),
    };
    // The queue is empty, so this cannot wait.
    let _ = outgoing.send(request(session_request::Message::Hello(hello))).await;
    let outcome = async {
        let mut incoming = stub.session(ReceiverStream::new(queue)).await?.into_inner();
        tracing::info!(server = %link.endpoint, "in session");
        converse(cluster, health, events, &outgoing, &mut incoming).await
    };
    let outcome = outcome.await;
    if outcome.is_err() {
        cluster.abandon(&link);
    }
    outcome
}

fn request(message: session_request::Message) -> v1::SessionRequest {
    v1::SessionRequest { message: Some(message) }
}

fn ticker(period: Duration) -> tokio::time::Interval {
    let mut ticker = tokio::time::interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

async fn converse(
    cluster: &Cluster,
    health: &mut watch::Receiver<Health>,
    events: &mpsc::Sender<SessionEvent>,
    outgoing: &mpsc::Sender<v1::SessionRequest>,
    incoming: &mut tonic::Streaming<v1::SessionResponse>,
) -> Result<std::convert::Infallible, CallError> {
    let mut heartbeats = ticker(limits::HEARTBEAT_PERIOD_DEFAULT);
    loop {
        tokio::select! {
            biased;
            message = incoming.message() => match message?.ok_or(CallError::Ended)?.message {
                Some(session_response::Message::Welcome(welcome)) => {
                    if !welcome.servers.is_empty() {
                        cluster.set_servers(&welcome.servers);
                    }
                    if welcome.heartbeat_period_ms > 0 {
                        heartbeats = ticker(bounded_period(welcome.heartbeat_period_ms));
                    }
                }
                Some(session_response::Message::FetchLogs(command)) => {
                    // The driver is gone only when the agent ends.
                    let _ = events.send(SessionEvent::FetchLogs(command)).await;
                }
                // A newer server may say what this agent does not know.
                None => {}
            },
            // A change of health is told at once.
            Ok(()) = health.changed() => send_heartbeat(health, outgoing)?,
            _ = heartbeats.tick() => send_heartbeat(health, outgoing)?,
        }
    }
}

fn send_heartbeat(
    health: &mut watch::Receiver<Health>,
    outgoing: &mpsc::Sender<v1::SessionRequest>,
) -> Result<(), CallError> {
    let Health { ready, message } = health.borrow_and_update().clone();
    let heartbeat = session_request::Message::Heartbeat(v1::Heartbeat { ready, message });
    // A queue that is full for several periods is a connection that hangs.
    outgoing.try_send(request(heartbeat)).map_err(|_| CallError::Ended)
}
