//! Whether there is a leader that this server can work with.
//!
//! What a server last heard is no answer: a leader that has lost its majority does not know it, and neither does a
//! follower that nobody talks to. So one question a moment is asked, the same that a linearizable read asks, for all
//! who want to know.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use super::limits::{LEADER_PROBE_PERIOD, NO_LEADER_GRACE};
use crate::raft::Node;

/// See the module.
#[derive(Clone)]
pub(super) struct LeaderSight(watch::Receiver<bool>);

impl LeaderSight {
    /// Begins to look, until the store stops. To be called within a tokio runtime.
    pub(super) fn begin(node: Arc<Node>) -> Self {
        let (sender, receiver) = watch::channel(true);
        let stop = node.stop_token().clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = look(&node, &sender) => {}
            }
        });
        Self(receiver)
    }

    /// Whether there was one lately.
    pub(super) fn is_seen(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends once there was none for too long.
    pub(super) fn lost(&self) -> BoxFuture<'static, ()> {
        let mut seen = self.0.clone();
        Box::pin(async move {
            // An error means that the store has stopped, and with it all that could be led.
            let _ = seen.wait_for(|seen| !seen).await;
        })
    }
}

async fn look(node: &Node, sender: &watch::Sender<bool>) {
    let mut last_seen = Instant::now();
    loop {
        tokio::time::sleep(LEADER_PROBE_PERIOD).await;
        let asked = tokio::time::timeout(LEADER_PROBE_PERIOD, node.read_index()).await;
        if matches!(asked, Ok(Ok(_))) {
            last_seen = Instant::now();
        }
        let seen = last_seen.elapsed() < NO_LEADER_GRACE;
        sender.send_if_modified(|before| std::mem::replace(before, seen) != seen);
    }
}
