//! A small stand-in for a cluster's server: joins a node, tells it its pods, takes its reports. Real
//! sockets and real mutual TLS, so the agent's whole way to a server is tested.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use trireme_client::token::{CaDigest, Token, TokenRole};
use trireme_proto::api::core::v1::{Node, Pod, PodStatus};
use trireme_proto::v1::cluster_server::{Cluster, ClusterServer};
use trireme_proto::v1::node_agent_server::{NodeAgent, NodeAgentServer};
use trireme_proto::v1::report_status_response::Outcome;
use trireme_proto::v1::{self, AssignedKind, session_request, session_response};

use prost::Message as _;

const SECRET: &str = "openSesame";
const HEARTBEAT_PERIOD_MS: u32 = 200;

/// The stand-in. Cloning shares it.
#[derive(Clone)]
pub struct TestCluster {
    state: Arc<Mutex<State>>,
    changes: broadcast::Sender<v1::AssignmentsMessage>,
    ca_pem: String,
    ca_key_pem: String,
    pub address: SocketAddr,
}

#[derive(Default)]
struct State {
    revision: i64,
    pods: BTreeMap<String, Pod>,
    statuses: BTreeMap<String, PodStatus>,
    node: Option<Node>,
    heartbeats: Vec<v1::Heartbeat>,
    commands: Option<mpsc::Sender<Result<v1::SessionResponse, Status>>>,
    logs: BTreeMap<String, (Vec<u8>, String)>,
    withholds_assignments: bool,
}

/// A running server of the stand-in, with a runtime of its own, so that all its connections break at
/// once when it ends, as those of a killed process do.
pub struct Running {
    runtime: Option<tokio::runtime::Runtime>,
}

impl Running {
    /// Ends the server. Its port is free afterwards.
    pub async fn kill(mut self) {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(|| runtime.shutdown_timeout(Duration::from_secs(5)))
            .await
            .unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl TestCluster {
    /// A stand-in on a free port. It does not answer before [`TestCluster::serve`].
    pub async fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            state: Arc::default(),
            changes: broadcast::channel(64).0,
            ca_pem: ca.pem(),
            ca_key_pem: key.serialize_pem(),
            address: listener.local_addr().unwrap(),
        }
    }

