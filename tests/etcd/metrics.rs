//! The page of metrics, where etcd has its own: beside the API. It is text that Prometheus reads.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::target::{PATIENCE, Peer, Target, Trireme, revision};

pub(crate) async fn check(trireme: &Trireme) -> Result<()> {
    let endpoints = trireme.endpoints()?;
    let target = Target::new(Peer::Trireme, endpoints.clone())?;
    let written = revision(&target.put("metrics/a", "1").await?.header);
    let mut leaders = 0.0;
    for endpoint in &endpoints {
        let samples = read(&get(endpoint, "/metrics").await?)?;
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
    let first = read(&get(&endpoints[0], "/metrics").await?)?;
    ensure!(
        first["trireme_store_revision"] >= written as f64,
        "what this server wrote it has applied"
    );
    Ok(())
}

/// The values by name and labels. Every line is a comment or a sample, and every sample's metric has been announced.
fn read(page: &str) -> Result<BTreeMap<String, f64>> {
    let mut samples = BTreeMap::new();
    let mut announced = "";
    for line in page.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            if let Some(kind) = comment.strip_prefix("TYPE ") {
                announced = kind.split(' ').next().unwrap_or_default();
            }
            continue;
        }
        let (name, value) = line
            .rsplit_once(' ')
            .with_context(|| format!("{line:?} is no sample"))?;
        ensure!(
            !announced.is_empty() && name.starts_with(announced),
            "{name} was not announced"
        );
        let value = value.parse().with_context(|| format!("{line:?} has no number"))?;
        ensure!(
            samples.insert(name.to_owned(), value).is_none(),
            "{name} is there twice"
        );
    }
    Ok(samples)
}

/// Asks for a page by HTTP; gives its content.
async fn get(address: &str, path: &str) -> Result<String> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(PATIENCE, asked).await.context("no answer")??;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    ensure!(head.contains("text/plain; version=0.0.4"), "{head}");
    Ok(body.to_owned())
}
