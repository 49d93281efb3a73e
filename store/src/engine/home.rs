//! The directory of a state: which of its sub-directories holds the state now.
//!
//! `CURRENT` names it. A new state is built beside the old one and becomes the state by one rename of `CURRENT`;
//! whatever a crash leaves half built is not named there and is removed at the next start.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::EngineError;

const CURRENT: &str = "CURRENT";
const CURRENT_NEW: &str = "CURRENT.new";
const STATE_PREFIX: &str = "state-";

/// The directory that holds everything of one state.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    current: u64,
}

impl Home {
    /// Opens or makes the directory. Answers it and where the state is.
    pub(crate) fn open(path: &Path) -> Result<(Self, StateDir), EngineError> {
        fs::create_dir_all(path).map_err(|source| failed("making", path, source))?;
        let current = match read_current(path)? {
            Some(current) => current,
            None => begin(path)?,
        };
        let home = Self {
            path: path.to_owned(),
            current,
        };
        let dir = home.state_dir(current);
        if !dir.is_dir() {
            let why = format!("{CURRENT} names {}, which is not there", dir.display());
            return Err(EngineError::BadDirectory {
                path: path.to_owned(),
                why,
            });
        }
        home.remove_leftovers()?;
        Ok((home, StateDir::new(dir)))
    }

    /// Where the next state is to be built; nothing is there yet.
    pub(crate) fn next(&self) -> Result<StateDir, EngineError> {
        let dir = self.state_dir(self.current + 1);
        remove(&dir)?;
        Ok(StateDir::new(dir))
    }

    /// Makes the next state, which is whole and synced, the present one.
    pub(crate) fn advance(&mut self) -> Result<(), EngineError> {
        write_current(&self.path, self.current + 1)?;
        self.current += 1;
        Ok(())
    }

    fn state_dir(&self, number: u64) -> PathBuf {
        self.path.join(format!("{STATE_PREFIX}{number}"))
    }

    fn remove_leftovers(&self) -> Result<(), EngineError> {
        for number in state_numbers(&self.path)? {
            if number != self.current {
                remove(&self.state_dir(number))?;
            }
        }
        Ok(())
    }
}

/// Where a state is or is being built. Once told so, it removes the files when it goes.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    retired: AtomicBool,
}

impl StateDir {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            retired: AtomicBool::new(false),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The state is no longer needed once the last reader has gone.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire)
            && let Err(error) = remove(&self.path)
        {
            // The next start tries again.
            tracing::warn!(path = %self.path.display(), %error, "could not remove a state that is no longer needed");
        }
    }
}

fn read_current(path: &Path) -> Result<Option<u64>, EngineError> {
    let file = path.join(CURRENT);
    match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("reading", &file, source)),
        Ok(text) => match text
            .trim_end()
            .strip_prefix(STATE_PREFIX)
            .and_then(|number| number.parse().ok())
        {
            Some(number) => Ok(Some(number)),
            None => {
                let why = format!("{CURRENT} holds {text:?}");
                Err(EngineError::BadDirectory {
                    path: path.to_owned(),
                    why,
                })
            }
        },
    }
}

/// Makes the first state's directory, and then `CURRENT`. A state beside a missing `CURRENT` is a loss, unless it is the
/// empty one that a crash in here left.
fn begin(path: &Path) -> Result<u64, EngineError> {
    let first = path.join(format!("{STATE_PREFIX}1"));
    for number in state_numbers(path)? {
        let dir = path.join(format!("{STATE_PREFIX}{number}"));
        let mut entries = fs::read_dir(&dir).map_err(|source| failed("reading", &dir, source))?;
        if entries.next().is_some() {
            let why = format!("there is a state, but {CURRENT} is missing");
            return Err(EngineError::BadDirectory {
                path: path.to_owned(),
                why,
            });
        }
    }
    fs::create_dir_all(&first).map_err(|source| failed("making", &first, source))?;
    write_current(path, 1)?;
    Ok(1)
}

fn state_numbers(path: &Path) -> Result<Vec<u64>, EngineError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(path).map_err(|source| failed("reading", path, source))? {
        let entry = entry.map_err(|source| failed("reading", path, source))?;
        let name = entry.file_name();
        if let Some(number) = name
            .to_str()
            .and_then(|name| name.strip_prefix(STATE_PREFIX)?.parse().ok())
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn write_current(path: &Path, number: u64) -> Result<(), EngineError> {
    let (new, current) = (path.join(CURRENT_NEW), path.join(CURRENT));
    let written = File::create(&new).and_then(|mut file| {
        writeln!(file, "{STATE_PREFIX}{number}")?;
        file.sync_all()
    });
    written.map_err(|source| failed("writing", &new, source))?;
    // The names of the state's directory and of the new file must be durable before they are relied on.
    sync_dir(path)?;
    fs::rename(&new, &current).map_err(|source| failed("replacing", &current, source))?;
    sync_dir(path)
}

pub(crate) fn sync_dir(path: &Path) -> Result<(), EngineError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| failed("syncing", path, source))
}

fn remove(path: &Path) -> Result<(), EngineError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing", path, error)),
        _ => Ok(()),
    }
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> EngineError {
    EngineError::Directory {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_half_built_state_is_removed_and_a_finished_one_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (mut home, first) = Home::open(dir.path()).unwrap();
        fs::write(first.path().join("data"), "one").unwrap();
        let next = home.next().unwrap();
        fs::create_dir(next.path()).unwrap();
        fs::write(next.path().join("data"), "two").unwrap();

        // A crash before the rename: the old one stays.
        let (_, state) = Home::open(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(state.path().join("data")).unwrap(), "one");
        assert_eq!(names(dir.path()), ["CURRENT", "state-1"]);

        fs::create_dir(next.path()).unwrap();
        fs::write(next.path().join("data"), "two").unwrap();
        home.advance().unwrap();
        let (_, state) = Home::open(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(state.path().join("data")).unwrap(), "two");
        assert_eq!(names(dir.path()), ["CURRENT", "state-2"]);
        state.retire();
        drop(state);
        assert_eq!(names(dir.path()), ["CURRENT"]);
    }

    #[test]
    fn what_we_did_not_leave_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (_, first) = Home::open(dir.path()).unwrap();
        fs::write(first.path().join("data"), "one").unwrap();
        let refused = || matches!(Home::open(dir.path()), Err(EngineError::BadDirectory { .. }));
        fs::write(dir.path().join(CURRENT), "state-7\n").unwrap();
        assert!(refused());
        fs::write(dir.path().join(CURRENT), "nonsense").unwrap();
        assert!(refused());
        fs::remove_file(dir.path().join(CURRENT)).unwrap();
        assert!(refused());
    }
}
