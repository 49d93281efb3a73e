//! Calls of the Kubernetes API over REST, on the connections that the other calls use.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tonic::{body::Body, transport::Channel};
use tower::ServiceExt;

/// JSON.
pub(super) const JSON: &str = "application/json";
/// What kubectl asks for to print a table.
pub(super) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Reads; gives what comes, as it comes.
///
/// # Errors
/// If the connection breaks, or the answer is an error.
pub(super) async fn get(channel: &Channel, path: &str, accept: &str) -> Result<Response<Body>> {
    call(channel, Method::GET, path, accept, Bytes::new()).await
}

/// Creates an object from its JSON, and takes the answer.
///
/// # Errors
/// If the connection breaks, or the answer is an error.
pub(super) async fn create(channel: &Channel, path: &str, json: Vec<u8>) -> Result<Bytes> {
    let answer = call(channel, Method::POST, path, JSON, json.into()).await?;
    Ok(answer.into_body().collect().await?.to_bytes())
}

async fn call(channel: &Channel, method: Method, path: &str, accept: &str, body: Bytes) -> Result<Response<Body>> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, accept)
        .header(header::CONTENT_TYPE, JSON)
        .body(Body::new(Full::new(body)))?;
    let answer = channel.clone().oneshot(request).await.context("the connection")?;
    if matches!(answer.status(), StatusCode::OK | StatusCode::CREATED) {
        return Ok(answer);
    }
    let status = answer.status();
    let told = answer.into_body().collect().await?.to_bytes();
    bail!("{path}: {status}: {}", String::from_utf8_lossy(&told))
}
