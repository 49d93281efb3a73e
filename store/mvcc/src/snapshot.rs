//! The whole state as a stream of bytes, and back.
//!
//! A stream is a magic number and then frames: length, CRC32, payload. The first frame is the header (the state
//! with its applied position), then come frames of rows, then a trailer with the number of rows and a SHA-256 over
//! all payloads before it. An import that misses a byte, or has one too many or changed, fails; only a finished import leaves
//! a state in its storage, since the state's own row is written last.

use bytes::{Buf, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::codec::{DecodeError, Reader, Writer};
use crate::limits::{SNAPSHOT_FRAME_BYTES, SNAPSHOT_FRAME_BYTES_MAX};
use crate::meta::{AppliedPosition, Removed, State, load_removed, store_removed};
use crate::storage::{Access, Cursor, Storage, StorageError, StorageRead, Table, WriteBatch};
use crate::types::Revision;

const MAGIC: &[u8; 8] = b"TRISNAP1";
const FRAME_HEADER_BYTES: usize = 8;
const KIND_HEADER: u8 = 1;
const KIND_ROWS: u8 = 2;
const KIND_TRAILER: u8 = 3;

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The last entry it includes; `None` if nothing was ever applied.
    pub position: Option<AppliedPosition>,
    /// The store's revision.
    pub revision: Revision,
    /// The compaction watermark.
    pub compacted: Revision,
}

impl From<&State> for SnapshotHeader {
    fn from(state: &State) -> Self {
        Self {
            position: state.position.clone(),
            revision: state.revision,
            compacted: state.compacted,
        }
    }
}

/// Why a snapshot was refused.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is not a snapshot of ours, or of a format we do not know.
    #[error("this is not a snapshot of a known format")]
    NotASnapshot,
    /// It is damaged.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// A part of it does not decode.
    #[error("the snapshot is damaged")]
    Malformed(#[from] DecodeError),
    /// It ends too early.
    #[error("the snapshot is incomplete")]
    Incomplete,
    /// The storage to import into is not empty.
    #[error("the storage to import into is not empty")]
    NotEmpty,
    /// The storage failed; fatal.
    #[error("the snapshot could not be read or stored")]
    Storage(#[from] StorageError),
}

/// Turns a view into a stream, frame by frame.
pub struct Exporter<'r, R: StorageRead> {
    reader: &'r R,
    header: SnapshotHeader,
    next: Next<R::Cursor<'r>>,
    digest: Sha256,
    rows: u64,
}

enum Next<C> {
    Header { state: State, removed: Removed },
    Rows { table: Table, cursor: C },
    Trailer,
    Nothing,
}

impl<R: StorageRead> std::fmt::Debug for Exporter<'_, R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Exporter")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl<'r, R: StorageRead> Exporter<'r, R> {
    /// Begins with a view.
    ///
    /// # Errors
    /// [`StorageError`], fatal.
    pub fn new(reader: &'r R) -> Result<Self, StorageError> {
        let state = State::load(reader)?;
        let removed = load_removed(reader)?;
        let header = SnapshotHeader::from(&state);
        Ok(Self {
            reader,
            header,
            next: Next::Header { state, removed },
            digest: Sha256::new(),
            rows: 0,
        })
    }

    /// What the snapshot is of.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// The next piece of the stream; `None` at its end.
    ///
    /// # Errors
    /// [`StorageError`], fatal.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, StorageError> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => Ok(None),
            Next::Header { state, removed } => {
                let mut payload = Writer::default();
                payload.byte(KIND_HEADER);
                payload.slice(&state.encode());
                payload.signed(removed.revision);
                self.next = self.open(Table::Data)?;
                let mut out = MAGIC.to_vec();
                self.frame(&payload.out, &mut out);
                Ok(Some(out.into()))
            }
            Next::Rows { table, cursor } => self.rows(table, cursor).map(Some),
            Next::Trailer => {
                let mut payload = Writer::default();
                payload.byte(KIND_TRAILER);
                payload.number(self.rows);
                payload.slice(&std::mem::take(&mut self.digest).finalize());
                let mut out = Vec::new();
                self.frame(&payload.out, &mut out);
                Ok(Some(out.into()))
            }
        }
    }

    fn open(&self, table: Table) -> Result<Next<R::Cursor<'r>>, StorageError> {
        let mut cursor = self.reader.cursor(table, Access::Ordered { upper: None });
        cursor.seek(&[])?;
        Ok(Next::Rows { table, cursor })
    }

    fn rows(&mut self, table: Table, mut cursor: R::Cursor<'r>) -> Result<Bytes, StorageError> {
        let mut payload = Writer::default();
        payload.byte(KIND_ROWS);
        payload.byte(table_tag(table));
        while payload.out.len() < SNAPSHOT_FRAME_BYTES
            && let Some((key, value)) = cursor.entry()
        {
            payload.slice(key);
            payload.slice(value);
            self.rows += 1;
            cursor.next()?;
        }
        self.next = match (cursor.entry().is_some(), table) {
            (true, _) => Next::Rows { table, cursor },
            (false, Table::Data) => self.open(Table::Events)?,
            (false, Table::Events) => self.open(Table::Leases)?,
            (false, Table::Leases) => self.open(Table::LeaseKeys)?,
            (false, Table::LeaseKeys | Table::Meta) => Next::Trailer,
        };
        let mut out = Vec::new();
        self.frame(&payload.out, &mut out);
        Ok(out.into())
    }

    fn frame(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let length = u32::try_from(payload.len()).expect("a frame is bounded by a record, far below 4 GiB");
        self.digest.update(payload);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&crc32fast::hash(payload).to_be_bytes());
        out.extend_from_slice(payload);
    }
}

