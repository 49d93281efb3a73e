//! openraft's own suite on our log and state machine.

use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{OptionalSend, StorageError};
use tempfile::TempDir;

use super::log::LogStore;
use super::snapshot::SnapshotData;
use super::state_machine::{Flush, StateMachine};
use super::types::{LogEntry, LogId, SnapshotMeta, StoredMembership, TypeConfig, log_id};
use crate::engine::{Engine, EngineOptions};
use crate::watch::Hub;

/// Our state machine refuses entries that do not follow each other, and rightly so. The suite leaves some
/// out, as no leader would: blank ones are put in their place.
struct WithoutGaps(StateMachine);

impl RaftStateMachine<TypeConfig> for WithoutGaps {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Flush;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        self.0.applied_state().await
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let (applied, _) = self.0.applied_state().await?;
        let mut next = applied.map(|id| id.index + 1);
        let mut whole = Vec::new();
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            for missing in next.unwrap_or(entry.log_id.index)..entry.log_id.index {
                whole.push(Ok((
                    LogEntry::new_blank(log_id(entry.log_id.leader_id.term, missing)),
                    None,
                )));
            }
            next = Some(entry.log_id.index + 1);
            whole.push(Ok((entry, responder)));
        }
        self.0.apply(futures::stream::iter(whole)).await
    }

    async fn get_snapshot_builder(&mut self) -> Flush {
        self.0.get_snapshot_builder().await
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        self.0.install_snapshot(meta, snapshot).await
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::alias::SnapshotOf<TypeConfig, SnapshotData>>, io::Error> {
        self.0.get_current_snapshot().await
    }
}

struct Builder {
    /// A tail of no bytes makes every read of a durable entry go to the disk.
    tail_bytes: usize,
}

impl StoreBuilder<TypeConfig, LogStore, WithoutGaps, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, WithoutGaps), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().unwrap();
        let log = LogStore::open(&directory.path().join("log"), self.tail_bytes).unwrap();
        let engine = Arc::new(Engine::open(&directory.path().join("state"), EngineOptions::default()).unwrap());
        let (machine, _applied) = StateMachine::new(engine.clone(), Hub::new(engine), Arc::default()).unwrap();
        Ok((directory, log, WithoutGaps(machine)))
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
