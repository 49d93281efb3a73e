//! What a client can drive up has its bound, and whoever goes beyond it harms nobody else. Each bound is that of the limits,
//! only smaller, so that a test need not wait for it.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{Code, Status, transport::Channel};
use tower::ServiceExt;
use trireme_client::Api;
use trireme_logic::testing::mk_pod;
use trireme_proto::api::core::v1::Pod;
use trireme_proto::v1::{DiscoverRequest, ResourceRef, WatchEvent, WatchRequest, resources_client::ResourcesClient};

use super::{
    super::{client_config, listener::Bounds},
    *,
};

/// How long anything may take that should take well under a second.
const PATIENCE: Duration = Duration::from_secs(20);
/// So short that it is over before anything else here is.
const SHORT: Duration = Duration::from_millis(150);

async fn channel(client: &Client) -> Channel {
    client.connection().link().await.expect("connected").channel
}

async fn discover(channel: &Channel) -> Result<(), Status> {
    let mut client = ResourcesClient::new(channel.clone());
    client.discover(DiscoverRequest {}).await.map(drop)
}

/// Calls until it is served: a machine that is busy may be slower than the bounds of these tests allow its clients to be.
async fn served(client: &Client) {
    let calls = async { while client.discover().await.is_err() {} };
    tokio::time::timeout(PATIENCE, calls).await.expect("served in time");
}

/// TLS with a server's certificate, which every port admits, and nothing said on it yet.
async fn connected(server: &TestServer) -> TlsStream<TcpStream> {
    let own = server.issue(&Profile::server("s2", 2, []));
    let source = CertificateSource::new(&own.certificate_pem, &own.key_pem).expect("a certificate");
    let config = client_config(source, server.authority.certificate_pem()).expect("TLS");
    let tcp = TcpStream::connect(&server.address).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(config)
        .connect(name, tcp)
        .await
        .expect("a handshake")
}

/// Waits until the server has let go of a connection.
async fn closed(mut stream: impl tokio::io::AsyncRead + Unpin) {
    let mut rest = Vec::new();
    // A reset is as good as an end.
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    let _ = read.expect("the server lets go of the connection");
}

/// A neighbour with an open watch, which is there as long as the test.
async fn watching(server: &TestServer) -> tonic::Streaming<WatchEvent> {
    let resource = ResourceRef {
        resource: "pods".to_owned(),
        ..ResourceRef::default()
    };
    let request = WatchRequest {
        resource: Some(resource),
        ..WatchRequest::default()
    };
    let begun = async {
        loop {
            let mut client = ResourcesClient::new(channel(&server.admin()).await);
            if let Ok(watch) = client.watch(request.clone()).await {
                return watch.into_inner();
            }
        }
    };
    let mut watch = tokio::time::timeout(PATIENCE, begun).await.expect("watching in time");
    assert!(watch.message().await.expect("a bookmark").is_some());
    watch
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_ends() {
    let bounds = Bounds {
        handshake: SHORT,
        ..Bounds::default()
    };
    let server = TestServer::start_within(Admits::Anyone, bounds).await;
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut stream = TcpStream::connect(&server.address).await.expect("connected");
        stream.write_all(begun).await.expect("sent");
        closed(stream).await;
    }
    served(&server.admin()).await;
}

#[tokio::test]
async fn a_connection_without_a_request_ends_and_one_with_a_request_does_not() {
    let bounds = Bounds {
        first_request: SHORT,
        idle: SHORT,
        headers: PATIENCE,
        ..Bounds::default()
    };
    let server = TestServer::start_within(Admits::Anyone, bounds).await;
    let mut neighbour = watching(&server).await;
    // By then the neighbour's watch has been silent for longer than each of them was allowed to be.
    for begun in [
        &b""[..],
        b"G",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n",
    ] {
        let mut stream = connected(&server).await;
        stream.write_all(begun).await.expect("sent");
        closed(stream).await;
    }
    // One that has had its requests is let go, too, and its client just connects again.
    let admin = server.admin();
    for _ in 0..3 {
        served(&admin).await;
        closed(connected(&server).await).await;
    }
    let pods = Api::<Pod>::namespaced(&admin, "default");
    let created = async {
        while pods
            .create(&mk_pod("default", "web"))
            .await
            .is_err_and(|error| error.api().is_none())
        {}
    };
    tokio::time::timeout(PATIENCE, created).await.expect("created in time");
    let told = tokio::time::timeout(PATIENCE, neighbour.message())
        .await
        .expect("told in time");
    assert!(told.expect("the watch goes on").is_some());
}

