//! Which call of etcd's API belongs into which lane, and how much it is expected to read or write. Pure.

use tonic::Status;

use super::{Etcd, errors};
use crate::kv::{Op, Order, RangeRequest, Txn};
use crate::lanes::{Asker, Flow, Lane, Seat};
use crate::limits::{BULK_SLICE_BYTES, SEAT_BYTES, SMALL_RANGE_KEYS};

/// A call, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call<'a> {
    Range(&'a RangeRequest),
    Txn(&'a Txn),
    /// Compactions, and leases that are made and revoked.
    Small,
    /// A lease is kept alive.
    KeepAlive,
    /// How a lease stands, with its keys or without.
    TimeToLive {
        keys: bool,
    },
    /// The beginning of a stream of watches. What they read of the history has its turns in the bulk lane.
    WatchStream,
    /// How this server stands.
    Status,
    /// Walks over everything: hashes, backups, all leases, streamed ranges.
    Everything,
}

/// The lane of a call, and the bytes that it is expected to read and write there: for large work, in a slice.
pub(super) fn classify(call: Call<'_>) -> (Lane, usize) {
    match call {
        Call::Range(range) if is_small(range) => (Lane::Users, expected_bytes(range)),
        Call::Txn(txn) => of_txn(txn),
        Call::Small | Call::WatchStream | Call::TimeToLive { keys: false } => (Lane::Users, SEAT_BYTES),
        Call::KeepAlive | Call::Status => (Lane::System, SEAT_BYTES),
        Call::Range(_) | Call::TimeToLive { keys: true } | Call::Everything => (Lane::Bulk, BULK_SLICE_BYTES),
    }
}

/// Whether a range has few keys, whatever the store holds.
fn is_small(range: &RangeRequest) -> bool {
    let few = (1..=SMALL_RANGE_KEYS).contains(&range.limit) && range.order == Order::default() && !range.count_only;
    range.range.end.is_none() || few
}

fn expected_bytes(range: &RangeRequest) -> usize {
    let keys = if range.range.end.is_none() { 1 } else { range.limit };
    keys * SEAT_BYTES
}

/// A transaction belongs where the largest of its comparisons and operations does. It is carried out whole, so it has no
/// slices: one that may look at any number of keys takes the seats of a slice, so that few of them are under way at a time.
fn of_txn(txn: &Txn) -> (Lane, usize) {
    let many = (Lane::Bulk, BULK_SLICE_BYTES);
    let compares = txn.compares.iter().map(|compare| match compare.range.end {
        Some(_) => many,
        None => (Lane::Users, 0),
    });
    let ops = txn.success.iter().chain(&txn.failure).map(|op| match op {
        Op::Put { key, value, .. } => (Lane::Users, key.len() + value.len()),
        Op::Delete { range, .. } if range.end.is_some() => many,
        Op::Delete { .. } => (Lane::Users, 0),
        Op::Range(range) if is_small(range) => (Lane::Users, expected_bytes(range)),
        Op::Range(_) => many,
        Op::Txn(txn) => of_txn(txn),
    });
    let whole = (Lane::Users, SEAT_BYTES);
    compares
        .chain(ops)
        .fold(whole, |(lane, bytes), (of, more)| (lane.max(of), bytes + more))
}

/// Whose call it is. One that did not come through a listener is nobody's in particular.
pub(super) fn flow<T>(request: &tonic::Request<T>) -> Flow {
    request.extensions().get::<Flow>().copied().unwrap_or_default()
}

impl Etcd {
    /// Waits for a seat for a call.
    pub(super) async fn admit(&self, flow: Flow, call: Call<'_>) -> Result<Seat, Status> {
        let (lane, bytes) = classify(call);
        let seat = self.lanes().admit(Asker { lane, flow }, bytes).await;
        seat.map_err(|refused| errors::status(refused.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Compare, CompareResult, CompareTarget, KeyRange, SortBy};

    fn put(bytes: usize) -> Op {
        Op::put("k", vec![0; bytes])
    }

    fn txn(success: Vec<Op>, failure: Vec<Op>) -> Txn {
        Txn {
            success,
            failure,
            ..Txn::default()
        }
    }

    fn range(limit: usize) -> RangeRequest {
        RangeRequest {
            limit,
            ..RangeRequest::latest(KeyRange::prefix("a"))
        }
    }

    #[test]
    fn ranges_are_small_if_nothing_can_make_them_large() {
        let one = || RangeRequest::latest(KeyRange::key("a"));
        let sorted = RangeRequest {
            order: Order {
                by: SortBy::Value,
                descending: false,
            },
            ..range(1)
        };
        let counted = RangeRequest {
            count_only: true,
            ..range(1)
        };
        let count_of_one = RangeRequest {
            count_only: true,
            ..one()
        };
        for (request, expected) in [
            (one(), (Lane::Users, SEAT_BYTES)),
            (count_of_one, (Lane::Users, SEAT_BYTES)),
            (range(1), (Lane::Users, SEAT_BYTES)),
            (range(SMALL_RANGE_KEYS), (Lane::Users, SMALL_RANGE_KEYS * SEAT_BYTES)),
            (range(SMALL_RANGE_KEYS + 1), (Lane::Bulk, BULK_SLICE_BYTES)),
            (range(0), (Lane::Bulk, BULK_SLICE_BYTES)),
            (sorted, (Lane::Bulk, BULK_SLICE_BYTES)),
            (counted, (Lane::Bulk, BULK_SLICE_BYTES)),
        ] {
            assert_eq!(classify(Call::Range(&request)), expected, "{request:?}");
        }
    }

    #[test]
    fn transactions_are_as_large_as_their_largest_operation() {
        let delete = |range| Op::Delete { range, prev_kv: false };
        let comparing = |range| Txn {
            compares: vec![Compare {
                range,
                result: CompareResult::Equal,
                target: CompareTarget::Version(1),
            }],
            ..Txn::default()
        };
        let nested = Op::Txn(Box::new(txn(vec![], vec![Op::Range(range(0))])));
        for (txn, lane) in [
            (
                txn(vec![put(3)], vec![Op::Range(RangeRequest::latest(KeyRange::key("a")))]),
                Lane::Users,
            ),
            (txn(vec![delete(KeyRange::key("a"))], vec![]), Lane::Users),
            (txn(vec![put(3)], vec![delete(KeyRange::prefix("a"))]), Lane::Bulk),
            (txn(vec![nested], vec![]), Lane::Bulk),
            (comparing(KeyRange::key("a")), Lane::Users),
            (comparing(KeyRange::prefix("a")), Lane::Bulk),
        ] {
            let (of, bytes) = classify(Call::Txn(&txn));
            assert_eq!(of, lane, "{txn:?}");
            assert_eq!(bytes >= BULK_SLICE_BYTES, lane == Lane::Bulk, "{txn:?}");
        }
        let (_, bytes) = classify(Call::Txn(&txn(vec![put(5_000)], vec![put(7_000)])));
        assert!((12_000..14_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn every_other_call_has_its_lane() {
        for (call, lane) in [
            (Call::Small, Lane::Users),
            (Call::KeepAlive, Lane::System),
            (Call::Status, Lane::System),
            (Call::WatchStream, Lane::Users),
            (Call::TimeToLive { keys: false }, Lane::Users),
            (Call::TimeToLive { keys: true }, Lane::Bulk),
            (Call::Everything, Lane::Bulk),
        ] {
            assert_eq!(classify(call).0, lane, "{call:?}");
        }
    }
}
