//! Heartbeats of nodes: taken by whichever server a node is connected to, passed on to the leader in
//! batches, kept in the leader's memory, never written.
//!
//! A node's state is written only when it changes; that decision belongs to the node lifecycle
//! controller, which reads [`Heartbeats::latest`].

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;
use trireme_proto::v1::{Heartbeat, NodeHeartbeat};

use crate::limits::HEARTBEAT_KEPT;

/// The heartbeats that this server knows of.
#[derive(Debug, Default)]
pub struct Heartbeats {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The latest of each node, from local sessions and from other servers.
    latest: BTreeMap<String, Record>,
    /// Nodes whose latest local heartbeat has not been passed on to the leader yet.
    to_forward: BTreeMap<String, Record>,
}

/// The latest heartbeat of a node.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it came in.
    pub received_at: Instant,
    /// What it said.
    pub heartbeat: Heartbeat,
}

impl State {
    /// Forgets nodes that are long silent: they are dead, or deleted. The leader has judged them before that.
    fn drop_old(&mut self, now: Instant) {
        self.latest
            .retain(|_, record| now.saturating_duration_since(record.received_at) < HEARTBEAT_KEPT);
    }
}

impl Heartbeats {
    /// Takes a heartbeat from a session of this server.
    pub fn record(&self, node: &str, heartbeat: Heartbeat, now: Instant) {
        let record = Record {
            received_at: now,
            heartbeat,
        };
        let mut state = self.lock();
        state.latest.insert(node.to_owned(), record.clone());
        state.to_forward.insert(node.to_owned(), record);
    }

    /// Takes a batch from another server. A heartbeat older than the one known is dropped.
    pub fn merge(&self, batch: Vec<NodeHeartbeat>, now: Instant) {
        let mut state = self.lock();
        for item in batch {
            let age = Duration::from_millis(u64::from(item.age_ms));
            let received_at = now.checked_sub(age).unwrap_or(now);
            let known = state.latest.get(&item.node);
            if known.is_none_or(|known| known.received_at < received_at) {
                let heartbeat = item.heartbeat.unwrap_or_default();
                state.latest.insert(item.node, Record { received_at, heartbeat });
            }
        }
    }

    /// Takes what is to be passed on to the leader.
    pub fn take_batch(&self, now: Instant) -> Vec<NodeHeartbeat> {
        let mut state = self.lock();
        state.drop_old(now);
        let records = std::mem::take(&mut state.to_forward);
        drop(state);
        records
            .into_iter()
            .map(|(node, record)| {
                let age = now.saturating_duration_since(record.received_at);
                NodeHeartbeat {
                    node,
                    heartbeat: Some(record.heartbeat),
                    age_ms: u32::try_from(age.as_millis()).unwrap_or(u32::MAX),
                }
            })
            .collect()
    }

    /// Takes a batch back that could not be passed on, unless newer heartbeats have come in.
    pub fn put_back(&self, batch: Vec<NodeHeartbeat>, now: Instant) {
        let mut state = self.lock();
        for item in batch {
            let age = Duration::from_millis(u64::from(item.age_ms));
            let received_at = now.checked_sub(age).unwrap_or(now);
            let heartbeat = item.heartbeat.unwrap_or_default();
            state
                .to_forward
                .entry(item.node)
                .or_insert(Record { received_at, heartbeat });
        }
    }

    /// The latest heartbeat of each node that was heard within [`HEARTBEAT_KEPT`].
    pub fn latest(&self, now: Instant) -> BTreeMap<String, Record> {
        let mut state = self.lock();
        state.drop_old(now);
        state.latest.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the heartbeats")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(node: &str, age_ms: u32) -> NodeHeartbeat {
        NodeHeartbeat {
            node: node.into(),
            heartbeat: Some(Heartbeat {
                ready: true,
                message: String::new(),
            }),
            age_ms,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_heartbeat_never_replaces_a_newer_one() {
        let heartbeats = Heartbeats::default();
        tokio::time::advance(Duration::from_secs(60)).await;
        let now = Instant::now();
        heartbeats.merge(vec![beat("a", 100)], now);
        heartbeats.merge(vec![beat("a", 5_000)], now);
        assert_eq!(
            heartbeats.latest(now)["a"].received_at,
            now - Duration::from_millis(100)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_long_silent_is_forgotten() {
        let heartbeats = Heartbeats::default();
        heartbeats.merge(vec![beat("gone", 0)], Instant::now());
        tokio::time::advance(HEARTBEAT_KEPT / 2).await;
        heartbeats.merge(vec![beat("there", 0)], Instant::now());
        assert_eq!(heartbeats.latest(Instant::now()).len(), 2);
        tokio::time::advance(HEARTBEAT_KEPT / 2).await;
        let kept: Vec<String> = heartbeats.latest(Instant::now()).into_keys().collect();
        assert_eq!(kept, ["there"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_failed_is_sent_again_unless_superseded() {
        let heartbeats = Heartbeats::default();
        let start = Instant::now();
        heartbeats.record(
            "a",
            Heartbeat {
                ready: true,
                message: String::new(),
            },
            start,
        );
        let batch = heartbeats.take_batch(start);
        assert_eq!(batch.len(), 1);
        assert!(heartbeats.take_batch(start).is_empty());
        tokio::time::advance(Duration::from_secs(1)).await;
        let later = Instant::now();
        heartbeats.put_back(batch, later);
        heartbeats.record(
            "a",
            Heartbeat {
                ready: false,
                message: "disk".into(),
            },
            later,
        );
        let again = heartbeats.take_batch(later);
        assert_eq!(again.len(), 1);
        assert!(!again[0].heartbeat.as_ref().unwrap().ready);
    }
}
