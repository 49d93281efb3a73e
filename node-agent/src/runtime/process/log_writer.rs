//! Writes a container's output as the log format that all Kubernetes runtimes share: one record a
//! line, `time stream tag text`, where the tag is `P` for a piece of a long line and `F` for its end.
//!
//! The file is rotated by size, so a chatty container cannot fill the disk.

use crate::limits;
use crate::time::Moment;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const LOG_MODE: u32 = 0o600;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

pub(super) struct LogWriter {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    max_bytes: u64,
}

impl LogWriter {
    pub(super) fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = open_append(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size_bytes,
            max_bytes,
        })
    }

    /// Appends one record. `text` has no line break.
    pub(super) fn write(&mut self, now: Moment, stream: Stream, text: &[u8], complete: bool) -> io::Result<()> {
        if self.size_bytes >= self.max_bytes {
            self.rotate()?;
        }
        let tag = if complete { "F" } else { "P" };
        let mut record = format!("{now} {} {tag} ", stream.name()).into_bytes();
        record.extend_from_slice(text);
        record.push(b'\n');
        self.file.write_all(&record)?;
        self.size_bytes += record.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        crate::logs::shift_rotated(&self.path)?;
        self.file = open_append(&self.path)?;
        self.size_bytes = 0;
        Ok(())
    }
}

fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(LOG_MODE).open(path)
}

/// Copies a container's output stream into the log until it ends. A log that cannot be written does
/// not stop the container: its output is read on and dropped.
pub(super) fn copy_stream(
    mut source: impl io::Read,
    stream: Stream,
    writer: &std::sync::Mutex<LogWriter>,
    clock: fn() -> Moment,
) {
    let mut buffer = vec![0; limits::LOG_LINE_MAX_BYTES];
    let mut line: Vec<u8> = Vec::new();
    let emit = |line: &mut Vec<u8>, complete: bool| {
        if let Ok(mut writer) = writer.lock() {
            let _ = writer.write(clock(), stream, line, complete);
        }
        line.clear();
    };
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        for piece in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
            let complete = piece.ends_with(b"\n");
            line.extend_from_slice(if complete { &piece[..piece.len() - 1] } else { piece });
            if complete {
                emit(&mut line, true);
            } else if line.len() >= limits::LOG_LINE_MAX_BYTES {
                emit(&mut line, false);
            }
        }
    }
    if !line.is_empty() {
        emit(&mut line, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed() -> Moment {
        Moment::from_seconds(1)
    }

    fn copied(input: &[u8], max_bytes: u64) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c/0.log");
        let writer = std::sync::Mutex::new(LogWriter::open(&path, max_bytes).unwrap());
        copy_stream(input, Stream::Stdout, &writer, fixed);
        let text = std::fs::read_to_string(&path).unwrap();
        (directory, text)
    }

    #[test]
    fn lines_become_records() {
        let (_directory, text) = copied(b"one\n\nlast", 1_000);
        let prefix = "1970-01-01T00:00:01.000000000Z stdout F ";
        assert_eq!(text, format!("{prefix}one\n{prefix}\n{prefix}last\n"));
    }

    #[test]
    fn a_long_line_is_split() {
        let input = vec![b'x'; limits::LOG_LINE_MAX_BYTES + 5];
        let (_directory, text) = copied(&input, 1_000_000);
        let tags: Vec<&str> = text.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
        assert_eq!(tags, ["P", "F"]);
    }

    #[test]
    fn rotation_bounds_the_files() {
        let (directory, _) = copied("line\n".repeat(100).as_bytes(), 200);
        let files = std::fs::read_dir(directory.path().join("c")).unwrap().count();
        assert_eq!(files, 1 + limits::LOG_ROTATED_FILES_MAX as usize);
    }
}
