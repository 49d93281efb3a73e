//! Binding a pod to a node: at most once (invariant I4).

use trireme_logic::object::ObjectKey;
use trireme_proto::api::{
    core::v1::{Binding, Pod, PodCondition},
    meta::v1::Time,
};

use super::{Changed, Registry, Stored, change::Attempts, ops_of};
use crate::{
    pipeline::{Permit, Subresource, Verb, admit::AdmittedChange},
    status::ApiError,
};

const SCHEDULED: &str = "PodScheduled";

impl Registry {
    /// Binds a pod to a node. `uid` is the pod's, if it matters which of that name; empty otherwise.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it is another pod, bound already, or being deleted.
    pub async fn bind(&self, permit: &Permit, key: &ObjectKey, uid: &str, node: &str) -> Result<Changed, ApiError> {
        self.bind_or_try(permit, key, uid, node, false).await
    }

    /// Binds a pod as a `Binding` says.
    ///
    /// # Errors
    /// As [`bind`](Self::bind), and `BadRequest` for a binding to something other than a node.
    pub async fn create_binding(
        &self,
        permit: &Permit,
        key: &ObjectKey,
        binding: &Binding,
        dry_run: bool,
    ) -> Result<Changed, ApiError> {
        let target = binding.target.as_ref();
        let node = target.map(|target| target.name.as_str()).unwrap_or_default();
        let kind = target.map(|target| target.kind.as_str()).unwrap_or_default();
        if node.is_empty() || !matches!(kind, "" | "Node") {
            return Err(ApiError::bad_request(
                "a binding's target must be a Node, with its name",
            ));
        }
        let uid = binding
            .metadata
            .as_ref()
            .map(|meta| meta.uid.as_str())
            .unwrap_or_default();
        self.bind_or_try(permit, key, uid, node, dry_run).await
    }

    async fn bind_or_try(
        &self,
        permit: &Permit,
        key: &ObjectKey,
        uid: &str,
        node: &str,
        dry_run: bool,
    ) -> Result<Changed, ApiError> {
        let pods = ops_of("", "pods");
        permit.require(&[Verb::Create], pods.info(), Subresource::Binding, key)?;
        let now = self.environment.now();
        self.change(permit, pods, key, Attempts::of_write(dry_run), |current| {
            bound(current, uid, node, &now)
        })
        .await
    }
}

fn bound(current: &Stored, uid: &str, node: &str, now: &Time) -> Result<AdmittedChange, ApiError> {
    let (info, name) = (current.kind(), current.key().name.as_str());
    let mut object = current.decode()?;
    let pod = object
        .downcast_mut::<Pod>()
        .ok_or_else(|| ApiError::internal("a pod is not a pod"))?;
    let meta = pod.metadata.get_or_insert_default();
    if !uid.is_empty() && meta.uid != uid {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            meta.uid
        );
        return Err(ApiError::conflict(info, name, why));
    }
    if meta.deletion_timestamp.is_some() {
        return Err(ApiError::conflict(
            info,
            name,
            format!("pod {name} is being deleted, cannot be assigned to a host"),
        ));
    }
    let spec = pod.spec.get_or_insert_default();
    if !spec.node_name.is_empty() {
        let why = format!("pod {name} is already assigned to node \"{}\"", spec.node_name);
        return Err(ApiError::conflict(info, name, why));
    }
    node.clone_into(&mut spec.node_name);
    let conditions = &mut pod.status.get_or_insert_default().conditions;
    conditions.retain(|condition| condition.r#type != SCHEDULED);
    conditions.push(PodCondition {
        r#type: SCHEDULED.to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(*now),
        ..PodCondition::default()
    });
    Ok(AdmittedChange::internal(object))
}
