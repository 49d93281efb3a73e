//! The one loop behind every change of an object that exists: read, decide, write if it is still what was read.
//!
//! The first reading is of this server's own replica, which costs nothing and is nearly always current; the
//! transaction's precondition finds out when it is not. Whatever would be *answered* from such a reading (a refusal, or that
//! nothing is to be done) is first decided again on one that is certainly current.

use bytes::Bytes;
use trireme_logic::{
    apply::same_but_times,
    object::{KindOps, Object, ObjectKey},
};
use trireme_store::kv::{Consistency, KeyRange, KeyValue, Op, OpResponse, RangeRequest, Revision, Txn};

use super::{Registry, Stored, at_revision, charge::add_charges, object_range, put, stored::encode};
use crate::{
    limits,
    pipeline::{
        Permit,
        admit::{AdmittedChange, ChangeOutcome, Charge},
    },
    status::ApiError,
};

/// What a change came to.
#[derive(Debug)]
pub struct Changed {
    /// The object as it is now; as it last was, if it is gone.
    pub stored: Stored,
    /// It was removed: this change was what its deletion waited for.
    pub gone: bool,
}

/// How a change that was decided is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempts {
    /// At most how often it is decided.
    pub(super) max: usize,
    /// Decide, and write nothing.
    pub(super) dry_run: bool,
}

impl Attempts {
    pub(super) fn of_write(dry_run: bool) -> Self {
        Self {
            max: limits::WRITE_ATTEMPTS_MAX,
            dry_run,
        }
    }
}

/// An object as it was read, and whether that was certainly the latest.
struct Reading {
    stored: Stored,
    certain: bool,
}

/// A decision, ready to be written.
enum Step {
    /// The object is already as it should be.
    Nothing,
    /// This version takes its place.
    Put(Box<dyn Object>, Bytes),
    /// It goes; with its last state.
    Remove(Box<dyn Object>, Bytes),
}

/// What became of an attempt to write.
enum Written {
    /// It is done.
    Done(Changed),
    /// Another write came in between, of the object or of a quota, and this is the object now.
    Overtaken(Option<Stored>),
}

impl Registry {
    /// Changes an object. `decide` may be called several times, each time with what the object then is.
    pub(super) async fn change(
        &self,
        permit: &Permit,
        ops: &'static dyn KindOps,
        key: &ObjectKey,
        attempts: Attempts,
        mut decide: impl FnMut(&Stored) -> Result<AdmittedChange, ApiError> + Send,
    ) -> Result<Changed, ApiError> {
        let missing = || ApiError::not_found(ops.info(), &key.name);
        let mut reading = self.read_for_change(ops, key).await?.ok_or_else(missing)?;
        let mut was_overtaken = false;
        for _ in 0..attempts.max {
            let step = decide(&reading.stored).and_then(|change| Step::of(change, &reading.stored));
            let is_answer = attempts.dry_run || matches!(step, Err(_) | Ok(Step::Nothing));
            if is_answer && !reading.certain {
                let current = self
                    .read_one(ops, key, Consistency::Linearizable)
                    .await?
                    .ok_or_else(missing)?;
                let is_same = current.revision() == reading.stored.revision();
                reading = Reading {
                    stored: current,
                    certain: true,
                };
                if !is_same {
                    continue;
                }
            }
            let step = step?;
            let charges = match &step {
                Step::Put(object, _) => {
                    let old = reading.stored.object()?;
                    self.charges_of_change(&**old, &**object, was_overtaken).await?
                }
                Step::Nothing | Step::Remove(..) => Vec::new(),
            };
            if attempts.dry_run {
                return Ok(step.into_changed(&reading.stored, reading.stored.revision()));
            }
            match self.write(permit, step, reading.stored, &charges).await? {
                Written::Done(changed) => return Ok(changed),
                Written::Overtaken(current) => {
                    was_overtaken = true;
                    reading = Reading {
                        stored: current.ok_or_else(missing)?,
                        certain: true,
                    };
                }
            }
        }
        Err(ApiError::modified(ops.info(), &key.name))
    }

    async fn read_for_change(&self, ops: &'static dyn KindOps, key: &ObjectKey) -> Result<Option<Reading>, ApiError> {
        if let Some(stored) = self.read_one(ops, key, Consistency::Serializable).await? {
            return Ok(Some(Reading { stored, certain: false }));
        }
        let stored = self.read_one(ops, key, Consistency::Linearizable).await?;
        Ok(stored.map(|stored| Reading { stored, certain: true }))
    }

