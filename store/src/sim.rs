//! A replica in a simulation: on the runtime that opens it, which may stand still and jump in time; with a log and a
//! state in memory that lose what was not synced; and with election timeouts of the simulation's seed.
//!
//! All servers of a simulation run on one thread, and what would block or run on a thread of its own runs on the spot. It
//! is the same code that runs otherwise: only what it stands on is another. Nothing here is meant for production.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::EntryPayload;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use trireme_mvcc::command::Command;

use crate::engine::Kept;
use crate::kv::{KvError, Op, Txn};
use crate::raft::{LogStore, Node, OpenError, PeerConnector, SimDisk, StoreConfig, Unsynced, on};
use crate::{LogOpenError, Store};

/// Length of the log's files, in bytes: small, so that a log has several.
const LOG_FILE_BYTES: usize = 1 << 20;

thread_local! {
    static CHANCE: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
}

/// From now on this thread simulates, and what consensus leaves to chance follows from `seed`.
pub fn simulate_on_this_thread(seed: u64) {
    CHANCE.with_borrow_mut(|chance| *chance = Some(SmallRng::seed_from_u64(seed)));
}

/// Whether this thread simulates.
pub(crate) fn is_simulated() -> bool {
    CHANCE.with_borrow(Option::is_some)
}

/// Random numbers of the simulation, if this thread simulates.
pub(crate) fn chance() -> Option<SmallRng> {
    CHANCE.with_borrow_mut(|chance| chance.as_mut().map(|chance| SmallRng::seed_from_u64(chance.random())))
}

/// Says how long a sync of the disk takes.
pub type SyncTime = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What a server stands on, and what is left of it when its process ends. Clones are the same machine, until one of them
/// has ended.
#[derive(Clone)]
pub struct Machine {
    disk: Arc<SimDisk>,
    state: Arc<Kept>,
    sync_time: SyncTime,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

impl Machine {
    /// A machine with empty disks. `flushes_by_itself` says after each write of the state whether the database flushes
    /// without having been asked.
    pub fn new(sync_time: SyncTime, flushes_by_itself: impl FnMut() -> bool + Send + 'static) -> Self {
        Self {
            disk: SimDisk::with_files_of(LOG_FILE_BYTES),
            state: Arc::new(Kept::new(flushes_by_itself)),
            sync_time,
        }
    }

    /// The process has been killed: the system still writes out what it was handed. To be called once nothing of the
    /// server runs any more.
    pub fn after_kill(&mut self) {
        self.disk = self.disk.after(Unsynced::Kept);
    }

    /// Power was lost: of what was not synced only some sectors are there, as `seed` decides.
    pub fn after_power_loss(&mut self, seed: u64) {
        self.disk = self.disk.after(Unsynced::Torn(seed));
    }

    pub(crate) fn open_log(&self, tail_bytes: usize) -> Result<LogStore, LogOpenError> {
        LogStore::open_simulated(self.disk.clone(), tail_bytes, self.sync_time.clone())
    }

    pub(crate) fn state(&self) -> &Arc<Kept> {
        &self.state
    }
}

/// A committed entry of a server's log, for comparison with the other servers'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// A checksum of all of it.
    pub checksum: u32,
    /// What it is.
    pub content: Content,
}

/// What a committed entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Blank,
    /// Ids and names of all members.
    Members(Vec<(u64, String)>),
    /// A transaction that is only to be carried out in this term, and the values it may write.
    Fenced {
        /// The term.
        term: u64,
        /// Keys and values.
        puts: Vec<(Bytes, Bytes)>,
    },
    /// Another command.
    Command,
}

impl Store {
    /// As [`Store::open`], on a simulated machine and on the present runtime, which must not be left: the tasks of a
    /// server end with the runtime that they run on.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_simulated(
        machine: &Machine,
        config: StoreConfig,
        connector: Arc<dyn PeerConnector>,
    ) -> Result<Self, OpenError> {
        let node = Node::start_simulated(machine, config, connector).await?;
        Ok(Self::of(node, tokio::runtime::Handle::current(), None))
    }

    /// As [`Store::bootstrap_cluster`], likewise.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn bootstrap_simulated(
        machine: &Machine,
        config: StoreConfig,
        connector: Arc<dyn PeerConnector>,
    ) -> Result<Self, OpenError> {
        let store = Self::open_simulated(machine, config, connector).await?;
        let node = store.node().clone();
        on(&store.consensus_runtime(), async move { node.bootstrap().await })
            .await
            .and_then(|done| done)?;
        Ok(store)
    }

    /// The entries from index `from` on that this server has applied and still has.
    ///
    /// # Errors
    /// [`KvError::Stopped`] if the log cannot be read.
    pub fn committed(&self, from: u64) -> Result<Vec<Committed>, KvError> {
        let node = self.node();
        let stopped = |error: &dyn std::fmt::Display| KvError::Stopped(error.to_string());
        if node.engine.applied_position().is_none() {
            return Ok(Vec::new());
        }
        let entries = node.log.read(from..=node.applied_index(), usize::MAX);
        let mut committed = Vec::new();
        for entry in entries.map_err(|error| stopped(&error))? {
            let content = match &entry.payload {
                EntryPayload::Blank => Content::Blank,
                EntryPayload::Membership(membership) => {
                    Content::Members(membership.nodes().map(|(id, node)| (*id, node.name.clone())).collect())
                }
                EntryPayload::Normal(command) => {
                    content(Command::decode(command.0.clone()).map_err(|error| stopped(&error))?)
                }
            };
            committed.push(Committed {
                index: entry.log_id.index,
                term: entry.log_id.leader_id.term,
                checksum: crc32fast::hash(entry.record.as_deref().unwrap_or_default()),
                content,
            });
        }
        Ok(committed)
    }
}

fn content(command: Command) -> Content {
    match command {
        Command::Txn {
            txn,
            fence_term: Some(term),
        } => {
            let mut puts = Vec::new();
            collect_puts(&txn, &mut puts);
            Content::Fenced { term, puts }
        }
        _ => Content::Command,
    }
}

fn collect_puts(txn: &Txn, puts: &mut Vec<(Bytes, Bytes)>) {
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Put { key, value, .. } => puts.push((key.clone(), value.clone())),
            Op::Txn(nested) => collect_puts(nested, puts),
            Op::Delete { .. } | Op::Range(_) => {}
        }
    }
}
