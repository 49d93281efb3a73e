//! Carries out one transaction on a view.
//!
//! As in etcd: all compares, nested ones too, are decided on the state before the transaction; then the
//! operations of the branches taken run in order, each seeing the writes of those before it. What can be refused is
//! refused before anything is written, so that a transaction happens as a whole or not at all.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::check;
use crate::limits::TXN_ANSWER_BYTES_MAX;
use crate::meta::State;
use crate::outcome::Refusal;
use crate::range::{Bounds, ReadError, resolve};
use crate::recall::Recall;
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

/// Carries out a transaction that [only reads](Txn::is_read_only) on a view of the storage. It needs no entry of the log:
/// whoever wants the latest makes sure first that the view has it, as for a range.
///
/// # Errors
/// [`StorageError`], fatal.
pub fn look<R: StorageRead>(reader: &R, txn: &Txn) -> Result<Result<TxnResponse, Refusal>, StorageError> {
    debug_assert!(txn.is_read_only());
    let before = State::load(reader)?;
    // What is known in memory may be of another state than the view is.
    let recall = Recall::new(0);
    let mut view = View::new(reader, &recall);
    Ok(execute(&mut view, &before, txn)?.map(|done| done.response))
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
    if let Err(refusal) = check_puts(view, txn, &path)? {
        return Ok(Err(refusal));
    }
    let mark = view.mark();
    let mut run = Run::new(view, before);
    match run.txn(txn, &path) {
        Ok(mut response) => {
            let events = run.events;
            stamp(&mut response, before.revision + Revision::from(!events.is_empty()));
            Ok(Ok(Done { response, events }))
        }
        Err(RunError::Refused(refusal)) => {
            let events = run.events;
            view.undo(&mark, &events);
            Ok(Err(refusal))
        }
        Err(RunError::Storage(error)) => Err(error),
    }
}

/// Deletes these keys, in one revision, as far as they are attached to the lease `id`. Answers the changes.
pub(crate) fn delete_attached<R: StorageRead>(
    view: &mut View<'_, R>,
    before: &State,
    id: i64,
) -> Result<Vec<Arc<Event>>, StorageError> {
    let keys = view.attached_keys(id)?;
    let mut run = Run::new(view, before);
    for key in keys {
        if let Some(victim) = run.view.latest(&key)?.filter(|kv| kv.lease == id) {
            run.remove(victim);
        }
    }
    Ok(run.events)
}

/// Why the operations of a transaction were not carried out to the end.
enum RunError {
    /// What was done of them is to be undone.
    Refused(Refusal),
    /// Fatal.
    Storage(StorageError),
}

impl From<StorageError> for RunError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<ReadError> for RunError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Compacted { requested, oldest } => Self::Refused(Refusal::Compacted { requested, oldest }),
            ReadError::FutureRevision { requested, current } => {
                Self::Refused(Refusal::FutureRevision { requested, current })
            }
            ReadError::TooLarge { max: _ } => Self::Refused(answer_too_large()),
            ReadError::Storage(error) => Self::Storage(error),
        }
    }
}

