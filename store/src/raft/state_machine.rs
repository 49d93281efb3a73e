//! openraft's `RaftStateMachine` over the engine: committed entries in, outcomes out.
//!
//! A chunk of entries becomes one atomic batch that also holds the log id reached and the membership
//! in force, as opaque bytes (I1). The engine keeps no log of its own: after a crash it stands at its
//! last flush and openraft replays from the log. So the log is purged only up to a flushed index:
//! "building a snapshot" is flushing, and the content of a snapshot is made when it is sent.
//!
//! At agreed indexes a batch ends on every server, so that all of them know a hash of the same index (I2).

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use prost::Message;
use tokio::sync::watch;
use trireme_proto::peer::v1 as wire;

use super::outgoing::Outgoing;
use super::snapshot::{PinnedExport, SnapshotData};
use super::types::{LogEntry, LogId, RaftMembership, Reply, SnapshotMeta, StoredMembership, TypeConfig, log_id};
use super::wire::{stored_membership_from_wire, stored_membership_to_wire};
use crate::blocking as pool;
use crate::engine::{Applied, AppliedPosition, Engine, EngineError, Entry};
use crate::faults::{self, Failpoint};
use crate::integrity::Samples;
use crate::limits;
use crate::quarantine;
use crate::watch::Hub;

type StoreSnapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotData>;

/// Entries in one batch of the engine.
const CHUNK_ENTRIES: usize = 1_024;
/// Chunks with at most this many bytes and entries are applied on the spot, if they need not wait for the disk; others on a
/// thread that may block.
const INLINE_BYTES: usize = 64 << 10;
const INLINE_ENTRIES: usize = 64;

/// The replicated state of this server.
#[derive(Debug)]
pub(crate) struct StateMachine {
    engine: Arc<Engine>,
    hub: Arc<Hub>,
    applied: watch::Sender<Option<LogId>>,
    membership: StoredMembership,
    /// `membership`, encoded; goes into every batch.
    opaque: Bytes,
    samples: Arc<Mutex<Samples>>,
    /// The snapshots that are being sent, which transfers that broke off go on with.
    outgoing: Arc<Outgoing>,
}

impl StateMachine {
    /// The state machine on `engine`, as far as it has applied. It leaves the state's hashes in `samples`.
    pub(crate) fn new(
        engine: Arc<Engine>,
        hub: Arc<Hub>,
        samples: Arc<Mutex<Samples>>,
    ) -> io::Result<(Self, watch::Receiver<Option<LogId>>)> {
        let position = engine.applied_position();
        let membership = match &position {
            Some(position) => decode_membership(&position.opaque)?,
            None => StoredMembership::default(),
        };
        let (applied, receiver) = watch::channel(position.as_ref().map(position_log_id));
        let opaque = encode_membership(&membership);
        Ok((
            Self {
                engine,
                hub,
                applied,
                membership,
                opaque,
                samples,
                outgoing: Arc::default(),
            },
            receiver,
        ))
    }

    /// The snapshots that are being sent. They end with this machine, so nobody else may hold them for long.
    pub(crate) fn outgoing(&self) -> Weak<Outgoing> {
        Arc::downgrade(&self.outgoing)
    }

    fn samples(&self) -> std::sync::MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn applied_log_id(&self) -> Option<LogId> {
        *self.applied.borrow()
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied_log_id(),
            last_membership: self.membership.clone(),
        }
    }

    /// A planted bug: what would have been announced at the last flush.
    fn flushed_meta(&self) -> io::Result<SnapshotMeta> {
        let Some(flushed) = self.engine.flushed_position() else {
            return Ok(self.meta());
        };
        Ok(SnapshotMeta {
            last_log_id: Some(position_log_id(&flushed)),
            last_membership: decode_membership(&flushed.opaque)?,
        })
    }

    /// Turns an openraft entry into one of the engine's.
    fn prepare(&mut self, entry: &LogEntry) -> Entry {
        let command = match &entry.payload {
            EntryPayload::Blank => None,
            EntryPayload::Normal(command) => Some(command.0.clone()),
            EntryPayload::Membership(membership) => {
                pass_joint_configuration(membership);
                self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                self.opaque = encode_membership(&self.membership);
                None
            }
        };
        let position = AppliedPosition {
            term: entry.log_id.leader_id.term,
            index: entry.log_id.index,
            opaque: self.opaque.clone(),
        };
        Entry { position, command }
    }

    async fn apply_chunk(&mut self, chunk: &mut Chunk) -> io::Result<()> {
        let Chunk {
            entries,
            responders,
            bytes,
            last,
        } = std::mem::take(chunk);
        let Some(last) = last else { return Ok(()) };
        faults::point(Failpoint::ApplyBefore);
        let is_small = bytes <= INLINE_BYTES && entries.len() <= INLINE_ENTRIES;
        let applied = if is_small && !self.engine.is_behind() {
            self.engine.apply_chunk(entries).map_err(failed)?
        } else {
            let engine = self.engine.clone();
            blocking(move || engine.apply_chunk(entries).map_err(failed)).await?
        };
        faults::point(Failpoint::ApplyAfter);
        let (index, hash) = self.engine.state_hash();
        self.samples().push(index, hash);
        self.publish(applied, responders, last);
        Ok(())
    }

    /// Tells everyone: watchers first, then those who wait for an index, then the proposers, so that
    /// a proposer that has its answer can read and watch what it wrote.
    fn publish(&self, applied: Applied, responders: Vec<Option<ApplyResponder<TypeConfig>>>, last: LogId) {
        self.hub.publish(&applied);
        self.applied.send_replace(Some(last));
        assert_eq!(applied.outcomes.len(), responders.len(), "each entry has one outcome");
        for (outcome, responder) in applied.outcomes.into_iter().zip(responders) {
            if let Some(responder) = responder {
                responder.send(Reply { outcome: Some(outcome) });
            }
        }
    }
}

