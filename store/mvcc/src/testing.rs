//! Builders and generators for tests.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::command::Command;
use crate::machine::{AppliedPosition, Entry};
use crate::types::{
    Compare, CompareResult, CompareTarget, KeyRange, Op, Order, RangeRequest, RevisionFilter, SortBy, Txn,
};

pub(crate) fn put(key: &str, value: &str) -> Op {
    Op::Put {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        lease: 0,
        prev_kv: true,
        ignore_value: false,
        ignore_lease: false,
    }
}

pub(crate) fn delete(key: &str) -> Op {
    Op::Delete {
        range: KeyRange::key(key.to_owned()),
        prev_kv: true,
    }
}

pub(crate) fn delete_prefix(prefix: &str) -> Op {
    Op::Delete {
        range: KeyRange::prefix(prefix.to_owned()),
        prev_kv: true,
    }
}

pub(crate) fn txn(success: Vec<Op>) -> Command {
    Command::Txn {
        txn: Txn {
            success,
            ..Txn::default()
        },
        fence_term: None,
    }
}

pub(crate) fn entry(index: u64, command: Option<Command>) -> Entry {
    Entry {
        position: AppliedPosition {
            term: 1,
            index,
            opaque: Bytes::from(index.to_string()),
        },
        command,
    }
}

/// Keys that lie close together, with zero bytes and prefixes of each other.
pub(crate) fn any_key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec![&b"a"[..], b"a\0", b"a\0\xff", b"ab", b"b", b"b\0c", b"c", b"\xff"])
        .prop_map(Bytes::from_static)
}

pub(crate) fn any_range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        3 => any_key().prop_map(KeyRange::key),
        1 => any_key().prop_map(KeyRange::prefix),
        1 => Just(KeyRange::prefix(Bytes::new())),
        1 => (any_key(), any_key()).prop_map(|(start, end)| KeyRange { start, end: Some(end) }),
        1 => any_key().prop_map(|start| KeyRange { start, end: Some(Bytes::new()) }),
    ]
}

pub(crate) fn any_request() -> impl Strategy<Value = RangeRequest> {
    let revision = prop_oneof![3 => Just(0i64), 2 => 1i64..30];
    let flags = (any::<bool>(), prop::bool::weighted(0.2), any::<bool>());
    // About the size of one or two keys.
    let bytes_max = prop_oneof![2 => Just(0usize), 1 => 1usize..200];
    (
        any_range(),
        0usize..4,
        revision,
        flags,
        any_order(),
        any_filter(),
        bytes_max,
    )
        .prop_map(
            |(range, limit, revision, (keys_only, count_only, count_total), order, filter, bytes_max)| RangeRequest {
                range,
                limit,
                revision,
                keys_only,
                count_only,
                order,
                filter,
                count_total,
                bytes_max,
            },
        )
}

fn any_order() -> impl Strategy<Value = Order> {
    let by = prop::sample::select(vec![
        SortBy::Key,
        SortBy::Version,
        SortBy::CreateRevision,
        SortBy::ModRevision,
        SortBy::Value,
    ]);
    prop_oneof![
        1 => Just(Order::default()),
        2 => (by, any::<bool>()).prop_map(|(by, descending)| Order { by, descending }),
    ]
}

fn any_filter() -> impl Strategy<Value = RevisionFilter> {
    let bound = || prop_oneof![4 => Just(0i64), 1 => 1i64..20];
    (bound(), bound(), bound(), bound()).prop_map(
        |(min_mod_revision, max_mod_revision, min_create_revision, max_create_revision)| RevisionFilter {
            min_mod_revision,
            max_mod_revision,
            min_create_revision,
            max_create_revision,
        },
    )
}

/// Leases that puts name; some of them exist.
fn any_lease() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0i64), 2 => prop::sample::select(vec![-1i64, 1, 2])]
}

pub(crate) fn any_lease_command() -> impl Strategy<Value = Command> {
    let id = || prop::sample::select(vec![-1i64, 1, 2]);
    prop_oneof![
        4 => (id(), 1i64..100).prop_map(|(id, ttl_s)| Command::LeaseGrant { id, ttl_s }),
        2 => id().prop_map(|id| Command::LeaseRevoke { id, fence_term: None }),
        1 => vec((id(), -5i64..120), 0..4)
            .prop_map(|entries| Command::LeaseCheckpoint { entries, fence_term: None }),
    ]
}

fn any_value() -> impl Strategy<Value = Bytes> {
    vec(0u8..3, 0..3).prop_map(Bytes::from)
}

fn any_compare() -> impl Strategy<Value = Compare> {
    let result = prop::sample::select(vec![
        CompareResult::Equal,
        CompareResult::Greater,
        CompareResult::Less,
        CompareResult::NotEqual,
    ]);
    let target = prop_oneof![
        (0i64..4).prop_map(CompareTarget::Version),
        (0i64..20).prop_map(CompareTarget::CreateRevision),
        (0i64..20).prop_map(CompareTarget::ModRevision),
        any_lease().prop_map(CompareTarget::Lease),
        any_value().prop_map(CompareTarget::Value),
    ];
    (any_range(), result, target).prop_map(|(range, result, target)| Compare { range, result, target })
}

fn any_put() -> impl Strategy<Value = Op> {
    let ignored = || prop::bool::weighted(0.15);
    (any_key(), any_value(), any_lease(), any::<bool>(), ignored(), ignored()).prop_map(
        |(key, value, lease, prev_kv, ignore_value, ignore_lease)| Op::Put {
            key,
            value,
            lease,
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

fn any_op() -> BoxedStrategy<Op> {
    let leaf = prop_oneof![
        5 => any_put(),
        2 => (any_range(), any::<bool>()).prop_map(|(range, prev_kv)| Op::Delete { range, prev_kv }),
        1 => any_request().prop_map(|request| Op::Range(RangeRequest { revision: 0, ..request })),
        1 => any_request().prop_map(Op::Range),
    ];
    leaf.prop_recursive(2, 8, 3, |op| {
        (vec(any_compare(), 0..2), vec(op.clone(), 0..3), vec(op, 0..2)).prop_map(|(compares, success, failure)| {
            Op::Txn(Box::new(Txn {
                compares,
                success,
                failure,
            }))
        })
    })
    .boxed()
}

pub(crate) fn any_txn() -> impl Strategy<Value = Txn> {
    (vec(any_compare(), 0..2), vec(any_op(), 0..4), vec(any_op(), 0..3)).prop_map(|(compares, success, failure)| Txn {
        compares,
        success,
        failure,
    })
}
