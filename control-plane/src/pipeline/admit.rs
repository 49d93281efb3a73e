//! What will be stored: defaults, admission and validation, in this order, for new objects and for changes.
//!
//! Nothing here reads or writes: what a decision depends on beside the object (its namespace, the quotas there)
//! comes in as [`Surroundings`], with revisions that the registry makes preconditions of the write.

use std::sync::Arc;

use trireme_logic::{
    admission::{
        self, AdmissionError, AdmissionLookup, AdmissionReason, AdmissionRequest, NamespacePhase, Operation,
        PriorityClasses,
    },
    field_error::{FieldError, FieldErrorReason, FieldErrors},
    kind::KindInfo,
    kinds::{
        certificate_signing_request,
        pod::part::{self, PodPart},
    },
    object::{Object, ObjectKey},
    validation::metadata,
};
use trireme_proto::api::{
    certificates::v1::CertificateSigningRequest,
    core::v1::{LimitRange, Namespace, Pod, ResourceQuota},
    meta::v1::{ObjectMeta, Time},
};
use trireme_store::kv::Revision;

use super::{
    Decoded, FieldManager, Permit, RequestInfo, Subresource,
    owners::{Owners, own_changed, own_new},
};
use crate::{environment::Environment, status::ApiError};

/// A namespace, as far as creates depend on it.
#[derive(Debug, Clone)]
pub(crate) struct NamespaceState {
    pub(crate) revision: Revision,
    pub(crate) terminating: bool,
}

/// A quota at a revision.
#[derive(Debug, Clone)]
pub(crate) struct QuotaState {
    pub(crate) name: String,
    pub(crate) revision: Revision,
    pub(crate) quota: Arc<ResourceQuota>,
}

/// What stands around a new object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// `None` for cluster-scoped kinds, and if there is no such namespace.
    pub(crate) namespace: Option<NamespaceState>,
    /// Ordered by name.
    pub(crate) quotas: Vec<QuotaState>,
    /// Ordered by name.
    pub(crate) limit_ranges: Vec<Arc<LimitRange>>,
    /// Those of the cluster.
    pub(crate) priority_classes: Arc<PriorityClasses>,
    /// The storage class of claims that name none.
    pub(crate) default_storage_class: Option<String>,
}

/// A quota with the object's share added.
#[derive(Debug)]
pub(crate) struct Charge {
    pub(crate) name: String,
    pub(crate) revision: Revision,
    pub(crate) quota: ResourceQuota,
}

/// A new object that may be stored, provided that its surroundings are still what admission saw.
#[derive(Debug)]
pub struct Admitted {
    object: Box<dyn Object>,
    name_is_generated: bool,
    namespace: Option<NamespaceState>,
    quotas_seen: Revision,
    charges: Vec<Charge>,
    owners: Owners,
}

/// A new object that is not admitted.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: ApiError,
    /// The object, to be admitted again, if it is what surrounds it that refuses it: that may have been read late.
    pub(crate) decoded: Option<Decoded>,
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self { error, decoded: None }
    }
}

/// A change that may be stored in the place of the version that it was decided on.
#[derive(Debug)]
pub(crate) struct AdmittedChange(ChangeOutcome);

/// What a change comes to.
#[derive(Debug)]
pub(crate) enum ChangeOutcome {
    /// There is nothing to do.
    Unchanged,
    /// This is the new version.
    Replace(Box<dyn Object>),
    /// The object goes: nothing holds it any more. With its last state.
    Remove(Box<dyn Object>),
}

impl Surroundings {
    /// The highest revision of a quota that was seen; 0 if there is none.
    fn quotas_seen(&self) -> Revision {
        self.quotas.iter().map(|quota| quota.revision).max().unwrap_or(0)
    }
}

impl AdmissionLookup for Surroundings {
    fn namespace(&self, _name: &str) -> Option<NamespacePhase> {
        // They are of one namespace, that of the object.
        self.namespace.as_ref().map(|state| {
            if state.terminating {
                NamespacePhase::Terminating
            } else {
                NamespacePhase::Active
            }
        })
    }

    fn limit_ranges(&self, _namespace: &str) -> Vec<Arc<LimitRange>> {
        self.limit_ranges.clone()
    }

    fn priority_classes(&self) -> Arc<PriorityClasses> {
        self.priority_classes.clone()
    }

    fn default_storage_class(&self) -> Option<String> {
        self.default_storage_class.clone()
    }
}

impl Admitted {
    pub(crate) fn object(&self) -> &dyn Object {
        &*self.object
    }

    pub(crate) fn object_mut(&mut self) -> &mut dyn Object {
        &mut *self.object
    }

    pub(crate) fn into_object(self) -> Box<dyn Object> {
        self.object
    }

