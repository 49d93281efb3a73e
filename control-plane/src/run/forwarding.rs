//! Passes heartbeats of the nodes connected here on to the leader.

use std::sync::Arc;

use tokio::time::{Instant, MissedTickBehavior};
use trireme_proto::v1::ForwardHeartbeatsRequest;

use super::{heartbeats::Heartbeats, peers::ServerPeers};
use crate::limits::HEARTBEAT_FORWARD_PERIOD;

/// Runs until it is dropped.
pub async fn run(heartbeats: Arc<Heartbeats>, peers: Arc<ServerPeers>) {
    let mut ticks = tokio::time::interval(HEARTBEAT_FORWARD_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let batch = heartbeats.take_batch(Instant::now());
        if batch.is_empty() || peers.leads() {
            // What this server heard itself is in its own table already.
            continue;
        }
        let request = ForwardHeartbeatsRequest {
            heartbeats: batch.clone(),
        };
        if let Err(error) = peers.forward_heartbeats(request).await {
            tracing::debug!(%error, "heartbeats could not be passed on; trying again");
            heartbeats.put_back(batch, Instant::now());
        }
    }
}
