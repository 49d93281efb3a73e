//! The client against real TLS servers on loopback that die, stay silent, or say that they cannot.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tonic::transport::{Identity as TlsIdentity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};
use trireme_client::token::{CaDigest, Token, TokenRole};
use trireme_client::{Client, ClientConfig, ClientError, JoinError, JoinParams, Link, STATUS_TYPE_URL, join};
use trireme_proto::api::meta::v1::Status as ApiStatus;
use trireme_proto::v1::cluster_client::ClusterClient;
use trireme_proto::v1::cluster_server::{Cluster, ClusterServer};
use trireme_proto::v1::*;

/// What a server does with a removal, which stands for any write here.
#[derive(Clone, Copy)]
enum Mood {
    Willing,
    /// Takes the request and never answers.
    Mute,
    /// Says that it certainly did nothing.
    Unable,
}

struct Fake {
    name: &'static str,
    mood: Mood,
    writes: Arc<AtomicUsize>,
    asked: Arc<Notify>,
}

fn unable() -> Status {
    let status = ApiStatus {
        reason: "ServiceUnavailable".to_owned(),
        message: "no leader".to_owned(),
        ..Default::default()
    };
    let any = prost_types::Any {
        type_url: STATUS_TYPE_URL.to_owned(),
        value: status.encode_to_vec(),
    };
    // google.rpc.Status: the detail is its third field.
    let mut details = vec![0x1a];
    prost::encoding::encode_varint(any.encoded_len() as u64, &mut details);
    details.extend(any.encode_to_vec());
    Status::with_details(Code::Unavailable, "no leader", details.into())
}

#[tonic::async_trait]
impl Cluster for Fake {
    type BackupStream = futures::stream::Empty<Result<BackupChunk, Status>>;

    async fn backup(&self, _: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn clear_alarm(&self, _: Request<ClearAlarmRequest>) -> Result<Response<ClearAlarmResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(StatusResponse {
            cluster_id: self.name.to_owned(),
            ..Default::default()
        }))
    }

    async fn remove_member(&self, _: Request<RemoveMemberRequest>) -> Result<Response<RemoveMemberResponse>, Status> {
        match self.mood {
            Mood::Unable => return Err(unable()),
            Mood::Mute => {
                self.asked.notify_one();
                std::future::pending::<()>().await;
            }
            Mood::Willing => {}
        }
        self.writes.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(RemoveMemberResponse {}))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let certificate_pem = request.into_inner().token;
        Ok(Response::new(JoinResponse {
            certificate_pem,
            ..Default::default()
        }))
    }

    async fn renew_certificate(
        &self,
        _: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn promote_member(
        &self,
        _: Request<PromoteMemberRequest>,
    ) -> Result<Response<PromoteMemberResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn transfer_leadership(
        &self,
        _: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn create_token(&self, _: Request<CreateTokenRequest>) -> Result<Response<CreateTokenResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_tokens(&self, _: Request<ListTokensRequest>) -> Result<Response<ListTokensResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn revoke_token(&self, _: Request<RevokeTokenRequest>) -> Result<Response<RevokeTokenResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// A certificate authority of one test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn digest(&self) -> CaDigest {
        CaDigest::of_der(self.0.der())
    }
}

/// A server in a runtime of its own, so that dropping it is as sudden as a kill.
struct Running {
    address: String,
    writes: Arc<AtomicUsize>,
    asked: Arc<Notify>,
    runtime: Option<Runtime>,
}

