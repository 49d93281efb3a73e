//! What answers on a port: gRPC services, and a few plain HTTP paths for people and probes.
//!
//! Every gRPC call passes the table of roles first. The REST interface will be added to [`api_router`].

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use tonic::service::Routes;

use super::peer::Peer;
use crate::{
    VERSION,
    pipeline::{Identity, check_call},
    status::ApiError,
};

/// Whether this server can serve; if not, why.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The version of Kubernetes whose objects and semantics are served.
const KUBERNETES_MINOR: &str = "36";

/// The API port: the services given, reflection, health, `/healthz`, `/livez`, `/readyz` and `/version`.
///
/// # Panics
/// If the program's own descriptors are broken.
pub fn api_router(services: Routes, readiness: Readiness) -> Router {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(trireme_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = "the program's own descriptors are sound";
    let (_, health) = tonic_health::server::health_reporter();
    let services = services
        .add_service(health)
        .add_service(reflection().build_v1().expect(broken))
        .add_service(reflection().build_v1alpha().expect(broken));
    services
        .into_axum_router()
        .route("/healthz", get(alive))
        .route("/livez", get(alive))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/version", get(version))
        .layer(middleware::from_fn(check_role))
}

/// The peer port: nothing but the services given.
pub fn peer_router(services: Routes) -> Router {
    services.into_axum_router().layer(middleware::from_fn(check_role))
}

/// Refuses gRPC calls whose caller's role the table does not admit.
async fn check_role(request: Request, next: Next) -> Response {
    if !is_grpc(request.headers()) {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<Peer>();
    let identity = peer.map_or_else(
        || Err(ApiError::unauthorized("the connection has no identity")),
        Identity::authenticate,
    );
    match identity.and_then(|identity| check_call(&identity, request.uri().path())) {
        Ok(()) => next.run(request).await,
        Err(error) => refuse(error),
    }
}

fn refuse(error: ApiError) -> Response {
    tonic::Status::from(error).into_http::<Body>()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

async fn alive() -> &'static str {
    "ok"
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness() {
        Ok(()) => "ok".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}")).into_response(),
    }
}

async fn version() -> Response {
    let body = serde_json::json!({
        "major": "1",
        "minor": KUBERNETES_MINOR,
        "gitVersion": format!("v1.{KUBERNETES_MINOR}.0+trireme-{VERSION}"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    });
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
