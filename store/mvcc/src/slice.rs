//! Part of a read of a range: so many keys or bytes of it, and where the rest begins.
//!
//! A large read that is made of slices, all at one revision, lets others have their turn in between, and never holds more
//! than it is given. A slice walks the keys in their own order, and looks at no more of them than its budget says.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::index::FoundKeys;
use crate::keys;
use crate::latest::Known;
use crate::meta::Revisions;
use crate::range::{ReadError, limit_of, passes, resolve};
use crate::recall::Recall;
use crate::record::Record;
use crate::scan::{Live, Overlay, scan};
use crate::storage::{Storage, StorageRead, Table};
use crate::types::{KeyValue, RangeRequest, Revision};

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
    // One more than the slice takes tells where the next one begins.
    let limit = limit_of(request);
    let most = if request.filter.is_open() && !request.count_only {
        budget.keys.min(limit)
    } else {
        budget.keys
    };
    let Some(found) = recall.index.first(&request.range, most.saturating_add(1)) else {
        return Ok(None);
    };
    let FoundKeys { keys, revision } = found;
    let is_another = request.revision > 0 && request.revision != revision;
    if is_another || recall.stored() != revision {
        return Ok(None);
    }
    // Taken after the keys were found, so it holds their versions, or newer ones.
    let reader = storage.snapshot();
    let mut slice = Slice {
        kvs: Vec::new(),
        seen: 0,
        next: None,
        at: revision,
        current: revision,
    };
    let mut bytes = 0;
    for (key, mod_revision) in keys {
        if slice.seen >= budget.keys as u64 || bytes >= budget.bytes || slice.kvs.len() >= limit {
            slice.next = Some(key.into());
            break;
        }
        slice.seen += 1;
        if request.count_only {
            continue;
        }
        let mut kv = match recall.latest.get(&key) {
            Some(Known { kv: Some(kv), .. }) if kv.mod_revision == mod_revision => kv,
            _ => match version(&reader, &key, mod_revision)? {
                Some(kv) => kv,
                // It was superseded and removed since: this state cannot be read any more.
                None => return Ok(None),
            },
        };
        if passes(Live::Written(&kv), request) {
            if request.keys_only {
                kv.value = Bytes::new();
            }
            bytes += kv.bytes();
            slice.kvs.push(kv);
        }
    }
    Ok(Some(slice))
}

/// The version of a key that came to be at a revision, if it is still there.
fn version<R: StorageRead>(reader: &R, key: &[u8], revision: Revision) -> Result<Option<KeyValue>, ReadError> {
    let Some(row) = reader.get(Table::Data, &keys::data_key(key, revision))? else {
        return Ok(None);
    };
    let record = Record::decode(&row)?;
    Ok((!record.tombstone).then(|| record.to_key_value(key, revision, true)))
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
