//! Runs one probe once: a command in the container, an HTTP request, a TCP connection, or a gRPC health check.
//!
//! It says what went wrong, in words for the pod's events; what that means for the container is decided elsewhere.

mod grpc;
pub(crate) mod http;

use crate::pod::probe::timeout;
use crate::runtime::Runtime;
use std::net::IpAddr;
use tokio::net::TcpStream;
use trireme_proto::api::core::v1::{Container, Probe};
use trireme_proto::api::meta::v1::IntOrString;

/// The most of a command's output that is told, in bytes.
const OUTPUT_MAX_BYTES: usize = 1024;

/// Why a probe did not succeed: a sentence.
type Failure = String;

/// Runs the probe. `address` is the pod's.
pub(crate) async fn run(
    runtime: &dyn Runtime,
    container: &Container,
    container_id: &str,
    address: Option<IpAddr>,
    probe: &Probe,
) -> Result<(), Failure> {
    let patience = timeout(probe);
    let attempt = async {
        let handler = probe.handler.clone().unwrap_or_default();
        if let Some(exec) = &handler.exec {
            let outcome = runtime.exec(container_id, &exec.command, patience).await;
            return judge_command(outcome);
        }
        if let Some(request) = &handler.http_get {
            return http::get(container, request, address).await;
        }
        if let Some(tcp) = &handler.tcp_socket {
            let host = host_of(&tcp.host, address)?;
            let port = port_number(container, tcp.port.as_ref())?;
            return connect(&host, port).await.map(|_| ());
        }
        if let Some(check) = &handler.grpc {
            return grpc::check(check, address).await;
        }
        // Validation admits no probe without a handler, and no handler but those above.
        Err("the probe names nothing that this agent can do".to_owned())
    };
    match tokio::time::timeout(patience, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {}s", patience.as_secs())),
    }
}

/// What a command in the container came to.
pub(crate) fn judge_command(
    outcome: Result<crate::runtime::ExecOutcome, crate::runtime::RuntimeError>,
) -> Result<(), Failure> {
    let outcome = outcome.map_err(|error| error.one_line())?;
    if outcome.exit_code == 0 {
        return Ok(());
    }
    let end = outcome.output.len().min(OUTPUT_MAX_BYTES);
    let said = String::from_utf8_lossy(&outcome.output[..end]).trim().to_owned();
    Err(if said.is_empty() {
        format!("command exited with code {}", outcome.exit_code)
    } else {
        said
    })
}

fn host_of(host: &str, address: Option<IpAddr>) -> Result<String, Failure> {
    if host.is_empty() {
        address
            .map(|address| address.to_string())
            .ok_or_else(|| "the pod has no address yet".to_owned())
    } else {
        Ok(host.to_owned())
    }
}

/// A port by number, or by its name in the container.
fn port_number(container: &Container, port: Option<&IntOrString>) -> Result<u16, Failure> {
    let unknown = || "the probe's port is not one of the container's".to_owned();
    let port = port.ok_or_else(unknown)?;
    if port.str_val.is_empty() {
        return u16::try_from(port.int_val).map_err(|_| unknown());
    }
    let named = container.ports.iter().find(|candidate| candidate.name == port.str_val);
    match named {
        Some(named) => u16::try_from(named.container_port).map_err(|_| unknown()),
        None => port.str_val.parse().map_err(|_| unknown()),
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let connected = TcpStream::connect((host, port)).await;
    connected.map_err(|error| format!("dial tcp {host}:{port}: {error}"))
}

#[cfg(test)]
mod tests;
