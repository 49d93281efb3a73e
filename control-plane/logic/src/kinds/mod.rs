//! The kinds of objects, one file each, and the one list of them.
//!
//! Adding a kind is one `impl Kind` in a file of its own and one line in [`KINDS`] (and its message in
//! `proto/`). Nothing else in the project lists kinds.

mod binding;
pub mod certificate_signing_request;
mod cluster_role;
mod cluster_role_binding;
mod columns;
mod config_map;
mod controller_revision;
mod cron_job;
mod csi_driver;
mod csi_node;
mod daemon_set;
mod deployment;
mod endpoint_slice;
mod endpoints;
mod event;
mod horizontal_pod_autoscaler;
mod ingress;
mod ingress_class;
mod job;
mod lease;
mod limit_range;
mod namespace;
mod network_policy;
mod node;
mod persistent_volume;
pub mod persistent_volume_claim;
pub mod pod;
mod pod_disruption_budget;
pub mod pod_spec;
mod pod_template;
pub mod priority_class;
mod rbac;
mod replica_set;
mod replicas;
mod replication_controller;
mod resource_quota;
mod reviews;
mod role;
mod role_binding;
mod runtime_class;
mod secret;
mod service;
mod service_account;
mod stateful_set;
pub mod storage_class;
mod storage_key;
mod volume_attachment;
mod volumes;
mod workload;

use std::sync::LazyLock;

use trireme_proto::api::{
    apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
    autoscaling::{self, v2::HorizontalPodAutoscaler},
    batch::v1::{CronJob, Job},
    certificates::v1::CertificateSigningRequest,
    coordination::v1::Lease,
    core::v1::{
        Binding, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim,
        Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
    },
    discovery::v1::EndpointSlice,
    events,
    meta::v1::ObjectMeta,
    networking::v1::{Ingress, IngressClass, NetworkPolicy},
    node::v1::RuntimeClass,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    scheduling::v1::PriorityClass,
    storage::v1::{CsiDriver, CsiNode, StorageClass, VolumeAttachment},
};

pub use self::{
    reviews::{REVIEWS, review_by_resource},
    storage_key::{REGISTRY_PREFIX, namespace_prefix, parse_storage_key, storage_key, storage_prefix},
};
use crate::{
    kind::KindInfo,
    object::{KindOps, OpsOf},
    version::VersionOf,
};

/// Every kind in every version, in the order in which discovery lists them. The version that is stored comes before
/// the others.
pub static KINDS: &[&dyn KindOps] = &[
    &OpsOf::<ConfigMap>::new(),
    &OpsOf::<Endpoints>::new(),
    &OpsOf::<Event>::new(),
    &OpsOf::<LimitRange>::new(),
    &OpsOf::<Namespace>::new(),
    &OpsOf::<Node>::new(),
    &OpsOf::<PersistentVolume>::new(),
    &OpsOf::<PersistentVolumeClaim>::new(),
    &OpsOf::<Pod>::new(),
    &OpsOf::<PodTemplate>::new(),
    &OpsOf::<ReplicationController>::new(),
    &OpsOf::<ResourceQuota>::new(),
    &OpsOf::<Secret>::new(),
    &OpsOf::<Service>::new(),
    &OpsOf::<ServiceAccount>::new(),
    &OpsOf::<ControllerRevision>::new(),
    &OpsOf::<DaemonSet>::new(),
    &OpsOf::<Deployment>::new(),
    &OpsOf::<ReplicaSet>::new(),
    &OpsOf::<StatefulSet>::new(),
    &OpsOf::<HorizontalPodAutoscaler>::new(),
    &VersionOf::<autoscaling::v1::HorizontalPodAutoscaler>::new(),
    &OpsOf::<CronJob>::new(),
    &OpsOf::<Job>::new(),
    &OpsOf::<Lease>::new(),
    &OpsOf::<EndpointSlice>::new(),
    &VersionOf::<events::v1::Event>::new(),
    &OpsOf::<PodDisruptionBudget>::new(),
    &OpsOf::<PriorityClass>::new(),
    &OpsOf::<Ingress>::new(),
    &OpsOf::<IngressClass>::new(),
    &OpsOf::<NetworkPolicy>::new(),
    &OpsOf::<StorageClass>::new(),
    &OpsOf::<CsiDriver>::new(),
    &OpsOf::<CsiNode>::new(),
    &OpsOf::<VolumeAttachment>::new(),
    &OpsOf::<RuntimeClass>::new(),
    &OpsOf::<Role>::new(),
    &OpsOf::<RoleBinding>::new(),
    &OpsOf::<ClusterRole>::new(),
    &OpsOf::<ClusterRoleBinding>::new(),
    &OpsOf::<CertificateSigningRequest>::new(),
];

