//! A whole API port on the loopback interface, driven by real clients: TLS, roles, joining, both HTTP versions.

mod bounds;
mod clients;
mod joining;
mod port;
mod rest;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream::BoxStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use trireme_client::{Client, ClientConfig, Identity};
use trireme_proto::v1::{FetchLogs, LogsChunk, ServerStatusResponse};
use trireme_store::{Alarm, AlarmKind, Backup, LocalKv, Member, MemberNode, Role, StoreStatus, kv::Kv};

use super::{Admits, BoundListener, CertificateSource, RestService, api_router, listener::Bounds, server_config};
use crate::{
    environment::Environment,
    pki::{CertificateAuthority, IssuedIdentity, Profile, TokenStore},
    registry::Registry,
    services::{
        cluster::{ClusterControl, ClusterService, StatusSource},
        resources::{LogSource, ResourcesService},
    },
    status::ApiError,
};

/// A server of one, with everything but Raft.
struct TestServer {
    authority: Arc<CertificateAuthority>,
    environment: Environment,
    address: String,
    control: Arc<FakeControl>,
    kv: Arc<LocalKv>,
    ready: Arc<AtomicBool>,
    certificates: Arc<CertificateSource>,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl TestServer {
    async fn start() -> Self {
        Self::start_for(Admits::Anyone).await
    }

    async fn start_for(admits: Admits) -> Self {
        Self::start_within(admits, Bounds::default()).await
    }

    async fn start_within(admits: Admits, bounds: Bounds) -> Self {
        let environment = Environment::system();
        let authority = CertificateAuthority::create("test-cluster", environment.timestamp()).expect("a CA");
        let authority = Arc::new(authority);
        let own = issue(&authority, &environment, &Profile::server("s1", 1, []));
        let certificates = CertificateSource::new(&own.certificate_pem, &own.key_pem).expect("a certificate");
        let tls = server_config(certificates.clone(), authority.certificate_pem()).expect("TLS");
        let listener = BoundListener::bind(([127, 0, 0, 1], 0).into())
            .await
            .expect("a port")
            .within(bounds);
        let address = listener.address().to_string();

        let kv = Arc::new(LocalKv::new());
        let registry = Registry::start(kv.clone(), environment.clone());
        registry.bootstrap().await.expect("bootstrapped");
        let control = Arc::new(FakeControl::new(&address));
        let ready = Arc::new(AtomicBool::new(true));
        let cluster = ClusterService {
            cluster_id: "test-cluster".to_owned(),
            control: control.clone(),
            peers: Arc::new(NoPeers),
            authority: authority.clone(),
            tokens: TokenStore::new(kv.clone(), environment.clone(), authority.digest()),
            environment: environment.clone(),
        };
        let rest = RestService::new(registry.clone(), Arc::new(CannedLogs));
        let resources = ResourcesService::new(registry, Arc::new(CannedLogs));
        let routes = Routes::new(resources.into_server()).add_service(cluster.into_server());
        let readiness: super::Readiness = {
            let ready = ready.clone();
            Arc::new(move || {
                if ready.load(Ordering::SeqCst) {
                    Ok(())
                } else {
                    Err("no leader".to_owned())
                }
            })
        };
        let stop = CancellationToken::new();
        let served = tokio::spawn(listener.serve(tls, api_router(routes, &readiness, rest), admits, stop.clone()));
        Self {
            authority,
            environment,
            address,
            control,
            kv,
            ready,
            certificates,
            stop,
            served,
        }
    }

    /// Forgets all history.
    async fn compact(&self) {
        self.kv.compact(self.kv.applied_revision()).await.expect("compacted");
    }

    fn issue(&self, profile: &Profile) -> IssuedIdentity {
        issue(&self.authority, &self.environment, profile)
    }

    fn client(&self, profile: Option<&Profile>) -> Client {
        let identity = profile.map(|profile| {
            let issued = self.issue(profile);
            Identity {
                cert_pem: issued.certificate_pem,
                key_pem: issued.key_pem,
            }
        });
        self.client_as(self.authority.certificate_pem(), identity)
    }

    fn client_as(&self, ca_pem: &str, identity: Option<Identity>) -> Client {
        Client::new(ClientConfig::new(vec![self.address.clone()], ca_pem, identity)).expect("a client")
    }

    fn admin(&self) -> Client {
        self.client(Some(&Profile::admin()))
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn issue(authority: &CertificateAuthority, environment: &Environment, profile: &Profile) -> IssuedIdentity {
    authority
        .issue_with_key(profile, environment.bytes(), environment.timestamp())
        .expect("issued")
}

/// Members without a Raft.
struct FakeControl {
    members: Mutex<Vec<Member>>,
    next_id: AtomicU64,
}

impl FakeControl {
    fn new(address: &str) -> Self {
        let own = Member {
            id: 1,
            name: "s1".to_owned(),
            api_address: address.to_owned(),
            peer_address: "127.0.0.1:1".to_owned(),
            voter: true,
        };
        Self {
            members: Mutex::new(vec![own]),
            next_id: AtomicU64::new(2),
        }
    }
}

#[async_trait::async_trait]
impl ClusterControl for FakeControl {
    fn status(&self) -> StoreStatus {
        StoreStatus {
            lanes: trireme_store::lanes::LanesUse::default(),
            id: 1,
            role: Role::Leader,
            term: 3,
            leader_id: Some(1),
            first_log_index: 1,
            last_log_index: 9,
            applied_index: 9,
            applied_revision: 8,
            state_hash_index: 9,
            state_hash: "abc".to_owned(),
            idle: Duration::ZERO,
        }
    }

    fn members(&self) -> Vec<Member> {
        self.members.lock().expect("no panic").clone()
    }

    async fn allocate_server_id(&self) -> Result<u64, ApiError> {
        Ok(self.next_id.fetch_add(1, Ordering::SeqCst))
    }

    async fn add_learner(&self, id: u64, node: MemberNode) -> Result<(), ApiError> {
        let MemberNode {
            name,
            api_address,
            peer_address,
        } = node;
        self.members.lock().expect("no panic").push(Member {
            id,
            name,
            api_address,
            peer_address,
            voter: false,
        });
        Ok(())
    }

    async fn promote(&self, id: u64) -> Result<(), ApiError> {
        let mut members = self.members.lock().expect("no panic");
        let member = members.iter_mut().find(|member| member.id == id);
        member
            .ok_or_else(|| ApiError::conflict_other(format!("server {id} is not a member")))?
            .voter = true;
        Ok(())
    }

    async fn remove(&self, id: u64) -> Result<(), ApiError> {
        self.members.lock().expect("no panic").retain(|member| member.id != id);
        Ok(())
    }

    async fn transfer_leadership(&self, _to: u64) -> Result<(), ApiError> {
        Ok(())
    }

    fn alarms(&self) -> Vec<Alarm> {
        Vec::new()
    }

    async fn clear_alarm(&self, _kind: AlarmKind, _member: u64) -> Result<bool, ApiError> {
        Ok(false)
    }

    async fn backup(&self) -> Result<Backup, ApiError> {
        Err(ApiError::unavailable("there is nothing to back up here"))
    }
}

/// No other server answers.
struct NoPeers;

#[async_trait::async_trait]
impl StatusSource for NoPeers {
    async fn status_of(&self, _member: &Member) -> Result<ServerStatusResponse, ApiError> {
        Err(ApiError::unavailable("connection refused"))
    }
}

/// The same two lines from every container.
struct CannedLogs;

#[async_trait::async_trait]
impl LogSource for CannedLogs {
    async fn logs(
        &self,
        node: &str,
        fetch: FetchLogs,
    ) -> Result<BoxStream<'static, Result<LogsChunk, ApiError>>, ApiError> {
        let container = fetch.logs.unwrap_or_default().container;
        let lines = [format!("{container} on {node}\n"), "bye\n".to_owned()];
        let chunks = lines.map(|line| {
            Ok(LogsChunk {
                data: line.into_bytes().into(),
            })
        });
        Ok(futures::stream::iter(chunks).boxed())
    }
}
