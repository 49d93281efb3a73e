//! Storing new objects: one transaction each, which also holds that the namespace still takes objects and that
//! no quota is exceeded.

use trireme_logic::{
    kinds,
    object::{Object, ObjectKey},
};
use trireme_proto::api::{core::v1::ResourceQuota, scheduling::v1::PriorityClass};
use trireme_store::kv::{
    Compare, CompareResult, CompareTarget, Consistency, KeyRange, Op, OpResponse, RangeRequest, Revision, Txn,
    TxnResponse,
};

use super::{Registry, Stored, at_revision, charge::add_charges, object_range, ops_of, put, stored::encode};
use crate::{
    limits,
    pipeline::{
        Admitted, Decoded, Permit, Subresource, Verb,
        admit::{Refused, admit_create},
    },
    status::ApiError,
};

/// What became of an attempt to store a new object.
enum Inserted {
    Done(Stored),
    /// There is one of this name.
    Exists(Admitted),
    /// The namespace or a quota is not what the admission saw.
    SurroundingsChanged(Admitted),
}

impl Registry {
    /// Admits and stores a new object. With `dry_run`, everything but storing.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid`, `Forbidden` by a quota or an ending namespace, `NotFound` for its namespace.
    pub async fn create(&self, permit: &Permit, decoded: Decoded, dry_run: bool) -> Result<Stored, ApiError> {
        let (info, key) = (decoded.object().info(), target(permit, &decoded));
        permit.require(&[Verb::Create], info, Subresource::None, &key)?;
        self.create_permitted(permit, decoded, dry_run).await
    }

    /// The same, for whoever may make the object by another verb, which the caller has checked.
    pub(super) async fn create_permitted(
        &self,
        permit: &Permit,
        decoded: Decoded,
        dry_run: bool,
    ) -> Result<Stored, ApiError> {
        let info = decoded.object().info();
        let namespace = namespace_of(permit, &decoded);
        self.require_own_event(permit, decoded.object()).await?;
        let mut surroundings = self.policies.surroundings(&namespace).await?;
        // Creates that charge one quota would only overtake each other: they go one by one on this server.
        let turn = if surroundings.quotas.is_empty() {
            None
        } else {
            Some(self.policies.turn(&namespace).await)
        };
        if turn.is_some() {
            surroundings = self.policies.surroundings(&namespace).await?;
        }
        // What is kept at hand may be late. It is enough to go ahead by, as the write asks again, but not to refuse by.
        let mut certain = depends_on_others(decoded.object());
        if certain {
            surroundings = self.policies.read(&namespace, Consistency::Linearizable).await?;
        }
        let mut decoded = decoded;
        let mut names_tried = 0;
        for _ in 0..limits::WRITE_ATTEMPTS_MAX {
            let admitted = match admit_create(permit, decoded, &surroundings, &self.environment) {
                Ok(admitted) => admitted,
                Err(Refused {
                    decoded: Some(refused), ..
                }) if !certain => {
                    surroundings = self.policies.read(&namespace, Consistency::Linearizable).await?;
                    (certain, decoded) = (true, refused);
                    continue;
                }
                Err(refused) => return Err(refused.error),
            };
            let key = admitted.object().key();
            let generated = admitted.name_is_generated();
            let inserted = if dry_run {
                self.pretend(admitted).await?
            } else {
                self.insert(permit, admitted).await?
            };
            let admitted = match inserted {
                Inserted::Done(stored) => return Ok(stored.shown_to(permit)),
                Inserted::Exists(admitted) => {
                    names_tried += 1;
                    if !generated || names_tried >= limits::GENERATE_NAME_ATTEMPTS_MAX {
                        return Err(ApiError::already_exists(info, &key.name));
                    }
                    admitted
                }
                Inserted::SurroundingsChanged(admitted) => {
                    surroundings = self.policies.read(&namespace, Consistency::Linearizable).await?;
                    certain = true;
                    admitted
                }
            };
            decoded = admitted.into_decoded();
        }
        let name = &decoded.object().metadata().name;
        Err(ApiError::conflict(
            info,
            name,
            "its namespace or its quotas kept changing; please try again",
        ))
    }

