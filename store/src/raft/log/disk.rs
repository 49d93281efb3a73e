//! The directory that the log lives in, as a trait: real files here, a simulated disk in tests.
//!
//! The trait says what the log relies on and no more: a file has its full length from the start, so that
//! syncing it never has to change the file system's own records; what was written counts only after
//! [`DiskFile::sync`]; creating and renaming are durable when they return.

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

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
    /// Another process holds it, and does not end.
    InUse,
    /// The system refused.
    Io(io::Error),
}

impl FileDisk {
    /// Makes the directory, if it is absent, and locks it for this process; waits a little for one that is ending.
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
        let lock = match lock.try_lock() {
            Ok(()) => lock,
            Err(TryLockError::WouldBlock) => lock_in_time(lock)?,
            Err(TryLockError::Error(error)) => return Err(TakeError::Io(error)),
        };
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Locks a file that another process holds. One that was killed holds it until what its threads had the disk do is done.
fn lock_in_time(lock: File) -> Result<File, TakeError> {
    let (answer, answered) = mpsc::channel();
    // The system's wait has no deadline, so a thread of its own waits. What it gets after ours, it gives back.
    std::thread::Builder::new()
        .name("log-lock".to_owned())
        .spawn(move || answer.send(lock.lock().map(|()| lock)))
        .map_err(TakeError::Io)?;
    match answered.recv_timeout(limits::LOG_LOCK_WAIT) {
        Ok(locked) => locked.map_err(TakeError::Io),
        Err(_) => Err(TakeError::InUse),
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
        fill(&file, &self.path.join(name), len)?;
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

/// Fills a new file with zeros: past the page cache, where nobody looks for them, if the file system lets us.
fn fill(file: &File, path: &Path, len: u64) -> io::Result<()> {
    let room = vec![0; limits::LOG_ZERO_FILL_BYTES + limits::LOG_PAGE_BYTES];
    let start = room
        .as_ptr()
        .align_offset(limits::LOG_PAGE_BYTES)
        .min(limits::LOG_PAGE_BYTES);
    let zeros = &room[start..][..limits::LOG_ZERO_FILL_BYTES];
    let direct = OpenOptions::new()
        .write(true)
        .custom_flags(nix::fcntl::OFlag::O_DIRECT.bits())
        .open(path);
    match direct.and_then(|direct| write_zeros(&direct, zeros, len)) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => write_zeros(file, zeros, len),
        written => written,
    }
}

fn write_zeros(file: &File, zeros: &[u8], len: u64) -> io::Result<()> {
    let mut at = 0;
    while at < len {
        let piece = zeros.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
        file.write_all_at(&zeros[..piece], at)?;
        at += piece as u64;
    }
    Ok(())
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_from_one_who_is_ending() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let held = FileDisk::take(path).unwrap();
        std::thread::scope(|scope| {
            let (begun, begins) = mpsc::channel();
            let taking = scope.spawn(move || {
                begun.send(()).unwrap();
                FileDisk::take(path)
            });
            begins.recv().unwrap();
            drop(held);
            taking.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_new_file_is_all_zeros_whatever_its_length() {
        let directory = tempfile::tempdir().unwrap();
        let disk = FileDisk::take(directory.path()).unwrap();
        let piece = limits::LOG_ZERO_FILL_BYTES as u64;
        for len in [0, 1, piece, piece + limits::LOG_PAGE_BYTES as u64, 2 * piece + 1] {
            std::fs::write(directory.path().join("file"), b"former").unwrap();
            let file = disk.create("file", len).unwrap();
            assert_eq!(file.len(), len);
            let bytes = std::fs::read(directory.path().join("file")).unwrap();
            assert_eq!(bytes, vec![0; len as usize]);
            if len > 8 {
                file.write_at(b"written", 1).unwrap();
                let mut read = [0; 9];
                file.read_at(&mut read, 0).unwrap();
                assert_eq!(&read, b"\0written\0");
            }
        }
    }
}