    pub(crate) fn name_is_generated(&self) -> bool {
        self.name_is_generated
    }

    pub(crate) fn namespace(&self) -> Option<&NamespaceState> {
        self.namespace.as_ref()
    }

    pub(crate) fn quotas_seen(&self) -> Revision {
        self.quotas_seen
    }

    pub(crate) fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// Back to the beginning, to be admitted again: with another name if it was generated.
    pub(crate) fn into_decoded(mut self) -> Decoded {
        self.object.forget_identity();
        if self.name_is_generated {
            self.object.metadata_mut().name.clear();
        }
        Decoded::internal(self.object).with_owners(self.owners)
    }
}

impl AdmittedChange {
    pub(crate) fn into_outcome(self) -> ChangeOutcome {
        self.0
    }

    /// Nothing is to be done.
    pub(crate) fn unchanged() -> Self {
        Self(ChangeOutcome::Unchanged)
    }

    /// A change that the registry itself made of a stored object, within what its permit covers (a deletion mark, a
    /// binding, a node's report): only metadata, or fields that no client has a say in.
    pub(crate) fn internal(object: Box<dyn Object>) -> Self {
        Self(ChangeOutcome::Replace(object))
    }

    /// The end of an object that nothing holds.
    pub(crate) fn removal(object: Box<dyn Object>) -> Self {
        Self(ChangeOutcome::Remove(object))
    }
}

/// Makes a new object ready to be stored.
///
/// # Errors
/// `BadRequest`, `NotFound` for the namespace, `Forbidden` in an ending namespace or beyond a quota, `Invalid`.
pub(crate) fn admit_create(
    permit: &Permit,
    decoded: Decoded,
    surroundings: &Surroundings,
    environment: &Environment,
) -> Result<Admitted, Refused> {
    let owners = decoded.owners();
    let mut object = decoded.into_object();
    let info = object.info();
    let name_is_generated = identify_new(permit, info, object.metadata_mut(), environment)?;
    object.set_defaults();
    // What is sent and what is filled in for it is its creator's; what the server adds from here on is nobody's.
    if owners == Owners::ToBeFound {
        let manager = permit.manager().map(FieldManager::name);
        own_new(manager, &mut *object, environment.now())?;
    }
    object.prepare_create();
    set_requester(permit, &mut *object);
    object.stamp(None, environment.now());
    let request = AdmissionRequest {
        operation: Operation::Create,
        info,
        key: object.key(),
    };
    admission::mutate(&request, &mut *object, surroundings);
    let mut errors = FieldErrors::default();
    metadata::validate(info, object.metadata(), &mut errors);
    object.validate(&mut errors);
    object.validate_create(&mut errors);
    if let Some(request) = permit.request_info() {
        request.ops().validate_create_in_version(&*object, &mut errors);
    }
    refuse_if_any(info, &object.metadata().name, errors)?;
    let charges = admission::validate(&request, &*object, surroundings)
        .map_err(|error| not_admitted(info, &request.key, error))
        .and_then(|()| charge_quotas(None, &*object, surroundings));
    let mut admitted = Admitted {
        object,
        name_is_generated,
        namespace: surroundings.namespace.clone(),
        quotas_seen: surroundings.quotas_seen(),
        charges: Vec::new(),
        owners,
    };
    match charges {
        Ok(charges) => {
            admitted.charges = charges;
            Ok(admitted)
        }
        Err(error) => Err(Refused {
            error,
            decoded: Some(admitted.into_decoded()),
        }),
    }
}

/// Gives a new object its place, name, uid and time. True if the name was made here.
fn identify_new(
    permit: &Permit,
    info: &KindInfo,
    meta: &mut ObjectMeta,
    environment: &Environment,
) -> Result<bool, ApiError> {
    place(permit.request_info(), info, meta)?;
    metadata::prepare_create(meta);
    meta.uid = environment.uid();
    meta.creation_timestamp = Some(environment.now());
    let generate = meta.name.is_empty() && !meta.generate_name.is_empty();
    if generate {
        meta.name = environment.generate_name(&meta.generate_name);
    }
    Ok(generate)
}

/// Fills in the namespace and name of the request; those in the object must not differ.
fn place(request: Option<&RequestInfo>, info: &KindInfo, meta: &mut ObjectMeta) -> Result<(), ApiError> {
    if !info.namespaced {
        // Some clients send "default" for everything; nothing but the request's own word counts.
        meta.namespace.clear();
    }
    let Some(request) = request else {
        return Ok(());
    };
    let key = request.key();
    if meta.namespace.is_empty() {
        meta.namespace.clone_from(&key.namespace);
    } else if meta.namespace != key.namespace {
        return Err(ApiError::bad_request(format!(
            "the namespace of the provided object ({}) does not match the namespace sent on the request ({})",
            meta.namespace, key.namespace
        )));
    }
    if meta.name.is_empty() {
        meta.name.clone_from(&key.name);
    } else if !key.name.is_empty() && meta.name != key.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            meta.name, key.name
        )));
    }
    Ok(())
}