    fn issuer(&self) -> Issuer<'static, KeyPair> {
        Issuer::from_ca_cert_pem(&self.ca_pem, KeyPair::from_pem(&self.ca_key_pem).unwrap()).unwrap()
    }

    /// A token to join with.
    pub fn token(&self) -> String {
        let ca_digest = CaDigest::of_pem(&self.ca_pem).unwrap();
        Token {
            role: TokenRole::Node,
            ca_digest,
            id: "id1".to_owned(),
            secret: SECRET.to_owned(),
        }
        .to_string()
    }

    /// Starts to answer.
    pub async fn serve(&self) -> Running {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        let chain = format!("{}{}", certificate.pem(), self.ca_pem);
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(chain, key.serialize_pem()))
            .client_ca_root(Certificate::from_pem(&self.ca_pem))
            .client_auth_optional(true);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = Server::builder()
            .tls_config(tls)
            .unwrap()
            .add_service(NodeAgentServer::new(self.clone()))
            .add_service(ClusterServer::new(self.clone()));
        let address = self.address;
        let bound = runtime
            .spawn(async move { TcpListener::bind(address).await.unwrap() })
            .await
            .unwrap();
        runtime.spawn(async move { server.serve_with_incoming(TcpListenerStream::new(bound)).await.unwrap() });
        Running { runtime: Some(runtime) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Creates or changes a pod.
    pub fn put_pod(&self, pod: &Pod) {
        let uid = pod.metadata.as_ref().unwrap().uid.clone();
        self.state().pods.insert(uid, pod.clone());
        self.tell(v1::AssignmentsMessage {
            upserts: vec![assigned(pod)],
            ..Default::default()
        });
    }

    /// Marks a pod for deletion, as a graceful `delete` does.
    pub fn delete_pod(&self, uid: &str, grace_seconds: i64) {
        let mut pod = self.state().pods[uid].clone();
        let meta = pod.metadata.as_mut().unwrap();
        meta.deletion_timestamp = Some(trireme_proto::api::meta::v1::Time { seconds: 1, nanos: 0 });
        meta.deletion_grace_period_seconds = Some(grace_seconds);
        self.put_pod(&pod);
    }

    /// Removes a pod without waiting for its node.
    pub fn remove_pod(&self, uid: &str) {
        let pod = self.state().pods.remove(uid).unwrap();
        let meta = pod.metadata.unwrap();
        let removal = v1::AssignedRef {
            kind: AssignedKind::Pod.into(),
            namespace: meta.namespace,
            name: meta.name,
            uid: meta.uid,
        };
        self.tell(v1::AssignmentsMessage {
            removals: vec![removal],
            ..Default::default()
        });
    }

    fn tell(&self, mut message: v1::AssignmentsMessage) {
        let mut state = self.state();
        state.revision += 1;
        message.revision = state.revision;
        // Nobody may be listening.
        let _ = self.changes.send(message);
    }

    /// Makes assignment streams say nothing at all.
    pub fn withhold_assignments(&self, withhold: bool) {
        self.state().withholds_assignments = withhold;
    }

    /// The last status that was reported of a pod.
    pub fn status(&self, uid: &str) -> Option<PodStatus> {
        self.state().statuses.get(uid).cloned()
    }

    /// Forgets all statuses, to see fresh ones.
    pub fn forget_statuses(&self) {
        self.state().statuses.clear();
    }

    pub fn has_pod(&self, uid: &str) -> bool {
        self.state().pods.contains_key(uid)
    }

    pub fn node(&self) -> Option<Node> {
        self.state().node.clone()
    }

    pub fn heartbeats(&self) -> Vec<v1::Heartbeat> {
        self.state().heartbeats.clone()
    }

    /// Asks the agent for a log.
    pub async fn fetch_logs(&self, request_id: &str, pod_uid: &str, logs: v1::LogsRequest) {
        let command = v1::FetchLogs {
            request_id: request_id.to_owned(),
            logs: Some(logs),
            pod_uid: pod_uid.to_owned(),
        };
        let commands = self.state().commands.clone().unwrap();
        let message = session_response::Message::FetchLogs(command);
        commands
            .send(Ok(v1::SessionResponse { message: Some(message) }))
            .await
            .unwrap();
    }

    /// What arrived of a log so far: its bytes and its error.
    pub fn log(&self, request_id: &str) -> Option<(String, String)> {
        let state = self.state();
        state
            .logs
            .get(request_id)
            .map(|(data, error)| (String::from_utf8_lossy(data).into_owned(), error.clone()))
    }
}

