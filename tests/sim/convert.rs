//! Between the model's words and the store's.

use trireme_store::kv::{
    Compare, CompareResult, CompareTarget, EventKind, KeyRange, KeyValue, Op, OpResponse, RangeRequest, RangeResponse,
    Txn,
};

use crate::linear::model;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn range(range: &model::KeyRange) -> KeyRange {
    let end = match range.end.as_str() {
        "" => None,
        "\0" => Some(bytes::Bytes::new()),
        end => Some(end.to_owned().into()),
    };
    KeyRange {
        start: range.key.clone().into(),
        end,
    }
}

pub(super) fn range_request(keys: &model::KeyRange, limit: i64) -> RangeRequest {
    RangeRequest {
        limit: usize::try_from(limit).unwrap_or(0),
        count_total: true,
        ..RangeRequest::latest(range(keys))
    }
}

pub(super) fn op(op: &model::KeyOp) -> Op {
    match op {
        model::KeyOp::Range { range, limit } => Op::Range(range_request(range, *limit)),
        model::KeyOp::Put { key, value, lease } => Op::Put {
            key: key.clone().into(),
            value: value.clone().into(),
            lease: *lease,
            prev_kv: true,
            ignore_value: false,
            ignore_lease: false,
        },
        model::KeyOp::Delete { range: keys } => Op::Delete {
            range: range(keys),
            prev_kv: true,
        },
    }
}

pub(super) fn txn(txn: &model::Txn) -> Txn {
    Txn {
        compares: txn.compares.iter().map(compare).collect(),
        success: txn.success.iter().map(op).collect(),
        failure: txn.failure.iter().map(op).collect(),
    }
}

fn compare(compare: &model::Compare) -> Compare {
    Compare {
        range: KeyRange::key(compare.key.clone()),
        result: match compare.ordering {
            model::Ordering::Equal => CompareResult::Equal,
            model::Ordering::Greater => CompareResult::Greater,
            model::Ordering::Less => CompareResult::Less,
            model::Ordering::NotEqual => CompareResult::NotEqual,
        },
        target: match &compare.target {
            model::Target::Create(revision) => CompareTarget::CreateRevision(*revision),
            model::Target::Mod(revision) => CompareTarget::ModRevision(*revision),
            model::Target::Version(version) => CompareTarget::Version(*version),
            model::Target::Value(value) => CompareTarget::Value(value.clone().into()),
        },
    }
}

pub(super) fn key_value(kv: &KeyValue) -> model::KeyValue {
    model::KeyValue {
        key: text(&kv.key),
        value: text(&kv.value),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

pub(super) fn range_answer(response: &RangeResponse) -> model::KeyAnswer {
    model::KeyAnswer::Range {
        kvs: response.kvs.iter().map(key_value).collect(),
        count: response
            .count
            .map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX)),
        more: response.more,
    }
}

/// An answer to one of our operations, none of which is nested.
pub(super) fn answer(response: &OpResponse) -> Option<model::KeyAnswer> {
    Some(match response {
        OpResponse::Range(response) => range_answer(response),
        OpResponse::Put(previous) => model::KeyAnswer::Put {
            previous: previous.as_ref().map(key_value),
        },
        OpResponse::Delete { prev_kvs, deleted: _ } => model::KeyAnswer::Delete {
            previous: prev_kvs.iter().map(key_value).collect(),
        },
        OpResponse::Txn(_) => return None,
    })
}

pub(super) fn event(event: &trireme_store::kv::Event) -> model::Event {
    model::Event {
        kv: key_value(&event.kv),
        deleted: event.kind == EventKind::Delete,
        previous: event.prev_kv.as_ref().map(key_value),
    }
}
