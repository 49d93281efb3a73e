//! [`Engine`]: the state machine, the storage below it, and when what of it is durable.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Semaphore, watch};
use trireme_mvcc::alarm::Alarm;
use trireme_mvcc::hash::StateHash;
use trireme_mvcc::limits::{KEPT_BYTES, SNAPSHOT_FRAME_BYTES};
use trireme_mvcc::machine::{self, Applied, AppliedPosition, StateMachine};
use trireme_mvcc::meta::State;
use trireme_mvcc::recall::Recall;
use trireme_mvcc::snapshot::{Exporter, Importer, SnapshotHeader};
use trireme_mvcc::storage::{Storage, WriteBatch};
use trireme_mvcc::types::Revision;

use super::backend::Backend;
use super::counts::Counts;
use super::error::EngineError;
use super::filler::Filler;
use super::home::Home;
use super::kept::Kept;
use super::limits::{BLOCK_CACHE_BYTES, BLOCKING_READS, WRITE_BUFFER_BYTES};
use super::rocks::RocksStorage;
use crate::engine::Command;
use crate::faults::{self, Failpoint, Faults};
use crate::lanes::{LaneSizes, Lanes};
use crate::lease::Keeper;

/// How an engine on disk is set up.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Memory for blocks read from disk, in bytes.
    pub block_cache_bytes: usize,
    /// Memory in which writes are gathered before they are written out, in bytes.
    pub write_buffer_bytes: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: BLOCK_CACHE_BYTES,
            write_buffer_bytes: WRITE_BUFFER_BYTES,
        }
    }
}

/// A committed entry of the Raft log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it is in the log.
    pub position: AppliedPosition,
    /// An encoded [`Command`]; `None` for an entry that only the Raft layer understands.
    pub command: Option<Bytes>,
}

/// One server's replica of the state.
#[derive(Debug)]
pub struct Engine {
    /// Applies. Held for the time of a chunk.
    machine: Mutex<StateMachine<Backend>>,
    /// What readers read.
    storage: ArcSwap<Backend>,
    /// What of it is in memory.
    recall: Arc<Recall>,
    /// Who fills the index of that.
    filler: Mutex<Filler>,
    /// The state after the last chunk.
    state: ArcSwap<State>,
    /// What flushes and installs need; one of them runs at a time.
    upkeep: Mutex<Upkeep>,
    /// Physical compaction runs once at a time.
    compaction: Mutex<()>,
    pub(super) unflushed_bytes: AtomicUsize,
    /// The revision below which the index of changes was merged last.
    pub(super) events_merged: AtomicI64,
    pub(super) counts: Counts,
    pub(super) blocking_reads: Arc<Semaphore>,
    /// Who may work on it for somebody.
    lanes: Arc<Lanes>,
    /// Told of what is applied to leases, before anybody else is.
    leases: Keeper,
    failure: watch::Sender<Option<String>>,
    faults: Faults,
}

#[derive(Debug)]
struct Upkeep {
    place: Place,
    flushed: Option<AppliedPosition>,
}

/// Where the state is kept.
#[derive(Debug)]
enum Place {
    Disk(Home, EngineOptions),
    /// In memory, and for the next engine if there is to be one.
    Memory(Option<Arc<Kept>>),
}

impl Engine {
    /// Opens the state in `dir`, or makes it. It stands where it was last flushed.
    ///
    /// # Errors
    /// [`EngineError`]: the directory is not ours, damaged, or cannot be opened.
    pub fn open(dir: &Path, options: EngineOptions) -> Result<Self, EngineError> {
        let (home, state_dir) = Home::open(dir)?;
        let storage = RocksStorage::open(state_dir.path(), &options)?;
        Self::start(Backend::rocks(storage, state_dir), Place::Disk(home, options))
    }

    /// A state in memory, for tests.
    pub fn in_memory() -> Self {
        Self::start(Backend::memory(), Place::Memory(None)).expect("an empty memory cannot be corrupt")
    }

    /// A state in memory that goes on from what `kept` holds, for simulation.
    ///
    /// # Errors
    /// [`EngineError::Storage`] if that is damaged.
    pub fn open_kept(kept: &Arc<Kept>) -> Result<Self, EngineError> {
        Self::start(Backend::kept(kept.clone()), Place::Memory(Some(kept.clone())))
    }

