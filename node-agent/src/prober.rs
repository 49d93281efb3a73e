//! Runs one probe once: a command in the container, an HTTP request, or a TCP connection.

use crate::pod::probe::timeout;
use crate::runtime::Runtime;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use trireme_proto::api::core::v1::{Container, HttpGetAction, Probe};
use trireme_proto::api::meta::v1::IntOrString;

/// The longest status line that is read, in bytes.
const STATUS_LINE_MAX_BYTES: u64 = 256;

/// Runs the probe; true if it succeeded. `address` is the pod's.
pub(crate) async fn run(
    runtime: &dyn Runtime,
    container: &Container,
    container_id: &str,
    address: Option<IpAddr>,
    probe: &Probe,
) -> bool {
    let patience = timeout(probe);
    let Some(handler) = &probe.handler else {
        return true;
    };
    if let Some(exec) = &handler.exec {
        let outcome = tokio::time::timeout(patience, runtime.exec(container_id, &exec.command, patience)).await;
        return matches!(outcome, Ok(Ok(outcome)) if outcome.exit_code == 0);
    }
    if let Some(http) = &handler.http_get {
        return within(patience, http_get(container, http, address)).await;
    }
    if let Some(tcp) = &handler.tcp_socket {
        let host = host_of(&tcp.host, address);
        let port = tcp.port.as_ref().and_then(|port| port_number(container, port));
        return within(patience, async { connect(host?, port?).await.ok().map(|_| true) }).await;
    }
    // A probe of a kind that this agent cannot run must not keep a container down.
    true
}

async fn within(patience: Duration, probe: impl Future<Output = Option<bool>>) -> bool {
    matches!(tokio::time::timeout(patience, probe).await, Ok(Some(true)))
}

fn host_of(host: &str, address: Option<IpAddr>) -> Option<String> {
    if host.is_empty() {
        address.map(|address| address.to_string())
    } else {
        Some(host.to_owned())
    }
}

/// A port by number, or by its name in the container.
fn port_number(container: &Container, port: &IntOrString) -> Option<u16> {
    if port.str_val.is_empty() {
        return u16::try_from(port.int_val).ok();
    }
    let named = container.ports.iter().find(|candidate| candidate.name == port.str_val);
    match named {
        Some(named) => u16::try_from(named.container_port).ok(),
        None => port.str_val.parse().ok(),
    }
}

async fn connect(host: String, port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect((host.as_str(), port)).await
}

/// A request whose answer's status is from 200 to 399 succeeded. Only plain HTTP is spoken.
async fn http_get(container: &Container, http: &HttpGetAction, address: Option<IpAddr>) -> Option<bool> {
    if http.scheme.eq_ignore_ascii_case("HTTPS") {
        // Without a TLS handshake, that the port answers is all that can be told.
        let port = port_number(container, http.port.as_ref()?)?;
        return connect(host_of(&http.host, address)?, port).await.ok().map(|_| true);
    }
    let host = host_of(&http.host, address)?;
    let port = port_number(container, http.port.as_ref()?)?;
    let mut stream = connect(host.clone(), port).await.ok()?;
    let path = if http.path.starts_with('/') {
        http.path.clone()
    } else {
        format!("/{}", http.path)
    };
    let mut request = format!("GET {path} HTTP/1.1\r\nUser-Agent: trireme-probe\r\nConnection: close\r\n");
    let is_plain = |text: &str| !text.contains(['\r', '\n']);
    let has_host = http
        .http_headers
        .iter()
        .any(|header| header.name.eq_ignore_ascii_case("Host"));
    if !has_host {
        request.push_str(&format!("Host: {host}:{port}\r\n"));
    }
    for header in &http.http_headers {
        if is_plain(&header.name) && is_plain(&header.value) {
            request.push_str(&format!("{}: {}\r\n", header.name, header.value));
        }
    }
    request.push_str("\r\n");
    if !is_plain(&path) {
        return None;
    }
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    stream.take(STATUS_LINE_MAX_BYTES).read_to_end(&mut head).await.ok()?;
    let status: u16 = std::str::from_utf8(head.get(..12)?)
        .ok()?
        .strip_prefix("HTTP/1.")?
        .get(2..5)?
        .parse()
        .ok()?;
    Some((200..400).contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fake::FakeRuntime;
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;
    use trireme_proto::api::core::v1::{ContainerPort, ProbeHandler, TcpSocketAction};

    const LOOPBACK: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    fn number(port: u16) -> Option<IntOrString> {
        Some(IntOrString {
            int_val: port.into(),
            ..IntOrString::default()
        })
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

    async fn check(handler: ProbeHandler, expected: bool) {
        let probe = Probe {
            handler: Some(handler),
            ..Probe::default()
        };
        let container = Container {
            ports: vec![ContainerPort {
                name: "web".to_owned(),
                container_port: 1,
                ..ContainerPort::default()
            }],
            ..Container::default()
        };
        let runtime = FakeRuntime::default();
        assert_eq!(run(&runtime, &container, "none", LOOPBACK, &probe).await, expected);
    }

    #[tokio::test]
    async fn http_answers_are_judged_by_their_status() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 302 Found\r\n\r\n", true),
            ("HTTP/1.1 500 No\r\n\r\n", false),
            ("nonsense", false),
        ] {
            let port = number(serve(answer).await);
            let http = HttpGetAction {
                path: "/healthz".to_owned(),
                port,
                ..HttpGetAction::default()
            };
            check(
                ProbeHandler {
                    http_get: Some(http),
                    ..ProbeHandler::default()
                },
                expected,
            )
            .await;
        }
    }

    #[tokio::test]
    async fn a_port_that_answers_is_enough_for_tcp() {
        let open = TcpSocketAction {
            port: number(serve("").await),
            ..TcpSocketAction::default()
        };
        check(
            ProbeHandler {
                tcp_socket: Some(open),
                ..ProbeHandler::default()
            },
            true,
        )
        .await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = number(listener.local_addr().unwrap().port());
        drop(listener);
        let closed = TcpSocketAction {
            port: closed,
            ..TcpSocketAction::default()
        };
        check(
            ProbeHandler {
                tcp_socket: Some(closed),
                ..ProbeHandler::default()
            },
            false,
        )
        .await;
    }

    #[test]
    fn ports_are_found_by_name() {
        let container = Container {
            ports: vec![ContainerPort {
                name: "web".to_owned(),
                container_port: 80,
                ..ContainerPort::default()
            }],
            ..Container::default()
        };
        let named = |name: &str| IntOrString {
            r#type: 1,
            str_val: name.to_owned(),
            ..IntOrString::default()
        };
        assert_eq!(port_number(&container, &named("web")), Some(80));
        assert_eq!(port_number(&container, &named("8080")), Some(8080));
        assert_eq!(port_number(&container, &named("other")), None);
    }
}
