//! Deleting the objects of a range, a slice at a time.
//!
//! It is no transaction: each object is deleted by itself, as it then is, and one that somebody else deletes meanwhile is
//! as good as done. What comes into the range after the first slice was read stays.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use trireme_logic::object::KindOps;
use trireme_store::kv::Revision;

use super::{DeleteOptions, ListRequest, ObjectList, ReadFrom, Registry, Stored};
use crate::{
    limits,
    pipeline::{Permit, Verb},
    status::{ApiError, Reason},
};

impl Registry {
    /// Deletes the selected objects of a range, or marks them for deletion. Answers with the revision at which they were
    /// found: [`found_in_slices`](Self::found_in_slices) shows them.
    ///
    /// # Errors
    /// The first that a deletion meets; what was deleted before stays deleted.
    pub async fn delete_collection(
        self: &Arc<Self>,
        permit: &Permit,
        ops: &'static dyn KindOps,
        request: &ListRequest,
        options: &DeleteOptions,
    ) -> Result<Revision, ApiError> {
        options.check()?;
        let mut list = self.begin_list(permit, Verb::DeleteCollection, ops, request, false)?;
        while list.end().is_none() {
            let objects = list.next().await?;
            stream::iter(objects)
                .map(|stored| self.delete_found(permit, stored, options))
                .buffer_unordered(limits::COLLECTION_DELETES_CONCURRENT)
                .try_collect::<()>()
                .await?;
        }
        Ok(list.revision())
    }

    /// Begins to read what a deletion of a range found, to be sent on like a list.
    ///
    /// # Errors
    /// Those of a list.
    pub fn found_in_slices(
        self: &Arc<Self>,
        permit: &Permit,
        ops: &'static dyn KindOps,
        request: &ListRequest,
        revision: Revision,
    ) -> Result<ObjectList, ApiError> {
        let request = ListRequest {
            from: ReadFrom::Exactly(revision),
            ..request.clone()
        };
        self.begin_list(permit, Verb::DeleteCollection, ops, &request, false)
    }

    async fn delete_found(&self, permit: &Permit, stored: Stored, options: &DeleteOptions) -> Result<(), ApiError> {
        let deleted = self.delete_permitted(permit, stored.ops(), stored.key(), options).await;
        match deleted {
            Err(error) if error.reason() != Reason::NotFound => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
