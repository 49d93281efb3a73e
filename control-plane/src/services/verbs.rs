//! What each verb does once it is permitted: the same for both doors, which differ only in how they are asked and how they
//! write the answer.

use bytes::Bytes;
use trireme_logic::patch::PatchType;
use trireme_proto::{
    api::{autoscaling::v1::Scale, meta::v1::PartialObjectMetadata},
    v1::Encoding,
};

use crate::{
    pipeline::{Decoded, Permit, RequestInfo, Subresource, Validation, decode_binding, decode_scale},
    registry::{self, DeleteOptions, Deleted, Eviction, ReadFrom, Registry, Stored},
    status::ApiError,
};

/// What was read or written: an object, or its scale.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The object.
    Object(Stored),
    /// How many replicas it has, and the object that has them.
    Scale(Box<Scale>, Stored),
}

/// What a write came to.
#[derive(Debug)]
pub(crate) struct Written {
    /// The object as it is now.
    pub(crate) outcome: Outcome,
    /// Sentences for the user.
    pub(crate) warnings: Vec<String>,
}

/// An object as it was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The bytes.
    pub(crate) body: Bytes,
    /// Their form.
    pub(crate) encoding: Encoding,
}

/// How something is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteOptions {
    /// Everything but storing.
    pub(crate) dry_run: bool,
    /// Treatment of unknown fields.
    pub(crate) validation: Validation,
}

impl From<Stored> for Written {
    fn from(stored: Stored) -> Self {
        Self {
            outcome: Outcome::Object(stored),
            warnings: Vec::new(),
        }
    }
}

impl From<(Scale, Stored)> for Outcome {
    fn from((scale, stored): (Scale, Stored)) -> Self {
        Self::Scale(Box::new(scale), stored)
    }
}

impl From<(Scale, Stored)> for Written {
    fn from(scale: (Scale, Stored)) -> Self {
        Self {
            outcome: scale.into(),
            warnings: Vec::new(),
        }
    }
}

/// What a permit is for.
pub(crate) fn requested(permit: &Permit) -> Result<&RequestInfo, ApiError> {
    permit
        .request_info()
        .ok_or_else(|| ApiError::internal("the permit is for no request"))
}

/// Reads one object, or one part of it.
pub(crate) async fn get(registry: &Registry, permit: &Permit, from: ReadFrom) -> Result<Outcome, ApiError> {
    let info = requested(permit)?;
    let _seat = registry.admit(permit, 0).await?;
    let (ops, key, part) = (info.ops(), info.key(), info.subresource());
    if part == Subresource::Scale {
        return Ok(registry.get_scale(permit, ops, key, from).await?.into());
    }
    Ok(Outcome::Object(registry.get_part(permit, ops, part, key, from).await?))
}

/// Stores a new object, or binds a pod.
pub(crate) async fn create(
    registry: &Registry,
    permit: &Permit,
    sent: Sent,
    options: WriteOptions,
) -> Result<Written, ApiError> {
    let info = requested(permit)?;
    let _seat = registry.admit(permit, sent.body.len()).await?;
    if info.subresource() == Subresource::Eviction {
        let eviction = Eviction::decode(&sent.body, sent.encoding)?;
        let deleted = registry.evict(permit, info.key(), eviction, options.dry_run).await?;
        return Ok(deleted.stored.into());
    }
    if info.subresource() == Subresource::Binding {
        let binding = decode_binding(sent.body, sent.encoding)?;
        let changed = registry
            .create_binding(permit, info.key(), &binding, options.dry_run)
            .await?;
        return Ok(changed.stored.into());
    }
    let mut decoded = Decoded::decode(permit, sent.body, sent.encoding, options.validation)?;
    let warnings = decoded.take_warnings();
    let stored = registry.create(permit, decoded, options.dry_run).await?;
    Ok(Written {
        warnings,
        ..stored.into()
    })
}

/// Replaces an object, or one part of it.
pub(crate) async fn update(
    registry: &Registry,
    permit: &Permit,
    sent: Sent,
    options: WriteOptions,
) -> Result<Written, ApiError> {
    let info = requested(permit)?;
    let _seat = registry.admit(permit, sent.body.len()).await?;
    let (ops, key) = (info.ops(), info.key());
    if info.subresource() == Subresource::Scale {
        let scale = decode_scale(sent.body, sent.encoding)?;
        let changed = registry.update_scale(permit, ops, key, &scale, options.dry_run).await?;
        return Ok(changed.into());
    }
    let mut decoded = Decoded::decode(permit, sent.body, sent.encoding, options.validation)?;
    let warnings = decoded.take_warnings();
    let changed = registry
        .update_part(permit, decoded, info.subresource(), options.dry_run)
        .await?;
    Ok(Written {
        warnings,
        ..changed.stored.into()
    })
}

/// Changes part of an object, or of one part of it.
pub(crate) async fn patch(
    registry: &Registry,
    permit: &Permit,
    patch_type: PatchType,
    patch: Bytes,
    options: WriteOptions,
) -> Result<Written, ApiError> {
    let info = requested(permit)?;
    let _seat = registry.admit(permit, patch.len()).await?;
    let (ops, key, part) = (info.ops(), info.key(), info.subresource());
    let WriteOptions { dry_run, validation } = options;
    if part == Subresource::Scale {
        let changed = registry
            .patch_scale(permit, ops, key, (patch_type, &patch), dry_run)
            .await?;
        return Ok(changed.into());
    }
    let wanted = registry::PatchRequest {
        patch_type,
        patch,
        validation,
        dry_run,
    };
    let (changed, warnings) = registry.patch(permit, ops, part, key, &wanted).await?;
    Ok(Written {
        warnings,
        ..changed.stored.into()
    })
}

/// Makes what a manager declares so: of an object, which is made if there is none, or of one part of it. True if it was made.
pub(crate) async fn apply(
    registry: &Registry,
    permit: &Permit,
    config: Bytes,
    force: bool,
    options: WriteOptions,
) -> Result<(Written, bool), ApiError> {
    let info = requested(permit)?;
    let _seat = registry.admit(permit, config.len()).await?;
    let (ops, key, part) = (info.ops(), info.key(), info.subresource());
    let WriteOptions { dry_run, validation } = options;
    let wanted = registry::ApplyRequest {
        config,
        force,
        validation,
        dry_run,
    };
    if part == Subresource::Scale {
        return Ok((registry.apply_scale(permit, ops, key, &wanted).await?.into(), false));
    }
    let applied = registry.apply(permit, ops, part, key, &wanted).await?;
    let written = Written {
        warnings: applied.warnings,
        ..applied.changed.stored.into()
    };
    Ok((written, applied.created))
}

/// Deletes an object, or marks it for deletion.
pub(crate) async fn delete(registry: &Registry, permit: &Permit, options: &DeleteOptions) -> Result<Deleted, ApiError> {
    let info = requested(permit)?;
    let _seat = registry.admit(permit, 0).await?;
    registry.delete(permit, info.ops(), info.key(), options).await
}

/// An object's metadata, as an object of its own.
pub(crate) fn metadata_of(stored: &Stored) -> Result<PartialObjectMetadata, ApiError> {
    Ok(PartialObjectMetadata {
        metadata: Some(stored.object()?.metadata().clone()),
    })
}
