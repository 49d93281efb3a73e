//! Snapshots on their way: out of a live engine, or received and waiting to be installed.
//!
//! Neither is ever whole in memory. A snapshot that is sent is made while it is sent, from a pinned
//! view, by a thread that is at most a few chunks ahead of the network. A snapshot that is received
//! goes to a file first and is installed only when it is complete and its checksum fits.
//!
//! A transfer that broke off goes on where it was: the sender holds the view for a while, the receiver keeps the file. The
//! transfer's id names the view, so that the two parts of the file are of the same bytes.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self as threads, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};

use super::part_file::PartFile;
use crate::blocking as pool;
use crate::engine::{Engine, Pinned, SnapshotHeader};
use crate::faults::{self, Failpoint};
use crate::limits;

/// Pieces that the exporting thread may be ahead of the network.
const EXPORT_PIECES_AHEAD: usize = 4;
const PARTIAL_PREFIX: &str = "receiving-";

/// The content of a snapshot, as openraft passes it around.
#[derive(Debug)]
pub(crate) enum SnapshotData {
    /// The state is flushed as of the snapshot's log id; there is nothing to pass on. What a
    /// "built" snapshot is: it only says how far the log may be purged.
    Flushed,
    /// A pinned view of this server's state, to be sent.
    Live(Arc<PinnedExport>),
    /// A complete, checked file that another server has sent.
    Received(ReceivedSnapshot),
}

/// A pinned view that is exported on demand, to several servers at once if need be. Dropping it ends its thread.
#[derive(Debug)]
pub(crate) struct PinnedExport {
    id: String,
    header: SnapshotHeader,
    source: Source,
    /// The servers that its transfer has begun to, and whether it has come over.
    targets: Mutex<BTreeMap<u64, bool>>,
}

/// Where the bytes come from.
#[derive(Debug)]
enum Source {
    /// A thread that exports the view when it is asked.
    Thread {
        starts: threads::Sender<Start>,
        /// Dead once the view is not held any more.
        alive: Weak<()>,
    },
    /// The whole, in a simulation.
    #[cfg(feature = "sim")]
    Memory(Bytes),
}

impl Source {
    fn is_alive(&self) -> bool {
        match self {
            Self::Thread { starts: _, alive } => alive.strong_count() > 0,
            #[cfg(feature = "sim")]
            Self::Memory(_) => true,
        }
    }
}

/// Asks the exporting thread for the bytes from an offset on.
#[derive(Debug)]
struct Start {
    offset: u64,
    pieces: mpsc::Sender<io::Result<Piece>>,
}

/// A piece of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The next bytes.
    Chunk(Bytes),
    /// All bytes have been given, and this is what the whole comes to, what was left out included.
    End {
        /// The length, in bytes.
        length: u64,
        /// The CRC32.
        crc32: u32,
    },
}

