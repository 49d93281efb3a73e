//! Deleting an object: at once, or marked first while a grace period or finalizers hold it.

use jiff::Timestamp;
use trireme_logic::{
    field_error::FieldErrors,
    kind::KindInfo,
    object::{KindOps, Object, ObjectKey},
};
use trireme_proto::api::{
    core::v1::Namespace,
    meta::v1::{DeleteOptions as SentOptions, ObjectMeta, Time},
};

use super::{
    Changed, Registry, Stored,
    change::{Attempts, parse_revision},
};
use crate::{
    limits,
    pipeline::{
        Permit, Subresource, Verb,
        admit::{AdmittedChange, admit_deletion, is_finished},
    },
    status::ApiError,
};

const DRY_RUN_ALL: &str = "All";
const BACKGROUND: &str = "Background";
const FOREGROUND: &str = "Foreground";
const ORPHAN: &str = "Orphan";
const FOREGROUND_FINALIZER: &str = "foregroundDeletion";
const ORPHAN_FINALIZER: &str = "orphan";

/// Kinds whose pods stay unless something else is said. A fact of Kubernetes, for clients that are older than its garbage
/// collector; those that people use say what they want.
const ORPHANING: [(&str, &str); 2] = [("batch", "jobs"), ("", "replicationcontrollers")];

/// What happens to the objects that a deleted object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// Nothing was said: what the object's own finalizers say, and else as its kind has it.
    #[default]
    Unsaid,
    /// The garbage collector deletes them afterwards.
    Background,
    /// They go first; the object waits for them.
    Foreground,
    /// They stay, without an owner.
    Orphan,
}

/// How to delete.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Seconds a pod has to end; `None` for the pod's own value; 0 removes it at once.
    pub grace_period_seconds: Option<i64>,
    /// What happens to owned objects.
    pub propagation: Propagation,
    /// Refuse unless the object has this uid; empty for no matter.
    pub uid: String,
    /// Refuse unless the object has this resource version; empty for no matter.
    pub resource_version: String,
    /// Everything but deleting.
    pub dry_run: bool,
}

/// What a deletion came to.
#[derive(Debug)]
pub struct Deleted {
    /// The object as it last was, or as it is while something holds it.
    pub stored: Stored,
    /// It is gone.
    pub gone: bool,
}

impl Registry {
    /// Deletes an object, or marks it for deletion.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` if a precondition does not hold, `Forbidden` for namespaces that must stay.
    pub async fn delete(
        &self,
        permit: &Permit,
        ops: &'static dyn KindOps,
        key: &ObjectKey,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        permit.require(&[Verb::Delete], ops.info(), Subresource::None, key)?;
        options.check()?;
        self.delete_permitted(permit, ops, key, options).await
    }

    /// The same, once it is known that it may be done.
    pub(super) async fn delete_permitted(
        &self,
        permit: &Permit,
        ops: &'static dyn KindOps,
        key: &ObjectKey,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        let now = self.environment.timestamp();
        let attempts = Attempts::of_write(options.dry_run);
        let changed = self
            .change(permit, ops, key, attempts, |current| deletion(current, options, now))
            .await?;
        Ok(changed.into())
    }
}

impl From<Changed> for Deleted {
    fn from(changed: Changed) -> Self {
        Self {
            stored: changed.stored,
            gone: changed.gone,
        }
    }
}

impl DeleteOptions {
    /// Reads the options as clients send them.
    ///
    /// # Errors
    /// `Invalid` for options that contradict each other or are not known.
    pub fn of_sent(sent: SentOptions) -> Result<Self, ApiError> {
        refuse_nonsense(&sent)?;
        let propagation = match (sent.propagation_policy.as_deref(), sent.orphan_dependents) {
            (Some(FOREGROUND), _) => Propagation::Foreground,
            (Some(ORPHAN), _) | (None, Some(true)) => Propagation::Orphan,
            (None, None) => Propagation::Unsaid,
            _ => Propagation::Background,
        };
        let preconditions = sent.preconditions.unwrap_or_default();
        Ok(Self {
            grace_period_seconds: sent.grace_period_seconds,
            propagation,
            uid: preconditions.uid.unwrap_or_default(),
            resource_version: preconditions.resource_version.unwrap_or_default(),
            dry_run: !sent.dry_run.is_empty(),
        })
    }

    /// Refuses what no deletion can be asked for.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let seconds = self.grace_period_seconds.unwrap_or(0);
        if !(0..=limits::GRACE_PERIOD_MAX_SECONDS).contains(&seconds) {
            let limit = limits::GRACE_PERIOD_MAX_SECONDS;
            return Err(ApiError::bad_request(format!(
                "the grace period must be between 0 and {limit} seconds, not {seconds}"
            )));
        }
        if !self.resource_version.is_empty() {
            parse_revision(&self.resource_version)?;
        }
        Ok(())
    }
}

