//! Between the model's words and etcd's messages.

use trireme_proto::etcd::{
    kv,
    server::{
        self as pb, compare::CompareResult, compare::CompareTarget, compare::TargetUnion, request_op, response_op,
    },
};

use crate::linear::model::{Compare, Event, KeyAnswer, KeyOp, KeyRange, KeyValue, Ordering, Target, Txn};

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn key_value(kv: &kv::KeyValue) -> KeyValue {
    KeyValue {
        key: text(&kv.key),
        value: text(&kv.value),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

pub(super) fn event(event: &kv::Event) -> Event {
    Event {
        kv: event.kv.as_ref().map(key_value).unwrap_or_default(),
        deleted: event.r#type() == kv::event::EventType::Delete,
        previous: event.prev_kv.as_ref().map(key_value),
    }
}

pub(super) fn range(range: &KeyRange, limit: i64) -> pb::RangeRequest {
    pb::RangeRequest {
        key: range.key.clone().into(),
        range_end: range.end.clone().into(),
        limit,
        ..Default::default()
    }
}

pub(super) fn put(key: &str, value: &str, lease: i64) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        lease,
        prev_kv: true,
        ..Default::default()
    }
}

pub(super) fn delete(range: &KeyRange) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: range.key.clone().into(),
        range_end: range.end.clone().into(),
        prev_kv: true,
    }
}

pub(super) fn txn(txn: &Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: txn.compares.iter().map(compare).collect(),
        success: txn.success.iter().map(operation).collect(),
        failure: txn.failure.iter().map(operation).collect(),
    }
}

fn compare(compare: &Compare) -> pb::Compare {
    let (target, union) = match &compare.target {
        Target::Create(revision) => (CompareTarget::Create, TargetUnion::CreateRevision(*revision)),
        Target::Mod(revision) => (CompareTarget::Mod, TargetUnion::ModRevision(*revision)),
        Target::Version(version) => (CompareTarget::Version, TargetUnion::Version(*version)),
        Target::Value(value) => (CompareTarget::Value, TargetUnion::Value(value.clone().into())),
    };
    let result = match compare.ordering {
        Ordering::Equal => CompareResult::Equal,
        Ordering::Greater => CompareResult::Greater,
        Ordering::Less => CompareResult::Less,
        Ordering::NotEqual => CompareResult::NotEqual,
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: compare.key.clone().into(),
        target_union: Some(union),
        ..Default::default()
    }
}

fn operation(op: &KeyOp) -> pb::RequestOp {
    let request = match op {
        KeyOp::Range { range: keys, limit } => request_op::Request::RequestRange(range(keys, *limit)),
        KeyOp::Put { key, value, lease } => request_op::Request::RequestPut(put(key, value, *lease)),
        KeyOp::Delete { range } => request_op::Request::RequestDeleteRange(delete(range)),
    };
    pb::RequestOp { request: Some(request) }
}

pub(super) fn range_answer(answer: &pb::RangeResponse) -> KeyAnswer {
    KeyAnswer::Range {
        kvs: answer.kvs.iter().map(key_value).collect(),
        count: answer.count,
        more: answer.more,
    }
}

pub(super) fn put_answer(answer: &pb::PutResponse) -> KeyAnswer {
    KeyAnswer::Put {
        previous: answer.prev_kv.as_ref().map(key_value),
    }
}

/// None if the count and the keys disagree, which is told as a key that nobody wrote.
pub(super) fn delete_answer(answer: &pb::DeleteRangeResponse) -> KeyAnswer {
    let mut previous: Vec<KeyValue> = answer.prev_kvs.iter().map(key_value).collect();
    if i64::try_from(previous.len()) != Ok(answer.deleted) {
        previous.push(KeyValue {
            key: format!("deleted = {}", answer.deleted),
            ..KeyValue::default()
        });
    }
    KeyAnswer::Delete { previous }
}

/// The answers of a transaction; none if one is missing or of another kind.
pub(super) fn txn_answers(answer: &pb::TxnResponse) -> Option<Vec<KeyAnswer>> {
    let answers = answer
        .responses
        .iter()
        .map(|response| match response.response.as_ref()? {
            response_op::Response::ResponseRange(answer) => Some(range_answer(answer)),
            response_op::Response::ResponsePut(answer) => Some(put_answer(answer)),
            response_op::Response::ResponseDeleteRange(answer) => Some(delete_answer(answer)),
            response_op::Response::ResponseTxn(_) => None,
        });
    answers.collect()
}
