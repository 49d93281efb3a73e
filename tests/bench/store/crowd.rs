//! Ten thousand watchers on one server: what they cost while nothing happens, and how fast they are told.

use anyhow::{Context, Result};

use super::{
    Session,
    figures::Figure,
    watch::{WatchLoad, watch},
};

impl Session<'_> {
    /// All watchers are on one server that does not lead, each on a stream of its own; the writer is at the leader.
    pub(super) async fn crowd(&mut self) -> Result<()> {
        let leader = self.cluster.leader().await?;
        let crowded = (leader + 1) % self.cluster.len();
        let load = WatchLoad {
            endpoints: vec![self.addresses().swap_remove(crowded)],
            writer: self.leader_address().await?,
            watchers: self.sizes.watcher_crowd,
            value_bytes: self.sizes.value_bytes,
            lead_in: self.sizes.lead_in,
            measured: self.sizes.measured,
            idle_process: self.cluster.pid(crowded),
        };
        let before = self.cluster.usage(crowded).context("a server is gone")?.rss_bytes;
        let meter = self.meter();
        let outcome = watch(load).await?;
        self.note_phase(meter, "crowd of watchers");
        let idle = outcome.idle_rss_bytes.context("a server is gone")?;
        let after = self.cluster.usage(crowded).context("a server is gone")?.rss_bytes;
        self.add(Figure::CrowdMemory, idle.saturating_sub(before) as f64);
        self.add(Figure::CrowdRate, outcome.events as f64 / outcome.elapsed.as_secs_f64());
        self.add(Figure::CrowdP99, outcome.delays.percentile(99.0).as_secs_f64());
        self.note(&format!(
            "resident MiB of the server with {} watchers: {} before, {} with them idle, {} after the writes",
            self.sizes.watcher_crowd,
            before >> 20,
            idle >> 20,
            after >> 20
        ));
        Ok(())
    }
}
