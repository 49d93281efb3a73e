//! Part of a read of a range: so many keys or bytes of it, and where the rest begins.
//!
//! A large read that is made of slices, all at one revision, lets others have their turn in between, and never holds more
//! than it is given. A slice walks the keys in their own order, and looks at no more of them than its budget says.

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};

use crate::index::Index;
use crate::limits::KEPT_VERSION_BYTES_MAX;
use crate::meta::Revisions;
use crate::range::{ReadError, limit_of, passes, resolve, version};
use crate::recall::Recall;
use crate::scan::{Live, Overlay, scan};
use crate::storage::{Storage, StorageRead};
use crate::types::{KeyValue, RangeRequest, Revision};

/// Copies of keys and values lie together in parts of so many bytes.
const COPY_BYTES: usize = 64 * 1024;

/// So many versions are kept at a time; changes wait meanwhile.
const KEPT_AT_A_TIME: usize = 256;

/// How much a slice may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceBudget {
    /// So many keys are looked at, at most.
    pub keys: usize,
    /// It ends with the key that reaches this many bytes, as [`KeyValue::bytes`] counts them.
    pub bytes: usize,
}

/// Part of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The keys that the request lets through, in their own order; none if it only counts.
    pub kvs: Vec<KeyValue>,
    /// How many keys it looked at.
    pub seen: u64,
    /// The first key that it did not look at; `None` at the end of the range.
    pub next: Option<Bytes>,
    /// The revision that it shows.
    pub at: Revision,
    /// The store's revision.
    pub current: Revision,
}

/// The same from what is kept in memory, if the request is for the keys as they are now and all that it takes is known.
/// `storage` is asked for the versions that are not in memory, each by its place.
///
/// # Errors
/// As [`slice()`].
pub fn recalled_slice<S: Storage>(
    storage: &S,
    recall: &Recall,
    request: &RangeRequest,
    budget: SliceBudget,
) -> Result<Option<Slice>, ReadError> {
    let Some((walked, revision)) = walk(&recall.index, request, budget) else {
        return Ok(None);
    };
    let is_another = request.revision > 0 && request.revision != revision;
    if is_another || recall.stored() != revision {
        return Ok(None);
    }
    let mut slice = Slice {
        kvs: Vec::with_capacity(walked.found.len()),
        seen: walked.seen,
        next: walked.next,
        at: revision,
        current: revision,
    };
    let (mut reader, mut bytes) = (None, 0);
    let mut looked_up = Vec::new();
    for (before, found) in walked.found {
        if bytes >= budget.bytes {
            (slice.seen, slice.next) = (before, Some(found.into_key()));
            break;
        }
        let mut kv = match found {
            Found::Version(kv) => kv,
            Found::At(key, mod_revision) => {
                // Taken after the keys were met, so it holds their versions, or newer ones.
                let reader = reader.get_or_insert_with(|| storage.snapshot());
                let Some(kv) = version(reader, &key, mod_revision)? else {
                    // It was superseded and removed since: this state cannot be read any more.
                    return Ok(None);
                };
                // Whoever reads it next need not look it up.
                if kv.value.len() <= KEPT_VERSION_BYTES_MAX {
                    looked_up.push(kv.clone());
                }
                if looked_up.len() == KEPT_AT_A_TIME {
                    recall.index.keep(&looked_up);
                    looked_up.clear();
                }
                kv
            }
        };
        if passes(Live::Written(&kv), request) {
            if request.keys_only {
                kv.value = Bytes::new();
            }
            bytes += kv.bytes();
            slice.kvs.push(kv);
        }
    }
    recall.index.keep(&looked_up);
    Ok(Some(slice))
}

/// What a walk over the keys in memory came to.
struct Walked {
    /// The keys that may belong into the slice, in order, each with the number of keys before it.
    found: Vec<(u64, Found)>,
    seen: u64,
    next: Option<Bytes>,
}

enum Found {
    /// It belongs into the slice.
    Version(KeyValue),
    /// The key, whose version must be looked up.
    At(Bytes, Revision),
}

