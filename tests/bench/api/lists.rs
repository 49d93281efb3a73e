//! Reading very many objects, and one among them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::rest;
use crate::{
    bench::{machine, store::histogram::Histogram},
    harness::{Cluster, Member},
};

/// Between two looks at a server's memory.
const LOOK_PERIOD: Duration = Duration::from_millis(10);
/// Stands once in the JSON of every object.
const MARK: &[u8] = b"\"creationTimestamp\":";
/// kubectl's pages.
const KUBECTL_PAGE: usize = 500;

/// What reading a whole range came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    /// Objects that came.
    pub(super) objects: usize,
    /// Bytes that came.
    pub(super) bytes: u64,
    /// From the request to the last byte.
    pub(super) elapsed: Duration,
    /// Processor time of the server that was asked.
    pub(super) cpu: Duration,
    /// By how much the server's memory grew at most meanwhile, in bytes.
    pub(super) extra_bytes: u64,
}

/// A server with one connection to it.
pub(super) struct Asked {
    channel: Channel,
    process_id: i64,
}

impl Asked {
    /// Connects.
    ///
    /// # Errors
    /// If that fails.
    pub(super) async fn connect(cluster: &Cluster, member: &Member) -> Result<Self> {
        let client = cluster.client_of(member)?;
        Ok(Self {
            channel: client.connection().link().await?.channel,
            process_id: member.process_id,
        })
    }

    /// Reads everything below a path in one answer, by `readers` at once; the figures are those of all of them.
    ///
    /// # Errors
    /// If an answer is an error, or readers got different numbers of objects.
    pub(super) async fn list(&self, path: &str, readers: usize) -> Result<Listed> {
        let before = machine::resident_bytes(self.process_id)?;
        let cpu_before = machine::cpu_time(self.process_id)?;
        let peak = Peak::watch(self.process_id, before);
        let started = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..readers {
            let (channel, path) = (self.channel.clone(), path.to_owned());
            tasks.spawn(async move { read_all(&channel, &path).await });
        }
        let (mut objects, mut bytes) = (None, 0);
        while let Some(done) = tasks.join_next().await {
            let (count, length) = done??;
            ensure!(objects.is_none_or(|objects| objects == count), "readers differ");
            objects = Some(count);
            bytes += length;
        }
        let elapsed = started.elapsed();
        Ok(Listed {
            objects: objects.context("nobody reads")?,
            bytes,
            elapsed,
            cpu: machine::cpu_time(self.process_id)?.saturating_sub(cpu_before),
            extra_bytes: peak.stop().await?.saturating_sub(before),
        })
    }

    /// Asks for the same small list again and again; all answers must hold `objects`.
    ///
    /// # Errors
    /// If one does not.
    pub(super) async fn select(&self, path: &str, objects: usize, times: usize) -> Result<Histogram> {
        let mut latencies = Histogram::default();
        for _ in 0..times {
            let began = Instant::now();
            let (found, _) = read_all(&self.channel, path).await?;
            latencies.record(began.elapsed());
            ensure!(found == objects, "{path} gave {found} objects, not {objects}");
        }
        Ok(latencies)
    }

    /// Reads a table page by page, as kubectl does; gives the rows, the time, and the server's processor time.
    ///
    /// # Errors
    /// If an answer is an error, or no table.
    pub(super) async fn table(&self, path: &str) -> Result<(usize, Duration, Duration)> {
        let cpu_before = machine::cpu_time(self.process_id)?;
        let (mut rows, mut elapsed, mut token) = (0, Duration::ZERO, String::new());
        loop {
            let began = Instant::now();
            let page = format!("{path}?limit={KUBECTL_PAGE}&continue={token}");
            let answer = rest::get(&self.channel, &page, rest::TABLE).await?;
            let text = answer.into_body().collect().await?.to_bytes();
            elapsed += began.elapsed();
            let table: serde_json::Value = serde_json::from_slice(&text)?;
            rows += table["rows"].as_array().context("a table has rows")?.len();
            match table["metadata"]["continue"].as_str() {
                Some(next) if !next.is_empty() => token = next.to_owned(),
                _ => break,
            }
        }
        let cpu = machine::cpu_time(self.process_id)?.saturating_sub(cpu_before);
        Ok((rows, elapsed, cpu))
    }
}

/// Reads a whole answer without keeping it; counts its objects and bytes.
async fn read_all(channel: &Channel, path: &str) -> Result<(usize, u64)> {
    let mut body = rest::get(channel, path, rest::JSON).await?.into_body();
    let (mut objects, mut bytes, mut tail) = (0, 0, Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        bytes += data.len() as u64;
        // A mark may lie over the edge of two frames.
        let edge = [tail.as_slice(), &data[..data.len().min(MARK.len() - 1)]].concat();
        objects += marks(&edge) + marks(&data);
        let last = if data.len() < MARK.len() { &edge } else { &data[..] };
        tail = last[last.len().saturating_sub(MARK.len() - 1)..].to_vec();
    }
    Ok((objects, bytes))
}

fn marks(text: &[u8]) -> usize {
    memchr::memmem::find_iter(text, MARK).count()
}

/// Looks at a process's memory until it is stopped.
struct Peak {
    stop: Arc<AtomicBool>,
    /// Ends with the most that was seen, in bytes.
    task: tokio::task::JoinHandle<u64>,
}

impl Peak {
    fn watch(process_id: i64, before: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = stop.clone();
        let task = tokio::spawn(async move {
            let mut most = before;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(machine::resident_bytes(process_id).unwrap_or(0));
                tokio::time::sleep(LOOK_PERIOD).await;
            }
            most
        });
        Self { stop, task }
    }

    async fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}
