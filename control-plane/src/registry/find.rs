//! Lists of few among very many: an index names the objects, which are then read one by one.

use std::sync::Arc;

use trireme_logic::{
    kind::KindInfo,
    kinds,
    object::{KindOps, ObjectKey},
};
use trireme_store::kv::{Consistency, KeyRange, KvError, RangeRequest, RangeResponse, Revision};

use super::{ReadFrom, Registry, Selection};
use crate::{limits, status::ApiError};

/// What this server knows of which objects have which labels and fields.
#[async_trait::async_trait]
pub trait Finder: Send + Sync {
    /// The objects of a kind, as it is stored, among which are all that a selection means, in a state that is not older than
    /// `revision`. `None` if they may be more than `most`, or if that state is not known soon enough: then the range must be
    /// read.
    async fn find(
        &self,
        info: &KindInfo,
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

impl Registry {
    /// Lists go by this finder from now on. The first that is given stays.
    pub fn find_by(&self, finder: Arc<dyn Finder>) {
        // A second one would say the same.
        let _ = self.finder.set(finder);
    }

    /// What a range that holds nothing but the selected objects, and perhaps a few others, would be answered with. `None`
    /// if the range must be read.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn find_selected(
        &self,
        ops: &'static dyn KindOps,
        namespace: &str,
        selection: &Selection,
        from: ReadFrom,
        limit: usize,
    ) -> Result<Option<RangeResponse>, ApiError> {
        let Some(finder) = self.finder.get() else {
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
        let info = ops.stored().info();
        let Some(found) = finder.find(info, namespace, selection, not_older, most).await else {
            return Ok(None);
        };
        let mut keys: Vec<String> = found.keys.iter().map(|key| kinds::storage_key(info, key)).collect();
        keys.sort_unstable();
        let mut kvs = Vec::new();
        for key in keys {
            let request = RangeRequest {
                revision: found.revision,
                ..RangeRequest::latest(KeyRange::key(key))
            };
            match self.bounded_range(request, Consistency::Serializable).await {
                Ok(answer) => kvs.extend(answer.kvs),
                // History was cut off meanwhile: the range is read as it is now.
                Err(KvError::Compacted { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(RangeResponse {
            kvs,
            revision: found.revision,
            ..RangeResponse::default()
        }))
    }
}
