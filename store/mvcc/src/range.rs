//! Reads of a range at one revision.
//!
//! Everything comes out of one view. The watermark is written before anything below it is removed, so a view
//! whose watermark allows a revision still holds all of it: one check after taking the view is a check both before and
//! after reading.

use std::ops::ControlFlow;

use crate::meta::State;
use crate::scan::{Overlay, scan};
use crate::storage::{StorageError, StorageRead};
use crate::types::{RangeRequest, RangeResponse, Revision};

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
    /// The storage failed; fatal.
    #[error("the range could not be read")]
    Storage(#[from] StorageError),
}

/// Reads a range from a view.
///
/// # Errors
/// [`ReadError`].
pub fn range<R: StorageRead>(reader: &R, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
    let state = State::load(reader)?;
    let revision = resolve(request.revision, &state)?;
    Ok(read(reader, &Overlay::new(), request, revision, state.revision)?)
}

/// The revision that a request means: anything not positive is the latest.
pub(crate) fn resolve(requested: Revision, state: &State) -> Result<Revision, ReadError> {
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

/// Reads a range at a revision that is known to be there.
pub(crate) fn read<R: StorageRead>(
    reader: &R,
    overlay: &Overlay,
    request: &RangeRequest,
    revision: Revision,
    current: Revision,
) -> Result<RangeResponse, StorageError> {
    let RangeRequest {
        range,
        limit,
        revision: _,
        keys_only,
        count_only,
    } = request;
    let limit = if *limit == 0 || *count_only { usize::MAX } else { *limit };
    let mut response = RangeResponse {
        revision: current,
        ..RangeResponse::default()
    };
    let mut seen = 0usize;
    scan(reader, overlay, range, revision, &mut |live| {
        if seen == limit {
            response.more = true;
            return ControlFlow::Break(());
        }
        seen += 1;
        if !count_only {
            response.kvs.push(live.to_key_value(!keys_only));
        }
        ControlFlow::Continue(())
    })?;
    response.count = (!response.more).then_some(seen as u64);
    Ok(response)
}