    async fn insert(&self, permit: &Permit, mut admitted: Admitted) -> Result<Inserted, ApiError> {
        let value = encode(admitted.object_mut())?;
        let key = admitted.object().key();
        let range = object_range(admitted.object().info(), &key);
        let mut txn = Txn {
            compares: vec![at_revision(range.clone(), 0)],
            success: vec![put(&range, value.clone())],
            failure: vec![Op::Range(RangeRequest {
                keys_only: true,
                ..RangeRequest::latest(range)
            })],
        };
        let charges = guard_surroundings(&admitted, &key.namespace, &mut txn)?;
        let answer = self.commit(permit, txn).await?;
        if answer.succeeded {
            self.policies.note_charges(&key.namespace, charges, answer.revision);
            return Ok(Inserted::Done(Stored::with_object(
                admitted.into_object(),
                value,
                answer.revision,
            )));
        }
        Ok(if object_exists(&answer) {
            Inserted::Exists(admitted)
        } else {
            Inserted::SurroundingsChanged(admitted)
        })
    }

    /// A dry run's insert.
    async fn pretend(&self, mut admitted: Admitted) -> Result<Inserted, ApiError> {
        let value = encode(admitted.object_mut())?;
        let object = admitted.object();
        if self
            .read_one(object.ops(), &object.key(), Consistency::Linearizable)
            .await?
            .is_some()
        {
            return Ok(Inserted::Exists(admitted));
        }
        Ok(Inserted::Done(Stored::with_object(admitted.into_object(), value, 0)))
    }
}

/// The object that is to be made, as far as the request names it.
fn target(permit: &Permit, decoded: &Decoded) -> ObjectKey {
    let name = permit
        .request_info()
        .map(|request| request.key().name.as_str())
        .unwrap_or_default();
    ObjectKey::new(namespace_of(permit, decoded), name)
}

fn namespace_of(permit: &Permit, decoded: &Decoded) -> String {
    if !decoded.object().info().namespaced {
        return String::new();
    }
    let of_request = permit
        .request_info()
        .map(|info| info.key().namespace.as_str())
        .unwrap_or_default();
    let of_object = &decoded.object().metadata().namespace;
    if of_request.is_empty() {
        of_object.clone()
    } else {
        of_request.to_owned()
    }
}

/// True for a class of priority, of which only one may be the default: whether it is admitted depends on all others, and
/// no precondition of its write says so.
fn depends_on_others(object: &dyn Object) -> bool {
    object.downcast_ref::<PriorityClass>().is_some()
}

/// Makes what the admission saw a precondition: the namespace at its revision, no quota newer than those seen, and each charged
/// quota at its revision, with its new value. Answers with the charged quotas by name.
fn guard_surroundings(
    admitted: &Admitted,
    namespace: &str,
    txn: &mut Txn,
) -> Result<Vec<(String, ResourceQuota)>, ApiError> {
    let Some(state) = admitted.namespace() else {
        return Ok(Vec::new());
    };
    let namespace_range = object_range(ops_of("", "namespaces").info(), &ObjectKey::new("", namespace));
    txn.compares.push(at_revision(namespace_range, state.revision));
    txn.compares.push(no_newer_quota(namespace, admitted.quotas_seen()));
    add_charges(admitted.charges(), namespace, txn)
}

fn no_newer_quota(namespace: &str, seen: Revision) -> Compare {
    let prefix = kinds::namespace_prefix(ops_of("", "resourcequotas").info(), namespace);
    Compare {
        range: KeyRange::prefix(prefix),
        result: CompareResult::Less,
        target: CompareTarget::ModRevision(seen + 1),
    }
}

fn object_exists(answer: &TxnResponse) -> bool {
    answer
        .responses
        .iter()
        .any(|response| matches!(response, OpResponse::Range(range) if !range.kvs.is_empty()))
}