    async fn write(
        &self,
        permit: &Permit,
        step: Step,
        before: Stored,
        charges: &[Charge],
    ) -> Result<Written, ApiError> {
        let range = object_range(before.kind(), before.key());
        let mut txn = match &step {
            Step::Nothing => return Ok(Written::Done(step.into_changed(&before, before.revision()))),
            Step::Put(_, value) => replace_txn(&range, before.revision(), value.clone()),
            Step::Remove(..) => remove_txn(&range, before.revision()),
        };
        let namespace = &before.key().namespace;
        let charged = add_charges(charges, namespace, &mut txn)?;
        let answer = self.commit(permit, txn).await?;
        if answer.succeeded {
            self.policies.note_charges(namespace, charged, answer.revision);
            return Ok(Written::Done(step.into_changed(&before, answer.revision)));
        }
        Ok(Written::Overtaken(current_of(answer.responses, &before)))
    }
}

impl Step {
    fn of(change: AdmittedChange, before: &Stored) -> Result<Self, ApiError> {
        Ok(match change.into_outcome() {
            ChangeOutcome::Unchanged => Self::Nothing,
            ChangeOutcome::Replace(mut object) => match encode_if_changed(&mut *object, before)? {
                Some(value) => Self::Put(object, value),
                None => Self::Nothing,
            },
            ChangeOutcome::Remove(mut object) => {
                let value = encode(&mut *object)?;
                Self::Remove(object, value)
            }
        })
    }

    fn into_changed(self, before: &Stored, revision: Revision) -> Changed {
        match self {
            Self::Nothing => Changed {
                stored: before.clone(),
                gone: false,
            },
            Self::Put(object, value) => Changed {
                stored: Stored::with_object(object, value, revision).shown_by(before.ops()),
                gone: false,
            },
            Self::Remove(object, value) => Changed {
                stored: Stored::with_object(object, value, revision).shown_by(before.ops()),
                gone: true,
            },
        }
    }
}

/// The stored form of a new version; `None` if nothing changed. When its owners last changed something is no change by itself.
fn encode_if_changed(object: &mut dyn Object, before: &Stored) -> Result<Option<Bytes>, ApiError> {
    let value = encode(object)?;
    if value == before.value() {
        return Ok(None);
    }
    let owners = &before.object()?.metadata().managed_fields;
    if *owners == object.metadata().managed_fields || !same_but_times(owners, &object.metadata().managed_fields) {
        return Ok(Some(value));
    }
    let now = std::mem::replace(&mut object.metadata_mut().managed_fields, owners.clone());
    if encode(object)? == before.value() {
        return Ok(None);
    }
    object.metadata_mut().managed_fields = now;
    Ok(Some(value))
}

fn replace_txn(range: &KeyRange, revision: Revision, value: Bytes) -> Txn {
    Txn {
        compares: vec![at_revision(range.clone(), revision)],
        success: vec![put(range, value)],
        failure: vec![Op::Range(RangeRequest::latest(range.clone()))],
    }
}

fn remove_txn(range: &KeyRange, revision: Revision) -> Txn {
    Txn {
        compares: vec![at_revision(range.clone(), revision)],
        success: vec![Op::Delete {
            range: range.clone(),
            prev_kv: false,
        }],
        failure: vec![Op::Range(RangeRequest::latest(range.clone()))],
    }
}

fn current_of(responses: Vec<OpResponse>, before: &Stored) -> Option<Stored> {
    let kv = responses.into_iter().find_map(|response| match response {
        OpResponse::Range(range) => range.kvs.into_iter().next(),
        OpResponse::Put(_) | OpResponse::Delete { .. } | OpResponse::Txn(_) => None,
    });
    kv.map(
        |KeyValue {
             value, mod_revision, ..
         }| Stored::new(before.ops(), before.key().clone(), value, mod_revision),
    )
}

/// Reads a resource version that must be a number.
pub(super) fn parse_revision(text: &str) -> Result<Revision, ApiError> {
    let number = text.parse::<Revision>().ok().filter(|revision| *revision > 0);
    number.ok_or_else(|| {
        ApiError::bad_request(format!(
            "Invalid value: {text:?}: the resource version is not a number of this cluster"
        ))
    })
}
