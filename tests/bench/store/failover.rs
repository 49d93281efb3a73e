//! How long nobody can write after the leader was killed.

use std::{ops::ControlFlow, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

use super::{Session, figures::Figure, histogram::Histogram, pulse::Pulse};

/// Between the writes of each client: what the figure is exact to.
const PERIOD: Duration = Duration::from_millis(5);
/// How long the clients write before the kill.
const BEFORE: Duration = Duration::from_millis(300);
/// How long a new leader may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Session<'_> {
    /// Kills the leader again and again, while a client at each survivor writes at a steady pace. Measures from the
    /// kill to the first acknowledgement of a write that was begun after it.
    pub(super) async fn failovers(&mut self) -> Result<()> {
        let kills = match self.cluster.peer() {
            crate::harness::etcd::Peer::Etcd => self.sizes.kills_of_etcd,
            crate::harness::etcd::Peer::Trireme => self.sizes.kills,
        };
        let mut times = Histogram::default();
        let meter = self.meter();
        for kill in 0..kills {
            let time = self.failover().await.with_context(|| format!("kill {}", kill + 1))?;
            times.record(time);
        }
        self.note_phase(meter, "failovers");
        self.add(Figure::FailoverP99, times.percentile(99.0).as_secs_f64());
        self.add(Figure::FailoverMedian, times.percentile(50.0).as_secs_f64());
        self.note(&format!(
            "leader killed {kills} times, at worst {} ms",
            times.max().as_millis()
        ));
        Ok(())
    }

    async fn failover(&mut self) -> Result<Duration> {
        self.cluster.wait_until_whole().await?;
        let leader = self.cluster.leader().await?;
        let mut clients = tokio::task::JoinSet::new();
        let (announce, killed) = tokio::sync::watch::channel(None::<Instant>);
        for (member, address) in self.addresses().into_iter().enumerate() {
            if member == leader {
                continue;
            }
            let mut pulse = Pulse::connect(&address, PERIOD, self.sizes.value_bytes).await?;
            let killed = killed.clone();
            clients.spawn(async move {
                let mut acknowledged = None;
                let deadline = Instant::now() + BEFORE + PATIENCE;
                pulse
                    .beat(deadline, |ack| match *killed.borrow() {
                        Some(at) if ack.started > at => {
                            acknowledged = Some(ack.at - at);
                            ControlFlow::Break(())
                        }
                        _ => ControlFlow::Continue(()),
                    })
                    .await?;
                anyhow::Ok(acknowledged)
            });
        }
        sleep(BEFORE).await;
        let at = Instant::now();
        self.cluster.kill(leader)?;
        announce.send_replace(Some(at));
        let mut first = None;
        while let Some(done) = clients.join_next().await {
            // A survivor may drop its clients while it is without a leader; the other one's then counts.
            if let Ok(Some(time)) = done? {
                first = Some(first.map_or(time, |first: Duration| first.min(time)));
                break;
            }
        }
        clients.shutdown().await;
        self.cluster.restart(leader)?;
        match first {
            Some(time) => Ok(time),
            None => bail!("no write was acknowledged within {} s of the kill", PATIENCE.as_secs()),
        }
    }
}
