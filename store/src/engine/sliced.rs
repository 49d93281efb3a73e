//! Range reads that may be large: slice by slice, each with a seat in its lane.

use std::sync::Arc;

use bytes::Bytes;
use trireme_mvcc::slice::{SliceBudget, recalled_slice, slice};
use trireme_mvcc::storage::Storage;
use trireme_mvcc::types::RangeRequest;

use super::gather::{Encode, Gather, Gathered};
use super::replica::Engine;
use crate::kv::KvError;
use crate::lanes::{Answer, Asker, Lane, Seat};
use crate::limits::{BULK_SLICE_BYTES, BULK_SLICE_KEYS, RANGE_RESTARTS_MAX, SEAT_BYTES, SMALL_RANGE_KEYS};

/// How much a slice may be.
const BUDGET: SliceBudget = SliceBudget {
    keys: BULK_SLICE_KEYS,
    bytes: BULK_SLICE_BYTES,
};

impl Engine {
    /// Reads a range, and encodes what it finds. The first slice is done in the asker's lane, and so is the count of what
    /// follows; what turns out to be more is large work. Nothing is cut: an answer that is too large is refused. The answer's room is held by what comes with it.
    ///
    /// # Errors
    /// Those of [`read_range`](Self::read_range), and [`KvError::Overloaded`].
    pub(crate) async fn read_sliced(
        self: &Arc<Self>,
        asker: Asker,
        request: RangeRequest,
        encode: Encode,
    ) -> Result<(Gathered, Answer), KvError> {
        if let Some(known) = self.known_count(&request) {
            let gathered = Gathered {
                pieces: Vec::new(),
                found: 0,
                more: false,
                count: known.count,
                revision: known.revision,
            };
            return Ok((gathered, self.lanes().answer(asker.flow)));
        }
        let mut restarts = 0;
        loop {
            let read = self.read_slices(asker, request.clone(), encode).await;
            // Whoever asked for the latest did not ask for a revision that can go away.
            let can_restart = request.revision <= 0 && restarts < RANGE_RESTARTS_MAX;
            if !(can_restart && matches!(read, Err(KvError::Compacted { .. }))) {
                return read;
            }
            restarts += 1;
        }
    }

    async fn read_slices(
        self: &Arc<Self>,
        asker: Asker,
        request: RangeRequest,
        encode: Encode,
    ) -> Result<(Gathered, Answer), KvError> {
        let mut answer = self.lanes().answer(asker.flow);
        let expected_bytes = request.limit.clamp(1, SMALL_RANGE_KEYS) * SEAT_BYTES;
        let mut gather = Gather::new(request, encode);
        if asker.lane != Lane::Bulk {
            let seat = self.lanes().admit(asker, expected_bytes).await?;
            gather = self.add_slice(gather, seat, asker.lane).await?;
            answer.hold(asker.lane, gather.bytes())?;
        }
        while gather.wants().is_some() {
            // A page is small work to its end: that its answer has to tell how many keys follow is not its asker's doing.
            if asker.lane != Lane::Bulk && gather.only_counts() {
                let seat = self.lanes().admit(asker, SMALL_RANGE_KEYS * SEAT_BYTES).await?;
                gather = self.add_slice(gather, seat, asker.lane).await?;
                continue;
            }
            let seat = answer.slice().await?;
            gather = self.add_slice(gather, seat, Lane::Bulk).await?;
            answer.keep(gather.bytes());
        }
        answer.complete();
        if let Some((range, keys)) = gather.rest_counted() {
            self.counts.note(range, gather.at(), keys);
        }
        Ok((gather.into_gathered(), answer))
    }

    async fn add_slice(self: &Arc<Self>, mut gather: Gather, seat: Seat, lane: Lane) -> Result<Gather, KvError> {
        let work = move |engine: &Self| {
            let Some(wanted) = gather.wants() else {
                return Ok(gather);
            };
            let storage = engine.storage();
            let recalled = engine.noting(recalled_slice(&*storage, engine.recall(), wanted, BUDGET))?;
            let read = match recalled {
                Some(read) => read,
                None => engine.noting(slice(&storage.snapshot(), wanted, BUDGET))?,
            };
            gather.take(read, |range, revision| engine.counts.get(range, revision))?;
            // Held by the work, not by the one who asked: that one may have gone.
            drop(seat);
            Ok(gather)
        };
        if lane == Lane::Bulk {
            // The lane's seats bound how many of these there are.
            self.blocking_with(None, work).await
        } else {
            self.blocking(work).await
        }
    }
}

/// For those who only count.
pub(crate) fn encode_nothing(_: Vec<trireme_mvcc::types::KeyValue>) -> Bytes {
    Bytes::new()
}
