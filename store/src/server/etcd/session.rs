//! What locks and elections share: a key below a name that lives as long as a lease, and waiting for the older ones.
//!
//! Of the keys below a name the oldest owns it. Each of the others waits for the one before it alone, so that one
//! owner's leaving wakes one waiter.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tonic::Status;

use super::{Etcd, convert, errors, limits};
use crate::kv::{
    Compare, CompareResult, CompareTarget, Consistency, EventKind, KeyRange, KeyValue, Kv, KvError, Op, OpResponse,
    Order, RangeRequest, Revision, RevisionFilter, SortBy, Txn, TxnResponse, WatchRequest,
};

/// What a key below a name was made with, or was found to have.
pub(super) struct Entered {
    /// The key.
    pub(super) claim: Claim,
    /// The revision of the transaction that made or found it.
    pub(super) revision: Revision,
    /// What the key holds, if it was there already.
    pub(super) found: Option<KeyValue>,
}

/// A key below a name. Dropping it gives it up, unless it was [kept](Self::keep).
pub(super) struct Claim {
    etcd: Arc<Etcd>,
    /// The key.
    pub(super) key: Bytes,
    /// The revision in which it was created.
    pub(super) created: Revision,
    kept: bool,
}

impl Claim {
    /// Leaves the key to its lease and its owner.
    pub(super) fn keep(mut self) -> (Bytes, Revision) {
        self.kept = true;
        (self.key.clone(), self.created)
    }
}

impl Drop for Claim {
    /// The caller has gone away while it waited, and nobody would ever give the key up.
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (etcd, key, created) = (Arc::clone(&self.etcd), self.key.clone(), self.created);
        tokio::spawn(async move {
            if let Err(error) = etcd.store.txn(delete_own(&key, created), None).await {
                tracing::debug!(%error, "a waiter's key is left to its lease");
            }
        });
    }
}

/// Below what the keys of a name lie.
pub(super) fn prefix(name: &[u8]) -> Result<Bytes, Status> {
    if name.len() >= trireme_mvcc::limits::KEY_BYTES_MAX {
        return Err(errors::REQUEST_TOO_LARGE.into());
    }
    let mut prefix = BytesMut::from(name);
    prefix.extend_from_slice(b"/");
    Ok(prefix.freeze())
}

/// The key of a lease below a name: its number in hexadecimal.
fn key_of(prefix: &[u8], lease: i64) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    let number = format!("{sign}{:x}", lease.unsigned_abs());
    [prefix, number.as_bytes()].concat().into()
}

/// A transaction that does `success` if the key is still the one created in `created`.
pub(super) fn if_own(key: &Bytes, created: Revision, success: Vec<Op>) -> Txn {
    Txn {
        compares: vec![Compare {
            range: KeyRange::key(key.clone()),
            result: CompareResult::Equal,
            target: CompareTarget::CreateRevision(created),
        }],
        success,
        failure: Vec::new(),
    }
}

/// A transaction that deletes the key if it is still the one created in `created`.
pub(super) fn delete_own(key: &Bytes, created: Revision) -> Txn {
    let delete = Op::Delete {
        range: KeyRange::key(key.clone()),
        prev_kv: false,
    };
    if_own(key, created, vec![delete])
}

impl Etcd {
    /// The lease given, or a new one if there is none.
    pub(super) async fn session(&self, lease: i64) -> Result<i64, Status> {
        if lease != 0 {
            return Ok(lease);
        }
        Ok(self.grant(0, limits::SESSION_TTL_S).await?.id)
    }

    /// Makes the lease's key below `prefix`, unless it is there.
    ///
    /// A task of its own does it: if the caller goes away while it is written, the key is given up all the same.
    pub(super) async fn enter(self: &Arc<Self>, prefix: &[u8], lease: i64, value: Bytes) -> Result<Entered, Status> {
        let key = key_of(prefix, lease);
        let entering = tokio::spawn(Arc::clone(self).enter_whole(key, lease, value));
        entering.await.map_err(|error| Status::internal(error.to_string()))?
    }

    async fn enter_whole(self: Arc<Self>, key: Bytes, lease: i64, value: Bytes) -> Result<Entered, Status> {
        let put = Op::Put {
            key: key.clone(),
            value,
            lease,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        };
        let mut txn = if_own(&key, 0, vec![put]);
        txn.failure = vec![Op::Range(RangeRequest::latest(KeyRange::key(key.clone())))];
        let TxnResponse {
            responses, revision, ..
        } = self.store.txn(txn, None).await.map_err(errors::status)?;
        let found = match responses.into_iter().next() {
            Some(OpResponse::Put(_)) => None,
            Some(OpResponse::Range(response)) => response.kvs.into_iter().next(),
            _ => return Err(convert::wrong_answer()),
        };
        let claim = Claim {
            etcd: self,
            key,
            created: found.as_ref().map_or(revision, |kv| kv.create_revision),
            kept: false,
        };
        Ok(Entered { claim, revision, found })
    }

    /// Waits until no key below `prefix` is older than `created`.
    pub(super) async fn wait_for_older(&self, prefix: &[u8], created: Revision) -> Result<(), Status> {
        loop {
            let filter = RevisionFilter {
                max_create_revision: created - 1,
                ..RevisionFilter::default()
            };
            let (last, revision) = self.first_by_creation(prefix, true, filter).await?;
            match last {
                Some(kv) => self.wait_deleted(kv.key, revision).await?,
                None => return Ok(()),
            }
        }
    }

    /// The key below `prefix` that was created first, or last, and the store's revision.
    pub(super) async fn first_by_creation(
        &self,
        prefix: &[u8],
        descending: bool,
        filter: RevisionFilter,
    ) -> Result<(Option<KeyValue>, Revision), Status> {
        let request = RangeRequest {
            limit: 1,
            order: Order {
                by: SortBy::CreateRevision,
                descending,
            },
            filter,
            ..RangeRequest::latest(KeyRange::prefix(Bytes::copy_from_slice(prefix)))
        };
        let response = self.store.range(request, Consistency::Linearizable).await;
        let response = response.map_err(errors::status)?;
        Ok((response.kvs.into_iter().next(), response.revision))
    }

    /// Waits until the key, which is there at `revision`, is deleted.
    async fn wait_deleted(&self, key: Bytes, revision: Revision) -> Result<(), Status> {
        let request = WatchRequest {
            range: KeyRange::key(key),
            start_revision: revision + 1,
        };
        let mut watcher = match self.store.watch(request).await {
            Ok(watcher) => watcher,
            // It can be looked at anew.
            Err(KvError::Compacted { .. }) => return Ok(()),
            Err(error) => return Err(errors::status(error)),
        };
        loop {
            match watcher.next().await {
                Ok(batch) if batch.events.iter().any(|event| event.kind == EventKind::Delete) => return Ok(()),
                Ok(_) => {}
                Err(KvError::Compacted { .. }) => return Ok(()),
                Err(error) => return Err(errors::status(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_after_their_lease() {
        let check = |lease: i64, expected: &'static str| {
            assert_eq!(key_of(&prefix(b"name").unwrap(), lease), expected);
        };
        check(0x0006_94d7, "name/694d7");
        check(i64::MAX, "name/7fffffffffffffff");
        check(-255, "name/-ff");
    }
}
