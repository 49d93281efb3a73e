//! Why the engine failed, and how what the state machine says becomes what [`KvError`] says.

use std::io;
use std::path::PathBuf;

use trireme_mvcc::command::{CommandError, DecodeError};
use trireme_mvcc::machine::ApplyError;
use trireme_mvcc::outcome::Refusal;
use trireme_mvcc::range::ReadError;
use trireme_mvcc::snapshot::SnapshotError;
use trireme_mvcc::storage::StorageError;

use crate::kv::KvError;

/// Why the engine failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A file or directory of the state could not be made, read or replaced.
    #[error("{doing} {path}")]
    Directory {
        /// What we were doing.
        doing: &'static str,
        /// With which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The directory is not one that we left.
    #[error("{path} does not hold a whole state: {why}")]
    BadDirectory {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A committed entry does not decode: it is damaged, or of a newer version.
    #[error("entry {index} cannot be decoded")]
    Undecodable {
        /// Its index.
        index: u64,
        /// Why not.
        #[source]
        source: DecodeError,
    },
    /// A chunk could not be applied.
    #[error("committed entries could not be applied")]
    Apply(#[from] ApplyError),
    /// The storage failed.
    #[error("the state's storage failed")]
    Storage(#[from] StorageError),
    /// A snapshot could not be installed; the state is as it was.
    #[error("the snapshot could not be installed")]
    Snapshot(#[from] SnapshotError),
    /// The stream of a snapshot could not be read or written; the state is as it was.
    #[error("the snapshot's stream failed")]
    Stream(#[source] io::Error),
}

impl From<Refusal> for KvError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Deposed { decided, current } => Self::Deposed { decided, current },
            Refusal::Invalid(why) => Self::Invalid(why),
            Refusal::Compacted { requested, oldest } => Self::Compacted { requested, oldest },
            Refusal::FutureRevision { requested, current } => Self::FutureRevision { requested, current },
            Refusal::LeaseNotFound { id } => Self::LeaseNotFound { id },
            Refusal::LeaseExists { id } => Self::LeaseExists { id },
            Refusal::KeyNotFound => Self::KeyNotFound,
            Refusal::NoSpace => Self::NoSpace,
            Refusal::Corrupt => Self::Corrupt,
        }
    }
}

impl From<ReadError> for KvError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Compacted { requested, oldest } => Self::Compacted { requested, oldest },
            ReadError::FutureRevision { requested, current } => Self::FutureRevision { requested, current },
            ReadError::TooLarge { .. } => Self::Invalid(error.to_string()),
            ReadError::Storage(error) => Self::Stopped(error.to_string()),
        }
    }
}

impl From<CommandError> for KvError {
    fn from(error: CommandError) -> Self {
        Self::Invalid(error.to_string())
    }
}