/// Asks the plugins whether an object may be deleted.
///
/// # Errors
/// `Forbidden`.
pub(crate) fn admit_deletion(object: &dyn Object) -> Result<(), ApiError> {
    let info = object.info();
    let request = AdmissionRequest {
        operation: Operation::Delete,
        info,
        key: object.key(),
    };
    admission::validate(&request, object, &Surroundings::default())
        .map_err(|error| not_admitted(info, &request.key, error))
}

fn not_admitted(info: &KindInfo, key: &ObjectKey, error: AdmissionError) -> ApiError {
    match error.reason {
        AdmissionReason::Forbidden => ApiError::forbidden(error.message).regarding(info, &key.name),
        AdmissionReason::NotFound => {
            ApiError::not_found(crate::registry::ops_of("", "namespaces").info(), &key.namespace)
        }
    }
}

/// What a new object, or a change of `old`, charges each quota with.
///
/// # Errors
/// `Forbidden` if a quota has no room, or cannot tell.
pub(crate) fn charge_quotas(
    old: Option<&dyn Object>,
    object: &dyn Object,
    surroundings: &Surroundings,
) -> Result<Vec<Charge>, ApiError> {
    let mut charges = Vec::new();
    if surroundings.quotas.is_empty() {
        return Ok(charges);
    }
    let before = old.map(admission::usage_of).unwrap_or_default();
    let usage = admission::usage_of(object);
    let refused = |why| ApiError::forbidden_object(object.info(), &object.metadata().name, why);
    for state in &surroundings.quotas {
        let charged = admission::charge_change(&state.quota, &before, &usage).map_err(refused)?;
        if let Some(quota) = charged {
            charges.push(Charge {
                name: state.name.clone(),
                revision: state.revision,
                quota,
            });
        }
    }
    Ok(charges)
}

/// A request for a certificate says who asks for it: whoever sent it.
fn set_requester(permit: &Permit, object: &mut dyn Object) {
    if let Some(request) = object.downcast_mut::<CertificateSigningRequest>() {
        let identity = permit.identity();
        certificate_signing_request::set_requester(request, &identity.user(), identity.groups());
    }
}

/// Makes a change of `old` ready to be stored, if it depends on nothing but the object. `now` is when it is made.
///
/// # Errors
/// As [`admit_update_among`].
pub(crate) fn admit_update(
    permit: &Permit,
    old: &dyn Object,
    decoded: Decoded,
    part: Subresource,
    now: Time,
) -> Result<AdmittedChange, ApiError> {
    admit_update_among(permit, old, decoded, part, now, &Surroundings::default())
}

/// Makes a change of `old` ready to be stored. `now` is when it is made.
///
/// # Errors
/// `BadRequest`, `Conflict` if `old` is not the version or object that the change was made for, `Invalid`, `Forbidden`.
pub(crate) fn admit_update_among(
    permit: &Permit,
    old: &dyn Object,
    decoded: Decoded,
    part: Subresource,
    now: Time,
    surroundings: &Surroundings,
) -> Result<AdmittedChange, ApiError> {
    let owners = decoded.owners();
    let mut object = decoded.into_object();
    let info = object.info();
    place(permit.request_info(), info, object.metadata_mut())?;
    check_preconditions(info, object.metadata(), old.metadata())?;
    let sent_finalizers = namespace_finalizers(&*object);
    let sent_owners = object.metadata().managed_fields.clone();
    metadata::prepare_update(object.metadata_mut(), old.metadata());
    let mut errors = FieldErrors::default();
    match part {
        Subresource::Status => {
            object.set_defaults();
            object.prepare_status_update(old);
            object.stamp(Some(old), now);
            keep_metadata(object.metadata_mut(), old.metadata());
            metadata::validate_update(object.metadata(), old.metadata(), &mut errors);
            object.validate_status_update(old, &mut errors);
        }
        Subresource::EphemeralContainers => {
            change_pod_part(PodPart::EphemeralContainers, &mut *object, old, &mut errors)?;
        }
        Subresource::Resize => {
            change_pod_part(PodPart::Resources, &mut *object, old, &mut errors)?;
        }
        Subresource::Approval => {
            object.set_defaults();
            object.prepare_part_update(part.as_str(), old);
            object.stamp(Some(old), now);
            metadata::validate(info, object.metadata(), &mut errors);
            metadata::validate_update(object.metadata(), old.metadata(), &mut errors);
            object.validate_part_update(part.as_str(), old, &mut errors);
        }
        _ => {
            object.set_defaults();
            object.prepare_update(old);
            object.stamp(Some(old), now);
            metadata::validate(info, object.metadata(), &mut errors);
            metadata::validate_update(object.metadata(), old.metadata(), &mut errors);
            object.validate(&mut errors);
            object.validate_update(old, &mut errors);
        }
    }
    refuse_if_any(info, &old.metadata().name, errors)?;
    if part != Subresource::Status {
        let request = AdmissionRequest {
            operation: Operation::Update,
            info,
            key: old.key(),
        };
        admission::validate(&request, &*object, surroundings)
            .map_err(|error| not_admitted(info, &request.key, error))?;
    }
    // A namespace's own finalizers go by a subresource; the namespace controller, which alone works for them, may
    // take the plain way as well.
    if part == Subresource::Finalize || (permit.is_system() && part == Subresource::None) {
        set_namespace_finalizers(&mut *object, sent_finalizers);
    }
    object.metadata_mut().managed_fields = sent_owners;
    if owners == Owners::ToBeFound {
        let manager = permit.manager().map(FieldManager::name);
        own_changed(manager, old, &mut *object, part, now);
    }
    Ok(AdmittedChange(if is_finished(&*object) {
        ChangeOutcome::Remove(object)
    } else {
        ChangeOutcome::Replace(object)
    }))
}

