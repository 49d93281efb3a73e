//! etcd's messages to the store's words and back. Requests are checked here, before anything is done.

use bytes::Bytes;
use prost::Message;
use tonic::Status;
use trireme_mvcc::check::{self, CommandError};
use trireme_mvcc::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use trireme_proto::etcd::kv as mvccpb;
use trireme_proto::etcd::server as pb;
use trireme_proto::etcd::server::compare::{CompareResult as WireResult, CompareTarget as WireTarget, TargetUnion};
use trireme_proto::etcd::server::range_request::{SortOrder, SortTarget};
use trireme_proto::etcd::server::request_op::Request as WireOp;
use trireme_proto::etcd::server::response_op::Response as WireOpResponse;

use super::errors::{self, EtcdError};
use super::limits;
use crate::kv::{
    Compare, CompareResult, CompareTarget, Event, EventKind, KeyRange, KeyValue, Op, OpResponse, Order, RangeRequest,
    RangeResponse, RevisionFilter, SortBy, Txn, TxnResponse,
};

/// One zero byte, which as the end of a range means that there is none.
const NO_END: &[u8] = b"\0";

/// The range of a request.
pub(super) fn key_range(key: Bytes, range_end: Bytes) -> Result<KeyRange, EtcdError> {
    if key.is_empty() {
        return Err(errors::EMPTY_KEY);
    }
    if key.len() > KEY_BYTES_MAX || range_end.len() > KEY_BYTES_MAX {
        return Err(errors::REQUEST_TOO_LARGE);
    }
    Ok(KeyRange {
        start: key,
        end: range_end_of(range_end),
    })
}

/// The end of a range.
pub(super) fn range_end_of(range_end: Bytes) -> Option<Bytes> {
    match &range_end[..] {
        [] => None,
        NO_END => Some(Bytes::new()),
        _ => Some(range_end),
    }
}

/// A read.
pub(super) fn range_request(request: pb::RangeRequest) -> Result<RangeRequest, EtcdError> {
    let sort_order = SortOrder::try_from(request.sort_order).map_err(|_| errors::INVALID_SORT_OPTION)?;
    let sort_target = SortTarget::try_from(request.sort_target).map_err(|_| errors::INVALID_SORT_OPTION)?;
    let order = Order {
        by: match sort_target {
            SortTarget::Key => SortBy::Key,
            SortTarget::Version => SortBy::Version,
            SortTarget::Create => SortBy::CreateRevision,
            SortTarget::Mod => SortBy::ModRevision,
            SortTarget::Value => SortBy::Value,
        },
        descending: sort_order == SortOrder::Descend,
    };
    let filter = RevisionFilter {
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    };
    Ok(RangeRequest {
        limit: usize::try_from(request.limit).unwrap_or(0),
        revision: request.revision.max(0),
        keys_only: request.keys_only,
        count_only: request.count_only,
        order,
        filter,
        count_total: true,
        ..RangeRequest::latest(key_range(request.key, request.range_end)?)
    })
}

/// A put.
pub(super) fn put(request: pb::PutRequest) -> Result<Op, EtcdError> {
    if request.key.is_empty() {
        return Err(errors::EMPTY_KEY);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(errors::VALUE_PROVIDED);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(errors::LEASE_PROVIDED);
    }
    if request.key.len() > KEY_BYTES_MAX || request.value.len() > VALUE_BYTES_MAX {
        return Err(errors::REQUEST_TOO_LARGE);
    }
    Ok(Op::Put {
        key: request.key,
        value: request.value,
        lease: request.lease,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    })
}

/// A deletion.
pub(super) fn delete(request: pb::DeleteRangeRequest) -> Result<Op, EtcdError> {
    Ok(Op::Delete {
        range: key_range(request.key, request.range_end)?,
        prev_kv: request.prev_kv,
    })
}

/// A transaction.
pub(super) fn txn(request: pb::TxnRequest) -> Result<Txn, EtcdError> {
    let txn = txn_of(request, limits::TXN_OPS)?;
    check::txn_limits(&txn)
        .and_then(|()| check::txn_shape(&txn))
        .map_err(|error| refusal(&error))?;
    Ok(txn)
}

fn refusal(error: &CommandError) -> EtcdError {
    match error {
        CommandError::EmptyKey => errors::EMPTY_KEY,
        CommandError::TooManyOps { .. } | CommandError::TooDeep => errors::TOO_MANY_OPS,
        CommandError::DuplicateKey { .. } => errors::DUPLICATE_KEY,
        _ => errors::REQUEST_TOO_LARGE,
    }
}

/// `left` is how many operations each of its lists may have; what it uses is taken from its nested ones.
fn txn_of(request: pb::TxnRequest, left: usize) -> Result<Txn, EtcdError> {
    let lists = [request.compare.len(), request.success.len(), request.failure.len()];
    let most = lists.into_iter().max().unwrap_or(0);
    let left = left.checked_sub(most).ok_or(errors::TOO_MANY_OPS)?;
    let ops = |ops: Vec<pb::RequestOp>| ops.into_iter().map(|op| op_of(op, left)).collect::<Result<_, _>>();
    Ok(Txn {
        compares: request.compare.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: ops(request.success)?,
        failure: ops(request.failure)?,
    })
}