fn table_tag(table: Table) -> u8 {
    match table {
        Table::Meta => 0,
        Table::Data => 1,
        Table::Events => 2,
        Table::Leases => 3,
        Table::LeaseKeys => 4,
    }
}

/// Builds a state from a stream.
pub struct Importer<'s, S> {
    storage: &'s S,
    buffer: BytesMut,
    digest: Sha256,
    rows: u64,
    progress: Progress,
}

enum Progress {
    Magic,
    Header,
    Rows { state: State, removed: Revision },
    Done { state: State, removed: Revision },
}

impl<S> std::fmt::Debug for Importer<'_, S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Importer")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl<'s, S: Storage> Importer<'s, S> {
    /// Begins with an empty storage. If the import fails the storage must be thrown away.
    ///
    /// # Errors
    /// [`SnapshotError::NotEmpty`], [`SnapshotError::Storage`].
    pub fn new(storage: &'s S) -> Result<Self, SnapshotError> {
        let snapshot = storage.snapshot();
        for table in Table::ALL {
            let mut cursor = snapshot.cursor(table, Access::Ordered { upper: None });
            cursor.seek(&[])?;
            if cursor.entry().is_some() {
                return Err(SnapshotError::NotEmpty);
            }
        }
        let (buffer, digest) = (BytesMut::new(), Sha256::new());
        Ok(Self {
            storage,
            buffer,
            digest,
            rows: 0,
            progress: Progress::Magic,
        })
    }

    /// Takes the next piece of the stream, however it is cut.
    ///
    /// # Errors
    /// [`SnapshotError`]; the import has failed.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.buffer.extend_from_slice(bytes);
        if matches!(self.progress, Progress::Magic) {
            if self.buffer.len() < MAGIC.len() {
                return Ok(());
            }
            if self.buffer.split_to(MAGIC.len()) != MAGIC[..] {
                return Err(SnapshotError::NotASnapshot);
            }
            self.progress = Progress::Header;
        }
        while let Some(payload) = self.take_frame()? {
            self.frame(payload)?;
        }
        Ok(())
    }

    /// Ends the import: checks that the stream was whole and makes the state valid.
    ///
    /// # Errors
    /// [`SnapshotError::Incomplete`], [`SnapshotError::Storage`].
    pub fn finish(self) -> Result<SnapshotHeader, SnapshotError> {
        let Progress::Done { state, removed } = self.progress else {
            return Err(SnapshotError::Incomplete);
        };
        if !self.buffer.is_empty() {
            return Err(SnapshotError::Damaged("bytes follow its end"));
        }
        let mut batch = WriteBatch::default();
        store_removed(&mut batch, Removed::before(removed));
        state.store(&mut batch);
        self.storage.write(batch)?;
        Ok(SnapshotHeader::from(&state))
    }

    fn take_frame(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        let Some(head) = self.buffer.first_chunk::<FRAME_HEADER_BYTES>() else {
            return Ok(None);
        };
        let [a, b, c, d, e, f, g, h] = *head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > SNAPSHOT_FRAME_BYTES_MAX {
            return Err(SnapshotError::Damaged("a frame is too long"));
        }
        if self.buffer.len() < FRAME_HEADER_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(FRAME_HEADER_BYTES);
        let payload = self.buffer.split_to(length).freeze();
        if crc32fast::hash(&payload) != u32::from_be_bytes([e, f, g, h]) {
            return Err(SnapshotError::Damaged("a frame's checksum does not match"));
        }
        Ok(Some(payload))
    }

    fn frame(&mut self, payload: Bytes) -> Result<(), SnapshotError> {
        let so_far = self.digest.clone();
        self.digest.update(&payload);
        let mut reader = Reader::new(payload);
        let kind = reader.byte()?;
        let progress = std::mem::replace(&mut self.progress, Progress::Header);
        self.progress = match (kind, progress) {
            (KIND_HEADER, Progress::Header) => {
                let state = State::decode(reader.slice()?)?;
                let removed = reader.signed()?;
                reader.finish()?;
                Progress::Rows { state, removed }
            }
            (KIND_ROWS, Progress::Rows { state, removed }) => {
                self.store_rows(reader)?;
                Progress::Rows { state, removed }
            }
            (KIND_TRAILER, Progress::Rows { state, removed }) => {
                let (rows, digest) = (reader.number()?, reader.slice()?);
                reader.finish()?;
                if rows != self.rows || so_far.finalize()[..] != digest[..] {
                    return Err(SnapshotError::Damaged("it does not add up to its trailer"));
                }
                Progress::Done { state, removed }
            }
            _ => return Err(SnapshotError::Damaged("its frames are out of order")),
        };
        Ok(())
    }

    fn store_rows(&mut self, mut reader: Reader) -> Result<(), SnapshotError> {
        let table = match reader.byte()? {
            1 => Table::Data,
            2 => Table::Events,
            3 => Table::Leases,
            4 => Table::LeaseKeys,
            tag => return Err(DecodeError::UnknownTag { what: "table", tag }.into()),
        };
        let mut batch = WriteBatch::default();
        while !reader.is_empty() {
            let (key, value) = (reader.slice()?, reader.slice()?);
            batch.put(table, key.to_vec(), value.to_vec());
            self.rows += 1;
        }
        self.storage.write(batch)?;
        Ok(())
    }
}
