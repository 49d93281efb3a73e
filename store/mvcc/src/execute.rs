//! Carries out one transaction on a view.
//!
//! As in etcd: all compares, nested ones too, are decided on the state before the transaction; then the
//! operations of the branches taken run in order, each seeing the writes of those before it. What can be refused is
//! refused before anything is written, so that a transaction happens as a whole or not at all.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::check;
use crate::meta::State;
use crate::outcome::Refusal;
use crate::range::{ReadError, resolve};
use crate::storage::{StorageError, StorageRead};
use crate::types::{
    Compare, CompareResult, CompareTarget, Event, EventKind, KeyRange, KeyValue, Op, OpResponse, RangeRequest,
    RangeResponse, Revision, Txn, TxnResponse,
};
use crate::view::View;

/// What a transaction did.
pub(crate) struct Done {
    pub(crate) response: TxnResponse,
    /// Its changes in order; empty if it changed nothing.
    pub(crate) events: Vec<Arc<Event>>,
}

/// Carries out `txn` on the state `before`.
pub(crate) fn execute<R: StorageRead>(
    view: &mut View<'_, R>,
    before: &State,
    txn: &Txn,
) -> Result<Result<Done, Refusal>, StorageError> {
    if let Err(error) = check::txn_shape(txn) {
        return Ok(Err(Refusal::Invalid(error.to_string())));
    }
    let path = decide(view, txn)?;
    if let Err(refusal) = check_ranges(txn, &path, before) {
        return Ok(Err(refusal));
    }
    let mut run = Run {
        view,
        before,
        events: Vec::new(),
    };
    let mut response = run.txn(txn, &path)?;
    let events = run.events;
    let revision = before.revision + Revision::from(!events.is_empty());
    stamp(&mut response, revision);
    Ok(Ok(Done { response, events }))
}

/// Which side of a transaction is taken, and of the nested ones on that side.
struct Path {
    succeeded: bool,
    nested: Vec<Path>,
}

fn side(txn: &Txn, succeeded: bool) -> &[Op] {
    if succeeded { &txn.success } else { &txn.failure }
}

fn decide<R: StorageRead>(view: &mut View<'_, R>, txn: &Txn) -> Result<Path, StorageError> {
    let mut succeeded = true;
    for compare in &txn.compares {
        if !holds(view, compare)? {
            succeeded = false;
            break;
        }
    }
    let mut nested = Vec::new();
    for op in side(txn, succeeded) {
        if let Op::Txn(txn) = op {
            nested.push(decide(view, txn)?);
        }
    }
    Ok(Path { succeeded, nested })
}

