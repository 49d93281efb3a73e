//! A disk in memory that loses power: what was written but not synced is lost in part.
//!
//! What a real disk may do within the rules: each sector of an unsynced write is there or is not, in no order.
//! It does not simulate what needs no simulation: creating, renaming and removing are durable when they return.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::disk::{Disk, DiskFile};

/// What a disk writes at once or not at all, in bytes.
const SECTOR_BYTES: usize = 512;

/// See the module.
#[derive(Debug)]
pub(crate) struct SimDisk {
    /// How long a file is at most when it is made, in bytes.
    file_bytes: usize,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    files: Mutex<BTreeMap<String, Arc<SimFile>>>,
    power: Mutex<Power>,
    /// Whether syncs fail.
    #[cfg(test)]
    is_broken: std::sync::atomic::AtomicBool,
}

/// A loss of power that is planned, or has happened on a copy.
#[derive(Debug, Default)]
struct Power {
    planned: Option<u64>,
    /// All files as the loss left them.
    left: Option<BTreeMap<String, Vec<u8>>>,
}

#[derive(Debug)]
struct SimFile {
    content: Mutex<Content>,
    shared: Weak<Shared>,
}

#[derive(Debug, Clone, Default)]
struct Content {
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// What the end of a process does to writes that were not synced.
#[cfg(feature = "sim")]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unsynced {
    /// They are kept: the system still wrote them out.
    Kept,
    /// Some sectors of them are, as the seed decides: power was lost.
    Torn(u64),
}

impl Content {
    /// Makes everything written durable.
    fn settle(&mut self) {
        for (at, bytes) in self.unsynced.drain(..) {
            self.durable[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimDisk {
    /// An empty disk.
    #[cfg(test)]
    pub(crate) fn new() -> Arc<Self> {
        Self::with_files_of(usize::MAX)
    }

    /// An empty disk that makes files no longer than this, so that a log soon has many.
    pub(crate) fn with_files_of(file_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            file_bytes,
            shared: Arc::default(),
        })
    }

    /// Another disk with what the end of the process leaves of this one.
    #[cfg(feature = "sim")]
    pub(crate) fn after(&self, unsynced: Unsynced) -> Arc<Self> {
        let left = Self::with_files_of(self.file_bytes);
        for (name, file) in lock(&self.shared.files).iter() {
            let content = lock(&file.content);
            let bytes = match unsynced {
                Unsynced::Torn(seed) => torn(&content, seed),
                Unsynced::Kept => {
                    let mut content = content.clone();
                    content.settle();
                    content.durable
                }
            };
            left.put(name, bytes);
        }
        left
    }

    /// Another disk with what is durable on this one.
    #[cfg(test)]
    pub(crate) fn copy(&self) -> Arc<Self> {
        let copy = Self::with_files_of(self.file_bytes);
        for (name, file) in lock(&self.shared.files).iter() {
            copy.put(name, lock(&file.content).durable.clone());
        }
        copy
    }

    /// What is durable of a file.
    #[cfg(test)]
    pub(crate) fn durable(&self, name: &str) -> Vec<u8> {
        lock(&lock(&self.shared.files)[name].content).durable.clone()
    }

    /// Makes or replaces a file, filled up to the length of a segment.
    pub(crate) fn put(&self, name: &str, mut bytes: Vec<u8>) {
        let len = usize::try_from(crate::limits::LOG_SEGMENT_BYTES).expect("it fits");
        bytes.resize(bytes.len().max(len.min(self.file_bytes)), 0);
        let file = self.file(bytes);
        lock(&self.shared.files).insert(name.to_owned(), file);
    }

    /// Flips bits of a durable byte.
    #[cfg(test)]
    pub(crate) fn flip(&self, name: &str, at: usize, bits: u8) {
        lock(&lock(&self.shared.files)[name].content).durable[at] ^= bits;
    }

    /// Lets every sync fail from now on, as on a disk that is worn out.
    #[cfg(test)]
    pub(crate) fn break_syncs(&self) {
        self.shared.is_broken.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// Plans a loss of power: it comes just before the next sync takes effect. This disk goes on; what the loss
    /// would have left is then to be [`taken`](Self::taken).
    #[cfg(test)]
    pub(crate) fn lose_power_at_next_sync(&self, seed: u64) {
        let mut power = lock(&self.shared.power);
        power.planned = Some(seed);
        power.left = None;
    }

    /// The disk as the planned loss left it; `None` if it has not come yet.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> Option<Arc<Self>> {
        let left = lock(&self.shared.power).left.take()?;
        let copy = Self::with_files_of(self.file_bytes);
        left.into_iter().for_each(|(name, bytes)| copy.put(&name, bytes));
        Some(copy)
    }

    fn file(&self, durable: Vec<u8>) -> Arc<SimFile> {
        let unsynced = Vec::new();
        Arc::new(SimFile {
            content: Mutex::new(Content { durable, unsynced }),
            shared: Arc::downgrade(&self.shared),
        })
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.shared.files).keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = lock(&self.shared.files).get(name).cloned();
        Ok(file.ok_or(io::ErrorKind::NotFound)?)
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let file = self.file(vec![0; len.min(self.file_bytes)]);
        lock(&self.shared.files).insert(name.to_owned(), file.clone());
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = lock(&self.shared.files);
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        lock(&self.shared.files)
            .remove(name)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> u64 {
        lock(&self.content).durable.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let content = lock(&self.content);
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let end = from + buffer.len();
        let durable = |(at, bytes): &(usize, Vec<u8>)| *at >= end || *at + bytes.len() <= from;
        assert!(content.unsynced.iter().all(durable), "only what is durable is read");
        let part = content.durable.get(from..end);
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = lock(&self.content);
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        if from + bytes.len() > content.durable.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.unsynced.push((from, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if let Some(shared) = self.shared.upgrade() {
            #[cfg(test)]
            if shared.is_broken.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(nix::errno::Errno::EIO.into());
            }
            let planned = lock(&shared.power).planned.take();
            if let Some(seed) = planned {
                let files = lock(&shared.files);
                let left = files
                    .iter()
                    .map(|(name, file)| (name.clone(), torn(&lock(&file.content), seed)));
                let left = left.collect();
                lock(&shared.power).left = Some(left);
            }
        }
        lock(&self.content).settle();
        Ok(())
    }
}

/// What a loss of power leaves: some sectors of what was not synced.
fn torn(content: &Content, seed: u64) -> Vec<u8> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut left = content.durable.clone();
    for (at, bytes) in &content.unsynced {
        let mut from = 0;
        while from < bytes.len() {
            let end = bytes
                .len()
                .min((at + from) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES - at);
            if rng.random_bool(0.5) {
                left[at + from..at + end].copy_from_slice(&bytes[from..end]);
            }
            from = end;
        }
    }
    left
}
