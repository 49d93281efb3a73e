//! Reads of the engine: blocking ones, and those that choose where to block.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use trireme_mvcc::check::txn_limits;
use trireme_mvcc::execute::look;
use trireme_mvcc::hash_kv::hash_kv;
use trireme_mvcc::history::{HistoryBudget, HistoryChunk, history};
use trireme_mvcc::index::Known;
use trireme_mvcc::lease;
use trireme_mvcc::range::{ReadError, is_of_one_key_now, range, range_known, version};
use trireme_mvcc::storage::Storage;
use trireme_mvcc::types::{
    HashKv, KeyRange, Lease, Op, Order, RangeRequest, RangeResponse, Revision, Txn, TxnResponse,
};

use super::limits::INLINE_RANGE_KEYS;
use super::replica::Engine;
use crate::blocking;
use crate::kv::KvError;

impl Engine {
    /// Reads a range of the local replica. Blocking.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
        if let Some(answer) = self.known_count(request) {
            return Ok(answer);
        }
        if let Some(answer) = self.noting(self.known_key(request))? {
            return Ok(answer);
        }
        let known = self.counts.get(&request.range, request.revision);
        let storage = self.storage();
        let answer = match known.filter(|_| request.count_total) {
            None => range(&storage.snapshot(), request),
            Some(_) => {
                // It need not be counted again.
                let uncounted = RangeRequest {
                    count_total: false,
                    ..request.clone()
                };
                range(&storage.snapshot(), &uncounted)
            }
        };
        let mut answer = self.noting(answer)?;
        let count = answer.count.or(known);
        if request.count_total {
            answer.count = count;
        }
        self.counts.learn(request, &answer, count);
        Ok(answer)
    }

    /// The answer to a request for one key as it is now, if it is known which version that is.
    fn known_key(&self, request: &RangeRequest) -> Result<Option<RangeResponse>, ReadError> {
        if !is_of_one_key_now(request) {
            return Ok(None);
        }
        let present = self.state().revision;
        let (key, recall) = (&request.range.start, self.recall());
        let Some((known, revision)) = recall.index.get(key) else {
            return Ok(None);
        };
        let known = match known {
            Known::Version(kv) => Some(kv),
            Known::Absent => None,
            Known::At(at) => {
                let storage = self.storage();
                let found = version(&storage.snapshot(), key, at)?;
                if found.is_none() {
                    // It was replaced meanwhile, and compacted away.
                    return Ok(None);
                }
                recall.index.keep(&found);
                found
            }
        };
        // It is what the key was in this state if that was the present one all the while, and nothing newer was, or was about
        // to be, in the storage.
        let is_of_present = revision <= present && recall.stored() == present && self.state().revision == present;
        Ok(is_of_present
            .then(|| range_known(request, known.as_ref(), present))
            .flatten())
    }

    /// The answer to a request that only counts, if the count is known.
    pub(super) fn known_count(&self, request: &RangeRequest) -> Option<RangeResponse> {
        if !request.count_only {
            return None;
        }
        let state = self.state();
        let revision = request.revision;
        let is_latest = revision <= 0 || revision == state.revision;
        let count = if is_latest && request.range == KeyRange::prefix("") {
            state.live?.keys
        } else if (state.compacted.max(1)..=state.revision).contains(&revision) {
            self.counts.get(&request.range, revision)?
        } else {
            return None;
        };
        Some(RangeResponse {
            count: Some(count),
            revision: state.revision,
            ..RangeResponse::default()
        })
    }

    /// Reads a range of the local replica: small ones at once, others on the blocking pool, a few at a time.
    ///
    /// # Errors
    /// [`KvError::Compacted`], [`KvError::FutureRevision`]; [`KvError::Stopped`] if the storage failed.
    pub async fn read_range(self: &Arc<Self>, request: RangeRequest) -> Result<RangeResponse, KvError> {
        if is_small(&request) {
            return Ok(self.range(&request)?);
        }
        self.blocking(move |engine| engine.range(&request)).await
    }

    /// Carries out a transaction that only reads on the local replica: a small one at once, others on the blocking pool, a few
    /// at a time.
    ///
    /// # Errors
    /// As the transaction's in the log; [`KvError::Stopped`] if the storage failed.
    pub async fn read_txn(self: &Arc<Self>, txn: Txn) -> Result<TxnResponse, KvError> {
        txn_limits(&txn)?;
        let is_small = is_small_txn(&txn);
        let read = move |engine: &Self| {
            let storage = engine.storage();
            let looked = look(&storage.snapshot(), &txn).map_err(ReadError::from);
            engine.noting(looked)
        };
        let looked = if is_small {
            read(self)?
        } else {
            self.blocking(read).await?
        };
        Ok(looked?)
    }

    /// The changes of a range from `start` to `end`, in a bounded chunk. Blocking.
    ///
    /// # Errors
    /// [`ReadError::Compacted`], [`ReadError::Storage`].
    pub fn history(
        &self,
        range: &KeyRange,
        start: Revision,
        end: Revision,
        budget: HistoryBudget,
    ) -> Result<HistoryChunk, ReadError> {
        let storage = self.storage();
        self.noting(history(&storage.snapshot(), range, start, end, budget))
    }

    /// [`history`](Self::history), on the blocking pool.
    ///
    /// # Errors
    /// [`KvError::Compacted`]; [`KvError::Stopped`] if the storage failed.
    pub async fn read_history(
        self: &Arc<Self>,
        range: KeyRange,
        start: Revision,
        end: Revision,
        budget: HistoryBudget,
    ) -> Result<HistoryChunk, KvError> {
        self.blocking(move |engine| engine.history(&range, start, end, budget))
            .await
    }

    /// A hash over everything that can be read up to `revision`, 0 for the latest, on the blocking pool.
    ///
    /// # Errors
    /// [`KvError::Compacted`], [`KvError::FutureRevision`]; [`KvError::Stopped`] if the storage failed.
    pub async fn read_hash_kv(self: &Arc<Self>, revision: Revision) -> Result<HashKv, KvError> {
        self.blocking(move |engine| {
            let storage = engine.storage();
            engine.noting(hash_kv(&storage.snapshot(), revision))
        })
        .await
    }

    /// All leases of the local replica, by ascending id, on the blocking pool.
    ///
    /// # Errors
    /// [`KvError::Stopped`] if the storage failed.
    pub async fn read_leases(self: &Arc<Self>) -> Result<Vec<(i64, Lease)>, KvError> {
        self.blocking(|engine| {
            let storage = engine.storage();
            engine.noting(lease::leases(&storage.snapshot()).map_err(ReadError::from))
        })
        .await
    }

    /// The keys attached to a lease, in order, on the blocking pool.
    ///
    /// # Errors
    /// [`KvError::Stopped`] if the storage failed.
    pub async fn read_attached_keys(self: &Arc<Self>, id: i64) -> Result<Vec<Bytes>, KvError> {
        self.blocking(move |engine| {
            let storage = engine.storage();
            engine.noting(lease::attached_keys(&storage.snapshot(), id).map_err(ReadError::from))
        })
        .await
    }

    /// Runs a read where it may block. In memory nothing blocks, and staying on the spot keeps simulations in order.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, KvError> {
        if !self.storage().is_on_disk() {
            return Ok(read(self)?);
        }
        let permit = Arc::clone(&self.blocking_reads).acquire_owned().await;
        let permit = permit.map_err(|_| KvError::Stopped("the engine is closed".into()))?;
        self.blocking_with(Some(permit), read).await
    }

    /// The same, for those whose number is bounded by a permit that they have, or in another way.
    pub(super) async fn blocking_with<T: Send + 'static>(
        self: &Arc<Self>,
        permit: Option<OwnedSemaphorePermit>,
        read: impl FnOnce(&Self) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, KvError> {
        if !self.storage().is_on_disk() {
            return Ok(read(self)?);
        }
        let engine = Arc::clone(self);
        let done = blocking::run(move || {
            // Held by the work, not by the one who asked: that one may have gone.
            let _permit = permit;
            read(&engine)
        });
        Ok(done.await.map_err(|error| KvError::Stopped(error.to_string()))??)
    }

    pub(super) fn noting<T>(&self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        if let Err(ReadError::Storage(error)) = &result {
            self.report_failure(error);
        }
        result
    }
}

/// Whether a transaction that only reads touches only a few keys, whatever the store holds.
fn is_small_txn(txn: &Txn) -> bool {
    let few = txn.compares.len() + txn.success.len() + txn.failure.len() <= INLINE_RANGE_KEYS;
    let one_key = |op: &Op| matches!(op, Op::Range(request) if request.range.end.is_none());
    few && txn.compares.iter().all(|compare| compare.range.end.is_none())
        && txn.success.iter().chain(&txn.failure).all(one_key)
}

/// Whether a read touches only a few keys, whatever the store holds.
fn is_small(request: &RangeRequest) -> bool {
    if request.range.end.is_none() {
        return true;
    }
    let few = (1..=INLINE_RANGE_KEYS).contains(&request.limit);
    let ends_early = !request.count_only && !request.count_total && request.filter.is_open();
    few && ends_early && request.order == Order::default()
}
