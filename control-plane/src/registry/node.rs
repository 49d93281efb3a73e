//! What node agents write: their own `Node` object, the states of pods bound to them, and events about those
//! (invariants I4, I6).

use trireme_logic::object::{Object, ObjectKey};
use trireme_proto::api::{
    core::v1::{Event, Node, Pod, PodCondition, PodStatus},
    meta::v1::Time,
};
use trireme_store::kv::Consistency;

use super::{Registry, Stored, change::Attempts, ops_of};
use crate::{
    pipeline::{
        Decoded, Permit, Subresource,
        admit::{AdmittedChange, is_finished},
        owners::{own_by_registry, own_changed},
    },
    status::{ApiError, Reason},
};

/// What became of a report of a pod's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportOutcome {
    /// Stored, or no news.
    Stored,
    /// There is no such pod any more.
    Gone,
    /// The pod is not bound to this node.
    NotYours,
    /// The report would have gone backwards.
    Stale,
}

impl Registry {
    /// Stores the state of a pod, as its node reports it. With `terminated`, nothing of the pod runs any more, and it is
    /// removed if it is being deleted.
    ///
    /// # Errors
    /// What the store says; what is wrong with the report is an outcome.
    pub async fn update_pod_status(
        &self,
        permit: &Permit,
        key: &ObjectKey,
        uid: &str,
        status: &PodStatus,
        terminated: bool,
    ) -> Result<ReportOutcome, ApiError> {
        let node = permit.require_node()?.to_owned();
        let now = self.environment.now();
        let mut refusal = None;
        let changed = self
            .change(permit, ops_of("", "pods"), key, Attempts::of_write(false), |current| {
                refusal = None;
                reported(current, &node, uid, (status, terminated), now).or_else(|outcome| match outcome {
                    NotReported::Refused(outcome) => {
                        refusal = Some(outcome);
                        Ok(AdmittedChange::unchanged())
                    }
                    NotReported::Failed(error) => Err(error),
                })
            })
            .await;
        match changed {
            Ok(_) => Ok(refusal.unwrap_or(ReportOutcome::Stored)),
            Err(error) if error.reason() == Reason::NotFound => Ok(ReportOutcome::Gone),
            Err(error) => Err(error),
        }
    }

    /// Creates or refreshes a node's own object: its labels, annotations and status are taken over; its spec, and the
    /// conditions that the cluster's leader keeps, stay.
    ///
    /// # Errors
    /// `Forbidden` if it is another node's object; `Invalid`.
    pub async fn upsert_node(&self, permit: &Permit, node: Node) -> Result<Stored, ApiError> {
        let name = permit.require_node()?.to_owned();
        let mut node = node;
        let meta = node.metadata.get_or_insert_default();
        if meta.name != name {
            return Err(ApiError::forbidden(format!(
                "node \"{name}\" may not write the node \"{}\"",
                meta.name
            )));
        }
        // A create may be overtaken by another session of the same node, and an update by a deletion.
        for _ in 0..2 {
            match self.refresh_node(permit, &name, &node).await {
                Err(error) if error.reason() == Reason::NotFound => {}
                other => return other,
            }
            match self.create_node(node.clone()).await {
                Err(error) if error.reason() == Reason::AlreadyExists => {}
                other => return other,
            }
        }
        self.refresh_node(permit, &name, &node).await
    }

    async fn create_node(&self, node: Node) -> Result<Stored, ApiError> {
        // Whether it may has been checked against its name already.
        let permit = Permit::system("node-registration", None);
        self.create(&permit, Decoded::internal(Box::new(node)), false).await
    }

    async fn refresh_node(&self, permit: &Permit, name: &str, node: &Node) -> Result<Stored, ApiError> {
        let (nodes, key) = (ops_of("", "nodes"), ObjectKey::new("", name));
        let now = self.environment.now();
        let changed = self
            .change(permit, nodes, &key, Attempts::of_write(false), |current| {
                let mut object = current.decode()?;
                let stored = object
                    .downcast_mut::<Node>()
                    .ok_or_else(|| ApiError::internal("a node is not a node"))?;
                refresh(stored, node);
                own_by_registry(&**current.object()?, &mut *object, now);
                Ok(AdmittedChange::internal(object))
            })
            .await?;
        Ok(changed.stored)
    }
}

impl Registry {
    /// Refuses what a node writes unless it is an event in its own name, about itself or a pod that is bound to it.
    /// Whoever is no node is not concerned.
    pub(super) async fn require_own_event(&self, permit: &Permit, object: &dyn Object) -> Result<(), ApiError> {
        require_own_record(permit, object)?;
        let Some(node) = node_of(permit) else {
            return Ok(());
        };
        let about = object
            .downcast_ref::<Event>()
            .and_then(|event| event.involved_object.as_ref());
        let is_own = match about {
            Some(about) if about.kind == "Node" => about.name == node,
            Some(about) if about.kind == "Pod" => {
                let key = ObjectKey::new(about.namespace.as_str(), about.name.as_str());
                // This server may not have heard yet of what another one told the node.
                self.is_bound_to(&key, node, Consistency::Serializable).await?
                    || self.is_bound_to(&key, node, Consistency::Linearizable).await?
            }
            _ => false,
        };
        if is_own {
            Ok(())
        } else {
            Err(ApiError::forbidden(format!(
                "node \"{node}\" may tell only of itself and of the pods that are bound to it"
            )))
        }
    }