fn assigned(pod: &Pod) -> v1::AssignedObject {
    v1::AssignedObject {
        kind: AssignedKind::Pod.into(),
        object: pod.encode_to_vec().into(),
    }
}

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl NodeAgent for TestCluster {
    type SessionStream = Boxed<v1::SessionResponse>;
    type AssignmentsStream = Boxed<v1::AssignmentsMessage>;

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        assert!(request.peer_certs().is_some(), "a session without a certificate");
        let mut incoming = request.into_inner();
        let (commands, queue) = mpsc::channel(8);
        let welcome = v1::Welcome {
            servers: vec![self.address.to_string()],
            heartbeat_period_ms: HEARTBEAT_PERIOD_MS,
        };
        let welcome = session_response::Message::Welcome(welcome);
        commands
            .send(Ok(v1::SessionResponse { message: Some(welcome) }))
            .await
            .unwrap();
        self.state().commands = Some(commands);
        let cluster = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                match message.message {
                    Some(session_request::Message::Hello(hello)) => {
                        cluster.state().node = Some(Node::decode(hello.node).unwrap());
                    }
                    Some(session_request::Message::Heartbeat(heartbeat)) => {
                        cluster.state().heartbeats.push(heartbeat);
                    }
                    None => {}
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(queue))))
    }

    async fn assignments(
        &self,
        _request: Request<v1::AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let (sender, queue) = mpsc::channel(8);
        let cluster = self.clone();
        tokio::spawn(async move {
            while cluster.state().withholds_assignments {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let (complete, mut changes) = {
                let state = cluster.state();
                let complete = v1::AssignmentsMessage {
                    complete: true,
                    revision: state.revision,
                    upserts: state.pods.values().map(assigned).collect(),
                    removals: Vec::new(),
                };
                (complete, cluster.changes.subscribe())
            };
            if sender.send(Ok(complete)).await.is_err() {
                return;
            }
            while let Ok(message) = changes.recv().await {
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(queue))))
    }

    async fn report_status(
        &self,
        request: Request<v1::ReportStatusRequest>,
    ) -> Result<Response<v1::ReportStatusResponse>, Status> {
        let mut outcomes = Vec::new();
        for report in request.into_inner().pods {
            let is_known = self.state().pods.contains_key(&report.uid);
            outcomes.push(i32::from(if is_known { Outcome::Stored } else { Outcome::Gone }));
            if is_known {
                let status = PodStatus::decode(report.status).unwrap();
                self.state().statuses.insert(report.uid.clone(), status);
                if report.terminated {
                    self.remove_pod(&report.uid);
                }
            }
        }
        Ok(Response::new(v1::ReportStatusResponse { outcomes }))
    }

    async fn send_logs(
        &self,
        request: Request<Streaming<v1::SendLogsRequest>>,
    ) -> Result<Response<v1::SendLogsResponse>, Status> {
        let mut frames = request.into_inner();
        let mut request_id = String::new();
        while let Some(frame) = frames.next().await {
            let frame = frame?;
            if !frame.request_id.is_empty() {
                request_id = frame.request_id;
            }
            let mut state = self.state();
            let log = state.logs.entry(request_id.clone()).or_default();
            log.0.extend_from_slice(&frame.data);
            log.1.push_str(&frame.error);
        }
        self.state().logs.entry(format!("{request_id} ended")).or_default();
        Ok(Response::new(v1::SendLogsResponse {}))
    }
}

fn refused<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not in this stand-in"))
}

#[tonic::async_trait]
impl Cluster for TestCluster {
    type BackupStream = tokio_stream::Empty<Result<v1::BackupChunk, Status>>;

    async fn backup(&self, _: Request<v1::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn clear_alarm(&self, _: Request<v1::ClearAlarmRequest>) -> Result<Response<v1::ClearAlarmResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let request = request.into_inner();
        if request.token != self.token() {
            return Err(Status::unauthenticated("no such token"));
        }
        let csr = CertificateSigningRequestParams::from_pem(&request.csr_pem).unwrap();
        let mut csr = csr;
        csr.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = csr.signed_by(&self.issuer()).unwrap();
        Ok(Response::new(v1::JoinResponse {
            certificate_pem: certificate.pem(),
            ca_certificate_pem: self.ca_pem.clone(),
            servers: vec![self.address.to_string()],
            cluster_id: "test".to_owned(),
            ..Default::default()
        }))
    }

    async fn renew_certificate(
        &self,
        _request: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::RenewCertificateResponse>, Status> {
        refused()
    }

    async fn status(&self, _request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        refused()
    }

    async fn remove_member(
        &self,
        _request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        refused()
    }

    async fn promote_member(
        &self,
        _request: Request<v1::PromoteMemberRequest>,
    ) -> Result<Response<v1::PromoteMemberResponse>, Status> {
        refused()
    }

    async fn transfer_leadership(
        &self,
        _request: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::TransferLeadershipResponse>, Status> {
        refused()
    }

    async fn create_token(
        &self,
        _request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        refused()
    }

    async fn list_tokens(
        &self,
        _request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        refused()
    }

    async fn revoke_token(
        &self,
        _request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        refused()
    }
}
