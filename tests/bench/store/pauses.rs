//! The longest time for which no write is acknowledged while a server does one of its chores.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;
use trireme_proto::etcd::server::{
    CompactionRequest, SnapshotRequest, kv_client::KvClient, maintenance_client::MaintenanceClient,
};

use super::{
    Session,
    drive::{Load, drive, fill, on_own_thread},
    figures::Figure,
    pulse::Pulse,
    work::Kind,
};

/// Between the writes of each client.
const PERIOD: Duration = Duration::from_millis(5);
/// Clients that write history.
const HISTORY_CLIENTS: usize = 256;
/// How much is written in one go while a server is down.
const BEHIND_SLICE: Duration = Duration::from_secs(2);
/// How often a server that is caught up is looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(50);
/// How long the pulse may last at all.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long a beat lasts before the pulse looks whether it is over.
const BEAT: Duration = Duration::from_millis(50);

impl Session<'_> {
    /// A steady writer at each endpoint: at rest, during a compaction, a backup, and the catching up of a server.
    pub(super) async fn pauses(&mut self) -> Result<()> {
        let everyone = self.addresses();
        let meter = self.meter();
        fill(
            &everyone,
            self.sizes.pause_keys,
            self.sizes.value_bytes,
            HISTORY_CLIENTS,
        )
        .await?;
        self.write_history(everyone.clone(), self.sizes.pause_keys / 2).await?;
        self.note_phase(meter, "write history");
        let least = self.sizes.measured;

        let gap = self
            .watch_pulse("at rest", everyone.clone(), least, async { Ok(()) })
            .await?;
        self.add(Figure::PauseAtRest, gap);

        let leader = self.cluster.leader().await?;
        let channel = self.cluster.connect(leader).await?;
        let revision = self.revision(leader).await?;
        let compaction = async move {
            let request = CompactionRequest {
                revision,
                physical: true,
            };
            KvClient::new(channel).compact(request).await.context("compacting")?;
            anyhow::Ok(())
        };
        let gap = self
            .watch_pulse("compaction", everyone.clone(), least, compaction)
            .await?;
        self.add(Figure::PauseAtCompaction, gap);

        let mut channels = Vec::new();
        for member in 0..self.cluster.len() {
            channels.push(self.cluster.connect(member).await?);
        }
        let backups = async move {
            for channel in channels {
                back_up(MaintenanceClient::new(channel)).await?;
            }
            anyhow::Ok(())
        };
        let gap = self.watch_pulse("backup", everyone, least, backups).await?;
        self.add(Figure::PauseAtBackup, gap);
        self.catch_up().await
    }

    /// A follower is away while many entries are written; then it comes back.
    async fn catch_up(&mut self) -> Result<()> {
        let leader = self.cluster.leader().await?;
        let away = (leader + 1) % self.cluster.len();
        self.cluster.kill(away)?;
        let mut others = self.addresses();
        others.remove(away);
        let meter = self.meter();
        self.write_history(others.clone(), self.sizes.entries_behind).await?;
        self.note_phase(meter, "write history behind its back");
        let goal = self.cluster.status(leader).await?.raft_index;
        self.cluster.restart(away)?;
        let cluster = &*self.cluster;
        let caught_up = async {
            let began = Instant::now();
            while !matches!(cluster.status(away).await, Ok(status) if status.raft_applied_index >= goal) {
                ensure!(began.elapsed() < PATIENCE / 2, "a server is not caught up");
                tokio::time::sleep(LOOK_PERIOD).await;
            }
            anyhow::Ok(())
        };
        let meter = self.meter();
        let gap = longest_gap(others, self.sizes.value_bytes, self.sizes.measured, caught_up).await;
        self.note_phase(meter, "pulse: snapshot");
        self.add(Figure::PauseAtSnapshot, gap?.as_secs_f64());
        Ok(())
    }

    /// Puts to keys that exist, at least so many.
    async fn write_history(&self, endpoints: Vec<String>, puts: u64) -> Result<()> {
        let mut written = 0;
        while written < puts {
            let load = Load {
                endpoints: endpoints.clone(),
                clients: HISTORY_CLIENTS,
                kind: Kind::Put {
                    keys: self.sizes.pause_keys,
                    value_bytes: self.sizes.value_bytes,
                },
                lead_in: Duration::ZERO,
                measured: BEHIND_SLICE,
            };
            let outcome = drive(load).await?;
            ensure!(
                outcome.completed_in_all > 0,
                "no write succeeds: {}",
                outcome.refusals()
            );
            written += outcome.completed_in_all;
        }
        Ok(())
    }

    async fn revision(&self, member: usize) -> Result<i64> {
        let status = self.cluster.status(member).await?;
        Ok(status.header.context("an answer has a header")?.revision)
    }

    async fn watch_pulse(
        &mut self,
        name: &'static str,
        endpoints: Vec<String>,
        least: Duration,
        chore: impl Future<Output = Result<()>>,
    ) -> Result<f64> {
        let meter = self.meter();
        let began = Instant::now();
        let mut took = Duration::ZERO;
        let timed = async {
            chore.await?;
            took = began.elapsed();
            anyhow::Ok(())
        };
        let gap = longest_gap(endpoints, self.sizes.value_bytes, least, timed).await?;
        self.note_phase(meter, name);
        if took.as_millis() > 0 {
            self.note(&format!("{name} took {:.1} s", took.as_secs_f64()));
        }
        Ok(gap.as_secs_f64())
    }
}

/// Reads a whole backup.
async fn back_up(mut client: MaintenanceClient<tonic::transport::Channel>) -> Result<()> {
    let mut stream = client
        .snapshot(SnapshotRequest {})
        .await
        .context("a backup")?
        .into_inner();
    let mut bytes = 0;
    while let Some(part) = stream.message().await.context("a backup")? {
        bytes += part.blob.len();
    }
    ensure!(bytes > 0, "a backup is empty");
    Ok(())
}

/// The longest time without an acknowledged write at any of the endpoints, while `chore` runs and until `least` is over.
async fn longest_gap(
    endpoints: Vec<String>,
    value_bytes: usize,
    least: Duration,
    chore: impl Future<Output = Result<()>>,
) -> Result<Duration> {
    let over = Arc::new(AtomicBool::new(false));
    let stop = over.clone();
    let pulses = tokio::spawn(on_own_thread(move || async move {
        let gaps = endpoints.iter().map(|endpoint| gap_at(endpoint, value_bytes, &stop));
        let gaps = futures::future::try_join_all(gaps).await?;
        Ok(gaps.into_iter().max().unwrap_or_default())
    }));
    let (done, ()) = tokio::join!(chore, tokio::time::sleep(least));
    over.store(true, Ordering::Relaxed);
    let gap = pulses.await??;
    done.map(|()| gap)
}

async fn gap_at(endpoint: &str, value_bytes: usize, over: &AtomicBool) -> Result<Duration> {
    let mut pulse = Pulse::connect(endpoint, PERIOD, value_bytes).await?;
    let began = Instant::now();
    let (mut last, mut longest) = (began, Duration::ZERO);
    while !over.load(Ordering::Relaxed) && began.elapsed() < PATIENCE {
        pulse
            .beat(Instant::now() + BEAT, |ack| {
                longest = longest.max(ack.at - last);
                last = ack.at;
                ControlFlow::Continue(())
            })
            .await?;
    }
    Ok(longest.max(last.elapsed()))
}
