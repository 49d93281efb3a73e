//! Faults on purpose, chosen on the command line of a program that was built with the feature `faults`.

use std::path::Path;

use trireme_store::{Planted, Sizes, StoreConfig, follow_failpoints};

/// Which.
#[derive(Debug, Clone, Default)]
pub struct FaultOptions {
    /// A bug for the store to have.
    pub planted: Option<Planted>,
    /// Whether a file beside the data directory, of its name and `.failpoints`, says which failpoints are armed.
    pub failpoints: bool,
    /// A snapshot is made after this many entries of the log, and few are kept: short logs make snapshots common.
    pub snapshot_log_entries: Option<u64>,
}

impl FaultOptions {
    /// Arms what the file says now, and goes on looking.
    pub(super) fn arm(&self, data_dir: &Path) -> std::io::Result<()> {
        if !self.failpoints {
            return Ok(());
        }
        let mut beside = data_dir.as_os_str().to_owned();
        beside.push(".failpoints");
        follow_failpoints(beside.into())
    }

    pub(super) fn choose(&self, store: &mut StoreConfig) {
        store.planted = self.planted;
        if let Some(entries) = self.snapshot_log_entries {
            store.sizes = Sizes {
                snapshot_log_entries: entries,
                log_keep_entries: entries / 10,
                snapshot_lag_entries: entries / 2,
                log_purge_batch_entries: 1,
                ..store.sizes
            };
        }
    }
}
