//! The `scale` subresource: a workload's number of replicas in a form that is the same for all kinds.

use bytes::Bytes;
use serde_json::Value;
use trireme_logic::{
    object::{KindOps, Object, ObjectKey},
    patch::{self, PatchType},
};
use trireme_proto::api::{
    autoscaling::v1::{Scale, ScaleSpec, ScaleStatus},
    meta::v1::{ObjectMeta, Time},
};

use super::{Changed, ReadFrom, Registry, Stored, change::Attempts};
use crate::{
    limits,
    pipeline::{
        Decoded, Permit, Subresource, Verb,
        admit::{AdmittedChange, admit_update},
    },
    status::ApiError,
};

impl Registry {
    /// The scale of an object.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get_scale(
        &self,
        permit: &Permit,
        ops: &'static dyn KindOps,
        key: &ObjectKey,
        from: ReadFrom,
    ) -> Result<(Scale, Stored), ApiError> {
        let stored = self.get_part(permit, ops, Subresource::Scale, key, from).await?;
        Ok((scale_of(&**stored.object()?)?, stored))
    }

    /// Sets the number of replicas.
    ///
    /// # Errors
    /// `NotFound`, `Conflict`, `Invalid`.
    pub async fn update_scale(
        &self,
        permit: &Permit,
        ops: &'static dyn KindOps,
        key: &ObjectKey,
        scale: &Scale,
        dry_run: bool,
    ) -> Result<(Scale, Stored), ApiError> {
        permit.require(&[Verb::Update], ops.info(), Subresource::Scale, key)?;
        let changed = self
            .change(permit, ops, key, Attempts::of_write(dry_run), |current| {
                scaled(permit, current, scale, self.environment.now())
            })
            .await?;
        answer(changed)
    }

    /// Patches the scale.
    ///
    /// # Errors
    /// As [`patch`](Self::patch).
    pub async fn patch_scale(
        &self,
        permit: &Permit,
        ops: &'static dyn KindOps,
        key: &ObjectKey,
        (patch_type, patch): (PatchType, &Bytes),
        dry_run: bool,
    ) -> Result<(Scale, Stored), ApiError> {
        permit.require(&[Verb::Patch], ops.info(), Subresource::Scale, key)?;
        let attempts = Attempts {
            max: limits::PATCH_ATTEMPTS_MAX,
            dry_run,
        };
        let changed = self
            .change(permit, ops, key, attempts, |current| {
                let before = scale_of(&**current.object()?)?;
                let scale = patched(&before, patch_type, patch)?;
                scaled(permit, current, &scale, self.environment.now())
            })
            .await?;
        answer(changed)
    }
}

pub(super) fn answer(changed: Changed) -> Result<(Scale, Stored), ApiError> {
    Ok((scale_of(&**changed.stored.object()?)?, changed.stored))
}

fn patched(before: &Scale, patch_type: PatchType, patch: &[u8]) -> Result<Scale, ApiError> {
    let broken = |error| ApiError::internal("the scale has no JSON").context(error);
    let before: Value = serde_json::to_value(before).map_err(broken)?;
    let after =
        patch::apply(None, patch_type, &before, patch).map_err(|error| ApiError::bad_request(error.to_string()))?;
    serde_json::from_value(after)
        .map_err(|error| ApiError::bad_request(format!("the patched body is not a Scale: {error}")))
}

/// The change of the object itself that the scale asks for.
fn scaled(permit: &Permit, current: &Stored, scale: &Scale, now: Time) -> Result<AdmittedChange, ApiError> {
    let old = current.object()?;
    let mut object = current.decode()?;
    if let Some(meta) = &scale.metadata {
        // An empty one sets no precondition.
        object
            .metadata_mut()
            .resource_version
            .clone_from(&meta.resource_version);
        if !meta.uid.is_empty() {
            object.metadata_mut().uid.clone_from(&meta.uid);
        }
    }
    let replicas = scale.spec.as_ref().map_or(0, |spec| spec.replicas);
    if replicas < 0 {
        let why = format!(
            "Scale \"{}\" is invalid: spec.replicas: Invalid value: {replicas}: must be greater than or equal to 0",
            current.key().name
        );
        return Err(ApiError::bad_request(why));
    }
    object.set_replicas(replicas);
    admit_update(permit, &**old, Decoded::internal(object), Subresource::Scale, now)
}

fn scale_of(object: &dyn Object) -> Result<Scale, ApiError> {
    let scale = object
        .scale()
        .ok_or_else(|| ApiError::method_not_allowed(format!("{} cannot be scaled", object.info().plural)))?;
    let meta = object.metadata();
    Ok(Scale {
        metadata: Some(ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            creation_timestamp: meta.creation_timestamp,
            ..ObjectMeta::default()
        }),
        spec: Some(ScaleSpec {
            replicas: scale.spec_replicas,
        }),
        status: Some(ScaleStatus {
            replicas: scale.status_replicas,
            selector: scale.selector,
        }),
    })
}
