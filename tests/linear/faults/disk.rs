//! A file system of its own for one member, in a file: it can be filled, made to stand still, and lose its power.
//!
//! Power: ext4 is told to shut down without writing its journal, which is what it has for such tests. What was not synced
//! is gone, in the page cache and in the journal alike; mounting it again replays what was.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{errno::Errno, fcntl::posix_fallocate};

use super::tool::run;

/// Size of the file system. The file has holes, so it takes only what is written.
const SIZE_BYTES: u64 = 768 << 20;
/// The largest piece in which a file system is filled.
const FILL_PIECE_MAX_BYTES: i64 = 64 << 20;
/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`, for which no tool of the base system has a flag but Perl's `ioctl`.
const SHUT_DOWN: &str = r#"open(my $f, "<", shift) or die "open: $!"; my $flags = pack("L", 2); ioctl($f, 0x8004587d, $flags) or die "ioctl: $!";"#;

/// A mounted file system. Dropping this unmounts it.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
    ballast: PathBuf,
    frozen: bool,
}

impl Disk {
    /// Makes and mounts one below a folder.
    ///
    /// # Errors
    /// If a tool fails.
    pub fn make(folder: &Path, name: &str) -> Result<Self> {
        let (image, mount) = (folder.join(format!("{name}.img")), folder.join(name));
        File::create(&image)?.set_len(SIZE_BYTES)?;
        std::fs::create_dir_all(&mount)?;
        run(&["mkfs.ext4", "-q", "-F", "-m", "0", &image.display().to_string()])?;
        let disk = Self {
            ballast: mount.join("ballast"),
            image,
            mount,
            frozen: false,
        };
        disk.attach()?;
        Ok(disk)
    }

    fn attach(&self) -> Result<()> {
        let (image, mount) = (self.image.display().to_string(), self.mount.display().to_string());
        run(&["mount", "-o", "loop", &image, &mount]).map(drop)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Fills it to the last block.
    ///
    /// # Errors
    /// If that cannot be.
    pub fn fill(&mut self) -> Result<()> {
        let file = File::create(&self.ballast)?;
        let (mut end, mut piece) = (0, FILL_PIECE_MAX_BYTES);
        while piece > 0 {
            match posix_fallocate(&file, end, piece) {
                Ok(()) => end += piece,
                Err(Errno::ENOSPC) => piece /= 2,
                Err(error) => return Err(error).context("taking all room"),
            }
        }
        // What others had buffered finds no room any more.
        let _ = file.sync_all();
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// If the ballast cannot be deleted.
    pub fn relieve(&mut self) -> Result<()> {
        std::fs::remove_file(&self.ballast).context("giving room back")
    }

    /// Lets it stand still again and again, for so long in all.
    ///
    /// # Errors
    /// If it cannot be frozen.
    pub async fn stutter(&mut self, hold: Duration, still: Duration, gap: Duration) -> Result<()> {
        let mount = self.mount.display().to_string();
        let until = tokio::time::Instant::now() + hold;
        while tokio::time::Instant::now() < until {
            run(&["fsfreeze", "--freeze", &mount])?;
            self.frozen = true;
            tokio::time::sleep(still).await;
            run(&["fsfreeze", "--unfreeze", &mount])?;
            self.frozen = false;
            tokio::time::sleep(gap).await;
        }
        Ok(())
    }

    /// Drops everything that was not synced, and answers every access with an error from now on.
    ///
    /// # Errors
    /// If the file system does not know how.
    pub fn power_off(&mut self) -> Result<()> {
        run(&["perl", "-e", SHUT_DOWN, &self.mount.display().to_string()]).map(drop)
    }

    /// Mounts it again as it was when the power went. No process may use it.
    ///
    /// # Errors
    /// If it is in use, or cannot be mounted.
    pub fn power_on(&mut self) -> Result<()> {
        run(&["umount", &self.mount.display().to_string()])?;
        self.attach()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mount = self.mount.display().to_string();
        if self.frozen {
            // Left frozen, it could never be unmounted.
            let _ = run(&["fsfreeze", "--unfreeze", &mount]);
        }
        if let Err(error) = run(&["umount", &mount]) {
            eprintln!("{error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_synced_is_gone_when_the_power_is() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not tested: only root can mount");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::make(folder.path(), "disk").unwrap();
        let (kept, lost) = (disk.path().join("kept"), disk.path().join("lost"));
        std::fs::write(&kept, "kept").unwrap();
        File::open(&kept).unwrap().sync_all().unwrap();
        File::open(disk.path()).unwrap().sync_all().unwrap();
        std::fs::write(&lost, "lost").unwrap();
        disk.power_off().unwrap();
        assert!(std::fs::write(disk.path().join("late"), "late").is_err());
        disk.power_on().unwrap();
        assert!(kept.exists() && !lost.exists());
        disk.fill().unwrap();
        assert!(std::fs::write(&lost, vec![1; 1 << 16]).is_err(), "it is full");
        disk.relieve().unwrap();
        std::fs::write(&lost, vec![1; 1 << 16]).unwrap();
    }
}