impl PinnedExport {
    /// Pins the engine's present state. When this returns, whatever is applied later is not in it.
    pub(crate) async fn start(engine: Arc<Engine>) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if crate::sim::is_simulated() {
            return Self::in_memory(&engine);
        }
        let (pinned_sender, pinned) = oneshot::channel();
        let (starts, start_receiver) = threads::channel();
        let life = Arc::new(());
        let alive = Arc::downgrade(&life);
        tokio::task::spawn_blocking(move || {
            let mut pinned_sender = Some(pinned_sender);
            let ended = engine.pinned(|view| {
                if let Some(sender) = pinned_sender.take()
                    && sender.send(Ok(view.header().clone())).is_ok()
                {
                    serve(view, &start_receiver);
                }
            });
            drop(life);
            if let (Err(error), Some(sender)) = (ended, pinned_sender) {
                // The one who waits may have been cancelled.
                let _ = sender.send(Err(io::Error::other(error)));
            }
        });
        let header = pinned
            .await
            .map_err(|_| io::Error::other("the export ended before it began"))??;
        faults::point(Failpoint::SnapshotPinned);
        Ok(Self {
            id: next_id(),
            header,
            source: Source::Thread { starts, alive },
            targets: Mutex::default(),
        })
    }

    /// Without a thread, for a small state.
    #[cfg(feature = "sim")]
    fn in_memory(engine: &Engine) -> io::Result<Self> {
        let mut whole = Vec::new();
        let header = engine
            .pinned(|view| view.export(&mut whole).map(|()| view.header().clone()))
            .and_then(|exported| exported)
            .map_err(io::Error::other)?;
        Ok(Self {
            id: next_id(),
            header,
            source: Source::Memory(whole.into()),
            targets: Mutex::default(),
        })
    }

    /// Names its bytes.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What it is of.
    pub(crate) fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// The bytes from `offset` on, and what the whole comes to.
    ///
    /// # Errors
    /// If the view is not held any more.
    pub(crate) fn read_from(&self, offset: u64) -> io::Result<mpsc::Receiver<io::Result<Piece>>> {
        let starts = match &self.source {
            Source::Thread { starts, alive: _ } => starts,
            #[cfg(feature = "sim")]
            Source::Memory(whole) => return Ok(pieces_of(whole, offset)),
        };
        let (sender, pieces) = mpsc::channel(EXPORT_PIECES_AHEAD);
        let start = Start { offset, pieces: sender };
        starts
            .send(start)
            .map_err(|_| io::Error::other("the snapshot was held for too long, and is gone"))?;
        Ok(pieces)
    }

    /// Its transfer to a server has begun, and may have to go on with it.
    pub(crate) fn set_begun(&self, target: u64) {
        self.targets().insert(target, false);
    }

    /// It has come over to a server.
    pub(crate) fn set_done(&self, target: u64) {
        self.targets().insert(target, true);
    }

    /// Whether there is a transfer that has not come over, and the view is still held, so that it can go on.
    pub(crate) fn is_wanted(&self) -> bool {
        self.source.is_alive() && self.targets().values().any(|done| !done)
    }

    /// The servers that its transfer has begun to, and whether it has come over.
    pub(crate) fn targets(&self) -> MutexGuard<'_, BTreeMap<u64, bool>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all of it with blocking calls.
    ///
    /// # Errors
    /// As [`read_from`](Self::read_from).
    pub(crate) fn reader(&self) -> io::Result<impl Read + use<>> {
        Ok(PieceReader {
            pieces: self.read_from(0)?,
            current: Bytes::new(),
        })
    }
}

/// A name that no other export has, of this server or another, in this run or another.
fn next_id() -> String {
    static RUN: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let run = RUN.get_or_init(|| RandomState::new().build_hasher().finish());
    format!("{run:016x}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The pieces of a whole that is in memory.
#[cfg(feature = "sim")]
fn pieces_of(whole: &Bytes, offset: u64) -> mpsc::Receiver<io::Result<Piece>> {
    let end = Piece::End {
        length: whole.len() as u64,
        crc32: crc32fast::hash(whole),
    };
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
    let rest = whole.slice(from..);
    let chunks = rest
        .chunks(limits::SNAPSHOT_CHUNK_BYTES)
        .map(|chunk| Piece::Chunk(rest.slice_ref(chunk)));
    let pieces: Vec<Piece> = chunks.chain([end]).collect();
    let (sender, receiver) = mpsc::channel(pieces.len());
    for piece in pieces {
        sender.try_send(Ok(piece)).expect("there is room for all");
    }
    receiver
}

/// Exports the view as often as it is asked for, until nobody can ask any more or nobody has for long.
///
/// Each run has a thread of its own: a run whose reader has gone may take a moment to notice, and the next one, which goes on
/// with the transfer, must not wait for it.
fn serve(view: &Pinned<'_>, starts: &threads::Receiver<Start>) {
    let running = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        loop {
            match starts.recv_timeout(limits::SNAPSHOT_RESUME_PATIENCE) {
                Ok(start) if start.pieces.is_closed() => {}
                Ok(start) => {
                    running.fetch_add(1, Ordering::Relaxed);
                    let running = &running;
                    scope.spawn(move || {
                        give(view, start);
                        running.fetch_sub(1, Ordering::Relaxed);
                    });
                }
                Err(RecvTimeoutError::Timeout) if running.load(Ordering::Relaxed) > 0 => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    });
}

fn give(view: &Pinned<'_>, Start { offset, pieces }: Start) {
    let mut writer = PieceWriter::new(offset, pieces.clone());
    let ended = match view.export(&mut writer) {
        Ok(()) => writer.end(),
        Err(error) => pieces
            .blocking_send(Err(io::Error::other(error)))
            .map_err(io::Error::other),
    };
    if ended.is_err() {
        tracing::debug!("the transfer of a snapshot broke off");
    }
}

/// Cuts the bytes of an export into pieces, and leaves the first ones out.
struct PieceWriter {
    pieces: mpsc::Sender<io::Result<Piece>>,
    buffer: BytesMut,
    skip: u64,
    length: u64,
    hasher: crc32fast::Hasher,
}

impl PieceWriter {
    fn new(offset: u64, pieces: mpsc::Sender<io::Result<Piece>>) -> Self {
        Self {
            pieces,
            buffer: BytesMut::new(),
            skip: offset,
            length: 0,
            hasher: crc32fast::Hasher::new(),
        }
    }

    fn send(&self, piece: Piece) -> io::Result<()> {
        self.pieces
            .blocking_send(Ok(piece))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the snapshot any more"))
    }

    fn end(mut self) -> io::Result<()> {
        self.flush()?;
        faults::point(Failpoint::SnapshotSending);
        self.send(Piece::End {
            length: self.length,
            crc32: self.hasher.clone().finalize(),
        })
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pieces.is_closed() {
            // Noticed while the first bytes are still being left out, too.
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        let left_out = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= left_out as u64;
        self.buffer.extend_from_slice(&bytes[left_out..]);
        while self.buffer.len() >= limits::SNAPSHOT_CHUNK_BYTES {
            let chunk = self.buffer.split_to(limits::SNAPSHOT_CHUNK_BYTES).freeze();
            self.send(Piece::Chunk(chunk))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = self.buffer.split().freeze();
        self.send(Piece::Chunk(chunk))
    }
}

struct PieceReader {
    pieces: mpsc::Receiver<io::Result<Piece>>,
    current: Bytes,
}

impl Read for PieceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Ok(Piece::Chunk(chunk))) => self.current = chunk,
                Some(Ok(Piece::End { .. })) => return Ok(0),
                Some(Err(error)) => return Err(error),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let count = self.current.len().min(out.len());
        self.current.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}

/// A received snapshot in a file, which goes when this is dropped.
#[derive(Debug)]
pub(crate) struct ReceivedSnapshot {
    path: PathBuf,
}

impl ReceivedSnapshot {
    /// Opens it for reading.
    pub(crate) fn open(&self) -> io::Result<impl Read + use<>> {
        Ok(io::BufReader::new(std::fs::File::open(&self.path)?))
    }
}

impl Drop for ReceivedSnapshot {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "could not remove a received snapshot");
        }
    }
}

