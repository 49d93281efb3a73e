//! The directory that the log lives in, as a trait: real files here, a simulated disk in tests.
//!
//! The trait says what the log relies on and no more: a file has its full length from the start, so that
//! syncing it never has to change the file system's own records; what was written counts only after
//! [`DiskFile::sync`]; creating and renaming are durable when they return.

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::limits;

/// A flat directory of files.
pub(crate) trait Disk: Debug + Send + Sync + 'static {
    /// The names of all files.
    ///
    /// # Errors
    /// What the system reports.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file.
    ///
    /// # Errors
    /// What the system reports.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a file of `len` zero bytes, durably.
    ///
    /// # Errors
    /// What the system reports.
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, durably. A file of that name is replaced.
    ///
    /// # Errors
    /// What the system reports.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, durably.
    ///
    /// # Errors
    /// What the system reports.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// An open file of fixed length.
pub(crate) trait DiskFile: Debug + Send + Sync + 'static {
    /// Its length, in bytes.
    fn len(&self) -> u64;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// What the system reports; `UnexpectedEof` if the file is shorter.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes `bytes` at `offset`. They are durable only after [`sync`](Self::sync).
    ///
    /// # Errors
    /// What the system reports.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes everything written durable.
    ///
    /// # Errors
    /// What the system reports; after that nothing is known of what was written.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the file system, held by this process alone.
#[derive(Debug)]
pub(crate) struct FileDisk {
    path: PathBuf,
    /// Holds the lock as long as it is open.
    _lock: File,
}

const LOCK_NAME: &str = "LOCK";

/// Why a directory could not be taken.
#[derive(Debug)]
pub(crate) enum TakeError {
    /// Another process holds it.
    InUse,
    /// The system refused.
    Io(io::Error),
}

impl FileDisk {
    /// Makes the directory, if it is absent, and locks it for this process.
    ///
    /// # Errors
    /// [`TakeError`].
    pub(crate) fn take(path: &Path) -> Result<Self, TakeError> {
        std::fs::create_dir_all(path).map_err(TakeError::Io)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_NAME))
            .map_err(TakeError::Io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(TakeError::InUse),
            Err(TryLockError::Error(error)) => return Err(TakeError::Io(error)),
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Disk for FileDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string()
                && name != LOCK_NAME
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        let len = file.metadata()?.len();
        Ok(Arc::new(RealFile { file, len }))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(self.path.join(name))?;
        // Zeros are really written: space that is only reserved would make each first sync of a place in
        // it write the file system's records, too.
        let zeros = vec![0; limits::LOG_ZERO_FILL_BYTES];
        let mut at = 0;
        while at < len {
            let piece = zeros.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
            file.write_all_at(&zeros[..piece], at)?;
            at += piece as u64;
        }
        file.sync_all()?;
        self.sync_directory()?;
        Ok(Arc::new(RealFile { file, len }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))?;
        self.sync_directory()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))?;
        self.sync_directory()
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    len: u64,
}

impl DiskFile for RealFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
