//! The port itself: who gets through the handshake and the table of roles, and what answers without gRPC.

use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use trireme_client::{ClientError, Connection};
use trireme_proto::v1::{
    DiscoverRequest, ListRequest, ReportStatusRequest, ResourceRef, ServerStatusRequest,
    node_agent_client::NodeAgentClient, resources_client::ResourcesClient,
    server_internal_client::ServerInternalClient,
};

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

async fn channel(client: &Client) -> tonic::transport::Channel {
    client.connection().link().await.expect("connected").channel
}

fn pods() -> ListRequest {
    let resource = ResourceRef {
        resource: "pods".to_owned(),
        ..ResourceRef::default()
    };
    ListRequest {
        resource: Some(resource),
        ..ListRequest::default()
    }
}

#[tokio::test]
async fn a_client_of_another_ca_does_not_get_in() {
    let server = TestServer::start().await;
    let now = server.environment.timestamp();
    let foreign = CertificateAuthority::create("elsewhere", now).expect("a CA");
    // A client that trusts another CA does not talk to this server.
    let distrustful = server.client_as(foreign.certificate_pem(), None);
    assert!(distrustful.connection().link().await.is_err());
    // A certificate of another CA, whoever it names, is refused.
    let issued = issue(&foreign, &server.environment, &Profile::admin());
    let identity = Identity {
        cert_pem: issued.certificate_pem,
        key_pem: issued.key_pem,
    };
    let forged = server.client_as(server.authority.certificate_pem(), Some(identity));
    let outcome = match forged.connection().link().await {
        // With TLS 1.3 the client learns of it with its first request.
        Ok(link) => ResourcesClient::new(link.channel)
            .list(pods())
            .await
            .map(|_| ())
            .map_err(|status| status.code()),
        Err(_) => Err(Code::Unavailable),
    };
    assert!(outcome.is_err(), "a forged certificate got in");
}

#[tokio::test]
async fn without_a_certificate_there_is_little() {
    let server = TestServer::start().await;
    let nobody = channel(&server.client(None)).await;
    let refused = ResourcesClient::new(nobody.clone())
        .list(pods())
        .await
        .expect_err("refused");
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(
        refused.message().contains("a client certificate is needed"),
        "{refused}"
    );
    let refused = ResourcesClient::new(nobody.clone())
        .discover(DiscoverRequest {})
        .await
        .expect_err("refused");
    assert_eq!(refused.code(), Code::Unauthenticated);
    HealthClient::new(nobody)
        .check(HealthCheckRequest::default())
        .await
        .expect("health is for everyone");
}