    fn start(backend: Backend, place: Place) -> Result<Self, EngineError> {
        let storage = Arc::new(backend);
        let recall = Arc::new(Recall::new(KEPT_BYTES));
        let machine = StateMachine::open_with(Arc::clone(&storage), Arc::clone(&recall))?;
        let filler = Filler::start(&storage, &recall)?;
        let state = machine.state().clone();
        // Whatever is found was found on disk, so it is durable.
        let flushed = state.position.clone();
        let compacted = state.compacted;
        // In memory it is the same on every machine, so that simulations are.
        let lane_sizes = match &place {
            Place::Disk(..) => LaneSizes::of_machine(),
            Place::Memory(_) => LaneSizes::of_processors(1),
        };
        Ok(Self {
            machine: Mutex::new(machine),
            storage: ArcSwap::new(storage),
            recall,
            filler: Mutex::new(filler),
            state: ArcSwap::from_pointee(state),
            upkeep: Mutex::new(Upkeep { place, flushed }),
            compaction: Mutex::new(()),
            unflushed_bytes: AtomicUsize::new(0),
            events_merged: AtomicI64::new(compacted),
            counts: Counts::default(),
            blocking_reads: Arc::new(Semaphore::new(BLOCKING_READS)),
            lanes: Lanes::new(lane_sizes),
            leases: Keeper::default(),
            failure: watch::Sender::new(None),
            faults: Faults::default(),
        })
    }

    /// The same engine, with faults.
    pub(crate) fn with_faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// Its faults, which are its store's.
    pub(crate) fn faults(&self) -> Faults {
        self.faults
    }

    /// Applies committed entries, in order, as one atomic batch. One caller at a time.
    ///
    /// # Errors
    /// [`EngineError`], fatal; nothing of the chunk was applied.
    pub fn apply_chunk(&self, entries: impl IntoIterator<Item = Entry>) -> Result<Applied, EngineError> {
        let entries = entries.into_iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        let compacted = self.compacted_revision();
        let mut machine = lock(&self.machine);
        let before = self.faults.stores_position_apart().then(|| machine.state().clone());
        let applied = machine.apply(entries)?;
        if let Some(before) = before {
            self.store_position_of(&before, machine.state())?;
        }
        self.unflushed_bytes.fetch_add(applied.written_bytes, Ordering::Relaxed);
        self.state.store(Arc::new(machine.state().clone()));
        self.leases.applied(&applied.lease_changes);
        if applied.compacted > compacted {
            faults::point(Failpoint::CompactionMarked);
        }
        Ok(applied)
    }

    /// Whether what is applied may have to wait for the disk, because it is behind with what was applied before.
    pub fn is_behind(&self) -> bool {
        self.storage().is_behind()
    }

    /// A planted bug: stores the position of an earlier state beside the data of a later one. The later position comes
    /// with the next chunk, if there is one before the process ends.
    fn store_position_of(&self, earlier: &State, later: &State) -> Result<(), EngineError> {
        let mut batch = WriteBatch::default();
        let stored = State {
            position: earlier.position.clone(),
            ..later.clone()
        };
        stored.store(&mut batch);
        Ok(self.storage().write(batch)?)
    }

    /// Who may work on it for somebody.
    pub fn lanes(&self) -> &Arc<Lanes> {
        &self.lanes
    }

    /// The leader's clock of the leases.
    pub(crate) fn leases(&self) -> &Keeper {
        &self.leases
    }

    /// The last entry applied.
    pub fn applied_position(&self) -> Option<AppliedPosition> {
        self.state.load().position.clone()
    }

    /// The store's revision here.
    pub fn revision(&self) -> Revision {
        self.state.load().revision
    }

    /// The oldest readable revision here; 0 if nothing was ever compacted.
    pub fn compacted_revision(&self) -> Revision {
        self.state.load().compacted
    }

