//! `cluster backup`: everything that the cluster stores, in one file that says of itself whether it is whole.
//!
//! The bytes go to a file beside the wanted one, which takes its place once it is complete, on disk and checked. So there
//! is never a half backup under the name that was asked for.

use std::fs::{self, File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use tokio::time::Instant;
use trireme_client::Link;
use trireme_control_plane::BackupFile;
use trireme_proto::v1::cluster_client::ClusterClient;
use trireme_proto::v1::{BackupChunk, BackupInfo, BackupRequest};

use crate::exit::{Exit, Failure};
use crate::limits;
use crate::output::say;
use crate::session::Session;

/// Flags of `cluster backup`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme cluster backup monday.backup
  trireme cluster backup /backups/latest --overwrite

The file holds all objects, secrets too: it is made readable by its owner only. It does not hold the cluster's certificate
authority; keep a copy of a server's pki folder if agents and admins shall go on with their certificates after a restore.")]
pub(crate) struct BackupArgs {
    /// Where to save it
    file: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    overwrite: bool,
}

/// Runs the verb.
pub(crate) async fn run(args: BackupArgs, session: &Session) -> Result<()> {
    let BackupArgs { file, overwrite } = args;
    if file.exists() && !overwrite {
        return Err(Failure::new(Exit::Local, format!("{} exists already", file.display()))
            .help("choose another name, or pass --overwrite")
            .into());
    }
    let beside = beside(&file);
    let saved = save(session, &beside).await;
    let (info, bytes, seconds) = match saved {
        Ok(saved) => saved,
        Err(error) => {
            // A part of a backup is of no use to anyone.
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
    };
    fs::rename(&beside, &file).with_context(|| format!("cannot make {}", file.display()))?;
    sync_folder(&file)?;
    say(format!(
        "{} saved: revision {} of cluster {}, {}, checksum verified, {seconds:.1} s",
        file.display(),
        info.revision,
        info.cluster_id,
        size(bytes)
    ))
}

async fn save(session: &Session, path: &Path) -> Result<(BackupInfo, u64, f64)> {
    let started = Instant::now();
    let call = |link: Link| async move { ClusterClient::new(link.channel).backup(BackupRequest {}).await };
    let mut chunks = session.client.read(call).await?;
    let cannot_write = || format!("cannot write {}", path.display());
    let mut out = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(cannot_write)?;
    let mut info = BackupInfo::default();
    let mut progress = Progress::begin();
    loop {
        let next = tokio::time::timeout(limits::BACKUP_IDLE_TIMEOUT, chunks.message());
        let next = next
            .await
            .map_err(|_| broken("the server sends nothing any more"))?
            .map_err(|status| broken(status.message()))?;
        let Some(BackupChunk { info: told, data }) = next else {
            break;
        };
        info = told.unwrap_or(info);
        out.write_all(&data).with_context(cannot_write)?;
        progress.add(data.len(), info.estimated_bytes);
    }
    out.sync_all().with_context(cannot_write)?;
    let bytes = progress.end();
    let written = path.to_owned();
    let checked = tokio::task::spawn_blocking(move || BackupFile::open(&written)).await?;
    checked.map_err(|error| broken(&format!("what has arrived is no whole backup: {error}")))?;
    Ok((info, bytes, started.elapsed().as_secs_f64()))
}

fn broken(why: &str) -> Failure {
    Failure::new(Exit::Unavailable, format!("the backup broke off: {why}")).help("nothing was saved; try again")
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    file.with_file_name(name)
}

fn sync_folder(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot write {}", folder.display()))
}

/// How far it has come, on a terminal.
struct Progress {
    started: Instant,
    shown: Option<Instant>,
    bytes: u64,
    on: bool,
}

impl Progress {
    fn begin() -> Self {
        Self {
            started: Instant::now(),
            shown: None,
            bytes: 0,
            on: std::io::stderr().is_terminal(),
        }
    }

    fn add(&mut self, bytes: usize, estimated: u64) {
        self.bytes += bytes as u64;
        let due = self
            .shown
            .is_none_or(|shown| shown.elapsed() >= limits::PROGRESS_PERIOD);
        if self.on && due {
            self.shown = Some(Instant::now());
            eprint!(
                "\r\x1b[K{}",
                line(self.bytes, estimated, self.started.elapsed().as_secs_f64())
            );
        }
    }

    fn end(self) -> u64 {
        if self.on {
            eprint!("\r\x1b[K");
        }
        self.bytes
    }
}

fn line(bytes: u64, estimated: u64, seconds: f64) -> String {
    // What is estimated is compressed, so it may be exceeded.
    let of = if estimated > bytes {
        format!(" of about {}", size(estimated))
    } else {
        String::new()
    };
    let rate = bytes as f64 / seconds.max(0.001);
    format!("{}{of}, {}/s", size(bytes), size(rate as u64))
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_for_people() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
            (3 << 40, "3072.0 GiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!(line(1 << 20, 4 << 20, 0.5), "1.0 MiB of about 4.0 MiB, 2.0 MiB/s");
        assert_eq!(line(8 << 20, 4 << 20, 2.0), "8.0 MiB, 4.0 MiB/s");
    }

    #[test]
    fn the_part_stands_beside_the_file() {
        assert_eq!(beside(Path::new("/b/monday")), Path::new("/b/monday.part"));
    }
}
