//! How long small writes take alone, and beside a flood of large reads.

use anyhow::{Context, Result};

use super::{
    Session,
    drive::{Load, drive},
    figures::Figure,
    work::Kind,
};

/// Clients that write: few, since what is measured is how long one waits, not how much the servers can do.
const WRITERS: usize = 16;
/// Clients that read everything, each again and again.
const READERS: usize = 48;

impl Session<'_> {
    /// Small writes alone; then the same while every endpoint is asked for all keys by many.
    pub(super) async fn floods(&mut self) -> Result<()> {
        self.rest().await?;
        let kind = self.put();
        let alone = self
            .load("small puts alone", self.addresses(), WRITERS, kind.clone())
            .await?
            .0;
        self.add_time(Figure::CalmMedian, alone.latencies.percentile(50.0));
        self.add_time(Figure::CalmP99, alone.latencies.percentile(99.0));
        let flood = Load {
            endpoints: self.addresses(),
            clients: READERS,
            kind: Kind::Range {
                keys: self.sizes.keys,
                width: self.sizes.keys,
                value_bytes: self.sizes.value_bytes,
            },
            lead_in: self.sizes.lead_in,
            // It begins before the writes that are measured, and ends after them.
            measured: self.sizes.measured + self.sizes.lead_in,
        };
        let flood = tokio::spawn(drive(flood));
        let beside = self
            .load("small puts beside a flood", self.addresses(), WRITERS, kind)
            .await?
            .0;
        self.add_time(Figure::FloodedMedian, beside.latencies.percentile(50.0));
        self.add_time(Figure::FloodedP99, beside.latencies.percentile(99.0));
        self.add(Figure::FloodedRate, beside.rate() / alone.rate().max(1.0));
        let flood = flood.await.context("the flood")??;
        let refused = if flood.refused.is_empty() {
            "none".to_owned()
        } else {
            flood.refusals()
        };
        self.note(&format!(
            "the flood: {} reads of all keys answered, refused: {refused}",
            flood.completed_in_all
        ));
        Ok(())
    }
}