    /// The alarms that are raised.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.state.load().alarms.iter().collect()
    }

    /// Takes the state over into another log: see [`StateMachine::move_to`]. Blocking, and durable when it returns.
    ///
    /// # Errors
    /// [`EngineError::Storage`], fatal.
    pub fn move_to(&self, position: AppliedPosition, revisions: Revision) -> Result<(), EngineError> {
        {
            let mut machine = lock(&self.machine);
            machine.move_to(position, revisions)?;
            self.state.store(Arc::new(machine.state().clone()));
        }
        // Its position is another one now, so there is something to flush.
        self.flush()
    }

    /// The hash over everything applied, and the index of the last entry in it.
    pub fn state_hash(&self) -> (u64, StateHash) {
        let state = self.state.load();
        (state.position.as_ref().map_or(0, |position| position.index), state.hash)
    }

    /// Makes everything applied before the call durable. Blocking.
    ///
    /// # Errors
    /// [`EngineError::Storage`], fatal.
    pub fn flush(&self) -> Result<(), EngineError> {
        let mut upkeep = lock(&self.upkeep);
        let position = self.applied_position();
        let bytes = self.unflushed_bytes.load(Ordering::Relaxed);
        if bytes == 0 && position == upkeep.flushed {
            return Ok(());
        }
        faults::point(Failpoint::FlushBefore);
        self.storage.load_full().flush()?;
        faults::point(Failpoint::FlushAfter);
        self.unflushed_bytes.fetch_sub(bytes, Ordering::Relaxed);
        upkeep.flushed = position;
        Ok(())
    }

    /// The last entry that is certainly durable: the Raft log may be purged up to it.
    pub fn flushed_position(&self) -> Option<AppliedPosition> {
        lock(&self.upkeep).flushed.clone()
    }

    /// How much has been applied since the last flush, in bytes.
    pub fn unflushed_bytes(&self) -> usize {
        self.unflushed_bytes.load(Ordering::Relaxed)
    }

    /// Writes the whole state, as it is now, to `writer`. Blocking; nobody waits for it.
    ///
    /// # Errors
    /// [`EngineError::Storage`], fatal; [`EngineError::Stream`].
    pub fn export(&self, writer: &mut impl Write) -> Result<SnapshotHeader, EngineError> {
        let storage = self.storage.load_full();
        let snapshot = storage.snapshot();
        let mut exporter = Exporter::new(&snapshot)?;
        while let Some(chunk) = exporter.next_chunk()? {
            writer.write_all(&chunk).map_err(EngineError::Stream)?;
        }
        writer.flush().map_err(EngineError::Stream)?;
        Ok(exporter.header().clone())
    }

    /// Replaces the whole state by the one that `reader` gives, at once for readers and for crashes. Blocking.
    ///
    /// # Errors
    /// [`EngineError::Snapshot`] and [`EngineError::Stream`], after which the state is as it was; the others, fatal.
    pub fn install(&self, reader: &mut impl Read) -> Result<SnapshotHeader, EngineError> {
        let mut upkeep = lock(&self.upkeep);
        let backend = match &upkeep.place {
            Place::Memory(_) => Backend::memory(),
            Place::Disk(home, options) => {
                let dir = home.next()?;
                let storage = RocksStorage::open(dir.path(), options)?;
                Backend::rocks(storage, dir)
            }
        };
        let header = match import(&backend, reader) {
            Ok(header) => header,
            Err(error) => {
                backend.retire();
                return Err(error);
            }
        };
        self.swap(&mut upkeep, backend)?;
        Ok(header)
    }

    fn swap(&self, upkeep: &mut Upkeep, mut backend: Backend) -> Result<(), EngineError> {
        if let Place::Memory(Some(kept)) = &upkeep.place {
            backend.keep_in(kept.clone());
        }
        let storage = Arc::new(backend);
        let mut machine = lock(&self.machine);
        let opened = StateMachine::open_with(Arc::clone(&storage), Arc::clone(&self.recall))?;
        *lock(&self.filler) = Filler::start(&storage, &self.recall)?;
        faults::point(Failpoint::SnapshotInstalling);
        if let Place::Disk(home, _) = &mut upkeep.place {
            home.advance()?;
        }
        *machine = opened;
        let state = machine.state().clone();
        upkeep.flushed = state.position.clone();
        self.unflushed_bytes.store(0, Ordering::Relaxed);
        self.state.store(Arc::new(state));
        self.storage.swap(storage).retire();
        self.counts.clear();
        Ok(())
    }

    /// Waits until a read has met a failure of the storage, and says which. The process must end then.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(failure) => failure.clone().unwrap_or_default(),
            Err(_) => "the engine is gone".into(),
        }
    }

    pub(super) fn report_failure(&self, error: &(dyn std::error::Error + 'static)) {
        let chain = std::iter::successors(Some(error), |error| error.source());
        let text = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        self.failure.send_if_modified(|failure| failure.replace(text).is_none());
    }

    pub(super) fn lock_compaction(&self) -> MutexGuard<'_, ()> {
        lock(&self.compaction)
    }

    /// The state after the last chunk.
    pub(super) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// What of it is in memory.
    pub(super) fn recall(&self) -> &Recall {
        &self.recall
    }

    /// The storage of the present state.
    pub(super) fn storage(&self) -> Arc<Backend> {
        self.storage.load_full()
    }
}

fn decode(entry: Entry) -> Result<machine::Entry, EngineError> {
    let Entry { position, command } = entry;
    let command = command.map(Command::decode).transpose();
    match command {
        Ok(command) => Ok(machine::Entry { position, command }),
        Err(source) => Err(EngineError::Undecodable {
            index: position.index,
            source,
        }),
    }
}

fn import(backend: &Backend, reader: &mut impl Read) -> Result<SnapshotHeader, EngineError> {
    let header = pour(backend, reader)?;
    backend.flush()?;
    Ok(header)
}

/// Fills an empty storage from a snapshot.
pub(super) fn pour<S: Storage>(storage: &S, reader: &mut impl Read) -> Result<SnapshotHeader, EngineError> {
    let mut importer = Importer::new(storage)?;
    let mut buffer = vec![0; SNAPSHOT_FRAME_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => importer.push(&buffer[..count])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(EngineError::Stream(error)),
        }
    }
    Ok(importer.finish()?)
}

/// A panic while a lock was held ends the process elsewhere; here it must not hide the first cause.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
