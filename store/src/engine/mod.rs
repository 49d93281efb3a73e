//! The engine: one server's replica of the store's state, on disk or in memory.
//!
//! It owns a directory, runs the deterministic state machine of `trireme-mvcc` on it and answers
//! reads. It knows nothing of Raft: the Raft layer feeds it committed entries in order and decides
//! what may be purged from the log. Invariants kept here: I1 (the applied position is in the same
//! atomic batch as the data) and I2 (one revision, one result).
//!
//! # For the Raft layer
//!
//! ```ignore
//! // Open. Blocking, as is everything here that is not `async`.
//! let engine: Arc<Engine> = Arc::new(Engine::open(&dir, EngineOptions::default())?); // or Engine::in_memory()
//! let hub: Arc<Hub> = Hub::new(engine.clone());                                      // crate::watch::Hub
//!
//! // Where we are: None if nothing was ever applied. `opaque` is whatever the Raft layer put there
//! // (its log id and membership): it is written in the same batch as the data.
//! let position: Option<AppliedPosition> = engine.applied_position();   // { term, index, opaque: Bytes }
//!
//! // Propose: check limits and shape and encode once; the bytes are the Raft entry.
//! let command = Command::Txn { txn, fence_term: Some(term) };          // or Command::Compact { revision }
//! // CommandError -> KvError::Invalid, by From
//! let bytes: Bytes = command.check_and_encode()?;
//!
//! // Apply a chunk of committed entries: one batch, later entries see earlier ones. A blank or
//! // membership entry has `command: None`. An entry that does not decode is fatal: it is not skipped.
//! let applied: Applied = engine.apply_chunk(entries /* IntoIterator<Item = Entry { position, command: Option<Bytes> }> */)?;
//! hub.publish(&applied);                 // always, after each chunk and in order; wakes watchers and waiters
//! applied.outcomes;                      // Vec<Outcome>, one an entry: Blank | Txn(TxnResponse) | Compacted | Refused(Refusal)
//! KvError::from(refusal);                // see `error.rs`; outcome.encode() and Outcome::decode(bytes) for the wire
//! applied.changes;                       // Vec<Change { revision, events: Vec<Arc<Event>> }>
//! engine.state_hash();                   // (index, [u8; 16]); equal on all servers at equal index
//!
//! // Reads of the local replica, after whatever ReadIndex wait the consistency asks for.
//! engine.read_range(request).await?;     // RangeResponse, or KvError; big ranges go to the blocking pool
//! engine.range(&request)?;               // the same, blocking
//! engine.revision(); engine.compacted_revision();
//!
//! // Durability. The state has no log of its own: after a crash it comes back at the last flush and
//! // Raft replays. Purge the Raft log only up to `flushed_position().index`.
//! engine.flush()?;                       // blocking; afterwards flushed_position() >= applied_position() at the call
//! engine.flushed_position();             // Option<AppliedPosition>
//! engine.unflushed_bytes();              // to decide when to flush
//!
//! // Snapshots. Blocking; run them on the blocking pool. Export reads a pinned view and holds up nobody.
//! let header: SnapshotHeader = engine.export(&mut writer)?;   // impl std::io::Write; header.position says at what
//! let header = engine.install(&mut reader)?;                  // impl std::io::Read; verified, fsynced, then swapped in
//! hub.reset();                                                // after each install
//!
//! // Compaction: the command sets the watermark, the removal is ours. Call each second from one
//! // background task; it takes turns of bounded length, in short steps.
//! engine.remove_compacted().await?;
//!
//! // What it all takes, for metrics.
//! engine.state_use()?;
//!
//! // Leases: `applied.lease_changes` has gone to `engine.leases()` before `apply_chunk` returns.
//! engine.read_leases().await?; engine.read_attached_keys(id).await?;
//! engine.read_hash_kv(revision).await?;
//! ```
//!
//! Every error of `apply_chunk`, `flush` and `compact_step` is fatal: report it up and end the process (D4). Reads
//! report theirs by [`Engine::failed`], which the one who ends the process waits on.

pub mod backend;
mod counts;
mod error;
mod filler;
pub(crate) mod gather;
mod home;
mod kept;
pub mod limits;
mod pinned;
mod reads;
mod replica;
pub mod rocks;
pub(crate) mod sliced;
mod usage;
mod verify;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(test)]
mod tests;

pub use error::EngineError;
pub use kept::Kept;
pub use pinned::Pinned;
pub use replica::{Engine, EngineOptions, Entry};
pub use trireme_mvcc::command::Command;
pub use trireme_mvcc::history::{HistoryBudget, HistoryChunk};
pub use trireme_mvcc::machine::{Applied, AppliedPosition, Change};
pub use trireme_mvcc::outcome::{Outcome, Refusal};
pub use trireme_mvcc::snapshot::SnapshotHeader;
pub use trireme_mvcc::storage::StorageError;
pub use usage::StateUse;
pub use verify::verify_snapshot;
