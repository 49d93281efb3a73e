//! Where things lie below the agent's data directory, and the only ways to make such paths.
//!
//! A name that comes from an object or an archive is never joined to a path unless it is one plain
//! path component (or a relative path of such), so that nothing is read or written outside.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

/// A name that may not become part of a path.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name:?} is not a safe relative path")]
pub struct UnsafePath {
    /// The name as given.
    pub name: String,
}

/// Joins one plain component to `base`.
///
/// # Errors
/// Fails if `name` is empty, `.`, `..`, or holds a separator or a zero byte.
pub fn join_component(base: &Path, name: &str) -> Result<PathBuf, UnsafePath> {
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    if plain {
        Ok(base.join(name))
    } else {
        Err(UnsafePath { name: name.to_owned() })
    }
}

/// Joins a relative path of plain components to `base`. `./` prefixes are dropped.
///
/// # Errors
/// Fails if `relative` is absolute, or holds `..` or a zero byte.
pub fn join_relative(base: &Path, relative: &Path) -> Result<PathBuf, UnsafePath> {
    let refused = || UnsafePath {
        name: relative.display().to_string(),
    };
    let mut joined = base.to_owned();
    for component in relative.components() {
        match component {
            Component::Normal(part) if !part.as_encoded_bytes().contains(&0) => joined.push(part),
            Component::CurDir => {}
            Component::Normal(_) | Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(refused());
            }
        }
    }
    Ok(joined)
}

/// Makes a directory, and those above it, that only this user may enter.
///
/// # Errors
/// Any error of the file system.
pub fn make_private_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a file atomically and durably: a reader sees the old or the new content, never a part,
/// and after this returns the new content survives a crash of the machine.
///
/// # Errors
/// Any error of the file system.
pub fn write_file_durably(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let parent = path
        .parent()
        .ok_or_else(|| io::Error::other("a file without a directory"))?;
    let mut name = path
        .file_name()
        .ok_or_else(|| io::Error::other("a path without a file name"))?
        .to_owned();
    name.push(".new");
    let temporary = parent.join(name);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(parent)?.sync_all()
}

/// Deletes a directory tree; one that is not there is fine.
///
/// # Errors
/// Any other error of the file system.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The agent's directories.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below `root`, which must be absolute for runtimes to find it.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The data directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Journals, one file a pod.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Certificate, key and the list of servers.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// The process runtime's images, sandboxes and containers.
    #[must_use]
    pub fn process_runtime(&self) -> PathBuf {
        self.root.join("process")
    }

    /// The own containerd's configuration, root and network state.
    #[must_use]
    pub fn containerd(&self) -> PathBuf {
        self.root.join("containerd")
    }

    /// A pod's volumes and other files.
    ///
    /// # Errors
    /// Fails if the uid is no plain name.
    pub fn pod(&self, uid: &str) -> Result<PathBuf, UnsafePath> {
        join_component(&self.root.join("pods"), uid)
    }

    /// A pod's logs.
    ///
    /// # Errors
    /// Fails if the uid is no plain name.
    pub fn pod_logs(&self, uid: &str) -> Result<PathBuf, UnsafePath> {
        join_component(&self.root.join("logs"), uid)
    }

    /// The log file of one run of one container.
    ///
    /// # Errors
    /// Fails if a name is no plain name.
    pub fn container_log(&self, uid: &str, container: &str, attempt: u32) -> Result<PathBuf, UnsafePath> {
        Ok(join_component(&self.pod_logs(uid)?, container)?.join(log_file_name(attempt)))
    }
}

/// The name of the log file of one run of a container.
#[must_use]
pub fn log_file_name(attempt: u32) -> String {
    format!("{attempt}.log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_components_join() {
        let base = Path::new("/data");
        assert_eq!(join_component(base, "a.b"), Ok(PathBuf::from("/data/a.b")));
        for bad in ["", ".", "..", "a/b", "/etc", "a\0b"] {
            assert!(join_component(base, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn relative_paths_stay_below_the_base() {
        let base = Path::new("/data");
        assert_eq!(join_relative(base, Path::new("./a/b")), Ok(PathBuf::from("/data/a/b")));
        for bad in ["../a", "a/../../b", "/etc/passwd", "a/.."] {
            assert!(join_relative(base, Path::new(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_durable_write_replaces_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        write_file_durably(&path, b"one", 0o600).unwrap();
        write_file_durably(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
