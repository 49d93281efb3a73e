//! The registry on the real state machine, in memory.

mod applying;
mod binding;
mod claims;
mod creating;
mod deleting;
mod evicting;
mod lagging;
mod lanes;
mod listing;
mod nodes;
mod owners;
mod priorities;
mod quotas;
mod requests;
mod updating;
mod versions;
mod watching;

use std::{sync::Arc, time::Duration};

use trireme_logic::object::{Object, ObjectKey};
use trireme_proto::{
    api::{
        core::v1::{ConfigMap, Container, Pod, PodSpec},
        meta::v1::{ManagedFieldsEntry, ObjectMeta},
    },
    v1::ResourceRef,
};
use trireme_store::{LocalKv, kv::Kv};

use super::{Registry, Stored, ops_of};
use crate::{
    environment::testing::{ManualClock, manual},
    pipeline::{Decoded, FieldManager, Permit, RawRequest, Verb},
    pki::Subject,
    registry::{ListRequest, ReadFrom, Selection},
    status::{ApiError, Reason},
    transport::Peer,
};

/// Until when everything has happened that will.
const DEADLINE: Duration = Duration::from_secs(30);

/// A registry with the namespaces of a new cluster, and the clock that it goes by.
struct Harness {
    registry: Arc<Registry>,
    kv: Arc<LocalKv>,
    clock: Arc<ManualClock>,
}

impl Harness {
    async fn new() -> Self {
        let kv = Arc::new(LocalKv::new());
        let (clock, environment) = manual();
        let registry = Registry::start(kv.clone(), environment);
        registry.bootstrap().await.expect("the namespaces are created");
        Self { registry, kv, clock }
    }

    /// A second server on the same store.
    fn another_server(&self) -> Arc<Registry> {
        Registry::start(self.kv.clone(), self.registry.environment().clone())
    }

    async fn create(&self, object: impl Object) -> Result<Stored, ApiError> {
        self.registry
            .create(&system(), Decoded::internal(Box::new(object)), false)
            .await
    }

    async fn get(&self, group: &str, plural: &str, key: &ObjectKey) -> Result<Stored, ApiError> {
        self.registry
            .get(&system(), ops_of(group, plural), key, ReadFrom::Latest)
            .await
    }

    async fn get_pod(&self, name: &str) -> Result<Pod, ApiError> {
        self.get("", "pods", &in_default(name))
            .await
            .map(|stored| typed(&stored))
    }

    fn revision(&self) -> i64 {
        self.kv.applied_revision()
    }
}

fn system() -> Permit {
    Permit::system("test", None)
}

/// A permit as an admin's request gets it.
fn admin(verb: Verb, resource: &str, namespace: &str, name: &str) -> Permit {
    request(Subject::Admin, verb, resource, namespace, name)
}

/// A permit as a request of someone who may make it gets it.
fn request(subject: Subject, verb: Verb, resource: &str, namespace: &str, name: &str) -> Permit {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let group = match resource {
        "deployments" => "apps",
        "certificatesigningrequests" => "certificates.k8s.io",
        _ => "",
    };
    let resource = ResourceRef {
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..ResourceRef::default()
    };
    let peer = Peer::for_tests(Some(subject));
    Permit::request(&RawRequest {
        peer: &peer,
        verb,
        resource: &resource,
    })
    .expect("it may do this")
}

/// The same in the name of a field manager.
fn managed(manager: &str, verb: Verb, resource: &str, name: &str) -> Permit {
    let manager = FieldManager::of_request(manager, "tests/1").expect("a good name");
    admin(verb, resource, "default", name).managed_by(manager)
}

/// Who owns what of an object: a line each, as `manager operation fields`.
fn owners(stored: &Stored) -> Vec<String> {
    let object = stored.object().expect("decodes");
    let line = |entry: &ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().expect("a set");
        let part = match entry.subresource.as_str() {
            "" => String::new(),
            part => format!("/{part}"),
        };
        let fields = String::from_utf8_lossy(&fields.raw);
        format!("{}{part} {} {fields}", entry.manager, entry.operation)
    };
    object.metadata().managed_fields.iter().map(line).collect()
}

fn node_permit(name: &str) -> Permit {
    let peer = Peer::for_tests(Some(Subject::Node(name.to_owned())));
    let identity = crate::pipeline::Identity::authenticate(&peer).expect("a node");
    Permit::node(identity).expect("a node")
}

fn in_default(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn typed<K: trireme_logic::kind::Kind>(stored: &Stored) -> K {
    stored
        .object()
        .expect("decodes")
        .downcast_ref::<K>()
        .expect("of this kind")
        .clone()
}

fn mk_meta(name: &str) -> Option<ObjectMeta> {
    Some(ObjectMeta {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        ..ObjectMeta::default()
    })
}

fn mk_pod(name: &str) -> Pod {
    let container = Container {
        name: "main".to_owned(),
        image: "hello:1".to_owned(),
        ..Container::default()
    };
    let spec = PodSpec {
        containers: vec![container],
        ..PodSpec::default()
    };
    Pod {
        metadata: mk_meta(name),
        spec: Some(spec),
        ..Pod::default()
    }
}

fn mk_config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: mk_meta(name),
        ..ConfigMap::default()
    }
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, ApiError>) -> Reason {
    outcome.expect_err("it is refused").reason()
}

/// A list of all objects of a kind, in one page.
fn everything() -> ListRequest {
    ListRequest {
        namespace: String::new(),
        selection: Selection::everything(),
        limit: 0,
        continue_token: String::new(),
        from: ReadFrom::Latest,
    }
}

/// Waits until something holds.
async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("it holds in time");
}
