//! Reads of a range at one revision.
//!
//! Everything comes out of one view. The watermark is written before anything below it is removed, so a view
//! whose watermark allows a revision still holds all of it: one check after taking the view is a check both before and
//! after reading. No answer is larger than a constant, whatever is asked for.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::keys;
use crate::limits::{RANGE_BYTES_MAX, VALUE_BYTES_MAX};
use crate::meta::Revisions;
use crate::rank::First;
use crate::record::Record;
use crate::scan::{Live, Overlay, Visit, scan};
use crate::storage::{StorageError, StorageRead, Table};
use crate::types::{KeyValue, Order, RangeRequest, RangeResponse, Revision, SortBy};

/// Why a read was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The revision is compacted away.
    #[error("revision {requested} has been compacted; the oldest available is {oldest}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The oldest there is.
        oldest: Revision,
    },
    /// The revision is not there yet.
    #[error("revision {requested} is in the future; the store is at {current}")]
    FutureRevision {
        /// What was asked for.
        requested: Revision,
        /// The present one.
        current: Revision,
    },
    /// The answer would be too large, and no bound was set at which to cut it.
    #[error("the answer would have more than {max} bytes; read it in parts")]
    TooLarge {
        /// The bound, in bytes.
        max: usize,
    },
    /// The storage failed; fatal.
    #[error("the range could not be read")]
    Storage(#[from] StorageError),
}

/// Reads a range from a view.
///
/// # Errors
/// [`ReadError`].
pub fn range<R: StorageRead>(reader: &R, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
    let state = Revisions::load(reader)?;
    let revision = resolve(request.revision, state)?;
    let bounds = Bounds::of(request);
    read(reader, &Overlay::new(), request, bounds, revision, state.revision)
}

/// Answers a read of one key as it is now from what is known of it: `kv`, in the state of revision `current`. `None` if the
/// request is another one.
pub fn range_known(request: &RangeRequest, kv: Option<&KeyValue>, current: Revision) -> Option<RangeResponse> {
    if !is_of_one_key_now(request) {
        return None;
    }
    let walk = |visit: &mut Visit<'_>| {
        if let Some(kv) = kv {
            let _ = visit(Live::Written(kv));
        }
        Ok(())
    };
    let response = gather_in_order(request, Bounds::of(request), walk).ok()?;
    Some(RangeResponse {
        revision: current,
        ..response
    })
}

/// The version of a key that came to be at a revision, if it is still there. To get it takes a third of what it takes to seek
/// the newest one.
///
/// # Errors
/// [`StorageError`], fatal.
pub fn version<R: StorageRead>(reader: &R, key: &[u8], revision: Revision) -> Result<Option<KeyValue>, StorageError> {
    let Some(row) = reader.get(Table::Data, &keys::data_key(key, revision))? else {
        return Ok(None);
    };
    let record = Record::decode(&row)?;
    Ok((!record.tombstone).then(|| record.to_key_value(key, revision, true)))
}

/// Whether a request is for one key as it is now, in the words that [`range_known`] understands.
pub fn is_of_one_key_now(request: &RangeRequest) -> bool {
    request.range.end.is_none() && request.revision <= 0 && request.order == Order::default()
}

/// The revision that a request means: anything not positive is the latest.
pub(crate) fn resolve(requested: Revision, state: Revisions) -> Result<Revision, ReadError> {
    if requested <= 0 {
        Ok(state.revision)
    } else if requested > state.revision {
        Err(ReadError::FutureRevision {
            requested,
            current: state.revision,
        })
    } else if requested < state.compacted {
        Err(ReadError::Compacted {
            requested,
            oldest: state.compacted,
        })
    } else {
        Ok(requested)
    }
}

/// How large an answer may become, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Where it is cut.
    cut: usize,
    /// Where the read is refused, unless it was cut before.
    refuse: usize,
}

impl Bounds {
    /// Of a read of its own. One that sets a bound is told when it is cut, so it may be cut at ours, too.
    fn of(request: &RangeRequest) -> Self {
        let cut = match request.bytes_max {
            0 => usize::MAX,
            bytes_max => bytes_max.min(RANGE_BYTES_MAX),
        };
        Self {
            cut,
            refuse: RANGE_BYTES_MAX + VALUE_BYTES_MAX,
        }
    }

