//! Runs one lifecycle hook of a container once: a command, an HTTP request, or a pause.

use crate::prober::{http, judge_command};
use crate::runtime::Runtime;
use std::net::IpAddr;
use std::time::Duration;
use trireme_proto::api::core::v1::{Container, LifecycleHandler};

/// Runs the hook for at most `patience`. `address` is the pod's.
pub(crate) async fn run(
    runtime: &dyn Runtime,
    container: &Container,
    container_id: &str,
    address: Option<IpAddr>,
    handler: &LifecycleHandler,
    patience: Duration,
) -> Result<(), String> {
    let work = async {
        if let Some(exec) = &handler.exec {
            return judge_command(runtime.exec(container_id, &exec.command, patience).await);
        }
        if let Some(request) = &handler.http_get {
            return http::get(container, request, address).await;
        }
        if let Some(sleep) = &handler.sleep {
            let pause = Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0));
            tokio::time::sleep(pause).await;
            return Ok(());
        }
        // A TCP hook is admitted for old manifests' sake and does nothing, as in Kubernetes.
        Ok(())
    };
    match tokio::time::timeout(patience, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no end within {}s", patience.as_secs())),
    }
}
