//! What answers on a port: gRPC services, the Kubernetes API over REST, and a few plain HTTP paths for people and probes.
//!
//! Every gRPC call passes the table of roles first. What is neither gRPC nor has a route here is the REST interface's.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    handler::Handler,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, Uri, header};
use tonic::service::Routes;

use super::{
    documents,
    peer::Peer,
    rest::{self, Probe, RestService},
};
use crate::{
    VERSION,
    pipeline::{Identity, check_call},
    status::ApiError,
};

/// Whether this server can serve; if not, why.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The version of Kubernetes whose objects and semantics are served.
const KUBERNETES_MINOR: &str = "36";

/// The API port: the services given, reflection, health, `/healthz`, `/livez`, `/readyz`, `/version`, the documents that
/// describe the API, and REST.
///
/// # Panics
/// If the program's own descriptors are broken.
pub fn api_router(services: Routes, readiness: &Readiness, rest: Arc<RestService>) -> Router {
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
    let mut router = services
        .into_axum_router()
        .route("/version", get(version))
        .route("/version/", get(version))
        .merge(documents::router());
    for (which, path) in [
        (Probe::Health, "/healthz"),
        (Probe::Live, "/livez"),
        (Probe::Ready, "/readyz"),
    ] {
        let readiness = readiness.clone();
        let answer = move |uri: Uri| std::future::ready(rest::probe(which, &uri, &readiness));
        router = router
            .route(path, get(answer.clone()))
            .route(&format!("{path}/{{check}}"), get(answer));
    }
    router
        .fallback_service(no_route.with_state(rest))
        .layer(middleware::from_fn(check_role))
}

/// A call of a method that nobody serves, or REST.
async fn no_route(rest: State<Arc<RestService>>, request: Request) -> Response {
    if is_grpc(request.headers()) {
        return tonic::Status::unimplemented("").into_http::<Body>();
    }
    rest::serve(rest, request).await
}

/// The API port of a server that is quarantined: the services given, which are few, `/livez`, and a health that says no.
/// Everything else is refused in a way that makes clients ask another server.
pub async fn quarantined_router(services: Routes, cause: &str) -> Router {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("", tonic_health::ServingStatus::NotServing)
        .await;
    let why: Arc<str> = format!("this server is quarantined: {cause}").into();
    let failing = |which| {
        let why = why.clone();
        get(move |uri: Uri| std::future::ready(rest::failing_probe(which, &uri, &why)))
    };
    let (health_probe, ready_probe) = (failing(Probe::Health), failing(Probe::Ready));
    let refused = move |request: Request| {
        let error = ApiError::unavailable(&*why);
        async move {
            if is_grpc(request.headers()) {
                refuse(error)
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, error.message().to_owned()).into_response()
            }
        }
    };
    services
        .add_service(health)
        .into_axum_router()
        .route("/healthz", health_probe)
        .route("/livez", get(alive))
        .route("/readyz", ready_probe)
        .route("/version", get(version))
        .route("/version/", get(version))
        .fallback(refused)
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

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;
    use crate::pki::Subject;

    async fn ask(router: &Router, path: &str, grpc: bool) -> Response {
        let mut request = Request::builder().uri(path).body(Body::empty()).expect("a request");
        if grpc {
            let kind = header::HeaderValue::from_static("application/grpc");
            request.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        request.extensions_mut().insert(Peer::for_tests(Some(Subject::Admin)));
        router.clone().oneshot(request).await.expect("a router never fails")
    }

    #[tokio::test]
    async fn a_quarantined_server_lives_but_serves_nothing() {
        let router = quarantined_router(Routes::default(), "its log is damaged").await;
        for (path, code) in [
            ("/livez", 200),
            ("/readyz", 500),
            ("/healthz", 500),
            ("/api/v1/pods", 503),
        ] {
            assert_eq!(ask(&router, path, false).await.status(), code, "{path}");
        }
        // 14 is "unavailable", which sends clients to another server.
        let refused = ask(&router, "/trireme.v1.Resources/List", true).await;
        assert_eq!(refused.headers()["grpc-status"], "14");
        let why = refused.headers()["grpc-message"].to_str().expect("text");
        assert!(why.contains("quarantined") && why.contains("damaged"), "{why}");
    }
}
