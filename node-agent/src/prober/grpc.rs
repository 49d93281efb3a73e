//! The standard gRPC health check (`grpc.health.v1.Health/Check`), without TLS, on a port of the pod.

use super::Failure;
use std::net::{IpAddr, SocketAddr};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use trireme_proto::api::core::v1::GrpcAction;

/// Asks once; only a service that says it is serving is healthy. An empty name asks for the server as a whole.
pub(super) async fn check(check: &GrpcAction, address: Option<IpAddr>) -> Result<(), Failure> {
    let address = address.ok_or_else(|| "the pod has no address yet".to_owned())?;
    let port = u16::try_from(check.port).map_err(|_| format!("{} is no port", check.port))?;
    let address = SocketAddr::new(address, port);
    let unreachable = |error: tonic::transport::Error| {
        format!(
            "failed to connect service \"{address}\": {}",
            crate::error_chain(&error)
        )
    };
    // Each probe is a connection of its own, so that a server that no longer accepts any is found out.
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(unreachable)?;
    let channel = endpoint.connect().await.map_err(unreachable)?;
    let request = HealthCheckRequest {
        service: check.service.clone().unwrap_or_default(),
    };
    match HealthClient::new(channel).check(request).await {
        Ok(answer) => match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(format!("service unhealthy (responded with {:?})", other.as_str_name())),
        },
        Err(status) if status.code() == tonic::Code::Unimplemented => {
            Err("this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned())
        }
        // What did not come from the server is said alike, however the connection happened to break.
        Err(status) if std::error::Error::source(&status).is_some() => Err(format!(
            "health rpc failed: what answers at {address} does not speak gRPC"
        )),
        Err(status) => Err(format!("health rpc failed: {} ({:?})", status.message(), status.code())),
    }
}