#[tokio::test]
async fn each_role_gets_its_own_and_no_more() {
    let server = TestServer::start().await;
    let admin = channel(&server.admin()).await;
    let node = channel(&server.client(Some(&Profile::node("n1")))).await;
    let peer = channel(&server.client(Some(&Profile::server("s2", 2, [])))).await;

    ResourcesClient::new(admin.clone())
        .list(pods())
        .await
        .expect("an admin lists");
    ResourcesClient::new(peer.clone())
        .list(pods())
        .await
        .expect("a server lists");
    let refused = ResourcesClient::new(node.clone())
        .list(pods())
        .await
        .expect_err("a node does not");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let read = trireme_client::ApiError::from_status(&refused);
    assert_eq!((read.reason.as_str(), read.http_code), ("Forbidden", 403));
    assert!(read.message.contains("system:node:n1"), "{read}");

    for channel in [admin, peer.clone()] {
        let refused = NodeAgentClient::new(channel)
            .report_status(ReportStatusRequest::default())
            .await;
        assert_eq!(refused.expect_err("only nodes").code(), Code::PermissionDenied);
    }
    let refused = ServerInternalClient::new(node)
        .server_status(ServerStatusRequest {})
        .await;
    assert_eq!(refused.expect_err("only servers").code(), Code::PermissionDenied);
    // That service is not on this test's port: a server gets past the roles, and to nothing.
    let missing = ServerInternalClient::new(peer)
        .server_status(ServerStatusRequest {})
        .await;
    assert_eq!(missing.expect_err("not here").code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_port_for_servers_lets_in_nobody_else() {
    let server = TestServer::start_for(Admits::ServersOnly).await;
    let peer = channel(&server.client(Some(&Profile::server("s2", 2, [])))).await;
    ResourcesClient::new(peer)
        .discover(DiscoverRequest {})
        .await
        .expect("a server");
    for profile in [Some(Profile::admin()), Some(Profile::node("n1")), None] {
        let client = server.client(profile.as_ref());
        let outcome = match client.connection().link().await {
            Ok(link) => ResourcesClient::new(link.channel)
                .discover(DiscoverRequest {})
                .await
                .map(|_| ())
                .map_err(|_| ()),
            Err(_) => Err(()),
        };
        assert!(outcome.is_err(), "{profile:?} got in");
    }
}

#[tokio::test]
async fn reflection_knows_every_service() {
    let server = TestServer::start().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let channel = channel(&server.admin()).await;
    let answer = ServerReflectionClient::new(channel)
        .server_reflection_info(futures::stream::iter([request]))
        .await;
    let message = answer
        .expect("answered")
        .into_inner()
        .message()
        .await
        .expect("a message")
        .expect("one");
    let Some(MessageResponse::ListServicesResponse(list)) = message.message_response else {
        panic!("{message:?}")
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for expected in [
        "trireme.v1.Resources",
        "trireme.v1.Cluster",
        "trireme.v1.NodeAgent",
        "grpc.health.v1.Health",
    ] {
        assert!(
            names.iter().any(|name| name == expected),
            "{expected} is missing in {names:?}"
        );
    }
}

/// A connection that speaks HTTP/1.1, of somebody without a certificate.
async fn connect1(server: &TestServer) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(server.authority.certificate_der().clone()).expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tcp = TcpStream::connect(&server.address).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, tcp).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream
}

/// The client would rather have the longer key.
#[tokio::test]
async fn the_quicker_cipher_is_taken() {
    let server = TestServer::start().await;
    let stream = connect1(&server).await;
    let taken = stream.get_ref().1.negotiated_cipher_suite().expect("shaken hands");
    assert_eq!(taken.suite(), rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
}

/// One request of such a connection: what `curl --http1.1` does.
async fn http1(server: &TestServer, path: &str) -> String {
    let mut stream = connect1(server).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    rest_of(&mut stream).await
}

/// What comes until the connection ends.
async fn rest_of(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    // Some peers close without a farewell of TLS.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("an answer in time");
    String::from_utf8(answer).expect("text")
}

/// What a client is told on one connection that sends so large a body after it was refused, and then asks for the version.
async fn told_after_a_refusal(server: &TestServer, body: usize) -> (String, String) {
    let mut stream = connect1(server).await;
    let head = format!(
        "POST /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {body}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut refusal = vec![0; 12];
    stream.read_exact(&mut refusal).await.expect("a refusal");
    let rest = format!(
        "{}GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "x".repeat(body)
    );
    // Whoever sends more than is taken in finds the connection closed.
    let _ = stream.write_all(rest.as_bytes()).await;
    (String::from_utf8(refusal).expect("text"), rest_of(&mut stream).await)
}

#[tokio::test]
async fn what_a_refused_request_still_sends_does_not_end_its_connection() {
    let server = TestServer::start().await;
    let (refusal, next) = told_after_a_refusal(&server, 1_000).await;
    assert_eq!(refusal, "HTTP/1.1 401");
    assert!(next.contains("HTTP/1.1 200") && next.contains("gitVersion"), "{next}");
    let (refusal, next) = told_after_a_refusal(&server, 4 * crate::limits::UNREAD_BODY_MAX_BYTES).await;
    assert_eq!(refusal, "HTTP/1.1 401");
    assert!(!next.contains("gitVersion"), "{next}");
}

#[tokio::test]
async fn plain_http_answers_people_and_probes() {
    let server = TestServer::start().await;
    for path in ["/healthz", "/livez", "/readyz"] {
        let answer = http1(&server, path).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"),
            "{path}: {answer}"
        );
    }
    server.ready.store(false, Ordering::SeqCst);
    let answer = http1(&server, "/readyz").await;
    assert!(
        answer.starts_with("HTTP/1.1 500")
            && answer.ends_with("\r\n\r\n[+]ping ok\n[-]store failed: no leader\nreadyz check failed\n"),
        "{answer}"
    );
    let answer = http1(&server, "/version").await;
    let body = answer.split("\r\n\r\n").nth(1).expect("a body");
    let version: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(version["major"], "1");
    assert!(version["gitVersion"].as_str().expect("text").contains(crate::VERSION));
}

#[tokio::test]
async fn a_renewed_certificate_is_used_from_the_next_handshake() {
    let server = TestServer::start().await;
    let before = server.admin();
    before.discover().await.expect("works");
    // A certificate with other names: only clients that ask for such a name can tell.
    let names = ["renamed.example".to_owned()];
    let renewed = server.issue(&Profile::server("s1", 1, names));
    server
        .certificates
        .replace(&renewed.certificate_pem, &renewed.key_pem)
        .expect("replaced");
    before.discover().await.expect("open connections go on");
    let issued = server.issue(&Profile::admin());
    let identity = Identity {
        cert_pem: issued.certificate_pem,
        key_pem: issued.key_pem,
    };
    let mut config = ClientConfig::new(
        vec![server.address.clone()],
        server.authority.certificate_pem(),
        Some(identity),
    );
    config.tls_server_name = Some("renamed.example".to_owned());
    Connection::new(config)
        .expect("a client")
        .link()
        .await
        .expect("the new certificate");
    assert!(server.certificates.replace("nonsense", "nonsense").is_err());
    server.admin().discover().await.expect("and stays in use");
}

#[tokio::test]
async fn servers_are_told_apart_by_id() {
    let server = TestServer::start().await;
    let own = server.issue(&Profile::server("s2", 2, []));
    let source = CertificateSource::new(&own.certificate_pem, &own.key_pem).expect("a certificate");
    let connector = crate::transport::Connector::new(source, server.authority.certificate_pem()).expect("a connector");
    let ask = async |id| {
        let channel = connector.channel(id, &server.address).expect("an address");
        ResourcesClient::new(channel).discover(DiscoverRequest {}).await
    };
    ask(1).await.expect("it is server 1");
    ask(2).await.expect_err("it is not server 2");
    assert!(connector.channel(1, "no address at all").is_err());
}

#[tokio::test]
async fn a_node_cannot_pose_as_a_server() {
    let server = TestServer::start().await;
    let own = server.issue(&Profile::server("s2", 2, []));
    let source = CertificateSource::new(&own.certificate_pem, &own.key_pem).expect("a certificate");
    let connector = crate::transport::Connector::new(source, server.authority.certificate_pem()).expect("a connector");
    let impostor = server.issue(&Profile::node("n1"));
    server
        .certificates
        .replace(&impostor.certificate_pem, &impostor.key_pem)
        .expect("replaced");
    let channel = connector.channel(1, &server.address).expect("an address");
    ResourcesClient::new(channel)
        .discover(DiscoverRequest {})
        .await
        .expect_err("a node's certificate");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let server = TestServer::start().await;
    let taken = BoundListener::bind(server.address.parse().expect("an address")).await;
    let error = taken.err().expect("taken");
    assert!(
        error.to_string().contains(&server.address) && error.to_string().contains("in use"),
        "{error}"
    );
}

#[tokio::test]
async fn shutdown_ends_open_streams_in_time() {
    let mut server = TestServer::start().await;
    let client = server.admin();
    let watch = trireme_proto::v1::WatchRequest {
        resource: pods().resource,
        ..Default::default()
    };
    let mut stream = ResourcesClient::new(channel(&client).await)
        .watch(watch)
        .await
        .expect("watching")
        .into_inner();
    assert!(stream.message().await.expect("a bookmark").is_some());
    server.stop.cancel();
    let served = std::mem::replace(&mut server.served, tokio::spawn(async {}));
    let bound = crate::limits::SHUTDOWN_GRACE + DEADLINE;
    tokio::time::timeout(bound, served)
        .await
        .expect("in time")
        .expect("no panic");
    assert!(!matches!(stream.message().await, Ok(Some(_))));
    let gone = server.admin().discover().await.expect_err("closed");
    assert!(matches!(gone, ClientError::Connect(_)), "{gone}");
}