#[tokio::test]
async fn headers_that_do_not_end_are_not_waited_for() {
    let bounds = Bounds {
        headers: SHORT,
        ..Bounds::default()
    };
    let server = TestServer::start_within(Admits::Anyone, bounds).await;
    let mut stream = connected(&server).await;
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ")
        .await
        .expect("sent");
    closed(stream).await;
    served(&server.admin()).await;
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_room() {
    let bounds = Bounds {
        connections: 2,
        ..Bounds::default()
    };
    let server = TestServer::start_within(Admits::Anyone, bounds).await;
    let admin = channel(&server.admin()).await;
    discover(&admin).await.expect("served");
    let other = connected(&server).await;
    let third = server.admin();
    let third = tokio::spawn(async move { discover(&channel(&third).await).await });
    for _ in 0..100 {
        discover(&admin).await.expect("those that are in are served");
    }
    assert!(!third.is_finished(), "a third connection was let in");
    drop(other);
    let served = tokio::time::timeout(PATIENCE, third).await.expect("there is room now");
    served.expect("no panic").expect("served");
}

/// A call whose message is these bytes and then nothing more, nor an end.
fn unfinished(bytes: impl Into<Bytes>) -> http::Request<tonic::body::Body> {
    let begun = stream::iter([Ok::<_, Status>(Frame::data(bytes.into()))]).chain(stream::pending());
    http::Request::post("/trireme.v1.Resources/Discover")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(StreamBody::new(begun)))
        .expect("a request")
}

/// The status that a call ends with.
async fn status_of(channel: &Channel, request: http::Request<tonic::body::Body>) -> Code {
    let call = async {
        let answer = channel.clone().oneshot(request).await.expect("an answer");
        Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code())
    };
    tokio::time::timeout(PATIENCE, call).await.expect("the call ends")
}

/// The beginning of a message that has `length` bytes, of which `there` are here.
fn part(length: u32, there: usize) -> Vec<u8> {
    let mut message = vec![0];
    message.extend_from_slice(&length.to_be_bytes());
    message.resize(message.len() + there, 0);
    message
}

#[tokio::test]
async fn a_message_that_does_not_go_on_ends_its_call_and_no_other() {
    let bounds = Bounds {
        message: SHORT,
        ..Bounds::default()
    };
    let server = TestServer::start_within(Admits::Anyone, bounds).await;
    let admin = channel(&server.admin()).await;
    for begun in [vec![0], vec![0, 0, 0], part(100, 0), part(100, 99)] {
        assert_eq!(status_of(&admin, unfinished(begun)).await, Code::DeadlineExceeded);
        discover(&admin).await.expect("the connection serves on");
    }
}

#[tokio::test]
async fn what_is_unfinished_is_bounded_by_connection_and_by_port() {
    let most = 64 << 10;
    for whole_port in [false, true] {
        let (connection_bytes, port_bytes) = if whole_port {
            (usize::MAX, most)
        } else {
            (most, usize::MAX)
        };
        let bounds = Bounds {
            connection_bytes,
            port_bytes,
            ..Bounds::default()
        };
        let server = TestServer::start_within(Admits::Anyone, bounds).await;
        let first = channel(&server.admin()).await;
        let second = if whole_port {
            channel(&server.admin()).await
        } else {
            first.clone()
        };
        let held = tokio::spawn(first.clone().oneshot(unfinished(part(1 << 20, most / 2))));
        // The same again, until one is refused: the first may not have come yet.
        let refused = async {
            let mut others = stream::FuturesUnordered::new();
            others.push(status_of(&second, unfinished(part(1 << 20, most / 2 + 1))));
            others.push(status_of(&second, unfinished(part(1 << 20, most / 2 + 1))));
            others.next().await
        };
        let code = tokio::time::timeout(PATIENCE, refused).await.expect("one is refused");
        assert_eq!(code, Some(Code::ResourceExhausted));
        discover(&first).await.expect("small calls are served");
        held.abort();
        // What the calls held is given back when they end.
        let freed = async {
            let all_of_it = || part(u32::try_from(most).expect("it fits"), most);
            while status_of(&first, unfinished(all_of_it())).await == Code::ResourceExhausted {}
            discover(&first).await
        };
        tokio::time::timeout(PATIENCE, freed)
            .await
            .expect("in time")
            .expect("served");
    }
}

#[tokio::test]
async fn an_expired_certificate_opens_no_port() {
    for admits in [Admits::Anyone, Admits::ServersOnly] {
        let server = TestServer::start_for(admits).await;
        let long_ago = server.environment.timestamp() - crate::limits::ADMIN_VALIDITY * 2;
        for profile in [Profile::admin(), Profile::node("n1"), Profile::server("s2", 2, [])] {
            let expired = server
                .authority
                .issue_with_key(&profile, server.environment.bytes(), long_ago)
                .expect("issued");
            let identity = Identity {
                cert_pem: expired.certificate_pem,
                key_pem: expired.key_pem,
            };
            let client = server.client_as(server.authority.certificate_pem(), Some(identity));
            let served = match client.connection().link().await {
                Ok(link) => discover(&link.channel).await.is_ok(),
                Err(_) => false,
            };
            assert!(!served, "{admits:?} let in {profile:?}");
        }
    }
}
