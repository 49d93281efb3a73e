//! Part of a read of a range: so many keys or bytes of it, and where the rest begins.
//!
//! A large read that is made of slices, all at one revision, lets others have their turn in between, and never holds more
//! than it is given. A slice walks the keys in their own order, and looks at no more of them than its budget says.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::meta::Revisions;
use crate::range::{ReadError, limit_of, passes, resolve};
use crate::scan::{Overlay, scan};
use crate::storage::StorageRead;
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