fn refuse_nonsense(sent: &SentOptions) -> Result<(), ApiError> {
    let mut errors = FieldErrors::default();
    errors.field("propagationPolicy", |errors| {
        let Some(policy) = sent.propagation_policy.as_deref() else {
            return;
        };
        if sent.orphan_dependents.is_some() {
            errors.invalid(policy, "orphanDependents and deletionPropagation cannot be both set");
        }
        if !matches!(policy, BACKGROUND | FOREGROUND | ORPHAN) {
            errors.not_supported(policy, &[BACKGROUND, FOREGROUND, ORPHAN]);
        }
    });
    errors.field("dryRun", |errors| {
        for value in sent.dry_run.iter().filter(|value| *value != DRY_RUN_ALL) {
            errors.not_supported(value, &[DRY_RUN_ALL]);
        }
    });
    let errors = errors.into_errors();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid_options("DeleteOptions", &errors))
    }
}

/// The next step of an object's deletion.
fn deletion(current: &Stored, options: &DeleteOptions, now: Timestamp) -> Result<AdmittedChange, ApiError> {
    deletion_of(current.decode()?, current, options, now)
}

/// The same of an object that was changed on the way, which is stored with it if the deletion takes a step.
pub(super) fn deletion_of(
    mut object: Box<dyn Object>,
    current: &Stored,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<AdmittedChange, ApiError> {
    admit_deletion(&*object)?;
    check_preconditions(current, object.metadata(), options)?;
    let kind = object.info();
    set_propagation(object.metadata_mut(), options.propagation, kind);
    match grace_period(&*object, options.grace_period_seconds) {
        // Already ending, and not to end sooner: at most the owned objects' fate is new.
        Grace::Keep if object.metadata().finalizers == current.object()?.metadata().finalizers => {
            return Ok(AdmittedChange::unchanged());
        }
        Grace::Keep => {}
        Grace::Seconds(seconds) => mark(object.metadata_mut(), seconds, now),
    }
    if let Some(namespace) = object.downcast_mut::<Namespace>() {
        namespace.status.get_or_insert_default().phase = "Terminating".to_owned();
    }
    if is_finished(&*object) {
        Ok(AdmittedChange::removal(object))
    } else {
        Ok(AdmittedChange::internal(object))
    }
}

pub(super) fn check_preconditions(
    current: &Stored,
    meta: &ObjectMeta,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let conflict = |what: &str, wanted: &str, actual: &str| {
        let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {actual}");
        Err(ApiError::conflict(current.kind(), &current.key().name, why))
    };
    if !options.uid.is_empty() && options.uid != meta.uid {
        return conflict("UID", &options.uid, &meta.uid);
    }
    if !options.resource_version.is_empty() && options.resource_version != meta.resource_version {
        return conflict("ResourceVersion", &options.resource_version, &meta.resource_version);
    }
    Ok(())
}

fn set_propagation(meta: &mut ObjectMeta, propagation: Propagation, kind: &KindInfo) {
    let is_said = |finalizer: &String| matches!(finalizer.as_str(), FOREGROUND_FINALIZER | ORPHAN_FINALIZER);
    let wanted = match propagation {
        // What an earlier deletion or a person asked for stays.
        Propagation::Unsaid | Propagation::Background if meta.deletion_timestamp.is_some() => return,
        Propagation::Unsaid if meta.finalizers.iter().any(is_said) => return,
        Propagation::Unsaid if ORPHANING.contains(&(kind.group, kind.plural)) => Some(ORPHAN_FINALIZER),
        Propagation::Unsaid | Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND_FINALIZER),
        Propagation::Orphan => Some(ORPHAN_FINALIZER),
    };
    meta.finalizers
        .retain(|finalizer| !is_said(finalizer) || Some(finalizer.as_str()) == wanted);
    if let Some(wanted) = wanted.filter(|wanted| !meta.finalizers.iter().any(|finalizer| finalizer == wanted)) {
        meta.finalizers.push(wanted.to_owned());
    }
}

/// How long an object may still go on.
enum Grace {
    /// As an earlier deletion said.
    Keep,
    /// From now; 0 for not at all.
    Seconds(i64),
}

fn grace_period(object: &dyn Object, requested: Option<i64>) -> Grace {
    let meta = object.metadata();
    // Kinds that do not end gracefully have nothing to wait for but their finalizers.
    let wanted = object.graceful_deletion_seconds(requested).unwrap_or(0).max(0);
    match (meta.deletion_timestamp.is_some(), meta.deletion_grace_period_seconds) {
        (false, _) => Grace::Seconds(wanted),
        // A repeated deletion may only make it sooner.
        (true, Some(left)) if left > 0 && requested.is_some() && wanted < left => Grace::Seconds(wanted),
        (true, _) => Grace::Keep,
    }
}

fn mark(meta: &mut ObjectMeta, grace_seconds: i64, now: Timestamp) {
    meta.deletion_timestamp = Some(Time {
        seconds: now.as_second().saturating_add(grace_seconds),
        nanos: 0,
    });
    meta.deletion_grace_period_seconds = Some(grace_seconds);
    if meta.generation > 0 {
        meta.generation += 1;
    }
}