/// A snapshot that is being received. Dropped before [`finish`](Self::finish), it leaves what has come so far.
#[derive(Debug)]
pub(crate) struct Receiving {
    file: PartFile,
    path: PathBuf,
    length: u64,
    hasher: crc32fast::Hasher,
}

impl Receiving {
    /// Goes on with the transfer `id`, of which `offset` bytes are in `directory`, or begins it. What is there of other
    /// transfers is removed.
    ///
    /// # Errors
    /// `InvalidInput` if another number of bytes is there; what the system says.
    pub(crate) async fn start(directory: &Path, id: &str, offset: u64) -> io::Result<Self> {
        let path = partial(directory, id)?;
        let (directory, kept) = (directory.to_owned(), path.clone());
        let hasher = blocking(move || {
            remove_partials(&directory, |other| *other != *kept)?;
            if offset == 0 {
                // Truncated below.
                return Ok(crc32fast::Hasher::new());
            }
            hash_of(&kept, offset)
        })
        .await?;
        let file = PartFile::open(&path, offset > 0).await?;
        Ok(Self {
            file,
            path,
            length: offset,
            hasher,
        })
    }

    /// Adds a chunk.
    pub(crate) async fn add(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.hasher.update(chunk);
        self.length += chunk.len() as u64;
        self.file.write_all(chunk).await
    }

    /// Keeps what has come, to go on with later.
    pub(crate) async fn pause(mut self) {
        // What does not get there is asked for again.
        let _ = self.file.flush().await;
    }

    /// Checks that it is whole. If it is not, nothing of it is kept.
    pub(crate) async fn finish(mut self, length: u64, crc32: u32) -> io::Result<ReceivedSnapshot> {
        let snapshot = ReceivedSnapshot {
            path: self.path.clone(),
        };
        self.file.flush().await?;
        let computed = self.hasher.finalize();
        if self.length != length || computed != crc32 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} of {length} bytes came, with checksum {computed:08x} instead of {crc32:08x}",
                    self.length
                ),
            ));
        }
        Ok(snapshot)
    }
}

/// How many bytes of the transfer `id` are in `directory`.
pub(crate) fn received_bytes(directory: &Path, id: &str) -> u64 {
    partial(directory, id)
        .and_then(std::fs::metadata)
        .map_or(0, |file| file.len())
}

