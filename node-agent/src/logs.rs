//! Reads container logs in the format that all Kubernetes runtimes share: the last lines, from a
//! moment on, with times, following, of this run or the one before. Also rotates log files.

use crate::limits;
use crate::paths::{Layout, UnsafePath};
use crate::time::Moment;
use std::io;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, SeekFrom};

/// Bytes read at a time when looking for the last lines from the end.
const TAIL_BLOCK_BYTES: u64 = 64 * 1024;

/// Which part of a log is wanted, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogOptions {
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only lines from this moment on.
    pub since: Option<Moment>,
    /// Begin each line with its time.
    pub timestamps: bool,
}

/// One record of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was written.
    pub time: &'a str,
    /// The line goes on in the next record.
    pub partial: bool,
    /// The text, without a line break.
    pub text: &'a [u8],
}

/// Splits a line of a log file; none if it is not of the format.
#[must_use]
pub fn parse_record(line: &[u8]) -> Option<Record<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?;
    let _stream = fields.next()?;
    let tag = fields.next()?;
    Some(Record {
        time,
        partial: tag == b"P",
        text: fields.next().unwrap_or_default(),
    })
}

/// Turns bytes of a log file into what a user reads. Fed with pieces, it keeps an unfinished line.
#[derive(Debug)]
pub struct Formatter {
    options: LogOptions,
    pending: Vec<u8>,
    /// The last record ended in the middle of a line.
    in_line: bool,
}

impl Formatter {
    /// A formatter at the start of a line.
    #[must_use]
    pub fn new(options: LogOptions) -> Self {
        Self {
            options,
            pending: Vec::new(),
            in_line: false,
        }
    }

    /// Takes bytes of the file and appends whole lines, formatted, to `output`.
    pub fn feed(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        self.pending.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.format(&rest[..end], output);
            rest = &rest[end + 1..];
        }
        self.pending = rest.to_vec();
    }

    fn format(&mut self, line: &[u8], output: &mut Vec<u8>) {
        // A line of another format is passed on rather than hidden.
        let Some(record) = parse_record(line) else {
            output.extend_from_slice(line);
            output.push(b'\n');
            return;
        };
        if let Some(since) = self.options.since
            && Moment::parse(record.time).is_some_and(|time| time < since)
        {
            return;
        }
        if self.options.timestamps && !self.in_line {
            output.extend_from_slice(record.time.as_bytes());
            output.push(b' ');
        }
        output.extend_from_slice(record.text);
        self.in_line = record.partial;
        if !record.partial {
            output.push(b'\n');
        }
    }
}

/// The log file of the container's present or previous run; none if there is no such run.
///
/// # Errors
/// Fails if a name is no plain name.
pub fn log_file(
    layout: &Layout,
    uid: &str,
    container: &str,
    attempt: Option<u32>,
    previous: bool,
) -> Result<Option<PathBuf>, UnsafePath> {
    let wanted = match (attempt, previous) {
        (Some(attempt), false) => attempt,
        (Some(attempt), true) if attempt > 0 => attempt - 1,
        _ => return Ok(None),
    };
    layout.container_log(uid, container, wanted).map(Some)
}

/// Reads a log file that may be rotated away while it is read.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: File,
    /// Which file `file` is, to notice a rotation.
    inode: u64,
    formatter: Formatter,
}

impl LogReader {
    /// Opens a log at the place that the options ask for.
    ///
    /// # Errors
    /// Fails if there is no such file, or it cannot be read.
    pub async fn open(path: &Path, options: LogOptions) -> io::Result<Self> {
        let mut file = File::open(path).await?;
        let start = match options.tail_lines {
            Some(lines) => tail_start(&mut file, lines).await?,
            None => 0,
        };
        file.seek(SeekFrom::Start(start)).await?;
        let inode = inode(&file.metadata().await?);
        Ok(Self {
            path: path.to_owned(),
            file,
            inode,
            formatter: Formatter::new(options),
        })
    }