/// Whether a compare holds for every key of its range. If there is none, it is held against an absent key.
fn holds<R: StorageRead>(view: &mut View<'_, R>, compare: &Compare) -> Result<bool, StorageError> {
    let (mut any, mut all) = (false, true);
    view.scan_latest(&compare.range, &mut |live| {
        any = true;
        let with_value = matches!(compare.target, CompareTarget::Value(_));
        all = holds_for(compare, &live.to_key_value(with_value));
        if all {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    if any {
        return Ok(all);
    }
    // An absent key has no value: nothing said of it is true, not even "different".
    Ok(!matches!(compare.target, CompareTarget::Value(_)) && holds_for(compare, &KeyValue::default()))
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(expected) => kv.version.cmp(expected),
        CompareTarget::CreateRevision(expected) => kv.create_revision.cmp(expected),
        CompareTarget::ModRevision(expected) => kv.mod_revision.cmp(expected),
        CompareTarget::Lease(expected) => kv.lease.cmp(expected),
        CompareTarget::Value(expected) => kv.value.cmp(expected),
    };
    match compare.result {
        CompareResult::Equal => order.is_eq(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
        CompareResult::NotEqual => order.is_ne(),
    }
}

/// Checks the revisions that the ranges of the branches taken ask for.
fn check_ranges(txn: &Txn, path: &Path, before: &State) -> Result<(), Refusal> {
    let mut nested = path.nested.iter();
    for op in side(txn, path.succeeded) {
        match op {
            Op::Range(request) => match resolve(request.revision, before) {
                Err(ReadError::Compacted { requested, oldest }) => {
                    return Err(Refusal::Compacted { requested, oldest });
                }
                Err(ReadError::FutureRevision { requested, current }) => {
                    return Err(Refusal::FutureRevision { requested, current });
                }
                Err(ReadError::Storage(_)) | Ok(_) => {}
            },
            Op::Txn(txn) => {
                if let Some(path) = nested.next() {
                    check_ranges(txn, path, before)?;
                }
            }
            Op::Put { .. } | Op::Delete { .. } => {}
        }
    }
    Ok(())
}

struct Run<'r, 's, R: StorageRead> {
    view: &'r mut View<'s, R>,
    before: &'r State,
    events: Vec<Arc<Event>>,
}

impl<R: StorageRead> Run<'_, '_, R> {
    fn txn(&mut self, txn: &Txn, path: &Path) -> Result<TxnResponse, StorageError> {
        let mut nested = path.nested.iter();
        let mut responses = Vec::new();
        for op in side(txn, path.succeeded) {
            responses.push(match op {
                Op::Put {
                    key,
                    value,
                    lease,
                    prev_kv,
                } => self.put(key, value, *lease, *prev_kv)?,
                Op::Delete { range, prev_kv } => self.delete(range, *prev_kv)?,
                Op::Range(request) => OpResponse::Range(self.range(request)?),
                Op::Txn(txn) => {
                    let path = nested
                        .next()
                        .expect("a path is decided for every nested transaction taken");
                    OpResponse::Txn(self.txn(txn, path)?)
                }
            });
        }
        Ok(TxnResponse {
            succeeded: path.succeeded,
            responses,
            revision: 0,
        })
    }

    fn put(&mut self, key: &Bytes, value: &Bytes, lease: i64, prev_kv: bool) -> Result<OpResponse, StorageError> {
        let previous = self.view.latest(key)?;
        let revision = self.before.revision + 1;
        let (create_revision, version) = previous.as_ref().map_or((revision, 1), |previous| {
            (previous.create_revision, previous.version + 1)
        });
        let kv = KeyValue {
            key: key.clone(),
            value: value.clone(),
            create_revision,
            mod_revision: revision,
            version,
            lease,
        };
        let answer = previous.clone().filter(|_| prev_kv);
        self.change(Event {
            kind: EventKind::Put,
            kv,
            prev_kv: previous,
        });
        Ok(OpResponse::Put(answer))
    }

    fn delete(&mut self, range: &KeyRange, prev_kv: bool) -> Result<OpResponse, StorageError> {
        let mut victims = Vec::new();
        self.view.scan_latest(range, &mut |live| {
            victims.push(live.to_key_value(true));
            ControlFlow::Continue(())
        })?;
        let deleted = victims.len() as u64;
        let prev_kvs = if prev_kv { victims.clone() } else { Vec::new() };
        for victim in victims {
            let kv = KeyValue {
                key: victim.key.clone(),
                mod_revision: self.before.revision + 1,
                ..KeyValue::default()
            };
            self.change(Event {
                kind: EventKind::Delete,
                kv,
                prev_kv: Some(victim),
            });
        }
        Ok(OpResponse::Delete { deleted, prev_kvs })
    }

    fn range(&self, request: &RangeRequest) -> Result<RangeResponse, StorageError> {
        let current = self.before.revision + Revision::from(!self.events.is_empty());
        let revision = if request.revision <= 0 {
            current
        } else {
            request.revision
        };
        self.view.read(request, revision, current)
    }

    fn change(&mut self, event: Event) {
        let sub = u32::try_from(self.events.len()).expect("a store holds fewer than 2^32 keys");
        self.view.write(&event, sub);
        self.events.push(Arc::new(event));
    }
}

/// Gives the revision after the whole transaction to its response and to the nested ones.
fn stamp(response: &mut TxnResponse, revision: Revision) {
    response.revision = revision;
    for response in &mut response.responses {
        if let OpResponse::Txn(nested) = response {
            stamp(nested, revision);
        }
    }
}