/// Kinds whose objects are orders: they are carried out when they are created, and nothing is stored of them.
static ORDERS: &[&dyn KindOps] = &[&OpsOf::<Binding>::new()];

/// Everything that can be sent or asked for as a resource of its own: [`KINDS`], [`REVIEWS`] and orders.
pub fn served() -> Vec<&'static dyn KindOps> {
    [KINDS, REVIEWS, ORDERS].concat()
}

/// Further versions of kinds.
static VERSIONS: LazyLock<Vec<&dyn KindOps>> = LazyLock::new(|| {
    let is_stored = |ops: &&'static dyn KindOps| is_same(ops.info(), ops.stored().info());
    KINDS.iter().copied().filter(|ops| !is_stored(ops)).collect()
});

/// The facts of the version in which objects of a kind are stored.
pub fn stored_as(info: &KindInfo) -> &KindInfo {
    // There are few of them, so that this costs next to nothing.
    let version = VERSIONS.iter().find(|ops| is_same(ops.info(), info));
    version.map_or(info, |ops| ops.stored().info())
}

/// Whether two facts are those of one version of one kind.
pub fn is_same(one: &KindInfo, other: &KindInfo) -> bool {
    std::ptr::eq(one, other) || (one.kind, one.version, one.group) == (other.kind, other.version, other.group)
}

/// The kind served under a group, version and plural name. An empty version is the one that is stored, if it is of the
/// group.
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static dyn KindOps> {
    KINDS.iter().copied().find(|ops| {
        let info = ops.info();
        info.group == group && info.plural == plural && (version.is_empty() || info.version == version)
    })
}

/// The kind of a group and name, such as `apps` and `Deployment`, in the version that is stored, if it is of the group.
pub fn by_kind(group: &str, kind: &str) -> Option<&'static dyn KindOps> {
    KINDS
        .iter()
        .copied()
        .find(|ops| ops.info().group == group && ops.info().kind == kind)
}

/// The kind that an object names by its `apiVersion` and `kind`.
pub fn by_api_version(api_version: &str, kind: &str) -> Option<&'static dyn KindOps> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    KINDS.iter().copied().find(|ops| {
        let info = ops.info();
        (info.group, info.version, info.kind) == (group, version, kind)
    })
}

/// `group/version` of a kind, or the version alone for the core group.
pub fn api_version(info: &KindInfo) -> String {
    if info.group.is_empty() {
        info.version.to_owned()
    } else {
        format!("{}/{}", info.group, info.version)
    }
}

/// Keeps count of the versions of a spec: the generation goes up when the spec changed. Call it with the
/// metadata as it was carried over, so with the old generation.
pub(crate) fn bump_generation(metadata: &mut Option<ObjectMeta>, spec_changed: bool) {
    if spec_changed {
        metadata.get_or_insert_default().generation += 1;
    }
}

/// Marks a new object as the first version of its spec.
pub(crate) fn first_generation(metadata: &mut Option<ObjectMeta>) {
    metadata.get_or_insert_default().generation = 1;
}

#[cfg(test)]
mod tests;