    /// The next formatted bytes that are there now; empty at the end.
    ///
    /// # Errors
    /// Any error of the file system.
    pub async fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut output = Vec::new();
        let mut buffer = vec![0; limits::LOG_FRAME_MAX_BYTES];
        while output.is_empty() {
            let count = self.file.read(&mut buffer).await?;
            if count == 0 && !self.reopen_if_rotated().await? {
                break;
            }
            self.formatter.feed(&buffer[..count], &mut output);
        }
        Ok(output)
    }

    /// Goes on with the new file if the one that was read to its end was rotated away.
    async fn reopen_if_rotated(&mut self) -> io::Result<bool> {
        let current = match tokio::fs::metadata(&self.path).await {
            Ok(metadata) => inode(&metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if current == self.inode {
            return Ok(false);
        }
        self.file = File::open(&self.path).await?;
        self.inode = current;
        Ok(true)
    }
}

fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

/// Where the last `lines` lines of a file begin. Records of one long line count as one.
async fn tail_start(file: &mut File, lines: u64) -> io::Result<u64> {
    let end = file.metadata().await?.len();
    if lines == 0 {
        return Ok(end);
    }
    let mut position = end;
    let mut tail: Vec<u8> = Vec::new();
    loop {
        if let Some(offset) = start_of_last(&tail, lines, position == 0) {
            return Ok(position + offset);
        }
        let size = position.min(TAIL_BLOCK_BYTES);
        position -= size;
        file.seek(SeekFrom::Start(position)).await?;
        let mut block = vec![0; usize::try_from(size).unwrap_or(0)];
        file.read_exact(&mut block).await?;
        block.extend_from_slice(&tail);
        tail = block;
    }
}

/// Where the last `lines` lines of `tail` begin; none if more must be read to tell.
fn start_of_last(tail: &[u8], lines: u64, is_whole: bool) -> Option<u64> {
    // Starts of records whose beginning is certain: after a line break, or at the file's start.
    let mut starts: Vec<usize> = if is_whole && !tail.is_empty() {
        vec![0]
    } else {
        Vec::new()
    };
    starts.extend(
        tail.iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .map(|(at, _)| at + 1),
    );
    starts.retain(|start| *start < tail.len());
    let mut found = 0;
    for (index, start) in starts.iter().enumerate().rev() {
        // A record begins a line if the record before it ended one.
        let before = index.checked_sub(1).and_then(|before| starts.get(before));
        let begins_line = match before {
            Some(before) => !parse_record(&tail[*before..start - 1]).is_some_and(|record| record.partial),
            None if *start == 0 => true,
            None => return if is_whole { Some(0) } else { None },
        };
        found += u64::from(begins_line);
        if found == lines {
            return u64::try_from(*start).ok();
        }
    }
    is_whole.then_some(0)
}

/// Makes room for a new log file: `x` becomes `x.1`, `x.1` becomes `x.2`, and so on; the oldest goes.
///
/// # Errors
/// Any error of the file system.
pub(crate) fn shift_rotated(path: &Path) -> io::Result<()> {
    for number in (1..limits::LOG_ROTATED_FILES_MAX).rev() {
        rename_if_there(&rotated(path, number), &rotated(path, number + 1))?;
    }
    rename_if_there(path, &rotated(path, 1))
}

/// The path of a rotated file.
pub(crate) fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes the log of one run, with its rotated files.
pub(crate) fn remove_log(path: &Path) {
    for number in 1..=limits::LOG_ROTATED_FILES_MAX {
        let _ = std::fs::remove_file(rotated(path, number));
    }
    let _ = std::fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "\
2026-01-01T00:00:01.000000000Z stdout F one\n\
2026-01-01T00:00:02.000000000Z stderr F two\n\
2026-01-01T00:00:03.000000000Z stdout P thr\n\
2026-01-01T00:00:03.000000000Z stdout F ee\n\
2026-01-01T00:00:04.000000000Z stdout F \n";

    async fn check(options: LogOptions, expected: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        std::fs::write(&path, LINES).unwrap();
        let mut reader = LogReader::open(&path, options).await.unwrap();
        let mut text = Vec::new();
        loop {
            let piece = reader.next().await.unwrap();
            if piece.is_empty() {
                break;
            }
            text.extend(piece);
        }
        assert_eq!(String::from_utf8(text).unwrap(), expected, "{options:?}");
    }

    #[tokio::test]
    async fn whole_and_last_lines() {
        let tail = |lines| LogOptions {
            tail_lines: Some(lines),
            ..Default::default()
        };
        check(LogOptions::default(), "one\ntwo\nthree\n\n").await;
        check(tail(0), "").await;
        check(tail(1), "\n").await;
        check(tail(2), "three\n\n").await;
        check(tail(3), "two\nthree\n\n").await;
        check(tail(4), "one\ntwo\nthree\n\n").await;
        check(tail(99), "one\ntwo\nthree\n\n").await;
    }

    #[tokio::test]
    async fn times_and_since() {
        let since = Moment::parse("2026-01-01T00:00:03Z");
        check(
            LogOptions {
                since,
                ..Default::default()
            },
            "three\n\n",
        )
        .await;
        check(
            LogOptions {
                since,
                timestamps: true,
                tail_lines: None,
            },
            "2026-01-01T00:00:03.000000000Z three\n2026-01-01T00:00:04.000000000Z \n",
        )
        .await;
    }

    #[tokio::test]
    async fn the_last_lines_of_a_file_of_many_blocks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let text: String = (0..10_000)
            .map(|number| format!("2026-01-01T00:00:01Z stdout F line {number}\n"))
            .collect();
        std::fs::write(&path, &text).unwrap();
        let options = LogOptions {
            tail_lines: Some(5_000),
            ..Default::default()
        };
        let mut reader = LogReader::open(&path, options).await.unwrap();
        let mut read = Vec::new();
        loop {
            let piece = reader.next().await.unwrap();
            if piece.is_empty() {
                break;
            }
            read.extend(piece);
        }
        let read = String::from_utf8(read).unwrap();
        assert_eq!(read.lines().count(), 5_000);
        assert!(read.starts_with("line 5000\n") && read.ends_with("line 9999\n"));
    }

    #[tokio::test]
    async fn following_goes_on_after_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        std::fs::write(&path, "2026-01-01T00:00:01Z stdout F one\n").unwrap();
        let mut reader = LogReader::open(&path, LogOptions::default()).await.unwrap();
        assert_eq!(reader.next().await.unwrap(), b"one\n");
        assert_eq!(reader.next().await.unwrap(), b"");
        shift_rotated(&path).unwrap();
        assert_eq!(reader.next().await.unwrap(), b"");
        std::fs::write(&path, "2026-01-01T00:00:02Z stdout F two\n").unwrap();
        assert_eq!(reader.next().await.unwrap(), b"two\n");
    }

    #[test]
    fn the_previous_log_is_that_of_the_run_before() {
        let layout = Layout::new(PathBuf::from("/d"));
        let file = |attempt, previous| log_file(&layout, "u", "c", attempt, previous).unwrap();
        assert_eq!(file(Some(3), false), Some(PathBuf::from("/d/logs/u/c/3.log")));
        assert_eq!(file(Some(3), true), Some(PathBuf::from("/d/logs/u/c/2.log")));
        assert_eq!(file(Some(0), true), None);
        assert_eq!(file(None, false), None);
        assert!(log_file(&layout, "u", "../c", Some(0), false).is_err());
    }
}
