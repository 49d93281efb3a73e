//! Quarantine: a server whose data cannot be trusted takes no part any more, for good.
//!
//! It gives no vote, acknowledges nothing and serves no read, since what it holds may be less or other than what it has
//! promised (I1, I2). Its process stays up and says why. The mark is a file, so that a restart does not forget it;
//! the way out is to replace the server, never to mend it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::faults::{self, Failpoint};

const FILE: &str = "QUARANTINED.json";
const FILE_NEW: &str = "QUARANTINED.json.new";

/// What the mark says.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    cause: String,
}

/// Why the server in `directory` is quarantined, if it is. A mark that cannot be read counts.
///
/// # Errors
/// What the system says if it cannot be told whether there is a mark.
pub(crate) fn read(directory: &Path) -> io::Result<Option<String>> {
    match fs::read(directory.join(FILE)) {
        Ok(bytes) => Ok(Some(match serde_json::from_slice::<Mark>(&bytes) {
            Ok(mark) => mark.cause,
            Err(error) => format!("it was quarantined before, but {FILE} cannot be read: {error}"),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Marks the server in `directory`, durably. The first cause stays.
///
/// # Errors
/// What the system says.
pub(crate) fn mark(directory: &Path, cause: &str) -> io::Result<()> {
    if read(directory)?.is_some() {
        return Ok(());
    }
    let (new, path) = (directory.join(FILE_NEW), directory.join(FILE));
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec_pretty(&Mark {
        cause: cause.to_owned(),
    })?)?;
    file.sync_all()?;
    faults::point(Failpoint::QuarantineMarking);
    fs::rename(&new, &path)?;
    File::open(directory)?.sync_all()
}

/// Whether a failure of the storage says that what it holds is damaged, as opposed to that it cannot be reached or
/// written. The layers below hand their errors up as texts, so texts are what is judged.
pub(crate) fn is_damage(failure: &str) -> bool {
    // RocksDB's word for it, the state machine's, and the log's.
    ["Corruption:", "is corrupt", "checksum mismatch", "is damaged"]
        .iter()
        .any(|sign| failure.contains(sign))
}

/// An error and all its causes in one line.
pub(crate) fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The gate that closes when this server is quarantined while it runs.
#[derive(Debug)]
pub(crate) struct Gate {
    directory: PathBuf,
    cause: watch::Sender<Option<String>>,
}

impl Gate {
    /// An open gate of the server in `directory`.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            cause: watch::Sender::new(None),
        }
    }

    /// Why it is closed, if it is.
    pub(crate) fn cause(&self) -> Option<String> {
        self.cause.borrow().clone()
    }

    /// Closes it, for good. Returns whether it was open.
    pub(crate) fn close(&self, cause: &str) -> bool {
        let closed = self.cause.send_if_modified(|present| {
            let open = present.is_none();
            if open {
                *present = Some(cause.to_owned());
            }
            open
        });
        if closed {
            tracing::error!(cause, "this server is quarantined: it takes no part any more");
            if let Err(error) = mark(&self.directory, cause) {
                // The gate of this run is closed all the same; the damage is found again at the next start.
                tracing::error!(%error, "the mark of the quarantine could not be written");
            }
        }
        closed
    }

    /// Waits until it is closed.
    pub(crate) async fn closed(&self) -> String {
        let mut changes = self.cause.subscribe();
        loop {
            let cause = changes.borrow_and_update().clone();
            if let Some(cause) = cause {
                return cause;
            }
            if changes.changed().await.is_err() {
                unreachable!("the sender is this gate's own");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stays_and_keeps_its_first_cause() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), None);
        let gate = Gate::new(directory.path().to_owned());
        assert_eq!(gate.cause(), None);
        assert!(gate.close("entry 7: checksum mismatch"));
        assert!(!gate.close("another"));
        assert_eq!(gate.cause().unwrap(), "entry 7: checksum mismatch");
        mark(directory.path(), "a third").unwrap();
        assert_eq!(read(directory.path()).unwrap().unwrap(), "entry 7: checksum mismatch");
    }

    #[test]
    fn a_damaged_mark_is_still_a_mark() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "{").unwrap();
        assert!(read(directory.path()).unwrap().unwrap().contains("quarantined before"));
    }

    #[test]
    fn damage_is_told_from_a_disk_that_cannot_be_used() {
        for (failure, damage) in [
            (
                "storage failed while reading a key: Corruption: block checksum mismatch",
                true,
            ),
            ("storage is corrupt: the state record is malformed", true),
            (
                "log entry 7: checksum mismatch: 00000001 is stored, 00000002 is right",
                true,
            ),
            ("the Raft log in /x is damaged (entry 4 is missing)", true),
            ("IO error: No space left on device: While appending to file", false),
            ("Input/output error", false),
        ] {
            assert_eq!(is_damage(failure), damage, "{failure}");
        }
    }
}
