//! The page of metrics, where etcd has its own: beside the API. It is text that Prometheus reads.

use anyhow::{Context, Result, ensure};
use trireme_tests::harness::metrics;

use crate::target::{Peer, Target, Trireme, revision};

pub(crate) async fn check(trireme: &Trireme) -> Result<()> {
    let endpoints = trireme.endpoints()?;
    let target = Target::new(Peer::Trireme, endpoints.clone())?;
    let written = revision(&target.put("metrics/a", "1").await?.header);
    let mut leaders = 0.0;
    for endpoint in &endpoints {
        let samples = metrics(endpoint).await?;
        let of = |name: &str| {
            samples
                .get(name)
                .copied()
                .with_context(|| format!("there is no {name}"))
        };
        leaders += of("trireme_store_raft_is_leader")?;
        ensure!(of("trireme_store_raft_has_leader")? > 0.0, "a leader is known");
        ensure!(of("trireme_store_live_keys")? > 0.0, "there are keys");
        ensure!(
            of("trireme_store_log_sync_seconds_bucket{le=\"+Inf\"}")? > 0.0,
            "the log is synced"
        );
        ensure!(of("process_resident_memory_bytes")? > 1e6, "the process takes memory");
    }
    ensure!((leaders - 1.0).abs() < f64::EPSILON, "{leaders} servers lead");
    let first = metrics(&endpoints[0]).await?;
    ensure!(
        first["trireme_store_revision"] >= written as f64,
        "what this server wrote it has applied"
    );
    Ok(())
}
