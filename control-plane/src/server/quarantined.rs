//! What a quarantined server still does: it stays up, says that it is quarantined and why, and takes no part in anything.
//!
//! Its replica is not even open. Clients that come here are sent on to the other servers; the leader hears of it on the
//! peer port and raises the alarm.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};
use trireme_proto::v1::{
    FetchNodeLogsRequest, ForwardHeartbeatsRequest, ForwardHeartbeatsResponse, LogsChunk, ServerStatusRequest,
    ServerStatusResponse,
    server_internal_server::{ServerInternal, ServerInternalServer},
};

use super::{ServerConfig, ServerError, ServerIdentity, home::Home};
use crate::{
    VERSION,
    status::ApiError,
    transport::{Admits, BoundListener, CertificateSource, peer_router, quarantined_router, server_config},
};

/// Serves until `shutdown`.
pub(super) async fn serve(
    config: &ServerConfig,
    home: &Home,
    api_listener: BoundListener,
    cause: &str,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    let identity = &home.identity;
    tracing::error!(
        server = identity.name,
        cause,
        remedy = format!("trireme cluster replace {}", identity.name),
        "this server is quarantined: it takes no part any more, and only says so"
    );
    eprintln!(
        "trireme: server {} is quarantined: {cause}; it takes no part any more. Replace it: `trireme cluster replace {}`",
        identity.name, identity.name
    );
    let certificates = CertificateSource::new(&home.certificate_pem, &home.key_pem)?;
    let ca_pem = home.authority.certificate_pem();
    let tls = server_config(certificates, ca_pem)?;

    let peer_listener = BoundListener::bind(config.peer_listen).await?;
    let peer_routes = trireme_store::quarantined_peer_service(identity.server_id, cause.to_owned());
    let peers = peer_listener.serve(
        tls.clone(),
        peer_router(peer_routes),
        Admits::ServersOnly,
        shutdown.child_token(),
    );
    let service = QuarantinedServer {
        identity: Arc::new(identity.clone()),
        cause: cause.to_owned(),
    };
    let router = quarantined_router(Routes::new(ServerInternalServer::new(service)), cause).await;
    let clients = api_listener.serve(tls, router, Admits::Anyone, shutdown.child_token());
    tokio::join!(peers, clients);
    Ok(())
}

/// What the other servers may ask.
#[derive(Clone)]
struct QuarantinedServer {
    identity: Arc<ServerIdentity>,
    cause: String,
}

impl QuarantinedServer {
    fn refusal(&self) -> Status {
        ApiError::unavailable(format!("this server is quarantined: {}", self.cause)).into()
    }
}

#[tonic::async_trait]
impl ServerInternal for QuarantinedServer {
    type FetchNodeLogsStream = Pin<Box<dyn Stream<Item = Result<LogsChunk, Status>> + Send>>;

    async fn forward_heartbeats(
        &self,
        _request: Request<ForwardHeartbeatsRequest>,
    ) -> Result<Response<ForwardHeartbeatsResponse>, Status> {
        Err(self.refusal())
    }

    async fn fetch_node_logs(
        &self,
        _request: Request<FetchNodeLogsRequest>,
    ) -> Result<Response<Self::FetchNodeLogsStream>, Status> {
        Err(self.refusal())
    }

    async fn server_status(
        &self,
        _request: Request<ServerStatusRequest>,
    ) -> Result<Response<ServerStatusResponse>, Status> {
        Ok(Response::new(ServerStatusResponse {
            id: self.identity.server_id,
            name: self.identity.name.clone(),
            process_id: i64::from(std::process::id()),
            version: VERSION.to_owned(),
            quarantine: self.cause.clone(),
            ..ServerStatusResponse::default()
        }))
    }
}