impl Found {
    fn into_key(self) -> Bytes {
        match self {
            Self::Version(kv) => kv.key,
            Self::At(key, _) => key,
        }
    }
}

/// Walks over the keys in memory as far as the slice may go, and tells which state they are of.
fn walk(index: &Index, request: &RangeRequest, budget: SliceBudget) -> Option<(Walked, Revision)> {
    let limit = limit_of(request);
    let mut walked = Walked {
        found: Vec::new(),
        seen: 0,
        next: None,
    };
    let (mut bytes, mut copies) = (0, BytesMut::with_capacity(COPY_BYTES));
    let revision = index.walk(&request.range, |met| {
        let before = walked.seen;
        if before >= budget.keys as u64 || bytes >= budget.bytes || walked.found.len() >= limit {
            walked.next = Some(Bytes::copy_from_slice(met.key));
            return ControlFlow::Break(());
        }
        walked.seen += 1;
        if request.count_only {
            return ControlFlow::Continue(());
        }
        let (key, mod_revision) = (met.key, met.revision());
        let Some(record) = met.record() else {
            let key = Bytes::copy_from_slice(key);
            walked.found.push((before, Found::At(key, mod_revision)));
            return ControlFlow::Continue(());
        };
        let live = Live::Stored {
            key,
            mod_revision,
            record,
        };
        if passes(live, request) {
            let value = if request.keys_only { &[] } else { record.value };
            let kv = KeyValue {
                key: copy(&mut copies, key),
                value: copy(&mut copies, value),
                create_revision: record.create_revision,
                mod_revision,
                version: record.version,
                lease: record.lease,
            };
            bytes += kv.bytes();
            walked.found.push((before, Found::Version(kv)));
        }
        ControlFlow::Continue(())
    })?;
    Some((walked, revision))
}

/// A copy that lies behind the ones before it: a slice has thousands, and they are needed together.
fn copy(copies: &mut BytesMut, bytes: &[u8]) -> Bytes {
    copies.extend_from_slice(bytes);
    copies.split().freeze()
}

