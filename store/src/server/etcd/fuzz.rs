//! What the fuzz targets drive of etcd's API: its requests, read and put into the store's words.

use bytes::Bytes;
use prost::Message;
use trireme_mvcc::command::Command;
use trireme_mvcc::limits::KEY_BYTES_MAX;
use trireme_proto::etcd::server::compare::{CompareResult, CompareTarget, TargetUnion};
use trireme_proto::etcd::server::request_op::Request as WireOp;
use trireme_proto::etcd::server::watch_request::RequestUnion;
use trireme_proto::etcd::{election, lock, server as pb};

use super::{cluster, convert, direct, limits};
use crate::kv::{KeyRange, Op, Txn};

/// A request of etcd's API; its first byte says which.
pub fn etcd_request(input: &[u8]) -> bool {
    let Some((which, message)) = input.split_first() else {
        return false;
    };
    READERS[usize::from(*which) % READERS.len()](message).is_some()
}

/// Reads a message; `None` if it is refused.
type Reader = fn(&[u8]) -> Option<()>;

/// One a message.
const READERS: [Reader; 29] = [
    range,
    put,
    delete_range,
    txn,
    watch,
    member_add,
    again::<pb::CompactionRequest>,
    again::<pb::LeaseGrantRequest>,
    again::<pb::LeaseTimeToLiveRequest>,
    again::<pb::LeaseKeepAliveRequest>,
    again::<pb::MemberUpdateRequest>,
    again::<pb::AlarmRequest>,
    again::<pb::HashKvRequest>,
    again::<pb::MoveLeaderRequest>,
    again::<lock::LockRequest>,
    again::<election::ProclaimRequest>,
    again::<election::CampaignRequest>,
    again::<election::ResignRequest>,
    again::<election::LeaderRequest>,
    again::<lock::UnlockRequest>,
    again::<pb::LeaseRevokeRequest>,
    again::<pb::LeaseLeasesRequest>,
    again::<pb::MemberRemoveRequest>,
    again::<pb::MemberPromoteRequest>,
    again::<pb::MemberListRequest>,
    again::<pb::DefragmentRequest>,
    again::<pb::SnapshotRequest>,
    again::<pb::DowngradeRequest>,
    frame,
];

/// What needs no more than to be read: written again it reads the same.
fn again<M: Message + Default + PartialEq + std::fmt::Debug>(message: &[u8]) -> Option<()> {
    read::<M>(message).map(drop)
}

fn read<M: Message + Default + PartialEq + std::fmt::Debug>(message: &[u8]) -> Option<M> {
    let message = M::decode(message).ok()?;
    let written = message.encode_to_vec();
    assert_eq!(written.len(), message.encoded_len());
    assert_eq!(M::decode(&written[..]).as_ref(), Ok(&message));
    Some(message)
}

fn range(message: &[u8]) -> Option<()> {
    let request = convert::range_request(read(message)?).ok()?;
    bounded(&request.range);
    proposed(vec![Op::Range(request)])
}

fn put(message: &[u8]) -> Option<()> {
    proposed(vec![convert::put(read(message)?).ok()?])
}

fn delete_range(message: &[u8]) -> Option<()> {
    proposed(vec![convert::delete(read(message)?).ok()?])
}

fn txn(message: &[u8]) -> Option<()> {
    let request: pb::TxnRequest = read(message)?;
    convert::check_size(&request).ok()?;
    goes_into_the_log(convert::txn(request).ok()?);
    Some(())
}

fn proposed(success: Vec<Op>) -> Option<()> {
    goes_into_the_log(Txn {
        success,
        ..Txn::default()
    });
    Some(())
}

/// What was accepted is within the state machine's limits, and every server reads from the log what was meant.
fn goes_into_the_log(txn: Txn) {
    let command = Command::Txn { txn, fence_term: None };
    let bytes = command
        .check_and_encode()
        .expect("what the API accepts, the state machine takes");
    assert_eq!(Command::decode(bytes), Ok(command));
}

fn watch(message: &[u8]) -> Option<()> {
    match read::<pb::WatchRequest>(message)?.request_union? {
        RequestUnion::CreateRequest(create) => {
            let range = KeyRange {
                start: create.key,
                end: convert::range_end_of(create.range_end),
            };
            let _ = range.contains(b"key");
            Some(())
        }
        RequestUnion::CancelRequest(_) | RequestUnion::ProgressRequest(_) => Some(()),
    }
}

fn member_add(message: &[u8]) -> Option<()> {
    let request: pb::MemberAddRequest = read(message)?;
    let address = cluster::address(&request.peer_urls).ok()?;
    assert!(!address.is_empty() && !address.contains('/'));
    Some(())
}