fn op_of(op: pb::RequestOp, left: usize) -> Result<Op, EtcdError> {
    match op.request {
        Some(WireOp::RequestRange(request)) => range_request(request).map(Op::Range),
        Some(WireOp::RequestPut(request)) => put(request),
        Some(WireOp::RequestDeleteRange(request)) => delete(request),
        Some(WireOp::RequestTxn(request)) => Ok(Op::Txn(Box::new(txn_of(request, left)?))),
        None => Err(errors::KEY_NOT_FOUND),
    }
}

/// A target that does not fit its value compares with nothing, as etcd has it.
fn compare(compare: pb::Compare) -> Result<Compare, EtcdError> {
    let result = match WireResult::try_from(compare.result) {
        Ok(WireResult::Equal) => CompareResult::Equal,
        Ok(WireResult::Greater) => CompareResult::Greater,
        Ok(WireResult::Less) => CompareResult::Less,
        Ok(WireResult::NotEqual) => CompareResult::NotEqual,
        Err(_) => return Err(errors::INVALID_SORT_OPTION),
    };
    let union = compare.target_union;
    let target = match WireTarget::try_from(compare.target) {
        Ok(WireTarget::Version) => CompareTarget::Version(match union {
            Some(TargetUnion::Version(version)) => version,
            _ => 0,
        }),
        Ok(WireTarget::Create) => CompareTarget::CreateRevision(match union {
            Some(TargetUnion::CreateRevision(revision)) => revision,
            _ => 0,
        }),
        Ok(WireTarget::Mod) => CompareTarget::ModRevision(match union {
            Some(TargetUnion::ModRevision(revision)) => revision,
            _ => 0,
        }),
        Ok(WireTarget::Value) => CompareTarget::Value(match union {
            Some(TargetUnion::Value(value)) => value,
            _ => Bytes::new(),
        }),
        Ok(WireTarget::Lease) => CompareTarget::Lease(match union {
            Some(TargetUnion::Lease(lease)) => lease,
            _ => 0,
        }),
        Err(_) => return Err(errors::INVALID_SORT_OPTION),
    };
    Ok(Compare {
        range: key_range(compare.key, compare.range_end)?,
        result,
        target,
    })
}

/// Refuses a request that is larger than etcd would take.
pub(super) fn check_size(request: &impl Message) -> Result<(), EtcdError> {
    if request.encoded_len() > limits::REQUEST_BYTES {
        Err(errors::REQUEST_TOO_LARGE)
    } else {
        Ok(())
    }
}

/// A version of a key.
pub(super) fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value,
        lease: kv.lease,
    }
}

/// A change, with or without the version before.
pub(crate) fn event(event: &Event, with_previous: bool) -> mvccpb::Event {
    let kind = match event.kind {
        EventKind::Put => mvccpb::event::EventType::Put,
        EventKind::Delete => mvccpb::event::EventType::Delete,
    };
    let previous = event.prev_kv.as_ref().filter(|_| with_previous);
    mvccpb::Event {
        r#type: kind.into(),
        kv: Some(key_value(event.kv.clone())),
        prev_kv: previous.cloned().map(key_value),
    }
}

/// What a read answered. The header is the caller's.
pub(super) fn range_response(response: RangeResponse, header: Option<pb::ResponseHeader>) -> pb::RangeResponse {
    let found = i64::try_from(response.kvs.len()).unwrap_or(i64::MAX);
    pb::RangeResponse {
        header,
        count: response
            .count
            .map_or(found, |count| i64::try_from(count).unwrap_or(i64::MAX)),
        more: response.more,
        kvs: response.kvs.into_iter().map(key_value).collect(),
    }
}

/// What a transaction answered. The header is the caller's; of its operations, as in etcd, only the revision is told.
pub(super) fn txn_response(response: TxnResponse, header: Option<pb::ResponseHeader>) -> pb::TxnResponse {
    let inner = pb::ResponseHeader {
        revision: response.revision,
        ..pb::ResponseHeader::default()
    };
    pb::TxnResponse {
        header,
        succeeded: response.succeeded,
        responses: response
            .responses
            .into_iter()
            .map(|response| op_response(response, inner))
            .collect(),
    }
}

fn op_response(response: OpResponse, header: pb::ResponseHeader) -> pb::ResponseOp {
    let header = Some(header);
    let response = match response {
        OpResponse::Range(response) => WireOpResponse::ResponseRange(range_response(response, header)),
        OpResponse::Put(prev_kv) => WireOpResponse::ResponsePut(pb::PutResponse {
            header,
            prev_kv: prev_kv.map(key_value),
        }),
        OpResponse::Delete { deleted, prev_kvs } => WireOpResponse::ResponseDeleteRange(pb::DeleteRangeResponse {
            header,
            deleted: i64::try_from(deleted).unwrap_or(i64::MAX),
            prev_kvs: prev_kvs.into_iter().map(key_value).collect(),
        }),
        OpResponse::Txn(response) => WireOpResponse::ResponseTxn(txn_response(response, header)),
    };
    pb::ResponseOp {
        response: Some(response),
    }
}

/// The store answered something else than what was asked for. That is a bug or another version.
pub(super) fn wrong_answer() -> Status {
    Status::internal("the store's answer does not fit the request")
}
