//! Evicting a pod: its deletion, as far as the budgets that cover it allow.

use std::time::Duration;

use bytes::Bytes;
use trireme_logic::{
    disruption::{BudgetState, Verdict, judge},
    object::ObjectKey,
};
use trireme_proto::{
    api::{
        core::v1::Pod,
        meta::v1::{DeleteOptions as SentOptions, ObjectMeta},
    },
    v1::Encoding,
};
use trireme_store::kv::Consistency;

use super::{DeleteOptions, Deleted, Registry, ops_of};
use crate::{
    pipeline::{Permit, Subresource, Verb, decode_message},
    status::{ApiError, Cause},
};

/// The reason of a cause that names a budget. A fact of Kubernetes.
const DISRUPTION_BUDGET: &str = "DisruptionBudget";

/// An eviction as it is sent: `policy/v1` `Eviction`, with its field numbers.
#[derive(Clone, PartialEq, prost::Message, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Eviction {
    /// Names the pod.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ObjectMeta>,
    /// How to delete it.
    #[prost(message, optional, tag = "2")]
    pub delete_options: Option<SentOptions>,
}

impl Eviction {
    /// Reads one.
    ///
    /// # Errors
    /// `BadRequest`, `RequestEntityTooLarge`.
    pub fn decode(body: &Bytes, encoding: Encoding) -> Result<Self, ApiError> {
        decode_message("Eviction", body.clone(), encoding)
    }
}

impl Registry {
    /// Deletes a pod if its budgets allow it.
    ///
    /// # Errors
    /// `NotFound`, `TooManyRequests` with a cause that names the budget, and those of a deletion.
    pub async fn evict(
        &self,
        permit: &Permit,
        key: &ObjectKey,
        eviction: Eviction,
        dry_run: bool,
    ) -> Result<Deleted, ApiError> {
        let pods = ops_of("", "pods");
        permit.require(&[Verb::Create], pods.info(), Subresource::Eviction, key)?;
        let named = eviction.metadata.map(|metadata| metadata.name).unwrap_or_default();
        if !named.is_empty() && named != key.name {
            return Err(ApiError::bad_request(format!(
                "name in URL does not match name in Eviction object: {} != {named}",
                key.name
            )));
        }
        let mut options = DeleteOptions::of_sent(eviction.delete_options.unwrap_or_default())?;
        options.check()?;
        options.dry_run |= dry_run;
        let stored = self.read_one(pods, key, Consistency::Linearizable).await?;
        let stored = stored.ok_or_else(|| ApiError::not_found(pods.info(), &key.name))?;
        let pod = stored.object()?;
        let pod: &Pod = pod
            .downcast_ref()
            .ok_or_else(|| ApiError::internal("a pod is not a pod"))?;
        match judge(pod, &budgets_of(pod)) {
            Verdict::Evict | Verdict::Charge(_) => {}
            Verdict::NotNow {
                message,
                cause,
                retry_after_seconds,
            } => {
                let after = Duration::from_secs(retry_after_seconds.unwrap_or(0));
                let cause = Cause {
                    reason: DISRUPTION_BUDGET.to_owned(),
                    field: String::new(),
                    message: cause,
                };
                return Err(ApiError::too_many_requests(message, after).cause(cause));
            }
            Verdict::Unclear(why) => return Err(ApiError::internal(why)),
        }
        if options.uid.is_empty() {
            // The one that was judged, and no other of its name.
            options.uid.clone_from(&stored.object()?.metadata().uid);
        }
        self.delete_permitted(permit, pods, key, &options).await
    }
}

/// The budgets that cover a pod. No kind of budget is stored yet, so that none does.
fn budgets_of(_pod: &Pod) -> Vec<BudgetState> {
    Vec::new()
}