/// Makes of a pod that was sent the old one with nothing but one part changed.
fn change_pod_part(
    part: PodPart,
    object: &mut dyn Object,
    old: &dyn Object,
    errors: &mut FieldErrors,
) -> Result<(), ApiError> {
    object.set_defaults();
    keep_metadata(object.metadata_mut(), old.metadata());
    let no_pod = || ApiError::internal("a pod is not a pod");
    let old_pod = old.downcast_ref::<Pod>().ok_or_else(no_pod)?;
    let pod = object.downcast_mut::<Pod>().ok_or_else(no_pod)?;
    part::prepare(part, pod, old_pod);
    part::validate(part, pod, old_pod, errors);
    object.validate(errors);
    Ok(())
}

/// The revision and uid that a client names are those it made its change for.
fn check_preconditions(info: &KindInfo, meta: &ObjectMeta, old: &ObjectMeta) -> Result<(), ApiError> {
    if !meta.resource_version.is_empty() && meta.resource_version != old.resource_version {
        if meta.resource_version.parse::<u64>().is_err() {
            let error = FieldError {
                reason: FieldErrorReason::Invalid,
                field: "metadata.resourceVersion".into(),
                message: format!(
                    "Invalid value: {:?}: must be a number of this cluster",
                    meta.resource_version
                ),
            };
            return Err(ApiError::invalid(info, &old.name, &[error]));
        }
        return Err(ApiError::modified(info, &old.name));
    }
    if !meta.uid.is_empty() && meta.uid != old.uid {
        let why = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            meta.uid, old.uid
        );
        return Err(ApiError::conflict(info, &old.name, why));
    }
    Ok(())
}

/// A status update changes nothing of the metadata that other parts of the object are described by.
fn keep_metadata(meta: &mut ObjectMeta, old: &ObjectMeta) {
    let resource_version = std::mem::take(&mut meta.resource_version);
    meta.clone_from(old);
    meta.resource_version = resource_version;
}

/// Whether an object that is being deleted has nothing left to wait for.
pub(crate) fn is_finished(object: &dyn Object) -> bool {
    let meta = object.metadata();
    meta.deletion_timestamp.is_some()
        && meta.finalizers.is_empty()
        && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
        && namespace_finalizers(object).is_empty()
}

/// The finalizers in a namespace's spec; none for other kinds.
pub(crate) fn namespace_finalizers(object: &dyn Object) -> Vec<String> {
    let spec = object
        .downcast_ref::<Namespace>()
        .and_then(|namespace| namespace.spec.as_ref());
    spec.map(|spec| spec.finalizers.clone()).unwrap_or_default()
}

fn set_namespace_finalizers(object: &mut dyn Object, finalizers: Vec<String>) {
    if let Some(namespace) = object.downcast_mut::<Namespace>() {
        namespace.spec.get_or_insert_default().finalizers = finalizers;
    }
}

fn refuse_if_any(info: &KindInfo, name: &str, errors: FieldErrors) -> Result<(), ApiError> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(info, name, &errors.into_errors()))
    }
}

impl Charge {
    pub(crate) fn key(&self, namespace: &str) -> ObjectKey {
        ObjectKey::new(namespace, self.name.as_str())
    }
}
