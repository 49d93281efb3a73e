//! The documents as clients get them.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use trireme_logic::kinds::served;

use super::*;
use crate::pki::Subject;

mod discovery;
mod kubectl;
mod openapi;

/// Asks as somebody.
async fn ask_as(subject: Option<Subject>, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Bytes) {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).expect("a request");
    request.extensions_mut().insert(Peer::for_tests(subject));
    let response = router().oneshot(request).await.expect("a router never fails");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (parts.status.as_u16(), parts.headers, body)
}

/// Asks as an administrator.
async fn ask(path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Bytes) {
    ask_as(Some(Subject::Admin), path, headers).await
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

#[tokio::test]
async fn strangers_are_refused() {
    let (status, _, body) = ask_as(None, "/apis", &[]).await;
    assert_eq!(status, 403);
    let refusal = json(&body);
    assert_eq!(refusal["reason"], "Forbidden");
    assert_eq!(
        refusal["message"],
        "forbidden: User \"system:anonymous\" cannot get path \"/apis\""
    );
    for subject in [Subject::Server("s".to_owned()), Subject::Node("n".to_owned())] {
        assert_eq!(ask_as(Some(subject), "/apis", &[]).await.0, 200);
    }
    // Not through the listener: nothing is known of who asks.
    let request = Request::builder().uri("/apis").body(Body::empty()).expect("a request");
    let response = router().oneshot(request).await.expect("a router never fails");
    assert_eq!(response.status().as_u16(), 401);
}
