//! [`LocalKv`]: the store without replication, in memory, for tests of the layers above.
//!
//! It is the real state machine, engine and watch hub; only Raft is missing: a transaction is applied at once. It
//! passes the same conformance suite as the replicated store.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use trireme_mvcc::command::Command;

use crate::engine::{AppliedPosition, Engine, Entry, Outcome};
use crate::kv::{
    About, Consistency, HashKv, Kv, KvError, Leadership, LeaseGranted, LeaseStatus, Leases, RangeRequest,
    RangeResponse, Revision, Txn, TxnResponse, WatchRequest, Watcher,
};
use crate::lanes::Lanes;
use crate::lease::Keeper;
use crate::lease::driver::{self, Host, NotDone};
use crate::limits;
use crate::watch::Hub;

/// One unreplicated state machine in memory.
#[derive(Debug)]
pub struct LocalKv {
    inner: Arc<Inner>,
    /// Ends leases that expire; started with the first lease.
    lessor: OnceLock<AbortHandle>,
}

#[derive(Debug)]
struct Inner {
    engine: Arc<Engine>,
    hub: Arc<Hub>,
    /// Index of the next entry. Held while an entry is applied and published.
    next_index: Mutex<u64>,
    term: watch::Sender<u64>,
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
        let inner = Inner {
            engine,
            hub,
            next_index: Mutex::new(1),
            term: watch::Sender::new(1),
        };
        Self {
            inner: Arc::new(inner),
            lessor: OnceLock::new(),
        }
    }

    /// The leadership that writes are accepted under.
    pub fn leadership(&self) -> Leadership {
        Leadership {
            term: self.inner.term(),
        }
    }

    /// Lets another term begin: writes fenced by an earlier one are refused from now on, and leases go on from what was
    /// noted of them last, as with a new leader.
    pub fn set_term(&self, term: u64) {
        self.inner.term.send_replace(term);
    }

    /// Ends all watches and waits, and the leases' clock.
    pub fn close(&self) {
        self.inner.hub.close();
        if let Some(lessor) = self.lessor.get() {
            lessor.abort();
        }
    }

    /// The engine below.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.inner.engine
    }

    /// Starts the leases' clock, if it does not run yet, and waits until it does.
    async fn start_lessor(&self) {
        self.lessor
            .get_or_init(|| tokio::spawn(Arc::clone(&self.inner).keep_leases()).abort_handle());
        let keeper = self.inner.engine.leases();
        let mut changed = keeper.subscribe();
        while keeper.term() != Some(self.inner.term()) && changed.changed().await.is_ok() {}
    }
}

impl Drop for LocalKv {
    fn drop(&mut self) {
        if let Some(lessor) = self.lessor.get() {
            lessor.abort();
        }
    }
}

impl Inner {
    fn term(&self) -> u64 {
        *self.term.borrow()
    }

