//! The page of metrics of a server, read as Prometheus reads it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// What a server measures, by name and labels: `address` is where it serves etcd's API, without TLS.
///
/// # Errors
/// If it does not answer, or its page is none that Prometheus reads.
pub async fn metrics(address: &str) -> Result<BTreeMap<String, f64>> {
    read(&get(address, "/metrics").await?)
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
