//! Who a data directory belongs to: one server of one cluster, for good.
//!
//! It is written once, when the directory is first used, and checked at every start: a server that
//! came up with another cluster's log, or under another server's id, could vote twice (I1).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const FILE: &str = "identity.json";
const FORMAT: u32 = 1;

/// Which server of which cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of the directory's layout.
    format: u32,
    /// The cluster's id.
    pub cluster_id: String,
    /// The server's Raft id. Never 0, never used again for another server or another directory.
    pub server_id: u64,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It is another cluster's.
    #[error(
        "the data directory {path} belongs to cluster {found}, not to {wanted}; \
         give this server a directory of its own, or delete that one if its cluster is gone"
    )]
    OtherCluster {
        /// The directory.
        path: String,
        /// Whose it is.
        found: String,
        /// Who we are.
        wanted: String,
    },
    /// It is another server's of the same cluster.
    #[error("the data directory {path} belongs to server {found} of this cluster, not to server {wanted}")]
    OtherServer {
        /// The directory.
        path: String,
        /// Whose it is.
        found: u64,
        /// Who we are.
        wanted: u64,
    },
    /// Its layout is of another version of the program.
    #[error("the data directory {path} has layout {found}; this version knows layout {FORMAT} only")]
    Format {
        /// The directory.
        path: String,
        /// Its layout.
        found: u32,
    },
    /// It holds data but does not say whose.
    #[error("the data directory {path} holds a Raft log but no {FILE}; it is incomplete and must not be used")]
    Nameless {
        /// The directory.
        path: String,
    },
    /// The file is there, but is not what we write.
    #[error("cannot understand {path}: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The directory or file could not be read or written.
    #[error("cannot use the data directory {path}")]
    Io {
        /// The directory.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl Identity {
    /// An identity of the present layout.
    pub fn new(cluster_id: impl Into<String>, server_id: u64) -> Self {
        Self {
            format: FORMAT,
            cluster_id: cluster_id.into(),
            server_id,
        }
    }

    /// Reads the identity of `directory`; `None` if it has none, because it is new or absent.
    ///
    /// # Errors
    /// [`IdentityError`] if it is there but cannot be read.
    pub fn read(directory: &Path) -> Result<Option<Self>, IdentityError> {
        let path = directory.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(IdentityError::Io {
                    path: path.display().to_string(),
                    source,
                });
            }
        };
        let damaged = |what: String| IdentityError::Damaged {
            path: path.display().to_string(),
            what,
        };
        let identity: Self = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if identity.server_id == 0 || identity.cluster_id.is_empty() {
            return Err(damaged("an id is empty".into()));
        }
        if identity.format != FORMAT {
            return Err(IdentityError::Format {
                path: directory.display().to_string(),
                found: identity.format,
            });
        }
        Ok(Some(identity))
    }

    /// Makes `directory` this identity's, or checks that it is.
    ///
    /// # Errors
    /// [`IdentityError`] if it is someone else's.
    pub(crate) fn claim(&self, directory: &Path, log_directory: &Path) -> Result<(), IdentityError> {
        let shown = || directory.display().to_string();
        match Self::read(directory)? {
            Some(found) if found.cluster_id != self.cluster_id => Err(IdentityError::OtherCluster {
                path: shown(),
                found: found.cluster_id,
                wanted: self.cluster_id.clone(),
            }),
            Some(found) if found.server_id != self.server_id => Err(IdentityError::OtherServer {
                path: shown(),
                found: found.server_id,
                wanted: self.server_id,
            }),
            Some(_) => Ok(()),
            None if log_directory.exists() => Err(IdentityError::Nameless { path: shown() }),
            None => self
                .write(directory)
                .map_err(|source| IdentityError::Io { path: shown(), source }),
        }
    }

    /// Makes `directory` this identity's, whoever's it was.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub(crate) fn replace(&self, directory: &Path) -> Result<(), IdentityError> {
        self.write(directory).map_err(|source| IdentityError::Io {
            path: directory.display().to_string(),
            source,
        })
    }

    fn write(&self, directory: &Path) -> std::io::Result<()> {
        fs::create_dir_all(directory)?;
        let temporary: PathBuf = directory.join(format!("{FILE}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(&temporary, directory.join(FILE))?;
        File::open(directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_server_of_one_cluster() {
        let directory = tempfile::tempdir().unwrap();
        let (path, log) = (directory.path(), directory.path().join("raft-log"));
        assert_eq!(Identity::read(path).unwrap(), None);
        let owner = Identity::new("blue", 2);
        owner.claim(path, &log).unwrap();
        owner.claim(path, &log).unwrap();
        assert_eq!(Identity::read(path).unwrap(), Some(owner));

        let error = Identity::new("red", 2).claim(path, &log).unwrap_err().to_string();
        assert!(error.contains("belongs to cluster blue, not to red"), "{error}");
        let error = Identity::new("blue", 3).claim(path, &log).unwrap_err().to_string();
        assert!(
            error.contains("belongs to server 2 of this cluster, not to server 3"),
            "{error}"
        );
    }

    #[test]
    fn a_log_without_an_identity_is_not_adopted() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("raft-log");
        fs::create_dir(&log).unwrap();
        let refused = Identity::new("blue", 1).claim(directory.path(), &log);
        assert!(matches!(refused, Err(IdentityError::Nameless { .. })));
    }

    #[test]
    fn a_damaged_identity_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for content in [
            "",
            "{",
            r#"{"format":1,"cluster_id":"","server_id":1}"#,
            r#"{"format":9,"cluster_id":"a","server_id":1}"#,
        ] {
            fs::write(directory.path().join(FILE), content).unwrap();
            assert!(Identity::read(directory.path()).is_err(), "{content}");
        }
    }
}