fn answer_too_large() -> Refusal {
    Refusal::Invalid(format!(
        "the transaction would answer with more than {TXN_ANSWER_BYTES_MAX} bytes"
    ))
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
            Op::Range(request) => match resolve(request.revision, before.revisions()) {
                Err(ReadError::Compacted { requested, oldest }) => {
                    return Err(Refusal::Compacted { requested, oldest });
                }
                Err(ReadError::FutureRevision { requested, current }) => {
                    return Err(Refusal::FutureRevision { requested, current });
                }
                Err(ReadError::TooLarge { .. } | ReadError::Storage(_)) | Ok(_) => {}
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

/// Checks that what the puts of the branches taken rely on is there: their leases, and the keys whose value or lease they
/// keep. No earlier operation can change that, since no key is changed twice.
fn check_puts<R: StorageRead>(
    view: &mut View<'_, R>,
    txn: &Txn,
    path: &Path,
) -> Result<Result<(), Refusal>, StorageError> {
    let mut nested = path.nested.iter();
    for op in side(txn, path.succeeded) {
        match op {
            Op::Put {
                key,
                lease,
                ignore_value,
                ignore_lease,
                ..
            } => {
                if (*ignore_value || *ignore_lease) && view.latest(key)?.is_none() {
                    return Ok(Err(Refusal::KeyNotFound));
                }
                if *lease != 0 && !ignore_lease && view.lease(*lease)?.is_none() {
                    return Ok(Err(Refusal::LeaseNotFound { id: *lease }));
                }
            }
            Op::Txn(txn) => {
                if let Some(path) = nested.next()
                    && let Err(refusal) = check_puts(view, txn, path)?
                {
                    return Ok(Err(refusal));
                }
            }
            Op::Range(_) | Op::Delete { .. } => {}
        }
    }
    Ok(Ok(()))
}

struct Run<'r, 's, R: StorageRead> {
    view: &'r mut View<'s, R>,
    before: &'r State,
    events: Vec<Arc<Event>>,
    /// What may still be answered, in bytes.
    answer_bytes_left: usize,
}

/// A put, without its key.
struct Put<'o> {
    value: &'o Bytes,
    lease: i64,
    prev_kv: bool,
    ignore_value: bool,
    ignore_lease: bool,
}

impl<'r, 's, R: StorageRead> Run<'r, 's, R> {
    fn new(view: &'r mut View<'s, R>, before: &'r State) -> Self {
        Self {
            view,
            before,
            events: Vec::new(),
            answer_bytes_left: TXN_ANSWER_BYTES_MAX,
        }
    }

    /// Charges for a part of the answer.
    fn charge(&mut self, kvs: &[KeyValue]) -> Result<(), RunError> {
        let bytes = kvs.iter().map(KeyValue::bytes).sum();
        match self.answer_bytes_left.checked_sub(bytes) {
            Some(left) => self.answer_bytes_left = left,
            None => return Err(RunError::Refused(answer_too_large())),
        }
        Ok(())
    }

    fn txn(&mut self, txn: &Txn, path: &Path) -> Result<TxnResponse, RunError> {
        let mut nested = path.nested.iter();
        let mut responses = Vec::new();
        for op in side(txn, path.succeeded) {
            responses.push(match op {
                Op::Put {
                    key,
                    value,
                    lease,
                    prev_kv,
                    ignore_value,
                    ignore_lease,
                } => {
                    let put = Put {
                        value,
                        lease: *lease,
                        prev_kv: *prev_kv,
                        ignore_value: *ignore_value,
                        ignore_lease: *ignore_lease,
                    };
                    self.put(key, &put)?
                }
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

    fn put(&mut self, key: &Bytes, put: &Put<'_>) -> Result<OpResponse, RunError> {
        let previous = self.view.latest(key)?;
        let revision = self.before.revision + 1;
        let (create_revision, version) = previous.as_ref().map_or((revision, 1), |previous| {
            (previous.create_revision, previous.version + 1)
        });
        let kept = |ignored: bool| previous.as_ref().filter(|_| ignored);
        let kv = KeyValue {
            key: key.clone(),
            value: kept(put.ignore_value).map_or_else(|| put.value.clone(), |kv| kv.value.clone()),
            create_revision,
            mod_revision: revision,
            version,
            lease: kept(put.ignore_lease).map_or(put.lease, |kv| kv.lease),
        };
        let answer = previous.clone().filter(|_| put.prev_kv);
        self.charge(answer.as_slice())?;
        self.change(Event {
            kind: EventKind::Put,
            kv,
            prev_kv: previous,
        });
        Ok(OpResponse::Put(answer))
    }

    fn delete(&mut self, range: &KeyRange, prev_kv: bool) -> Result<OpResponse, RunError> {
        let mut victims = Vec::new();
        self.view.scan_latest(range, &mut |live| {
            victims.push(live.to_key_value(true));
            ControlFlow::Continue(())
        })?;
        let deleted = victims.len() as u64;
        let prev_kvs = if prev_kv { victims.clone() } else { Vec::new() };
        self.charge(&prev_kvs)?;
        for victim in victims {
            self.remove(victim);
        }
        Ok(OpResponse::Delete { deleted, prev_kvs })
    }

    fn remove(&mut self, victim: KeyValue) {
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

    fn range(&mut self, request: &RangeRequest) -> Result<RangeResponse, RunError> {
        let current = self.before.revision + Revision::from(!self.events.is_empty());
        let revision = if request.revision <= 0 {
            current
        } else {
            request.revision
        };
        let bounds = Bounds::within(request, self.answer_bytes_left);
        let response = self.view.read(request, bounds, revision, current)?;
        self.charge(&response.kvs)?;
        Ok(response)
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
