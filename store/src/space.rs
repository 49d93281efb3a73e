//! The disk's space: how much is left, and a reserve to get out of a full disk with.
//!
//! When little is left the cluster raises an alarm and takes no more data; deletions, compaction and the end of the
//! alarm still need some space of their own, in the log above all. That is what the reserve is for: a file that is made
//! while there is room and given free when there is none.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::limits;

const FILE: &str = "RESERVE";

/// When space counts as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceLimits {
    /// What is kept back, in bytes; 0 for nothing.
    pub reserve_bytes: u64,
    /// With less than this left, in bytes, no more data is taken.
    pub low_bytes: u64,
    /// With less than this left, in bytes, the reserve is given free.
    pub critical_bytes: u64,
}

impl Default for SpaceLimits {
    fn default() -> Self {
        Self {
            reserve_bytes: limits::SPACE_RESERVE_BYTES,
            low_bytes: limits::SPACE_LOW_BYTES,
            critical_bytes: limits::SPACE_CRITICAL_BYTES,
        }
    }
}

/// How a server's disk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// What is left, in bytes.
    pub free_bytes: u64,
    /// Whether that is too little to take more data.
    pub low: bool,
}

/// Keeps an eye on the disk of one directory.
#[derive(Debug)]
pub(crate) struct Reserve {
    directory: PathBuf,
    limits: SpaceLimits,
    low: bool,
}

impl Reserve {
    /// Of the disk that `directory` is on.
    pub(crate) fn new(directory: &Path, limits: SpaceLimits) -> Self {
        Self {
            directory: directory.to_owned(),
            limits,
            low: false,
        }
    }

    /// Looks, and gives the reserve free or makes it anew as the space demands. Blocking.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn check(&mut self) -> io::Result<Space> {
        let mut free_bytes = free_bytes(&self.directory)?;
        let path = self.directory.join(FILE);
        let there = fs::metadata(&path).is_ok_and(|file| file.len() == self.limits.reserve_bytes);
        match plan(free_bytes, there, self.limits) {
            Plan::Nothing => {}
            Plan::Release => {
                fs::remove_file(&path)?;
                tracing::warn!(free_bytes, "the disk is full; the reserve was given free");
                free_bytes = self::free_bytes(&self.directory)?;
            }
            Plan::Reserve => {
                // Between the look and this, others may have taken the space; the next look tries again.
                if let Err(error) = reserve(&path, self.limits.reserve_bytes) {
                    tracing::warn!(%error, "the reserve could not be made");
                    remove(&path)?;
                }
            }
        }
        let enough = self.limits.low_bytes.saturating_mul(limits::SPACE_ENOUGH_FACTOR);
        self.low = free_bytes < if self.low { enough } else { self.limits.low_bytes };
        Ok(Space {
            free_bytes,
            low: self.low,
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Nothing,
    Release,
    Reserve,
}

fn plan(free_bytes: u64, there: bool, limits: SpaceLimits) -> Plan {
    let SpaceLimits {
        reserve_bytes,
        low_bytes,
        critical_bytes,
    } = limits;
    if there && free_bytes < critical_bytes {
        Plan::Release
    } else if !there && reserve_bytes > 0 && free_bytes >= reserve_bytes.saturating_add(low_bytes) {
        Plan::Reserve
    } else {
        Plan::Nothing
    }
}

fn free_bytes(directory: &Path) -> io::Result<u64> {
    let status = nix::sys::statvfs::statvfs(directory)?;
    // What root alone could still use does not count.
    Ok(status.blocks_available().saturating_mul(status.fragment_size()))
}

fn reserve(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    let bytes = i64::try_from(bytes).map_err(io::Error::other)?;
    // Really allocated: a file with a hole would hold nothing back.
    nix::fcntl::posix_fallocate(&file, 0, bytes)?;
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SpaceLimits = SpaceLimits {
        reserve_bytes: 100,
        low_bytes: 50,
        critical_bytes: 20,
    };

    #[test]
    fn the_reserve_goes_when_nothing_else_is_left_and_comes_back_with_room() {
        for (free, there, expected) in [
            (1_000, false, Plan::Reserve),
            (150, false, Plan::Reserve),
            (149, false, Plan::Nothing),
            (1_000, true, Plan::Nothing),
            (20, true, Plan::Nothing),
            (19, true, Plan::Release),
            (19, false, Plan::Nothing),
        ] {
            assert_eq!(plan(free, there, LIMITS), expected, "{free} {there}");
        }
    }

    #[test]
    fn it_is_really_allocated_and_given_free() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let limits = SpaceLimits {
            reserve_bytes: 1 << 20,
            low_bytes: 0,
            critical_bytes: 0,
        };
        let space = Reserve::new(directory.path(), limits).check().unwrap();
        assert!(space.free_bytes > 0 && !space.low);
        let file = fs::metadata(directory.path().join(FILE)).unwrap();
        assert!(file.len() == 1 << 20 && file.blocks() * 512 >= 1 << 20);

        let full = SpaceLimits {
            low_bytes: u64::MAX,
            critical_bytes: u64::MAX,
            ..limits
        };
        let space = Reserve::new(directory.path(), full).check().unwrap();
        assert!(space.low);
        assert!(!directory.path().join(FILE).exists());
    }

    #[test]
    fn it_is_low_until_there_is_clearly_enough() {
        let directory = tempfile::tempdir().unwrap();
        let free = free_bytes(directory.path()).unwrap();
        let of = |low_bytes| SpaceLimits {
            reserve_bytes: 0,
            low_bytes,
            critical_bytes: 0,
        };
        let mut reserve = Reserve::new(directory.path(), of(free * 4));
        assert!(reserve.check().unwrap().low);
        // Barely enough is not enough to end it, but would not have begun it.
        reserve.limits = of(free / 4 * 3);
        assert!(reserve.check().unwrap().low);
        assert!(!Reserve::new(directory.path(), of(free / 4 * 3)).check().unwrap().low);
        reserve.limits = of(free / 4);
        assert!(!reserve.check().unwrap().low);
    }
}