pub(super) fn partial(directory: &Path, id: &str) -> io::Result<PathBuf> {
    // It becomes a file's name, and comes from outside.
    let fits = !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if fits {
        Ok(directory.join(format!("{PARTIAL_PREFIX}{id}")))
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a transfer's id is letters and digits",
        ))
    }
}

fn hash_of(path: &Path, length: u64) -> io::Result<crc32fast::Hasher> {
    let mut file = std::fs::File::open(path)?;
    if file.metadata()?.len() != length {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "another number of bytes of it is here",
        ));
    }
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; limits::SNAPSHOT_CHUNK_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn remove_partials(directory: &Path, unwanted: impl Fn(&Path) -> bool) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if unwanted(&path) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Makes `directory`. What an earlier run has received there stays, so that its transfer can go on.
pub(crate) fn prepare(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    remove_partials(directory, |path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with(PARTIAL_PREFIX)
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    pool::run(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path) -> usize {
        std::fs::read_dir(directory).unwrap().count()
    }

    #[tokio::test]
    async fn an_incomplete_or_changed_snapshot_is_refused_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let crc = crc32fast::hash(b"onetwo");
        for (length, crc32, whole) in [(6, crc, true), (7, crc, false), (6, crc ^ 1, false)] {
            let mut receiving = Receiving::start(directory.path(), "a1", 0).await.unwrap();
            receiving.add(b"one").await.unwrap();
            receiving.add(b"two").await.unwrap();
            let finished = receiving.finish(length, crc32).await;
            assert_eq!(finished.is_ok(), whole);
            if let Ok(received) = finished {
                let mut content = String::new();
                received.open().unwrap().read_to_string(&mut content).unwrap();
                assert_eq!(content, "onetwo");
            }
            assert_eq!(files(directory.path()), 0);
        }
    }

    #[tokio::test]
    async fn a_transfer_goes_on_where_it_broke_off_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut receiving = Receiving::start(path, "a1", 0).await.unwrap();
        receiving.add(b"one").await.unwrap();
        receiving.pause().await;
        prepare(path).unwrap();
        assert_eq!(received_bytes(path, "a1"), 3);
        assert_eq!((received_bytes(path, "a2"), received_bytes(path, "../a1")), (0, 0));
        assert!(
            Receiving::start(path, "a1", 2).await.is_err(),
            "another offset would leave a hole"
        );

        let mut receiving = Receiving::start(path, "a1", 3).await.unwrap();
        receiving.add(b"two").await.unwrap();
        let crc = crc32fast::hash(b"onetwo");
        drop(receiving.finish(6, crc).await.unwrap());
        assert_eq!(files(path), 0);

        // Another transfer takes the place of what is left of the last.
        Receiving::start(path, "a1", 0).await.unwrap().pause().await;
        Receiving::start(path, "b1", 0).await.unwrap().pause().await;
        assert_eq!(files(path), 1);
    }

    #[tokio::test]
    async fn a_pinned_view_gives_the_same_bytes_again() {
        let engine = Arc::new(Engine::in_memory());
        let export = PinnedExport::start(engine).await.unwrap();
        let mut whole = Vec::new();
        let mut pieces = export.read_from(0).unwrap();
        let mut end = None;
        while let Some(piece) = pieces.recv().await {
            match piece.unwrap() {
                Piece::Chunk(chunk) => whole.extend_from_slice(&chunk),
                found @ Piece::End { .. } => end = Some(found),
            }
        }
        let (length, crc32) = (whole.len() as u64, crc32fast::hash(&whole));
        assert_eq!(end, Some(Piece::End { length, crc32 }));
        assert!(!export.is_wanted(), "no transfer has begun");
        export.set_begun(2);
        // One whose reader is slow, or gone without a word, holds up nobody.
        let stuck = export.read_from(0).unwrap();
        assert!(export.is_wanted());
        for offset in [1, length - 1, length] {
            let mut pieces = export.read_from(offset).unwrap();
            let mut rest = Vec::new();
            while let Some(piece) = pieces.recv().await {
                match piece.unwrap() {
                    Piece::Chunk(chunk) => rest.extend_from_slice(&chunk),
                    Piece::End { length: l, crc32: c } => assert_eq!((l, c), (length, crc32)),
                }
            }
            assert_eq!(rest, whole[usize::try_from(offset).unwrap()..]);
        }
        drop(stuck);
        export.set_begun(3);
        export.set_done(2);
        assert!(export.is_wanted(), "server 3 does not have it");
        export.set_done(3);
        assert!(!export.is_wanted());
    }
}
