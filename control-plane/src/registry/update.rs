//! Replacing an object, its status, or a namespace's finalizers.

use super::{Changed, Registry, change::Attempts, node::require_own_record};
use crate::{
    pipeline::{Decoded, Permit, Subresource, Verb, admit::admit_update_among},
    status::ApiError,
};
use trireme_logic::object::{Object, ObjectKey};

impl Registry {
    /// Replaces an object. If it names a `resourceVersion`, that must be the present one; otherwise the
    /// last write wins.
    ///
    /// # Errors
    /// `NotFound`, `Conflict`, `Invalid`.
    pub async fn update(&self, permit: &Permit, decoded: Decoded, dry_run: bool) -> Result<Changed, ApiError> {
        self.update_part(permit, decoded, Subresource::None, dry_run).await
    }

    /// Replaces an object's status and nothing else.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn update_status(&self, permit: &Permit, decoded: Decoded, dry_run: bool) -> Result<Changed, ApiError> {
        self.update_part(permit, decoded, Subresource::Status, dry_run).await
    }

    /// Replaces the part of an object that `part` names: all but the status, the status, or a namespace's finalizers.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn update_part(
        &self,
        permit: &Permit,
        decoded: Decoded,
        part: Subresource,
        dry_run: bool,
    ) -> Result<Changed, ApiError> {
        let object = decoded.into_object();
        // The version that was asked for is the one to answer in.
        let ops = permit.request_info().map_or(object.ops(), |info| info.ops());
        let key = target(permit, &object.key());
        permit.require(&[Verb::Update], ops.info(), part, &key)?;
        self.require_own_event(permit, &*object).await?;
        let surroundings = self.policies.around_change(ops.info()).await?;
        self.change(permit, ops, &key, Attempts::of_write(dry_run), |current| {
            require_own_record(permit, &**current.object()?)?;
            let wanted = Decoded::internal(object.clone_object());
            admit_update_among(
                permit,
                &**current.object()?,
                wanted,
                part,
                self.environment.now(),
                &surroundings,
            )
        })
        .await
    }

    /// Gives an object the owners and the finalizers that `wanted` has, if it is still of that uid and version. The rest of
    /// `wanted` does not count: a loop may know no more than an excerpt.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn update_ownership(&self, permit: &Permit, wanted: &dyn Object) -> Result<Changed, ApiError> {
        let (ops, key) = (wanted.ops(), wanted.key());
        permit.require(&[Verb::Update], ops.info(), Subresource::None, &key)?;
        let surroundings = self.policies.around_change(ops.info()).await?;
        self.change(permit, ops, &key, Attempts::of_write(false), |current| {
            let mut object = current.decode()?;
            let (meta, wanted) = (object.metadata_mut(), wanted.metadata());
            meta.uid.clone_from(&wanted.uid);
            meta.resource_version.clone_from(&wanted.resource_version);
            meta.owner_references.clone_from(&wanted.owner_references);
            meta.finalizers.clone_from(&wanted.finalizers);
            admit_update_among(
                permit,
                &**current.object()?,
                Decoded::internal(object),
                Subresource::None,
                self.environment.now(),
                &surroundings,
            )
        })
        .await
    }
}

/// The object that a request names; for a loop's write, the one that the object itself names.
fn target(permit: &Permit, named: &ObjectKey) -> ObjectKey {
    permit.request_info().map_or(named, |info| info.key()).clone()
}
