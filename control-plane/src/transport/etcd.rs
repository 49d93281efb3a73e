//! What answers on the port of etcd's API: its services, and the few HTTP paths that etcd's users probe.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use serde_json::json;
use tonic::service::Routes;
use trireme_store::{DirectKv, ETCD_VERSION};

use super::{Peer, Readiness};
use crate::pipeline::{Identity, Role};

/// Who is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcdCallers {
    /// Whoever reaches the port. For a loopback address only.
    Anyone,
    /// Administrators, by their certificate.
    Admins,
}

/// The most frequent calls, answered without the detours of the router.
#[derive(Clone)]
pub struct EtcdDirect {
    /// What answers them.
    pub direct: DirectKv,
    /// Who is served.
    pub callers: EtcdCallers,
}

impl EtcdDirect {
    /// What answers the calls of a connection, if its peer is served.
    pub(super) fn for_peer(&self, peer: &Peer) -> Option<DirectKv> {
        let is_served = match self.callers {
            EtcdCallers::Anyone => true,
            EtcdCallers::Admins => role_of(Some(peer)) == Some(Role::Admin),
        };
        is_served.then(|| self.direct.clone())
    }
}

fn role_of(peer: Option<&Peer>) -> Option<Role> {
    let identity = Identity::authenticate(peer?).ok()?;
    Some(identity.role())
}

/// The port: the services given, reflection, health, `/health`, `/livez`, `/readyz` and `/version`.
///
/// # Panics
/// If the program's own descriptors are broken.
pub fn etcd_router(services: Routes, readiness: Readiness, callers: EtcdCallers) -> Router {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(trireme_proto::ETCD_FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = "the program's own descriptors are sound";
    let (_, health) = tonic_health::server::health_reporter();
    let services = services
        .add_service(health)
        .add_service(reflection().build_v1().expect(broken))
        .add_service(reflection().build_v1alpha().expect(broken))
        .into_axum_router();
    let services = match callers {
        EtcdCallers::Anyone => services,
        EtcdCallers::Admins => services.layer(middleware::from_fn(check_admin)),
    };
    let readiness = Arc::new(readiness);
    services
        .route("/health", get(health_of).with_state(readiness.clone()))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/version", get(version))
}

/// Refuses everyone but administrators.
async fn check_admin(request: Request, next: Next) -> Response {
    match role_of(request.extensions().get::<Peer>()) {
        Some(Role::Admin) => next.run(request).await,
        None | Some(Role::Anonymous) => {
            tonic::Status::unauthenticated("etcdserver: an administrator's client certificate is needed")
                .into_http::<Body>()
        }
        Some(Role::Server | Role::Node | Role::System) => {
            tonic::Status::permission_denied("etcdserver: permission denied").into_http::<Body>()
        }
    }
}

async fn health_of(State(readiness): State<Arc<Readiness>>) -> Response {
    match readiness() {
        Ok(()) => as_json(StatusCode::OK, &json!({"health": "true", "reason": ""})),
        Err(why) => as_json(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({"health": "false", "reason": why}),
        ),
    }
}

fn as_json(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn ready(State(readiness): State<Arc<Readiness>>) -> Response {
    match readiness() {
        Ok(()) => "ok".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}")).into_response(),
    }
}

async fn version() -> Response {
    as_json(
        StatusCode::OK,
        &json!({"etcdserver": ETCD_VERSION, "etcdcluster": ETCD_VERSION}),
    )
}
