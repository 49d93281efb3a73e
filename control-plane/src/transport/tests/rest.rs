//! The REST interface over a real port, as clients that know nothing of us use it: HTTP/1.1 and HTTP/2 over TLS.

mod answers;
mod lists;
mod reading;
mod watches;
mod writing;

use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{super::client_config, *};

/// How long anything may take that should take well under a second.
const PATIENCE: Duration = Duration::from_secs(20);
const JSON: &str = "application/json";

/// A client with a certificate of its own.
struct Http<'a> {
    server: &'a TestServer,
    profile: Profile,
    version: Version,
}

/// An answer with its whole body.
#[derive(Debug)]
struct Reply {
    code: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The answer, if it is a good one.
    #[track_caller]
    fn good(self) -> Self {
        assert!((200..300).contains(&self.code), "{} {}", self.code, self.text());
        self
    }
}

impl<'a> Http<'a> {
    fn admin(server: &'a TestServer) -> Self {
        Self {
            server,
            profile: Profile::admin(),
            version: Version::HTTP_11,
        }
    }

    async fn get(&self, target: &str) -> Reply {
        self.ask(Method::GET, target, &[], "").await
    }

    /// The code of an answer over HTTP/2; `None` if there is none.
    async fn try_with_header(&self, target: &str, value: &str) -> Option<u16> {
        let io = TokioIo::new(connect(self.server, &self.profile).await);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        tokio::spawn(connection);
        let request = Request::get(format!("https://localhost{target}"))
            .header("x-large", value)
            .body(Full::new(Bytes::new()));
        let answer = sender.send_request(request.expect("a request"));
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("an end");
        answer.ok().map(|answer| answer.status().as_u16())
    }

    async fn get_as(&self, target: &str, accept: &str) -> Reply {
        self.ask(Method::GET, target, &[("accept", accept)], "").await
    }

    async fn post(&self, target: &str, body: &Value) -> Reply {
        self.send(Method::POST, target, JSON, body.to_string()).await
    }

    async fn delete(&self, target: &str) -> Reply {
        self.ask(Method::DELETE, target, &[], "").await
    }

    async fn send(&self, method: Method, target: &str, kind: &str, body: impl Into<Bytes>) -> Reply {
        self.ask(method, target, &[("content-type", kind)], body).await
    }

    async fn ask(&self, method: Method, target: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let answer = async {
            let response = self.open(method, target, headers, body).await;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            Reply {
                code: parts.status.as_u16(),
                headers: parts.headers,
                body,
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")
    }

    /// Sends a request and answers when the headers are there.
    async fn open(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> http::Response<Incoming> {
        let io = TokioIo::new(connect(self.server, &self.profile).await);
        let mut request = Request::builder().method(method).version(self.version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(body.into());
        if self.version == Version::HTTP_2 {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
            tokio::spawn(connection);
            let target = format!("https://localhost{target}");
            let request = request.uri(target).body(body).expect("a request");
            return sender.send_request(request).await.expect("an answer");
        }
        let (mut sender, connection) = http1::handshake(io).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        let request = request
            .uri(target)
            .header("host", "localhost")
            .body(body)
            .expect("a request");
        sender.send_request(request).await.expect("an answer")
    }
}

async fn connect(server: &TestServer, profile: &Profile) -> TlsStream<TcpStream> {
    let own = server.issue(profile);
    let source = CertificateSource::new(&own.certificate_pem, &own.key_pem).expect("a certificate");
    let config = client_config(source, server.authority.certificate_pem()).expect("TLS");
    let tcp = TcpStream::connect(&server.address).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(config)
        .connect(name, tcp)
        .await
        .expect("a handshake")
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "hello:1"}]},
    })
}

fn config_map(name: &str, data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"note": data}})
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A status object with these in it.
#[track_caller]
fn assert_status(reply: &Reply, code: StatusCode, reason: &str, words: &str) {
    let status = reply.json();
    assert_eq!(reply.code, code.as_u16(), "{status}");
    assert_eq!(
        (&status["kind"], &status["apiVersion"], &status["status"]),
        (&json!("Status"), &json!("v1"), &json!("Failure"))
    );
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(code.as_u16()), &json!(reason)),
        "{status}"
    );
    let message = status["message"].as_str().expect("a message");
    assert!(message.contains(words), "{message}");
}
