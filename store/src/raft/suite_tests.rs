//! openraft's own suite on our log and state machine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::log::LogStore;
use super::state_machine::StateMachine;
use super::types::TypeConfig;
use crate::engine::{Engine, EngineOptions};
use crate::watch::Hub;

struct Builder {
    /// A tail of no bytes makes every read of a durable entry go to the disk.
    tail_bytes: usize,
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().unwrap();
        let log = LogStore::open(&directory.path().join("log"), self.tail_bytes).unwrap();
        let engine = Arc::new(Engine::open(&directory.path().join("state"), EngineOptions::default()).unwrap());
        let (machine, _applied) = StateMachine::new(engine.clone(), Hub::new(engine)).unwrap();
        Ok((directory, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_passes_with_entries_in_memory() {
    Suite::test_all(Builder { tail_bytes: 1 << 20 }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_passes_with_entries_on_disk() {
    Suite::test_all(Builder { tail_bytes: 0 }).await.unwrap();
}