    fn apply(&self, command: &Command) -> Result<Outcome, KvError> {
        let bytes = command.check_and_encode()?;
        let mut next_index = self.next_index.lock().unwrap_or_else(PoisonError::into_inner);
        let position = AppliedPosition {
            term: self.term(),
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

    async fn keep_leases(self: Arc<Self>) {
        let mut terms = self.term.subscribe();
        loop {
            let term = *terms.borrow_and_update();
            let keeper = self.engine.leases();
            keeper.begin(term);
            match self.engine.read_leases().await {
                Ok(leases) => keeper.load(term, &leases),
                Err(error) => tracing::error!(%error, "the leases could not be read"),
            }
            tokio::select! {
                changed = terms.changed() => if changed.is_err() { return },
                () = driver::run(&*self, term) => {}
            }
        }
    }
}

#[async_trait]
impl Host for Inner {
    fn keeper(&self) -> &Keeper {
        self.engine.leases()
    }

    async fn confirm(&self, term: u64) -> Result<(), KvError> {
        if self.term() == term {
            Ok(())
        } else {
            Err(KvError::Unavailable("another term has begun".into()))
        }
    }

    async fn propose(&self, command: Command) -> Result<Outcome, KvError> {
        self.apply(&command)
    }
}

#[async_trait]
impl Kv for LocalKv {
    async fn range(&self, request: RangeRequest, consistency: Consistency) -> Result<RangeResponse, KvError> {
        if let Consistency::AtLeast(revision) = consistency {
            self.inner.hub.wait_applied(revision).await?;
        }
        self.inner.engine.read_range(request).await
    }

    async fn txn(&self, txn: Txn, fence: Option<Leadership>) -> Result<TxnResponse, KvError> {
        if fence.is_none() && txn.is_read_only() {
            return self.inner.engine.read_txn(txn).await;
        }
        let fence_term = fence.map(|leadership| leadership.term);
        match self.inner.apply(&Command::Txn { txn, fence_term })? {
            Outcome::Txn(response) => Ok(response),
            other => Err(KvError::Stopped(format!("a transaction was answered by {other:?}"))),
        }
    }

    fn lanes(&self) -> Option<&Arc<Lanes>> {
        Some(self.inner.engine.lanes())
    }

    async fn watch(&self, request: WatchRequest) -> Result<Box<dyn Watcher>, KvError> {
        self.inner.hub.watch(request)
    }

    async fn watch_about(&self, request: WatchRequest, about: About) -> Result<Box<dyn Watcher>, KvError> {
        self.inner.hub.watch_about(request, about)
    }

    async fn compact(&self, revision: Revision) -> Result<(), KvError> {
        self.inner.apply(&Command::Compact { revision })?;
        loop {
            match self.inner.engine.compact_step() {
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => return Ok(()),
                Err(error) => return Err(KvError::Stopped(error.to_string())),
            }
        }
    }

    async fn hash_kv(&self, revision: Revision) -> Result<HashKv, KvError> {
        self.inner.engine.read_hash_kv(revision).await
    }

    fn applied_revision(&self) -> Revision {
        self.inner.hub.applied_revision()
    }

    async fn wait_applied(&self, revision: Revision) -> Result<(), KvError> {
        self.inner.hub.wait_applied(revision).await
    }
}

#[async_trait]
impl Leases for LocalKv {
    async fn grant(&self, id: i64, ttl_s: i64) -> Result<LeaseGranted, KvError> {
        self.start_lessor().await;
        let ttl_s = ttl_s.max(limits::LEASE_TTL_MIN_S);
        match self.inner.apply(&Command::LeaseGrant { id, ttl_s })? {
            Outcome::LeaseGranted { id, ttl_s, revision } => Ok(LeaseGranted { id, ttl_s, revision }),
            other => Err(KvError::Stopped(format!("a grant was answered by {other:?}"))),
        }
    }

    async fn revoke(&self, id: i64) -> Result<Revision, KvError> {
        if id == 0 {
            return Err(KvError::LeaseNotFound { id });
        }
        match self.inner.apply(&Command::LeaseRevoke { id, fence_term: None })? {
            Outcome::LeaseRevoked { revision } => Ok(revision),
            other => Err(KvError::Stopped(format!("a revocation was answered by {other:?}"))),
        }
    }

    async fn keep_alive(&self, id: i64) -> Result<Option<i64>, KvError> {
        self.start_lessor().await;
        let renewed = driver::keep_alive(&*self.inner, id).await;
        renewed.map_err(|NotDone(why)| KvError::Unavailable(why))
    }

    async fn time_to_live(&self, id: i64, keys: bool) -> Result<Option<LeaseStatus>, KvError> {
        self.start_lessor().await;
        let remaining = driver::remaining(&*self.inner, id).await;
        let remaining = remaining.map_err(|NotDone(why)| KvError::Unavailable(why))?;
        let Some((granted_ttl_s, remaining_ttl_s)) = remaining else {
            return Ok(None);
        };
        let keys = if keys {
            self.inner.engine.read_attached_keys(id).await?
        } else {
            Vec::new()
        };
        Ok(Some(LeaseStatus {
            granted_ttl_s,
            remaining_ttl_s,
            keys,
        }))
    }

    async fn leases(&self) -> Result<Vec<i64>, KvError> {
        let leases = self.inner.engine.read_leases().await?;
        Ok(leases.into_iter().map(|(id, _)| id).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::conformance;

    #[tokio::test]
    async fn conforms() {
        let kv = Arc::new(LocalKv::new());
        kv.set_term(7);
        let leadership = kv.leadership();
        conformance::run_leases(&*kv).await;
        conformance::run(kv, leadership).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_goes_on_from_what_is_left_when_the_term_changes() {
        let kv = LocalKv::new();
        let id = kv.grant(0, 100).await.unwrap().id;
        let left = |kv: &LocalKv| {
            kv.inner
                .engine
                .leases()
                .with(kv.inner.term(), |lessor| lessor.remaining(id, Instant::now()))
        };
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(left(&kv), Some(Some((100, 40))));
        kv.set_term(2);
        let status = kv.time_to_live(id, false).await.unwrap().unwrap();
        assert_eq!(status.remaining_ttl_s, 50, "as noted when half of it was over");
        // Whoever is told that it has all of its time again does not lose it to the next term.
        assert_eq!(kv.keep_alive(id).await, Ok(Some(100)));
        kv.set_term(3);
        let status = kv.time_to_live(id, false).await.unwrap().unwrap();
        assert_eq!(status.remaining_ttl_s, 100);
        tokio::time::sleep(Duration::from_secs(99)).await;
        assert_eq!(kv.leases().await, Ok(vec![id]));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(kv.leases().await, Ok(vec![]));
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
