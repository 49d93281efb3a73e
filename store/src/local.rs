//! [`LocalKv`]: the store without replication, in memory, for tests of the layers above.
//!
//! It is the real state machine, engine and watch hub; only Raft is missing: a transaction is applied at once. It
//! passes the same conformance suite as the replicated store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use trireme_mvcc::command::Command;

use crate::engine::{AppliedPosition, Engine, Entry, Outcome};
use crate::kv::{
    Consistency, HashKv, Kv, KvError, Leadership, RangeRequest, RangeResponse, Revision, Txn, TxnResponse, WatchRequest,
    Watcher,
};
use crate::watch::Hub;

/// One unreplicated state machine in memory.
#[derive(Debug)]
pub struct LocalKv {
    engine: Arc<Engine>,
    hub: Arc<Hub>,
    /// Index of the next entry. Held while an entry is applied and published.
    next_index: Mutex<u64>,
    term: AtomicU64,
}

impl Default for LocalKv {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalKv {
    /// An empty store, in term 1.
    pub fn new() -> Self {
        let engine = Arc::new(Engine::in_memory());
        let hub = Hub::new(Arc::clone(&engine));
        Self {
            engine,
            hub,
            next_index: Mutex::new(1),
            term: AtomicU64::new(1),
        }
    }

    /// The leadership that writes are accepted under.
    pub fn leadership(&self) -> Leadership {
        Leadership {
            term: self.term.load(Ordering::Relaxed),
        }
    }

    /// Lets another term begin: writes fenced by an earlier one are refused from now on.
    pub fn set_term(&self, term: u64) {
        self.term.store(term, Ordering::Relaxed);
    }

    /// Ends all watches and waits.
    pub fn close(&self) {
        self.hub.close();
    }

    /// The engine below.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    fn apply(&self, command: &Command) -> Result<Outcome, KvError> {
        let bytes = command.check_and_encode()?;
        let mut next_index = self.next_index.lock().unwrap_or_else(PoisonError::into_inner);
        let position = AppliedPosition {
            term: self.leadership().term,
            index: *next_index,
            opaque: Bytes::new(),
        };
        let applied = self.engine.apply_chunk([Entry {
            position,
            command: Some(bytes),
        }]);
        let mut applied = applied.map_err(|error| KvError::Stopped(error.to_string()))?;
        *next_index += 1;
        self.hub.publish(&applied);
        match applied.outcomes.pop() {
            Some(Outcome::Refused(refusal)) => Err(refusal.into()),
            Some(outcome) => Ok(outcome),
            None => Err(KvError::Stopped("the state machine gave no outcome".into())),
        }
    }
}

#[async_trait]
impl Kv for LocalKv {
    async fn range(&self, request: RangeRequest, consistency: Consistency) -> Result<RangeResponse, KvError> {
        if let Consistency::AtLeast(revision) = consistency {
            self.hub.wait_applied(revision).await?;
        }
        self.engine.read_range(request).await
    }

    async fn txn(&self, txn: Txn, fence: Option<Leadership>) -> Result<TxnResponse, KvError> {
        let fence_term = fence.map(|leadership| leadership.term);
        match self.apply(&Command::Txn { txn, fence_term })? {
            Outcome::Txn(response) => Ok(response),
            other => Err(KvError::Stopped(format!("a transaction was answered by {other:?}"))),
        }
    }

    async fn watch(&self, request: WatchRequest) -> Result<Box<dyn Watcher>, KvError> {
        self.hub.watch(request)
    }

    async fn compact(&self, revision: Revision) -> Result<(), KvError> {
        self.apply(&Command::Compact { revision })?;
        loop {
            match self.engine.compact_step() {
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => return Ok(()),
                Err(error) => return Err(KvError::Stopped(error.to_string())),
            }
        }
    }

    async fn hash_kv(&self, revision: Revision) -> Result<HashKv, KvError> {
        self.engine.read_hash_kv(revision).await
    }

    fn applied_revision(&self) -> Revision {
        self.hub.applied_revision()
    }

    async fn wait_applied(&self, revision: Revision) -> Result<(), KvError> {
        self.hub.wait_applied(revision).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::conformance;

    #[tokio::test]
    async fn conforms() {
        let kv = Arc::new(LocalKv::new());
        kv.set_term(7);
        let leadership = kv.leadership();
        conformance::run(kv, leadership).await;
    }

    #[tokio::test]
    async fn closing_ends_watches_and_waits() {
        let kv = LocalKv::new();
        let range = crate::kv::KeyRange::prefix("");
        let mut watcher = kv
            .watch(WatchRequest {
                range,
                start_revision: 0,
            })
            .await
            .unwrap();
        kv.close();
        assert!(matches!(watcher.next().await, Err(KvError::Stopped(_))));
        assert!(matches!(kv.wait_applied(99).await, Err(KvError::Stopped(_))));
    }
}
