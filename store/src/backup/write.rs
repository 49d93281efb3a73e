//! Making a backup: the state's snapshot, with a header before it and a seal behind it.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::BoxStream;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{BLOCK_BYTES, BODY_LENGTH_BYTES, BackupHeader, MAGIC};
use crate::kv::KvError;
use crate::raft::Piece;

/// Hashes and counts what it is made of.
#[derive(Debug, Default)]
pub(super) struct Seal {
    digest: Sha256,
    length: u64,
    body_length: u64,
}

impl Seal {
    /// The beginning.
    pub(super) fn begin(&mut self, header: &BackupHeader) -> Bytes {
        let header = serde_json::to_vec(header).expect("a header has a JSON form");
        let mut out = BytesMut::with_capacity(MAGIC.len() + 8 + header.len());
        out.put_slice(MAGIC);
        out.put_u32(u32::try_from(header.len()).expect("a header is small"));
        out.put_slice(&header);
        out.put_u32(crc32fast::hash(&header));
        self.take(&out);
        out.freeze()
    }

    /// A piece of the snapshot.
    pub(super) fn body(&mut self, piece: &[u8]) {
        self.body_length += piece.len() as u64;
        self.take(piece);
    }

    /// The end.
    pub(super) fn end(mut self) -> Bytes {
        let whole = (self.length + BODY_LENGTH_BYTES).next_multiple_of(BLOCK_BYTES);
        let zeros = usize::try_from(whole - BODY_LENGTH_BYTES - self.length).expect("it is less than a block");
        let mut out = BytesMut::zeroed(zeros);
        out.put_u64(self.body_length);
        self.take(&out);
        out.put_slice(&self.digest.finalize());
        out.freeze()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
    }
}

/// The backup of the snapshot that `body` gives.
pub(crate) fn stream(
    header: &BackupHeader,
    body: mpsc::Receiver<io::Result<Piece>>,
) -> BoxStream<'static, Result<Bytes, KvError>> {
    enum Step {
        Begin(Bytes, Seal, mpsc::Receiver<io::Result<Piece>>),
        Body(Seal, mpsc::Receiver<io::Result<Piece>>),
        End,
    }
    let mut seal = Seal::default();
    let begin = seal.begin(header);
    let failed = |why: String| {
        Some((
            Err(KvError::Stopped(format!("the backup could not be made: {why}"))),
            Step::End,
        ))
    };
    let steps = futures::stream::unfold(Step::Begin(begin, seal, body), move |step| async move {
        match step {
            Step::Begin(begin, seal, body) => Some((Ok(begin), Step::Body(seal, body))),
            Step::Body(mut seal, mut body) => match body.recv().await {
                Some(Ok(Piece::Chunk(piece))) => {
                    seal.body(&piece);
                    Some((Ok(piece), Step::Body(seal, body)))
                }
                Some(Ok(Piece::End { .. })) => Some((Ok(seal.end()), Step::End)),
                Some(Err(error)) => failed(error.to_string()),
                None => failed("this server is stopping".into()),
            },
            Step::End => None,
        }
    });
    Box::pin(steps)
}