impl Running {
    fn start(authority: &Authority, name: &'static str, mood: Mood) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority.0).unwrap();
        let chain = format!("{}{}", certificate.pem(), authority.pem());
        let tls = ServerTlsConfig::new().identity(TlsIdentity::from_pem(chain, key.serialize_pem()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (writes, asked) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
        let fake = Fake {
            name,
            mood,
            writes: writes.clone(),
            asked: asked.clone(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let incoming = tonic::transport::server::TcpIncoming::from(listener);
            let server = Server::builder()
                .tls_config(tls)
                .unwrap()
                .add_service(ClusterServer::new(fake));
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self {
            address,
            writes,
            asked,
            runtime: Some(runtime),
        }
    }

    fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.runtime.is_some() {
            self.kill();
        }
    }
}

fn client(authority: &Authority, addresses: &[&str]) -> Client {
    let endpoints = addresses.iter().map(|&a| a.to_owned()).collect();
    Client::new(ClientConfig::new(endpoints, authority.pem(), None)).unwrap()
}

async fn who(client: &Client) -> Result<String, ClientError> {
    Ok(client.cluster_status().await?.cluster_id)
}

async fn remove(client: &Client) -> Result<(), ClientError> {
    let call = |link: Link| async move {
        ClusterClient::new(link.channel)
            .remove_member(RemoveMemberRequest { id: 1 })
            .await
    };
    client.write(call).await.map(drop)
}

#[tokio::test]
async fn reads_move_to_another_server() {
    let authority = Authority::new();
    let mut first = Running::start(&authority, "first", Mood::Willing);
    let second = Running::start(&authority, "second", Mood::Willing);
    let client = client(&authority, &[&first.address, &second.address]);
    assert_eq!(who(&client).await.unwrap(), "first");
    first.kill();
    assert_eq!(who(&client).await.unwrap(), "second");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_not_repeated() {
    let authority = Authority::new();
    let mut first = Running::start(&authority, "first", Mood::Mute);
    let second = Running::start(&authority, "second", Mood::Willing);
    let client = client(&authority, &[&first.address, &second.address]);
    let asked = first.asked.clone();
    let write = tokio::spawn({
        let client = client.clone();
        async move { remove(&client).await }
    });
    asked.notified().await;
    first.kill();
    let outcome = write.await.unwrap();
    assert!(
        matches!(outcome, Err(ClientError::UnknownOutcome { .. })),
        "{outcome:?}"
    );
    assert_eq!(second.writes(), 0);
    // The next write goes to the server that lives.
    remove(&client).await.unwrap();
    assert_eq!(second.writes(), 1);
}

#[tokio::test]
async fn a_write_that_was_not_carried_out_is_repeated_elsewhere() {
    let authority = Authority::new();
    let first = Running::start(&authority, "first", Mood::Unable);
    let second = Running::start(&authority, "second", Mood::Willing);
    let client = client(&authority, &[&first.address, &second.address]);
    remove(&client).await.unwrap();
    assert_eq!((first.writes(), second.writes()), (0, 1));
}

#[tokio::test]
async fn a_silent_server_is_passed_by() {
    let authority = Authority::new();
    // It accepts connections, as the kernel does for a stopped process, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = Running::start(&authority, "second", Mood::Willing);
    let client = client(
        &authority,
        &[&silent.local_addr().unwrap().to_string(), &second.address],
    );
    assert_eq!(who(&client).await.unwrap(), "second");
}

#[tokio::test]
async fn nobody_there_is_told_for_every_address() {
    let free = || -> SocketAddr { TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let addresses = [free().to_string(), free().to_string()];
    let mut config = ClientConfig::new(addresses.to_vec(), Authority::new().pem(), None);
    config.retry_while_unreachable = Duration::ZERO;
    let error = remove(&Client::new(config).unwrap()).await.unwrap_err();
    let ClientError::Connect(error) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.attempts.len(), 2);
    assert!(!error.untrusted);
}

#[tokio::test]
async fn a_stranger_is_not_trusted() {
    let server = Running::start(&Authority::new(), "stranger", Mood::Willing);
    let error = who(&client(&Authority::new(), &[&server.address])).await.unwrap_err();
    let ClientError::Connect(error) = error else {
        panic!("{error:?}")
    };
    assert!(error.untrusted);
}

#[tokio::test]
async fn the_secret_is_said_only_to_the_tokens_cluster() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Running::start(&ours, "ours", Mood::Willing);
    let params = |ca_digest, role| JoinParams {
        servers: vec![server.address.clone()],
        token: Token {
            role,
            ca_digest,
            id: "id".to_owned(),
            secret: "secret".to_owned(),
        },
        role: TokenRole::Node,
        name: "node-1".to_owned(),
        api_address: String::new(),
        peer_address: String::new(),
        subject_alt_names: Vec::new(),
    };
    let joined = join(params(ours.digest(), TokenRole::Node)).await.unwrap();
    assert!(
        joined.identity.cert_pem.ends_with(".id.secret"),
        "the server was not told the token"
    );
    let error = join(params(theirs.digest(), TokenRole::Node)).await.unwrap_err();
    let JoinError::WrongCluster { server: found, token } = error else {
        panic!("{error:?}")
    };
    assert_eq!((found, token), (ours.digest(), theirs.digest()));
    let error = join(params(ours.digest(), TokenRole::Server)).await.unwrap_err();
    assert!(matches!(error, JoinError::WrongRole { .. }), "{error:?}");
}