/// Entries that go into one batch of the engine.
#[derive(Default)]
struct Chunk {
    entries: Vec<Entry>,
    responders: Vec<Option<ApplyResponder<TypeConfig>>>,
    bytes: usize,
    last: Option<LogId>,
}

impl Chunk {
    fn push(&mut self, entry: Entry, responder: Option<ApplyResponder<TypeConfig>>, id: LogId) {
        self.bytes += entry.command.as_ref().map_or(0, Bytes::len);
        self.entries.push(entry);
        self.responders.push(responder);
        self.last = Some(id);
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= CHUNK_ENTRIES || self.bytes >= limits::APPLY_BATCH_BYTES
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Flush;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied_log_id(), self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut chunk = Chunk::default();
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let prepared = self.prepare(&entry);
            chunk.push(prepared, responder, entry.log_id);
            if chunk.is_full() || Samples::is_agreed(entry.log_id.index) {
                self.apply_chunk(&mut chunk).await?;
            }
        }
        self.apply_chunk(&mut chunk).await
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Flush> {
        // What follows a "snapshot" is a cut of the log, which whoever is being sent one will need.
        if !force && self.outgoing.holds_log() {
            return None;
        }
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Flush {
        // The log id and membership are taken here, between two batches; the flush that follows
        // covers at least them.
        Flush {
            engine: self.engine.clone(),
            meta: self.meta(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        let engine = self.engine.clone();
        let header = blocking(move || match snapshot {
            SnapshotData::Flushed => Err(io::Error::other("a flush is no snapshot to install")),
            SnapshotData::Live(export) => engine.install(&mut export.reader()?).map_err(io::Error::other),
            SnapshotData::Received(file) => engine.install(&mut file.open()?).map_err(io::Error::other),
        })
        .await?;
        let installed = header.position.as_ref().map(position_log_id);
        if installed != meta.last_log_id {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the snapshot is of {installed:?}, but was announced as of {:?}",
                    meta.last_log_id
                ),
            ));
        }
        self.membership = meta.last_membership.clone();
        self.opaque = encode_membership(&self.membership);
        faults::point(Failpoint::SnapshotInstalled);
        self.samples().clear();
        self.outgoing.clear();
        self.hub.reset();
        self.applied.send_replace(installed);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<StoreSnapshot>, io::Error> {
        if let Some((meta, export)) = self.outgoing.wanted() {
            return Ok(Some(Snapshot {
                meta,
                snapshot: SnapshotData::Live(export),
            }));
        }
        let meta = if self.engine.faults().announces_older_snapshot() {
            self.flushed_meta()?
        } else {
            self.meta()
        };
        if meta.last_log_id.is_none() {
            return Ok(None);
        }
        // openraft takes the answer for a persistent snapshot and may purge the log up to it.
        let engine = self.engine.clone();
        blocking(move || engine.flush().map_err(failed)).await?;
        let export = Arc::new(PinnedExport::start(self.engine.clone()).await?);
        self.outgoing.add(meta.clone(), export.clone());
        Ok(Some(Snapshot {
            meta,
            snapshot: SnapshotData::Live(export),
        }))
    }
}

/// "Builds a snapshot": makes what was applied when it was created durable.
#[derive(Debug)]
pub(crate) struct Flush {
    engine: Arc<Engine>,
    meta: SnapshotMeta,
}

impl RaftSnapshotBuilder<TypeConfig> for Flush {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<StoreSnapshot, io::Error> {
        let engine = self.engine.clone();
        blocking(move || engine.flush().map_err(failed)).await?;
        let flushed = self.engine.flushed_position().as_ref().map(position_log_id);
        assert!(
            flushed >= self.meta.last_log_id,
            "a flush covers what was applied before it"
        );
        Ok(Snapshot {
            meta: self.meta.clone(),
            snapshot: SnapshotData::Flushed,
        })
    }
}

pub(super) fn position_log_id(position: &AppliedPosition) -> LogId {
    log_id(position.term, position.index)
}

/// Passes the points at which a change of the voters is half done: committed, and the leader has not gone on.
fn pass_joint_configuration(membership: &RaftMembership) {
    if let [old, new] = &membership.get_joint_config()[..] {
        faults::point(if new.len() > old.len() {
            Failpoint::MembershipJointAdding
        } else {
            Failpoint::MembershipJointRemoving
        });
    }
}

/// openraft passes errors on as texts: the causes must be in them.
#[expect(clippy::needless_pass_by_value, reason = "it is used to map errors")]
fn failed(error: EngineError) -> io::Error {
    io::Error::other(quarantine::whole(&error))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    pool::run(work).await.map_err(io::Error::other)?
}

pub(super) fn encode_membership(stored: &StoredMembership) -> Bytes {
    stored_membership_to_wire(stored).encode_to_vec().into()
}

pub(super) fn decode_membership(opaque: &[u8]) -> io::Result<StoredMembership> {
    let message = wire::StoredMembership::decode(opaque).map_err(io::Error::other)?;
    stored_membership_from_wire(message).map_err(io::Error::other)
}
