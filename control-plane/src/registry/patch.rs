//! Changing part of an object: the patch is applied to what the object is, and again if that changes meanwhile.

use bytes::Bytes;
use serde_json::Value;
use trireme_logic::{
    object::{KindOps, ObjectKey},
    patch::{self, PatchError, PatchType},
};

use super::{Changed, Registry, Stored, change::Attempts};
use crate::{
    limits,
    pipeline::{Decoded, Permit, Subresource, Validation, Verb, admit::admit_update_among, remarks_of_patch},
    status::ApiError,
};

/// A patch.
#[derive(Debug, Clone)]
pub struct PatchRequest {
    /// Its form.
    pub patch_type: PatchType,
    /// The patch, JSON.
    pub patch: Bytes,
    /// Treatment of fields that are unknown or stand twice.
    pub validation: Validation,
    /// Everything but storing.
    pub dry_run: bool,
}

impl Registry {
    /// Patches an object or its status. Answers with warnings about unknown fields beside the outcome.
    ///
    /// # Errors
    /// `NotFound`, `BadRequest` for a bad patch, `Invalid` if the patch does not fit or its outcome is invalid, `Conflict`
    /// if the object kept changing or is not at the `resourceVersion` that the patch names.
    pub async fn patch(
        &self,
        permit: &Permit,
        ops: &'static dyn KindOps,
        part: Subresource,
        key: &ObjectKey,
        request: &PatchRequest,
    ) -> Result<(Changed, Vec<String>), ApiError> {
        permit.require(&[Verb::Patch], ops.info(), part, key)?;
        let attempts = Attempts {
            max: limits::PATCH_ATTEMPTS_MAX,
            dry_run: request.dry_run,
        };
        let surroundings = self.policies.around_change(ops.info()).await?;
        let remarks = remarks_of_patch(&request.patch, request.validation);
        let mut warnings = Vec::new();
        let changed = self
            .change(permit, ops, key, attempts, |current| {
                let mut decoded = patched(current, request, remarks.clone())?;
                warnings = decoded.take_warnings();
                admit_update_among(
                    permit,
                    &**current.object()?,
                    decoded,
                    part,
                    self.environment.now(),
                    &surroundings,
                )
            })
            .await?;
        Ok((changed, warnings))
    }
}

/// What the patch makes of the object as it is. A `resourceVersion` in the outcome that is not the object's own came from the
/// patch, and is then a precondition like any other.
fn patched(current: &Stored, request: &PatchRequest, remarks: Vec<String>) -> Result<Decoded, ApiError> {
    let ops = current.ops();
    let broken = |error| ApiError::internal("the stored object has no JSON").context(error);
    let before: Value = serde_json::from_slice(&current.to_json()?).map_err(broken)?;
    let after = patch::apply(ops.schema(), request.patch_type, &before, &request.patch)
        .map_err(|error| refused(current, &error))?;
    Decoded::from_patched(ops, &after, remarks, request.validation)
}

fn refused(current: &Stored, error: &PatchError) -> ApiError {
    if error.is_bad_request() {
        return ApiError::bad_request(error.to_string());
    }
    let info = current.kind();
    let field = trireme_logic::field_error::FieldError {
        reason: trireme_logic::field_error::FieldErrorReason::Invalid,
        field: "patch".to_owned(),
        message: error.to_string(),
    };
    ApiError::invalid(info, &current.key().name, &[field])
}