/// The first frame of a call that is answered at once.
fn frame(input: &[u8]) -> Option<()> {
    let message = direct::whole_message(&Bytes::copy_from_slice(input))?;
    let length = u32::try_from(message.len()).expect("what is larger is not taken");
    let frame = [&[0][..], &length.to_be_bytes(), &message].concat();
    assert_eq!(frame, input, "it is all that was sent");
    Some(())
}

fn bounded(range: &KeyRange) {
    assert!(!range.start.is_empty() && range.start.len() <= KEY_BYTES_MAX);
    assert!(range.end.as_ref().is_none_or(|end| end.len() <= KEY_BYTES_MAX));
}

/// Requests of each kind; the transactions nest, and reach the limit of operations.
pub fn etcd_request_seeds() -> Vec<Vec<u8>> {
    let range = pb::RangeRequest {
        key: "a".into(),
        range_end: "b".into(),
        limit: 10,
        revision: 7,
        sort_order: 2,
        sort_target: 3,
        min_mod_revision: 2,
        ..pb::RangeRequest::default()
    };
    let put = pb::PutRequest {
        key: "key".into(),
        value: "value".into(),
        lease: 7,
        prev_kv: true,
        ..pb::PutRequest::default()
    };
    let delete = pb::DeleteRangeRequest {
        key: "d".into(),
        range_end: Bytes::from_static(b"\0"),
        prev_kv: true,
    };
    let create = pb::WatchCreateRequest {
        key: "a".into(),
        range_end: "b".into(),
        start_revision: 3,
        filters: vec![0, 1],
        watch_id: 5,
        ..pb::WatchCreateRequest::default()
    };
    let member = pb::MemberAddRequest {
        peer_urls: vec!["https://127.0.0.1:6444".into()],
        is_learner: true,
    };
    let watch = |union| {
        pb::WatchRequest {
            request_union: Some(union),
        }
        .encode_to_vec()
    };
    let requests = vec![
        (0, range.encode_to_vec()),
        (1, put.encode_to_vec()),
        (2, delete.encode_to_vec()),
        (3, nested(3, &range, &put).encode_to_vec()),
        (3, nested(8, &range, &put).encode_to_vec()),
        (3, many(limits::TXN_OPS).encode_to_vec()),
        (3, many(limits::TXN_OPS + 1).encode_to_vec()),
        (4, watch(RequestUnion::CreateRequest(create))),
        (
            4,
            watch(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 5 })),
        ),
        (5, member.encode_to_vec()),
        (
            6,
            pb::CompactionRequest {
                revision: 9,
                physical: true,
            }
            .encode_to_vec(),
        ),
        (7, pb::LeaseGrantRequest { ttl: 60, id: 7 }.encode_to_vec()),
        (16, {
            let (name, value) = ("vote".into(), "me".into());
            election::CampaignRequest { name, lease: 7, value }.encode_to_vec()
        }),
        (22, pb::MemberRemoveRequest { id: 3 }.encode_to_vec()),
        (28, b"\0\0\0\0\x03\x0a\x01k".to_vec()),
    ];
    let seed = |(which, message): (u8, Vec<u8>)| [vec![which], message].concat();
    requests.into_iter().map(seed).collect()
}

fn op(request: WireOp) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// A transaction with others in it, so many levels in all.
fn nested(levels: usize, range: &pb::RangeRequest, put: &pb::PutRequest) -> pb::TxnRequest {
    let compare = pb::Compare {
        result: CompareResult::Greater.into(),
        target: CompareTarget::Mod.into(),
        target_union: Some(TargetUnion::ModRevision(3)),
        key: "c".into(),
        range_end: "e".into(),
    };
    let mut txn = pb::TxnRequest {
        compare: vec![compare],
        success: vec![op(WireOp::RequestPut(put.clone()))],
        failure: vec![op(WireOp::RequestRange(range.clone()))],
    };
    for _ in 1..levels {
        txn = pb::TxnRequest {
            failure: vec![op(WireOp::RequestTxn(txn))],
            ..pb::TxnRequest::default()
        };
    }
    txn
}

fn many(count: usize) -> pb::TxnRequest {
    let put = |number: usize| pb::PutRequest {
        key: number.to_string().into(),
        ..pb::PutRequest::default()
    };
    pb::TxnRequest {
        success: (0..count).map(|number| op(WireOp::RequestPut(put(number)))).collect(),
        ..pb::TxnRequest::default()
    }
}