/// Reads the beginning of a range. Of the request, `order`, `count_total` and `bytes_max` mean nothing here.
///
/// # Errors
/// [`ReadError`], but never [`ReadError::TooLarge`].
pub fn slice<R: StorageRead>(reader: &R, request: &RangeRequest, budget: SliceBudget) -> Result<Slice, ReadError> {
    let state = Revisions::load(reader)?;
    let mut slice = Slice {
        kvs: Vec::new(),
        seen: 0,
        next: None,
        at: resolve(request.revision, state)?,
        current: state.revision,
    };
    let (limit, mut bytes) = (limit_of(request), 0);
    scan(reader, &Overlay::new(), &request.range, slice.at, &mut |live| {
        if slice.seen >= budget.keys as u64 || bytes >= budget.bytes || slice.kvs.len() >= limit {
            slice.next = Some(live.with(|key, _| Bytes::copy_from_slice(key)));
            return ControlFlow::Break(());
        }
        slice.seen += 1;
        if !request.count_only && passes(live, request) {
            let kv = live.to_key_value(!request.keys_only);
            bytes += kv.bytes();
            slice.kvs.push(kv);
        }
        ControlFlow::Continue(())
    })?;
    Ok(slice)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::limits::KEPT_BYTES;
    use crate::machine::StateMachine;
    use crate::memory::MemoryStorage;
    use crate::testing::{delete, entry, put, txn};
    use crate::types::{KeyRange, RevisionFilter};

    /// The keys are `00` to `39`, some written more than once, some deleted; of their versions up to so many bytes are kept.
    fn mk_machine(kept_bytes: usize) -> StateMachine<MemoryStorage> {
        let recall = Arc::new(Recall::new(kept_bytes));
        let mut machine = StateMachine::open_with(Arc::new(MemoryStorage::new()), recall).unwrap();
        let index = &machine.recall().index;
        assert!(index.fill(index.filling(), &machine.storage().snapshot()).unwrap());
        let puts = (0..40).chain((0..40).step_by(7));
        let puts = puts.map(|key| put(&format!("{key:02}"), &"v".repeat(key * 5)));
        let deletes = (0..40).step_by(5).map(|key| delete(&format!("{key:02}")));
        for (index, op) in (1..).zip(puts.chain(deletes)) {
            machine.apply([entry(index, Some(txn(vec![op])))]).unwrap();
        }
        machine
    }

    #[test]
    fn what_was_looked_up_is_kept() {
        let written = mk_machine(KEPT_BYTES);
        let recall = Arc::new(Recall::new(KEPT_BYTES));
        let machine = StateMachine::open_with(Arc::clone(written.storage()), recall).unwrap();
        let index = &machine.recall().index;
        assert!(index.fill(index.filling(), &machine.storage().snapshot()).unwrap());
        let kept = || {
            let mut kept = 0;
            index.walk(&KeyRange::prefix(""), |met| {
                kept += u64::from(met.record().is_some());
                ControlFlow::Continue(())
            });
            kept
        };
        assert_eq!(kept(), 0);
        let request = RangeRequest::latest(KeyRange::prefix(""));
        let (keys, bytes) = (10, usize::MAX);
        let (_, _, seen) = read_all(request, |request| {
            let budget = SliceBudget { keys, bytes };
            recalled_slice(&**machine.storage(), machine.recall(), request, budget)
                .unwrap()
                .unwrap()
        });
        assert_eq!(kept(), seen);
    }

    /// All slices of a read, and what they come to.
    fn read_all(mut request: RangeRequest, read: impl Fn(&RangeRequest) -> Slice) -> (Vec<Slice>, Vec<KeyValue>, u64) {
        let (mut slices, mut kvs, mut seen) = (Vec::new(), Vec::new(), 0);
        let limit = request.limit;
        loop {
            let slice = read(&request);
            seen += slice.seen;
            kvs.extend(slice.kvs.iter().cloned());
            let next = slice.next.clone();
            slices.push(slice);
            let Some(next) = next.filter(|_| limit == 0 || kvs.len() < limit) else {
                return (slices, kvs, seen);
            };
            request.range.start = next;
            request.limit = limit.saturating_sub(kvs.len());
        }
    }

    proptest! {
        /// However much of it is in memory: it is the same, and no slice is larger than it may be.
        #[test]
        fn what_is_in_memory_says_what_the_storage_says(
            limit in 0_usize..45,
            (keys_only, count_only) in any::<(bool, bool)>(),
            min_mod_revision in 0_i64..50,
            kept_bytes in prop_oneof![Just(0), 500_usize..3_000, Just(KEPT_BYTES)],
            (keys, bytes) in (1_usize..20, 1_usize..1_000),
        ) {
            let machine = mk_machine(kept_bytes);
            let request = RangeRequest {
                limit,
                keys_only,
                count_only,
                filter: RevisionFilter { min_mod_revision, ..RevisionFilter::default() },
                ..RangeRequest::latest(KeyRange::prefix(""))
            };
            let budget = SliceBudget { keys, bytes };
            let storage = machine.storage();
            let stored = read_all(request.clone(), |request| slice(&storage.snapshot(), request, budget).unwrap());
            let recalled = read_all(request, |request| {
                recalled_slice(&**storage, machine.recall(), request, budget).unwrap().unwrap()
            });
            prop_assert_eq!(&recalled.1, &stored.1);
            if limit == 0 {
                prop_assert_eq!(recalled.2, stored.2);
            }
            if kept_bytes == KEPT_BYTES {
                prop_assert_eq!(&recalled.0, &stored.0, "they are cut at the same places");
            }
            for slice in recalled.0 {
                prop_assert!(slice.seen <= keys as u64);
                let before_last = slice.kvs.iter().rev().skip(1).map(KeyValue::bytes).sum::<usize>();
                prop_assert!(before_last < bytes);
            }
        }
    }
}
