//! What the servers hold on to after many keys.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Session, drive::fill, figures::Figure};

/// Clients that load the keys.
const FILL_CLIENTS: usize = 48;

impl Session<'_> {
    /// Loads many keys into servers that hold nothing, and looks at their memory when they have come to rest.
    pub(super) async fn memory(&mut self) -> Result<()> {
        let meter = self.meter();
        let outcome = fill(
            &self.addresses(),
            self.sizes.memory_keys,
            self.sizes.value_bytes,
            FILL_CLIENTS,
        )
        .await?;
        self.note_phase(meter, "load many keys");
        self.add(
            Figure::FillRate,
            self.sizes.memory_keys as f64 / outcome.elapsed.as_secs_f64(),
        );
        tokio::time::sleep(self.sizes.settle).await;
        let (mut rss, mut pss, mut disk) = (0, 0, 0);
        let mut each = Vec::new();
        for member in 0..self.cluster.len() {
            let usage = self.cluster.usage(member).context("a server is gone")?;
            rss += usage.rss_bytes;
            pss += pss_bytes(self.cluster.pid(member).context("a server is gone")?)?;
            disk += folder_bytes(self.cluster.data_dir(member))?;
            each.push(format!(
                "{} (at most {})",
                usage.rss_bytes >> 20,
                usage.rss_peak_bytes >> 20
            ));
        }
        self.add(Figure::MemoryRss, rss as f64);
        self.add(Figure::MemoryPss, pss as f64);
        self.add(Figure::Disk, disk as f64);
        self.note(&format!(
            "resident MiB of each server after the keys: {}",
            each.join(", ")
        ));
        Ok(())
    }
}

/// Resident memory in which a page that several processes have counts once among them.
fn pss_bytes(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib: u64 = line
        .and_then(|rest| rest.split_whitespace().next())
        .context("no Pss")?
        .parse()?;
    Ok(kib << 10)
}

/// The space that a folder takes on disk. Files that vanish meanwhile take none.
fn folder_bytes(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)?.flatten() {
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        bytes += if metadata.is_dir() {
            folder_bytes(&entry.path()).unwrap_or(0)
        } else {
            metadata.blocks() * 512
        };
    }
    Ok(bytes)
}
