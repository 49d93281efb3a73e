//! Builders of objects for tests, here and in other packages (feature `testing`).
//!
//! Each builder makes an object as the registry would hand it out: defaulted, with a uid and a creation
//! time. Tests then change the fields that they are about.

mod full;
#[cfg(test)]
pub(crate) mod harness;

use std::collections::BTreeMap;

use trireme_proto::api::{
    apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec},
    core::v1::{
        Container, Namespace, Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, Pod, PodSpec, PodTemplateSpec,
        ReplicationController, ReplicationControllerSpec, ResourceRequirements, Service, ServicePort, ServiceSpec,
    },
    meta::v1::{LabelSelector, ObjectMeta, OwnerReference, Quantity, Time},
};

pub use self::full::full_object;
use crate::kind::{Kind, metadata_of};

/// The moment at which every built object was created, in seconds since 1970.
pub const CREATED_AT_SECONDS: i64 = 1_700_000_000;

/// A moment so many seconds after [`CREATED_AT_SECONDS`].
pub fn at(seconds: i64) -> Time {
    Time {
        seconds: CREATED_AT_SECONDS + seconds,
        nanos: 0,
    }
}

/// A quantity, such as `500m`.
pub fn quantity(text: &str) -> Quantity {
    Quantity { string: text.into() }
}

/// Quantities by resource name.
pub fn resources(list: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    list.iter()
        .map(|(name, text)| ((*name).to_owned(), quantity(text)))
        .collect()
}

/// Labels.
pub fn labels(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Metadata of a stored object; an empty namespace for cluster-scoped kinds.
pub fn mk_meta(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: name.into(),
        namespace: namespace.into(),
        uid: format!("uid-{name}"),
        resource_version: "1".into(),
        creation_timestamp: Some(at(0)),
        ..ObjectMeta::default()
    }
}

/// A pod of one container `main` of the image `hello:1`, labelled `app=<name>`, not bound to a node.
pub fn mk_pod(namespace: &str, name: &str) -> Pod {
    let mut metadata = mk_meta(namespace, name);
    metadata.labels = labels(&[("app", name)]);
    stored(Pod {
        metadata: Some(metadata),
        spec: Some(mk_pod_spec()),
        ..Pod::default()
    })
}

/// A pod that asks for resources, such as `[("cpu", "500m")]`.
pub fn mk_pod_with_requests(namespace: &str, name: &str, requests: &[(&str, &str)]) -> Pod {
    let mut pod = mk_pod(namespace, name);
    let container = &mut pod.spec.get_or_insert_default().containers[0];
    container.resources = Some(ResourceRequirements {
        requests: resources(requests),
        ..ResourceRequirements::default()
    });
    stored(pod)
}

/// A spec of one container `main` of the image `hello:1`.
pub fn mk_pod_spec() -> PodSpec {
    PodSpec {
        containers: vec![Container {
            name: "main".into(),
            image: "hello:1".into(),
            ..Container::default()
        }],
        ..PodSpec::default()
    }
}

/// A template of [`mk_pod_spec`], labelled `app=<app>`.
pub fn mk_template(app: &str) -> PodTemplateSpec {
    let metadata = ObjectMeta {
        labels: labels(&[("app", app)]),
        ..ObjectMeta::default()
    };
    PodTemplateSpec {
        metadata: Some(metadata),
        spec: Some(mk_pod_spec()),
    }
}

/// A ready node of 4 CPUs, 8 GiB and 110 pods.
pub fn mk_node(name: &str) -> Node {
    let mut metadata = mk_meta("", name);
    metadata.labels = labels(&[("kubernetes.io/hostname", name)]);
    let capacity = resources(&[("cpu", "4"), ("memory", "8Gi"), ("pods", "110")]);
    let ready = NodeCondition {
        r#type: "Ready".into(),
        status: "True".into(),
        ..NodeCondition::default()
    };
    let status = NodeStatus {
        allocatable: capacity.clone(),
        capacity,
        conditions: vec![ready],
        addresses: vec![NodeAddress {
            r#type: "InternalIP".into(),
            address: "10.0.0.1".into(),
        }],
        ..NodeStatus::default()
    };
    let mut node = Node {
        metadata: Some(metadata),
        spec: Some(NodeSpec::default()),
        ..Node::default()
    };
    node.set_defaults();
    node.prepare_create();
    node.status = Some(status);
    node
}

/// A Deployment whose pods are labelled `app=<name>`.
pub fn mk_deployment(namespace: &str, name: &str, replicas: i32) -> Deployment {
    let spec = DeploymentSpec {
        replicas: Some(replicas),
        selector: Some(mk_selector(name)),
        template: Some(mk_template(name)),
        ..DeploymentSpec::default()
    };
    stored(Deployment {
        metadata: Some(mk_meta(namespace, name)),
        spec: Some(spec),
        ..Deployment::default()
    })
}

/// A ReplicaSet whose pods are labelled `app=<name>`.
pub fn mk_replica_set(namespace: &str, name: &str, replicas: i32) -> ReplicaSet {
    let spec = ReplicaSetSpec {
        replicas: Some(replicas),
        selector: Some(mk_selector(name)),
        template: Some(mk_template(name)),
        ..ReplicaSetSpec::default()
    };
    stored(ReplicaSet {
        metadata: Some(mk_meta(namespace, name)),
        spec: Some(spec),
        ..ReplicaSet::default()
    })
}

/// A ReplicationController whose pods are labelled `app=<name>`.
pub fn mk_replication_controller(namespace: &str, name: &str, replicas: i32) -> ReplicationController {
    let spec = ReplicationControllerSpec {
        replicas: Some(replicas),
        template: Some(mk_template(name)),
        ..ReplicationControllerSpec::default()
    };
    let metadata = Some(mk_meta(namespace, name));
    stored(ReplicationController {
        metadata,
        spec: Some(spec),
        ..ReplicationController::default()
    })
}

/// A service on port 80 of the pods labelled `app=<name>`.
pub fn mk_service(namespace: &str, name: &str) -> Service {
    let spec = ServiceSpec {
        selector: labels(&[("app", name)]),
        ports: vec![ServicePort {
            port: 80,
            ..ServicePort::default()
        }],
        ..ServiceSpec::default()
    };
    stored(Service {
        metadata: Some(mk_meta(namespace, name)),
        spec: Some(spec),
        ..Service::default()
    })
}

/// An active namespace.
pub fn mk_namespace(name: &str) -> Namespace {
    stored(Namespace {
        metadata: Some(mk_meta("", name)),
        ..Namespace::default()
    })
}

/// A selector of `app=<app>`.
pub fn mk_selector(app: &str) -> LabelSelector {
    LabelSelector {
        match_labels: labels(&[("app", app)]),
        ..LabelSelector::default()
    }
}

/// A reference to an object as the controller of another.
pub fn mk_owner<K: Kind>(owner: &K) -> OwnerReference {
    let meta = metadata_of(owner);
    OwnerReference {
        api_version: crate::kinds::api_version(&K::INFO),
        kind: K::INFO.kind.into(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The object as the registry would have stored it.
fn stored<K: Kind>(mut object: K) -> K {
    object.set_defaults();
    object.prepare_create();
    object
}
