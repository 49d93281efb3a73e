//! Lists of few among very many: an index names the objects, which are then read one by one.

use std::sync::{Arc, OnceLock};

use trireme_logic::{
    kinds,
    object::{KindOps, ObjectKey},
};
use trireme_store::kv::{Consistency, KvError, RangeRequest, Revision};

use super::{ReadFrom, Registry, Selection, Stored, object_range};
use crate::{limits, status::ApiError};

/// What this server knows of which objects have which labels and fields.
#[async_trait::async_trait]
pub trait Finder: Send + Sync {
    /// The objects of a kind among which are all that a selection means, in a state that is not older than `revision`.
    /// `None` if they may be more than `most`, or if that state is not known soon enough: then the range must be read.
    async fn find(
        &self,
        ops: &'static dyn KindOps,
        namespace: &str,
        selection: &Selection,
        revision: Revision,
        most: usize,
    ) -> Option<Found>;
}

/// What a finder found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The state that was looked at.
    pub revision: Revision,
    /// The objects, in no promised order.
    pub keys: Vec<ObjectKey>,
}

/// The finder of a registry, if it was given one.
#[derive(Default)]
pub(super) struct FinderSlot(OnceLock<Arc<dyn Finder>>);

impl Registry {
    /// Lists go by this finder from now on. The first that is given stays.
    pub fn find_by(&self, finder: Arc<dyn Finder>) {
        // A second one would say the same.
        let _ = self.finder.0.set(finder);
    }

    /// The selected objects in the order of the range, and the revision that they show. `None` if the range must be read.
    ///
    /// # Errors
    /// What the store says, and `InternalError` for an object that cannot be decoded.
    pub(super) async fn find_selected(
        &self,
        ops: &'static dyn KindOps,
        namespace: &str,
        selection: &Selection,
        from: ReadFrom,
        limit: usize,
    ) -> Result<Option<(Revision, Vec<Stored>)>, ApiError> {
        let Some(finder) = self.finder.0.get() else {
            return Ok(None);
        };
        let most = match limit {
            0 => limits::FOUND_MAX_ITEMS,
            limit => limit.min(limits::FOUND_MAX_ITEMS),
        };
        let not_older = match from {
            ReadFrom::Latest => self.latest_revision(ops).await?,
            ReadFrom::NotOlderThan(revision) => revision,
            // Whatever there is, once there is something.
            ReadFrom::Anything => 1,
            ReadFrom::Exactly(_) => return Ok(None),
        };
        let Some(found) = finder.find(ops, namespace, selection, not_older, most).await else {
            return Ok(None);
        };
        let mut keys: Vec<(String, ObjectKey)> = found
            .keys
            .into_iter()
            .map(|key| (kinds::storage_key(ops.info(), &key), key))
            .collect();
        keys.sort_unstable();
        let mut items = Vec::new();
        for (_, key) in keys {
            let request = RangeRequest {
                revision: found.revision,
                ..RangeRequest::latest(object_range(ops.info(), &key))
            };
            let answer = match self.bounded_range(request, Consistency::Serializable).await {
                // History was cut off meanwhile: the range is read as it is now.
                Err(KvError::Compacted { .. }) => return Ok(None),
                answer => answer?,
            };
            let stored = selection.shown(answer.kvs.first().and_then(Stored::of_key_value));
            if let Some(stored) = stored
                && selection.matches(&stored)?
            {
                items.push(stored);
            }
        }
        Ok(Some((found.revision, items)))
    }
}
