//! Evicting a pod: its deletion, as far as the budgets that cover it allow.
//!
//! The budget is charged before the pod is deleted, over the version of it that was judged, so that two evictions never
//! share a disruption, through whichever servers they come. A charge whose deletion then fails is given back by the
//! disruption controller.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use trireme_logic::{
    controllers::conditions,
    disruption::{self, Refusal, Verdict, WOULD_VIOLATE, judge},
    kinds,
    object::{Object, ObjectKey},
};
use trireme_proto::{
    api::{
        core::v1::Pod,
        meta::v1::{DeleteOptions as SentOptions, ObjectMeta, Time},
        policy::v1::PodDisruptionBudget,
    },
    v1::Encoding,
};
use trireme_store::kv::{Consistency, KeyRange};

use super::{
    DeleteOptions, Deleted, Registry, Selection, Stored,
    change::Attempts,
    delete::{check_preconditions, deletion_of},
    ops_of,
    read::{Progress, next_start},
};
use crate::{
    limits,
    pipeline::{Permit, Subresource, Verb, admit::AdmittedChange, decode_message},
    status::{ApiError, Cause, Reason},
};

/// The reason of a cause that names a budget. A fact of Kubernetes.
const DISRUPTION_BUDGET: &str = "DisruptionBudget";
/// The condition of a pod that somebody ends for a reason of their own, and why and in which words it is set. Facts of
/// Kubernetes.
const DISRUPTION_TARGET: (&str, &str, &str) = ("DisruptionTarget", "EvictionByEvictionAPI", "Eviction API: evicting");

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
        for _ in 0..limits::EVICTION_ATTEMPTS_MAX {
            if let Some(evicted) = self.try_to_evict(permit, key, &options).await? {
                return Ok(evicted);
            }
        }
        // The pod changed under every judgement.
        Err(ApiError::too_many_requests(
            WOULD_VIOLATE,
            Duration::from_secs(trireme_logic::limits::BUDGET_RETRY_SECONDS),
        ))
    }

    /// One judgement, and what follows from it. `None` if the pod or its budget was another one by then, so that it must
    /// be judged anew.
    async fn try_to_evict(
        &self,
        permit: &Permit,
        key: &ObjectKey,
        options: &DeleteOptions,
    ) -> Result<Option<Deleted>, ApiError> {
        let pods = ops_of("", "pods");
        let stored = self.read_one(pods, key, Consistency::Linearizable).await?;
        let stored = stored.ok_or_else(|| ApiError::not_found(pods.info(), &key.name))?;
        let object = stored.object()?;
        check_preconditions(&stored, object.metadata(), options)?;
        let pod: &Pod = object
            .downcast_ref()
            .ok_or_else(|| ApiError::internal("a pod is not a pod"))?;
        let budgets = self.budgets_of(pod).await?;
        let covering: Vec<&PodDisruptionBudget> = budgets.iter().filter_map(|budget| budget.downcast_ref()).collect();
        // The one that is judged, and no other of its name.
        let mut options = DeleteOptions {
            uid: object.metadata().uid.clone(),
            ..options.clone()
        };
        let is_client_s_version = !options.resource_version.is_empty();
        match judge(pod, &covering) {
            Verdict::Evict => {}
            Verdict::EvictUnchanged if is_client_s_version => {}
            Verdict::EvictUnchanged => options.resource_version.clone_from(&object.metadata().resource_version),
            Verdict::Charge(budget) => {
                let budget = ObjectKey::new(key.namespace.as_str(), budget);
                match self.charge_budget(permit, &budget, &key.name, options.dry_run).await {
                    Err(error) if error.reason() == Reason::NotFound => return Ok(None),
                    other => other?,
                }
            }
            Verdict::Unclear(why) => return Err(ApiError::internal(why)),
        }
        let may_have_changed = !is_client_s_version && !options.resource_version.is_empty();
        let now = self.environment.timestamp();
        let attempts = Attempts::of_write(options.dry_run);
        let evicted = self
            .change(permit, pods, key, attempts, |current| {
                let mut object = current.decode()?;
                note_eviction(&mut *object, self.environment.now());
                deletion_of(object, current, &options, now)
            })
            .await;
        match evicted {
            Ok(changed) => Ok(Some(changed.into())),
            Err(error) if error.reason() == Reason::Conflict && may_have_changed => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The budgets that cover a pod, as they certainly are. What is read of a namespace at a time is bounded.
    async fn budgets_of(&self, pod: &Pod) -> Result<Vec<Arc<dyn Object>>, ApiError> {
        let mut covering = Vec::new();
        if disruption::needs_no_budget(pod) {
            return Ok(covering);
        }
        let namespace = pod.metadata.as_ref().map_or("", |meta| meta.namespace.as_str());
        let prefix = kinds::namespace_prefix(ops_of("policy", "poddisruptionbudgets").info(), namespace);
        let mut progress = Progress::new(KeyRange::prefix(prefix));
        let mut consistency = Consistency::Linearizable;
        loop {
            let answer = self
                .read_chunk(&progress, limits::LIST_CHUNK_ITEMS, consistency)
                .await?;
            progress.show(answer.revision);
            progress.take(&answer, &Selection::everything())?;
            for stored in progress.take_items() {
                let object = stored.object()?;
                if object
                    .downcast_ref()
                    .is_some_and(|budget| disruption::covers(budget, pod))
                {
                    covering.push(object.clone());
                }
            }
            let Some(next) = next_start(&answer) else {
                return Ok(covering);
            };
            progress.go_on_at(next);
            consistency = Consistency::AtLeast(progress.revision());
        }
    }

    /// Takes one disruption off a budget for a pod. Of evictions that do so at once each finds what the one before it left.
    async fn charge_budget(&self, permit: &Permit, key: &ObjectKey, pod: &str, dry_run: bool) -> Result<(), ApiError> {
        let budgets = ops_of("policy", "poddisruptionbudgets");
        let now = self.environment.now();
        self.change(permit, budgets, key, Attempts::of_write(dry_run), |current| {
            charged(current, pod, now)
        })
        .await?;
        Ok(())
    }
}

/// A budget after it was charged for a pod.
fn charged(current: &Stored, pod: &str, now: Time) -> Result<AdmittedChange, ApiError> {
    let mut object = current.decode()?;
    let budget = object
        .downcast_mut::<PodDisruptionBudget>()
        .ok_or_else(|| ApiError::internal("a budget is not a budget"))?;
    match disruption::charge(budget, pod, now) {
        Ok(()) => Ok(AdmittedChange::internal(object)),
        Err(Refusal::Broken(why)) => Err(ApiError::forbidden_object(current.kind(), &current.key().name, why)),
        Err(Refusal::NotNow {
            cause,
            retry_after_seconds,
        }) => {
            let after = Duration::from_secs(retry_after_seconds.unwrap_or(0));
            Err(ApiError::too_many_requests(WOULD_VIOLATE, after).cause(Cause {
                reason: DISRUPTION_BUDGET.to_owned(),
                field: String::new(),
                message: cause,
            }))
        }
    }
}

/// Says on a pod that runs why it ends.
fn note_eviction(object: &mut dyn Object, now: Time) {
    let Some(pod) = object.downcast_mut::<Pod>() else {
        return;
    };
    if !trireme_logic::controllers::pods::is_active(pod) {
        return;
    }
    let (condition, reason, message) = DISRUPTION_TARGET;
    let status = pod.status.get_or_insert_default();
    conditions::set(&mut status.conditions, condition, "True", reason, message, now);
}
