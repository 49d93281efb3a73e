//! Backups: the whole state as one stream, that says of itself whether it is whole.
//!
//! `magic (8) | header length (4) | header, JSON | header CRC32 (4) | the state's snapshot | zeros | length of the snapshot
//! (8) | SHA-256 over all before (32)`, numbers big-endian. The zeros make everything before the SHA-256 a multiple of 512
//! bytes, which is what the usual tools for snapshots of etcd insist on before they keep a file.
//!
//! It is made from a pinned view, so writes go on; and any server can give it.

#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod read;
mod write;

use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::kv::{KvError, Revision};

pub use read::{BackupError, BackupFile};
pub(crate) use write::stream;

const MAGIC: &[u8; 8] = b"TRIBACK1";
const FORMAT: u32 = 1;
/// What everything before the SHA-256 is a multiple of, in bytes.
const BLOCK_BYTES: u64 = 512;
const DIGEST_BYTES: u64 = 32;
const BODY_LENGTH_BYTES: u64 = 8;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHeader {
    /// Version of the format.
    format: u32,
    /// The cluster that it is of.
    pub cluster_id: String,
    /// The revision that it is of.
    pub revision: Revision,
    /// The log index that it is of.
    pub applied_index: u64,
    /// The servers at that time, ordered by id.
    pub members: Vec<BackupMember>,
}

/// A server of the cluster that a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMember {
    /// Its Raft id.
    pub id: u64,
    /// Its name.
    pub name: String,
}

impl BackupHeader {
    pub(crate) fn new(cluster_id: &str, revision: Revision, applied_index: u64, members: Vec<BackupMember>) -> Self {
        Self {
            format: FORMAT,
            cluster_id: cluster_id.to_owned(),
            revision,
            applied_index,
            members,
        }
    }
}

/// A backup under way. The stream ends after its SHA-256, or with an error.
pub struct Backup {
    /// What it is of.
    pub header: BackupHeader,
    /// About how large it will be, in bytes; 0 if that is not known.
    pub estimated_bytes: u64,
    /// Its bytes.
    pub stream: BoxStream<'static, Result<Bytes, KvError>>,
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backup")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