    async fn is_bound_to(&self, pod: &ObjectKey, node: &str, consistency: Consistency) -> Result<bool, ApiError> {
        let Some(stored) = self.read_one(ops_of("", "pods"), pod, consistency).await? else {
            return Ok(false);
        };
        let pod = stored.object()?.downcast_ref::<Pod>();
        Ok(pod
            .and_then(|pod| pod.spec.as_ref())
            .is_some_and(|spec| spec.node_name == node))
    }
}

/// Refuses a node everything but events that name it as their source.
pub(super) fn require_own_record(permit: &Permit, object: &dyn Object) -> Result<(), ApiError> {
    let Some(node) = node_of(permit) else {
        return Ok(());
    };
    let source = object.downcast_ref::<Event>().and_then(|event| event.source.as_ref());
    if source.is_some_and(|source| source.host == node) {
        Ok(())
    } else {
        Err(ApiError::forbidden(format!(
            "node \"{node}\" may write only events, with itself as their source"
        )))
    }
}

/// The node that makes a request; none if somebody else does, or a function for nodes is at work.
fn node_of(permit: &Permit) -> Option<&str> {
    permit.request_info()?;
    permit.identity().node_name()
}

fn refresh(stored: &mut Node, reported: &Node) {
    let meta = stored.metadata.get_or_insert_default();
    if let Some(reported) = &reported.metadata {
        meta.labels.extend(reported.labels.clone());
        meta.annotations.extend(reported.annotations.clone());
    }
    let status = stored.status.get_or_insert_default();
    let conditions = std::mem::take(&mut status.conditions);
    *status = reported.status.clone().unwrap_or_default();
    status.conditions = conditions;
}

/// Why a report was not taken.
enum NotReported {
    Refused(ReportOutcome),
    Failed(ApiError),
}

impl From<ApiError> for NotReported {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

fn reported(
    current: &Stored,
    node: &str,
    uid: &str,
    (status, terminated): (&PodStatus, bool),
    now: Time,
) -> Result<AdmittedChange, NotReported> {
    let mut object = current.decode()?;
    let pod = object
        .downcast_mut::<Pod>()
        .ok_or_else(|| ApiError::internal("a pod is not a pod"))?;
    if pod.metadata.as_ref().is_none_or(|meta| meta.uid != uid) {
        return Err(NotReported::Refused(ReportOutcome::Gone));
    }
    if pod.spec.as_ref().is_none_or(|spec| spec.node_name != node) {
        return Err(NotReported::Refused(ReportOutcome::NotYours));
    }
    let before = pod.status.take().unwrap_or_default();
    if progress_of(&status.phase) < progress_of(&before.phase)
        || (is_final(&before.phase) && status.phase != before.phase)
    {
        return Err(NotReported::Refused(ReportOutcome::Stale));
    }
    pod.status = Some(merge_status(before, status));
    if terminated {
        end_grace(&mut *object);
    }
    own_changed(None, &**current.object()?, &mut *object, Subresource::Status, now);
    Ok(if is_finished(&*object) {
        AdmittedChange::removal(object)
    } else {
        AdmittedChange::internal(object)
    })
}

/// A pod that has ended has no use for the rest of its grace period.
fn end_grace(object: &mut dyn Object) {
    let meta = object.metadata_mut();
    if meta.deletion_timestamp.is_some() {
        meta.deletion_grace_period_seconds = Some(0);
    }
}

/// Phases only go forwards. An unknown one is nowhere in particular.
fn progress_of(phase: &str) -> u8 {
    match phase {
        "Running" | "Unknown" => 1,
        "Succeeded" | "Failed" => 2,
        _ => 0,
    }
}

fn is_final(phase: &str) -> bool {
    progress_of(phase) == 2
}

/// The reported status, with what the node does not know of kept.
fn merge_status(before: PodStatus, reported: &PodStatus) -> PodStatus {
    let mut status = reported.clone();
    if status.qos_class.is_empty() {
        status.qos_class = before.qos_class;
    }
    if status.nominated_node_name.is_empty() {
        status.nominated_node_name = before.nominated_node_name;
    }
    if status.start_time.is_none() {
        status.start_time = before.start_time;
    }
    let known: Vec<PodCondition> = std::mem::take(&mut status.conditions);
    let mut conditions: Vec<PodCondition> = before
        .conditions
        .into_iter()
        .filter(|old| known.iter().all(|new| new.r#type != old.r#type))
        .collect();
    conditions.extend(known);
    // One order, whoever reported what first, so that no news stays no news.
    conditions.sort_by(|one, two| one.r#type.cmp(&two.r#type));
    status.conditions = conditions;
    status
}
