//! etcd's API, version 3, over this server's replica.
//!
//! It is the same store, the same keys and the same revisions that the API server works with. Thin: requests are
//! checked and put into the store's words by `convert`, and everything that decides is below. Whoever hosts it admits
//! administrators only: etcd's own users and roles are not served.

mod auth;
mod cluster;
pub(crate) mod convert;
mod direct;
mod election;
mod errors;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod kv;
mod lanes;
mod leader;
mod lease;
mod limits;
mod lock;
mod maintenance;
mod session;
mod watch;
mod watch_wire;
mod whole;

use std::sync::Arc;

use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic::service::interceptor::InterceptedService;
use tonic::service::{Interceptor, Routes};
use trireme_proto::etcd::election::election_server::ElectionServer;
use trireme_proto::etcd::lock::lock_server::LockServer;
use trireme_proto::etcd::server as pb;
use trireme_proto::etcd::server::cluster_server::ClusterServer;
use trireme_proto::etcd::server::kv_server::KvServer;
use trireme_proto::etcd::server::lease_server::LeaseServer;
use trireme_proto::etcd::server::maintenance_server::MaintenanceServer;

use self::leader::LeaderSight;
use crate::Store;
use crate::kv::{Kv, Revision};
use crate::lanes::Lanes;
use crate::watch::Hub;

pub use cluster::ETCD_CLIENT_URL_PREFIX;
pub use direct::{Direct, DirectBody, DirectKv, Replayed};

/// The version of etcd whose API is served. Clients read it as one, and some choose what they use by it.
pub const ETCD_VERSION: &str = "3.6.5";

/// The metadata by which a client says that it wants to be served only while there is a leader.
const NEEDS_LEADER: (&str, &str) = ("hasleader", "true");

/// What the services share.
pub(crate) struct Etcd {
    store: Arc<Store>,
    cluster_id: u64,
    leader: LeaderSight,
}

/// The services as routes, to be hosted. To be called within the tokio runtime that will host them.
pub(crate) fn routes(store: Arc<Store>) -> (Routes, DirectKv) {
    let etcd = Arc::new(Etcd {
        cluster_id: cluster_number(&store.node().config.cluster_id),
        leader: LeaderSight::begin(store.node().clone()),
        store,
    });
    let guard = LeaderGuard(etcd.clone());
    let kv = KvServer::new(kv::KvService(etcd.clone())).max_decoding_message_size(limits::MESSAGE_BYTES);
    let kv = whole::Handing(kv);
    let watch = watch_wire::WatchServer(etcd.clone());
    let lease = LeaseServer::new(lease::LeaseService(etcd.clone()));
    let cluster = ClusterServer::new(cluster::ClusterService(etcd.clone()));
    let maintenance = MaintenanceServer::new(maintenance::MaintenanceService(etcd.clone()));
    let lock = LockServer::new(lock::LockService(etcd.clone()));
    let election = ElectionServer::new(election::ElectionService(etcd.clone()));
    let routes = Routes::new(InterceptedService::new(kv, guard.clone()))
        .add_service(InterceptedService::new(watch, guard.clone()))
        .add_service(InterceptedService::new(lease, guard.clone()))
        .add_service(InterceptedService::new(cluster, guard.clone()))
        .add_service(InterceptedService::new(maintenance, guard.clone()))
        .add_service(InterceptedService::new(lock, guard.clone()))
        .add_service(InterceptedService::new(election, guard))
        .add_service(auth::AuthServer);
    (routes, DirectKv::new(etcd))
}

impl Etcd {
    /// The header of an answer, with the revision that it is about.
    fn header(&self, revision: Revision) -> pb::ResponseHeader {
        pb::ResponseHeader {
            cluster_id: self.cluster_id,
            member_id: self.store.server_id(),
            revision,
            raft_term: self.store.node().views.cluster.borrow().term,
        }
    }

    /// The header of an answer, with the present revision.
    fn header_now(&self) -> pb::ResponseHeader {
        self.header(self.revision())
    }

    /// The revision that this server's watchers have been told of, or will be at once.
    fn revision(&self) -> Revision {
        self.hub().applied_revision().max(self.store.applied_revision())
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.store.node().hub
    }

    fn lanes(&self) -> &Arc<Lanes> {
        self.store.node().engine.lanes()
    }

    fn has_leader(&self) -> bool {
        self.leader.is_seen() && self.store.node().leader().is_some()
    }

    /// Whether a client wants to be served only while there is a leader.
    fn needs_leader(&self, metadata: &MetadataMap) -> bool {
        let (name, wanted) = NEEDS_LEADER;
        metadata.get(name).is_some_and(|value| value == wanted)
    }
}

/// A number for the cluster, always the same for the same id, and never 0.
fn cluster_number(cluster_id: &str) -> u64 {
    // FNV-1a: short, and good enough to tell clusters apart.
    let hash = cluster_id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
}

/// Refuses requests that want a leader while there is none.
#[derive(Clone)]
struct LeaderGuard(Arc<Etcd>);

impl Interceptor for LeaderGuard {
    fn call(&mut self, request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if self.0.needs_leader(request.metadata()) && !self.0.has_leader() {
            return Err(errors::NO_LEADER.into());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_have_different_numbers() {
        assert_ne!(cluster_number("blue"), cluster_number("red"));
        assert_eq!(cluster_number("blue"), cluster_number("blue"));
        assert_ne!(cluster_number(""), 0);
    }
}
