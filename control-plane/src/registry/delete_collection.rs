//! Deleting the objects of a range, a slice at a time.
//!
//! It is no transaction: each object is deleted by itself, as it then is, and one that somebody else deletes meanwhile is
//! as good as done. What comes into the range after the first slice was read stays.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use trireme_logic::object::KindOps;

use super::{DeleteOptions, ListRequest, ObjectList, ReadFrom, Registry, Stored, list::Kept};
use crate::{
    limits,
    pipeline::{Permit, Verb},
    status::{ApiError, Reason},
};

impl Registry {
    /// Deletes the selected objects of a range, or marks them for deletion. Answers with a list of them as they were found,
    /// which reads them again rather than to keep them, since they may be many.
    ///
    /// # Errors
    /// The first that a deletion meets; what was deleted before stays deleted.
    pub async fn delete_collection(
        self: &Arc<Self>,
        permit: &Permit,
        ops: &'static dyn KindOps,
        request: &ListRequest,
        options: &DeleteOptions,
    ) -> Result<ObjectList, ApiError> {
        options.check()?;
        let mut list = self.begin_list(permit, Verb::DeleteCollection, ops, request, Kept::Nothing)?;
        while list.end().is_none() {
            let objects = list.next().await?;
            stream::iter(objects)
                .map(|stored| self.delete_found(permit, stored, options))
                .buffer_unordered(limits::COLLECTION_DELETES_CONCURRENT)
                .try_collect::<()>()
                .await?;
        }
        let found = ListRequest {
            from: ReadFrom::Exactly(list.revision()),
            ..request.clone()
        };
        self.begin_list(permit, Verb::DeleteCollection, ops, &found, Kept::Nothing)
    }

    async fn delete_found(&self, permit: &Permit, stored: Stored, options: &DeleteOptions) -> Result<(), ApiError> {
        let deleted = self.delete_permitted(permit, stored.ops(), stored.key(), options).await;
        match deleted {
            Err(error) if error.reason() != Reason::NotFound => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