    /// Within a transaction that may still answer with `left` bytes.
    pub(crate) fn within(request: &RangeRequest, left: usize) -> Self {
        let cut = match request.bytes_max {
            0 => usize::MAX,
            bytes_max => bytes_max,
        };
        Self { cut, refuse: left }
    }
}

/// Reads a range at a revision that is known to be there.
pub(crate) fn read<R: StorageRead>(
    reader: &R,
    overlay: &Overlay,
    request: &RangeRequest,
    bounds: Bounds,
    revision: Revision,
    current: Revision,
) -> Result<RangeResponse, ReadError> {
    let ascending = request.order == Order::default();
    let mut response = if request.count_only || ascending {
        read_in_order(reader, overlay, request, bounds, revision)?
    } else {
        read_sorted(reader, overlay, request, bounds, revision)?
    };
    response.revision = current;
    Ok(response)
}

pub(crate) fn limit_of(request: &RangeRequest) -> usize {
    if request.limit == 0 { usize::MAX } else { request.limit }
}

/// In the order of keys: each is final when it is met, and the walk may end early.
fn read_in_order<R: StorageRead>(
    reader: &R,
    overlay: &Overlay,
    request: &RangeRequest,
    bounds: Bounds,
    revision: Revision,
) -> Result<RangeResponse, ReadError> {
    gather_in_order(request, bounds, |visit| {
        scan(reader, overlay, &request.range, revision, visit)
    })
}

/// What of the versions that a walk meets belongs into an answer.
fn gather_in_order(
    request: &RangeRequest,
    bounds: Bounds,
    walk: impl FnOnce(&mut Visit<'_>) -> Result<(), StorageError>,
) -> Result<RangeResponse, ReadError> {
    let limit = limit_of(request);
    let mut response = RangeResponse::default();
    let (mut seen, mut bytes, mut whole, mut too_large) = (0u64, 0, true, false);
    walk(&mut |live| {
        seen += 1;
        if request.count_only || response.more || !passes(live, request) {
            return ControlFlow::Continue(());
        }
        let kv = (response.kvs.len() < limit).then(|| live.to_key_value(!request.keys_only));
        match kv {
            Some(kv) if response.kvs.is_empty() || bytes + kv.bytes() <= bounds.cut => {
                bytes += kv.bytes();
                too_large = bytes > bounds.refuse;
                response.kvs.push(kv);
                if too_large {
                    return ControlFlow::Break(());
                }
            }
            _ => {
                response.more = true;
                if !request.count_total {
                    whole = false;
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    if too_large {
        return Err(ReadError::TooLarge { max: bounds.refuse });
    }
    response.count = whole.then_some(seen);
    Ok(response)
}

/// In another order: the whole range is walked, and the first keys are kept.
fn read_sorted<R: StorageRead>(
    reader: &R,
    overlay: &Overlay,
    request: &RangeRequest,
    bounds: Bounds,
    revision: Revision,
) -> Result<RangeResponse, ReadError> {
    // Who sorts by values needs them, also if the answer leaves them out.
    let with_value = !request.keys_only || request.order.by == SortBy::Value;
    let mut first = First::new(request.order, limit_of(request), bounds.cut);
    let mut seen = 0u64;
    scan(reader, overlay, &request.range, revision, &mut |live| {
        seen += 1;
        if passes(live, request) {
            first.offer(live.to_key_value(with_value));
        }
        if first.bytes() > bounds.refuse {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    if first.bytes() > bounds.refuse {
        return Err(ReadError::TooLarge { max: bounds.refuse });
    }
    let (mut kvs, more) = first.finish();
    if request.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    Ok(RangeResponse {
        kvs,
        more,
        count: Some(seen),
        revision: 0,
    })
}

pub(crate) fn passes(live: Live<'_>, request: &RangeRequest) -> bool {
    let (mod_revision, create_revision) = live.revisions();
    request.filter.lets_through(mod_revision, create_revision)
}
