//! What the process runtime and its shims keep on disk: their only shared memory.
//!
//! A sandbox is a directory with `sandbox.json`. A container is a directory with `container.json`
//! (written by the runtime before the shim starts), `running.json` (written by the shim once the
//! command runs) and `exit.json` (written by the shim when it ended, or could not start). Files are
//! replaced atomically, so a reader never sees a part.

use super::super::{PodIdentity, RuntimeError};
use super::liveness::ProcessIdentity;
use crate::paths::{self, write_file_durably};
use crate::time::Moment;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

pub(super) const SANDBOX_FILE: &str = "sandbox.json";
pub(super) const CONTAINER_FILE: &str = "container.json";
pub(super) const RUNNING_FILE: &str = "running.json";
pub(super) const EXIT_FILE: &str = "exit.json";
/// The shim of a container holds a lock on this file, so that there is never a second one.
pub(super) const LOCK_FILE: &str = "lock";
const RECORD_MODE: u32 = 0o600;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SandboxRecord {
    pub(super) pod: PodIdentity,
    pub(super) attempt: u32,
    pub(super) created_at: Moment,
    pub(super) address: Option<IpAddr>,
    pub(super) stopped: bool,
    /// A sandbox does not outlive the machine's run.
    pub(super) boot_id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ContainerRecord {
    pub(super) sandbox_id: String,
    pub(super) pod: PodIdentity,
    pub(super) name: String,
    pub(super) attempt: u32,
    pub(super) image: String,
    pub(super) image_id: String,
    pub(super) created_at: Moment,
    pub(super) boot_id: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) directory: PathBuf,
    pub(super) log: PathBuf,
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RunningRecord {
    pub(super) process: ProcessIdentity,
    pub(super) shim: ProcessIdentity,
    pub(super) started_at: Moment,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExitRecord {
    pub(super) exit_code: i32,
    pub(super) finished_at: Moment,
    pub(super) reason: String,
    pub(super) message: String,
}

/// Reads a record; `None` if it was never written.
pub(super) fn read<T: DeserializeOwned>(directory: &Path, file: &str) -> Result<Option<T>, RuntimeError> {
    let path = directory.join(file);
    match std::fs::read(&path) {
        Ok(content) => serde_json::from_slice(&content)
            .map(Some)
            .map_err(|error| RuntimeError::Failed {
                operation: "reading a record",
                message: format!("{}: {error}", path.display()),
            }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RuntimeError::Io {
            operation: "reading a record",
            source,
        }),
    }
}

pub(super) fn write<T: Serialize>(directory: &Path, file: &str, record: &T) -> Result<(), RuntimeError> {
    let failed = |source| RuntimeError::Io {
        operation: "writing a record",
        source,
    };
    let content = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
    write_file_durably(&directory.join(file), &content, RECORD_MODE).map_err(failed)
}

/// The names of the directories below `parent`.
pub(super) fn list_ids(parent: &Path) -> Result<Vec<String>, RuntimeError> {
    let failed = |source| RuntimeError::Io {
        operation: "listing records",
        source,
    };
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(parent).map_err(failed)? {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
            ids.push(name);
        }
    }
    ids.sort();
    Ok(ids)
}

/// The directory of an id that may come from anywhere.
pub(super) fn directory_of(parent: &Path, id: &str) -> Result<PathBuf, RuntimeError> {
    paths::join_component(parent, id).map_err(|error| RuntimeError::Failed {
        operation: "looking up an id",
        message: error.to_string(),
    })
}
