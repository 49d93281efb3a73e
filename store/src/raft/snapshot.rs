//! Snapshots on their way: out of a live engine, or received and waiting to be installed.
//!
//! Neither is ever whole in memory. A snapshot that is sent is made while it is sent, from a pinned
//! view, by a thread that is at most a few chunks ahead of the network. A snapshot that is received
//! goes to a file first and is installed only when it is complete and its checksum fits.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};

use crate::engine::Engine;
use crate::limits;

/// Chunks that the exporting thread may be ahead of the network.
const EXPORT_CHUNKS_AHEAD: usize = 4;

/// The content of a snapshot, as openraft passes it around.
#[derive(Debug)]
pub(crate) enum SnapshotData {
    /// The state is flushed as of the snapshot's log id; there is nothing to pass on. What a
    /// "built" snapshot is: it only says how far the log may be purged.
    Flushed,
    /// A live export of this server's state, to be sent.
    Live(LiveExport),
    /// A complete, checked file that another server has sent.
    Received(ReceivedSnapshot),
}

/// The bytes of a snapshot, made while they are read. Dropping it ends the export.
#[derive(Debug)]
pub(crate) struct LiveExport {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
}

impl LiveExport {
    /// Pins the engine's present state and starts to export it. When this returns, whatever is
    /// applied later is not in the snapshot.
    pub(crate) async fn start(engine: Arc<Engine>) -> io::Result<Self> {
        let (chunk_sender, chunks) = mpsc::channel(EXPORT_CHUNKS_AHEAD);
        let (pinned_sender, pinned) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let mut writer = ChunkWriter {
                chunks: chunk_sender.clone(),
                buffer: BytesMut::new(),
                pinned: Some(pinned_sender),
            };
            let exported = engine
                .export(&mut writer)
                .map_err(io::Error::other)
                .and_then(|_| writer.flush());
            if let Err(error) = exported {
                // A receiver that has gone away is how a transfer is cancelled.
                let _ = chunk_sender.blocking_send(Err(error));
            }
        });
        let mut export = Self { chunks };
        // The exporter writes only from its pinned view, so its first byte says that it has one.
        match pinned.await {
            Ok(()) => Ok(export),
            Err(_) => match export.chunks.recv().await {
                Some(Err(error)) => Err(error),
                Some(Ok(_)) | None => Err(io::Error::other("the export ended before it began")),
            },
        }
    }

    /// The next chunk; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Bytes>> {
        self.chunks.recv().await
    }

    /// Reads it with blocking calls.
    pub(crate) fn into_reader(self) -> impl Read {
        ChunkReader {
            chunks: self.chunks,
            current: Bytes::new(),
        }
    }
}

struct ChunkWriter {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    buffer: BytesMut,
    pinned: Option<oneshot::Sender<()>>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(pinned) = self.pinned.take() {
            // The one who waits may have been cancelled; the first chunk will tell.
            let _ = pinned.send(());
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= limits::SNAPSHOT_CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = self.buffer.split().freeze();
        self.chunks
            .blocking_send(Ok(chunk))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the snapshot any more"))
    }
}

struct ChunkReader {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for ChunkReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
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
    pub(crate) fn open(&self) -> io::Result<impl Read> {
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

/// A snapshot that is being received. Dropped before [`finish`](Self::finish), it leaves nothing.
#[derive(Debug)]
pub(crate) struct Receiving {
    file: tokio::fs::File,
    snapshot: ReceivedSnapshot,
    length: u64,
    hasher: crc32fast::Hasher,
}

impl Receiving {
    /// Makes the file, in `directory`.
    pub(crate) async fn start(directory: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = directory.join(format!("received-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let file = tokio::fs::File::create(&path).await?;
        Ok(Self {
            file,
            snapshot: ReceivedSnapshot { path },
            length: 0,
            hasher: crc32fast::Hasher::new(),
        })
    }

    /// Adds a chunk.
    pub(crate) async fn add(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.hasher.update(chunk);
        self.length += chunk.len() as u64;
        self.file.write_all(chunk).await
    }

    /// Checks that it is whole.
    pub(crate) async fn finish(mut self, length: u64, crc32: u32) -> io::Result<ReceivedSnapshot> {
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
        Ok(self.snapshot)
    }
}

/// Removes what an earlier run has left in `directory`, and makes it.
pub(crate) fn clean(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    std::fs::create_dir_all(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_incomplete_or_changed_snapshot_is_refused_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let crc = crc32fast::hash(b"onetwo");
        for (length, crc32, whole) in [(6, crc, true), (7, crc, false), (6, crc ^ 1, false)] {
            let mut receiving = Receiving::start(directory.path()).await.unwrap();
            receiving.add(b"one").await.unwrap();
            receiving.add(b"two").await.unwrap();
            let finished = receiving.finish(length, crc32).await;
            assert_eq!(finished.is_ok(), whole);
            if let Ok(received) = finished {
                let mut content = String::new();
                received.open().unwrap().read_to_string(&mut content).unwrap();
                assert_eq!(content, "onetwo");
            }
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }
}
