use super::*;
use crate::runtime::fake::FakeRuntime;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic_health::ServingStatus;
use trireme_proto::api::core::v1::{ContainerPort, GrpcAction, HttpGetAction, ProbeHandler, TcpSocketAction};

const LOOPBACK: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

fn number(port: u16) -> Option<IntOrString> {
    Some(IntOrString {
        int_val: port.into(),
        ..IntOrString::default()
    })
}

fn container() -> Container {
    Container {
        ports: vec![ContainerPort {
            name: "web".to_owned(),
            container_port: 80,
            ..ContainerPort::default()
        }],
        ..Container::default()
    }
}

async fn serve(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// Runs a probe; `expected` is a part of what it complains about, nothing if it is to succeed.
async fn check(handler: ProbeHandler, expected: Option<&str>) {
    let probe = Probe {
        handler: Some(handler),
        ..Probe::default()
    };
    let outcome = run(&FakeRuntime::default(), &container(), "none", LOOPBACK, &probe).await;
    match (outcome, expected) {
        (Ok(()), None) => {}
        (Err(said), Some(part)) => assert!(said.contains(part), "{said:?} does not hold {part:?}"),
        (outcome, expected) => panic!("{outcome:?}, expected {expected:?}"),
    }
}

#[tokio::test]
async fn http_answers_are_judged_by_their_status() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", None),
        ("HTTP/1.1 302 Found\r\n\r\n", None),
        (
            "HTTP/1.1 500 No\r\n\r\n",
            Some("HTTP probe failed with statuscode: 500"),
        ),
        ("nonsense", Some("not HTTP")),
    ] {
        let http = HttpGetAction {
            path: "/healthz".to_owned(),
            port: number(serve(answer).await),
            ..HttpGetAction::default()
        };
        let handler = ProbeHandler {
            http_get: Some(http),
            ..ProbeHandler::default()
        };
        check(handler, expected).await;
    }
}

#[tokio::test]
async fn a_port_that_answers_is_enough_for_tcp() {
    for (port, expected) in [
        (serve("").await, None),
        (closed_port().await, Some("dial tcp 127.0.0.1")),
    ] {
        let tcp = TcpSocketAction {
            port: number(port),
            ..TcpSocketAction::default()
        };
        let handler = ProbeHandler {
            tcp_socket: Some(tcp),
            ..ProbeHandler::default()
        };
        check(handler, expected).await;
    }
}

fn grpc(port: u16, service: &str) -> ProbeHandler {
    ProbeHandler {
        grpc: Some(GrpcAction {
            port: port.into(),
            service: Some(service.to_owned()),
        }),
        ..ProbeHandler::default()
    }
}

#[tokio::test]
async fn grpc_services_are_asked_for_their_health() {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("shop.Orders", ServingStatus::NotServing)
        .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(health)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    check(grpc(port, ""), None).await;
    check(
        grpc(port, "shop.Orders"),
        Some("service unhealthy (responded with \"NOT_SERVING\")"),
    )
    .await;
    check(grpc(port, "shop.Nobody"), Some("NotFound")).await;
    reporter.set_service_status("shop.Orders", ServingStatus::Serving).await;
    check(grpc(port, "shop.Orders"), None).await;
}

#[tokio::test]
async fn what_speaks_no_grpc_is_not_healthy() {
    check(grpc(closed_port().await, ""), Some("failed to connect service")).await;
    check(
        grpc(serve("HTTP/1.1 200 OK\r\n\r\n").await, ""),
        Some("does not speak gRPC"),
    )
    .await;
    // The server is there, but has no health service.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_routes(tonic::service::Routes::default())
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    check(grpc(port, ""), Some("does not implement the grpc health protocol")).await;
}

#[tokio::test]
async fn a_server_that_is_silent_is_given_up_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    check(grpc(port, ""), Some("no answer within 1s")).await;
}

#[test]
fn ports_are_found_by_name() {
    let container = container();
    let named = |name: &str| IntOrString {
        r#type: 1,
        str_val: name.to_owned(),
        ..IntOrString::default()
    };
    assert_eq!(port_number(&container, Some(&named("web"))), Ok(80));
    assert_eq!(port_number(&container, Some(&named("8080"))), Ok(8080));
    assert!(port_number(&container, Some(&named("other"))).is_err());
}
