//! The agent's synced memory of each pod: what must survive a restart of the agent and cannot be
//! read back from the runtime.
//!
//! One file a pod, replaced atomically and synced. It is written before the operation that it leads
//! to, so that counts never go back (I4). The runtime's own list stays the truth about what exists;
//! a lost journal costs restart counts and back-off, never a container.

use crate::paths::{self, Layout, join_component, make_private_directory, write_file_durably};
use crate::runtime::PodIdentity;
use crate::time::Moment;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

const JOURNAL_MODE: u32 = 0o600;

/// What the agent remembers of one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PodJournal {
    pub(crate) identity: PodIdentity,
    /// When the agent first saw the pod.
    pub(crate) started_at: Option<Moment>,
    /// Per container, by name; init containers too.
    pub(crate) containers: BTreeMap<String, ContainerJournal>,
    /// True once every init container has done its work in the present sandbox.
    pub(crate) initialized: bool,
    /// Sandboxes made so far.
    pub(crate) sandbox_attempts: u32,
    /// Set once; a finished pod never starts again.
    pub(crate) finished: Option<Finish>,
    /// Set once the pod is to end.
    pub(crate) termination: Option<Termination>,
    /// The pod's directories may exist.
    pub(crate) has_data: bool,
}

/// What the agent remembers of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerJournal {
    /// The newest run that was seen, counted from 0.
    pub(crate) attempt: u32,
    /// Runs below this number belong to an earlier sandbox; an init container's do not count.
    pub(crate) floor: u32,
    /// Runs in a row that ended early, as the exponent of the back-off.
    pub(crate) short_runs: u32,
    /// The newest run that ended.
    pub(crate) last: Option<ContainerEnd>,
    /// The run that ended before it.
    pub(crate) previous: Option<ContainerEnd>,
}

/// How a run of a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerEnd {
    pub(crate) attempt: u32,
    pub(crate) container_id: String,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) exit_code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) started_at: Moment,
    pub(crate) finished_at: Moment,
}

/// How a pod finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finish {
    pub(crate) succeeded: bool,
    /// One word, empty for the usual end.
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// A pod's order to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Termination {
    /// By this machine's clock.
    pub(crate) requested_at: Moment,
    /// Containers are killed at this moment.
    pub(crate) kill_at: Moment,
}

/// The journals on disk.
#[derive(Clone, Debug)]
pub(crate) struct JournalStore {
    directory: PathBuf,
}

impl JournalStore {
    pub(crate) fn open(layout: &Layout) -> io::Result<Self> {
        let directory = layout.journal();
        make_private_directory(&directory)?;
        Ok(Self { directory })
    }

    /// Reads all journals, by uid. One that cannot be read is reported and left out: the runtime's
    /// list still has the pod's containers.
    pub(crate) fn load(&self) -> io::Result<BTreeMap<String, PodJournal>> {
        let mut journals = BTreeMap::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match serde_json::from_slice::<PodJournal>(&std::fs::read(&path)?) {
                Ok(journal) => {
                    journals.insert(journal.identity.uid.clone(), journal);
                }
                Err(error) => tracing::warn!(path = %path.display(), %error, "a journal is unreadable"),
            }
        }
        Ok(journals)
    }

    pub(crate) fn save(&self, journal: &PodJournal) -> io::Result<()> {
        let content = serde_json::to_vec(journal)?;
        write_file_durably(&self.path(&journal.identity.uid)?, &content, JOURNAL_MODE)
    }

    pub(crate) fn remove(&self, uid: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path(uid)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, uid: &str) -> io::Result<PathBuf> {
        join_component(&self.directory, &format!("{uid}.json"))
            .map_err(|error: paths::UnsafePath| io::Error::new(io::ErrorKind::InvalidInput, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_found_again_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path().to_owned());
        let store = JournalStore::open(&layout).unwrap();
        let mut journal = PodJournal::default();
        journal.identity.uid = "uid-1".to_owned();
        journal.containers.insert(
            "main".to_owned(),
            ContainerJournal {
                attempt: 7,
                ..Default::default()
            },
        );
        store.save(&journal).unwrap();
        let again = JournalStore::open(&layout).unwrap();
        assert_eq!(again.load().unwrap().get("uid-1"), Some(&journal));
        again.remove("uid-1").unwrap();
        again.remove("uid-1").unwrap();
        assert!(again.load().unwrap().is_empty());
    }

    #[test]
    fn an_unreadable_journal_does_not_hide_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path().to_owned());
        let store = JournalStore::open(&layout).unwrap();
        std::fs::write(layout.journal().join("bad.json"), b"{").unwrap();
        let mut journal = PodJournal::default();
        journal.identity.uid = "good".to_owned();
        store.save(&journal).unwrap();
        assert_eq!(store.load().unwrap().keys().collect::<Vec<_>>(), ["good"]);
    }

    #[test]
    fn a_uid_cannot_lead_out_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let store = JournalStore::open(&Layout::new(directory.path().to_owned())).unwrap();
        let mut journal = PodJournal::default();
        journal.identity.uid = "../evil".to_owned();
        assert!(store.save(&journal).is_err());
    }
}
