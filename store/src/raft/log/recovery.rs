//! Opening the log: all that is on disk is checked before this server takes part in anything.
//!
//! A batch is there as a whole or not at all. What a crash may leave behind the last whole batch is cut off: nobody was
//! told that it is durable. Everything else that does not fit is damage to what may have been acknowledged: a frame that
//! cannot be read although a later batch is there, a missing file, a hole, terms that go back, a commit position behind
//! the end. Such a server must not vote, acknowledge or serve (D4).
//!
//! One thing cannot be told from a torn write: damage to the very last batch, when nothing was written behind
//! it. So the writer puts a mark behind a batch as soon as it has nothing else to do.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::super::record;
use super::super::types::LogId;
use super::disk::{Disk, DiskFile};
use super::frame::{self, Checkpoint, Content};
use super::segments::{Location, Segments};
use super::tail::Tail;
use super::{SPARE_NAME, next_index, segment_name, segment_number};
use crate::limits;

/// Why the log cannot be taken up.
#[derive(Debug)]
pub(crate) enum RecoverError {
    /// The disk reported an error.
    Io {
        /// What we were doing.
        doing: String,
        /// What it reported.
        source: io::Error,
    },
    /// What it holds cannot have been left by us and a crash.
    Damaged(String),
}

/// What the disk holds.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) state: Checkpoint,
    pub(super) tail: Tail,
    pub(super) segments: Segments,
    pub(super) end: End,
    /// A file that the writer may use next.
    pub(super) spare: Option<Arc<dyn DiskFile>>,
}

/// Where the next batch goes.
#[derive(Debug)]
pub(super) struct End {
    pub(super) segment: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) offset: u64,
}

/// Opens and checks the log on `disk`; makes an empty one if there is none.
pub(super) fn recover(disk: &dyn Disk, tail_bytes: usize) -> Result<Recovered, RecoverError> {
    let names = disk.list().map_err(failed("list the files"))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    if let Some(gap) = numbers.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
        return Err(RecoverError::Damaged(format!("segment {} is missing", gap[0] + 1)));
    }
    let spare = take_spare(disk, &names)?;
    let mut replay = Replay::new(tail_bytes);
    let mut end = None;
    for (at, number) in numbers.iter().copied().enumerate() {
        let newest = at + 1 == numbers.len();
        let file = open(disk, number)?;
        let stop = replay.segment(number, &file, at == 0, newest)?;
        if stop == 0 {
            // The crash came while this file was begun. Nothing is in it, and the one before has the end.
            disk.remove(&segment_name(number))
                .map_err(failed("remove an unused segment"))?;
            break;
        }
        replay.segments.add_file(number, file.clone());
        end = Some(End {
            segment: number,
            file,
            offset: stop,
        });
    }
    let end = match end {
        Some(end) => end,
        None => begin(disk, &mut replay)?,
    };
    replay.finish()?;
    Ok(Recovered {
        state: replay.state,
        tail: replay.tail,
        segments: replay.segments,
        end,
        spare,
    })
}

fn failed(doing: &str) -> impl Fn(io::Error) -> RecoverError {
    move |source| RecoverError::Io {
        doing: doing.to_owned(),
        source,
    }
}

fn open(disk: &dyn Disk, number: u64) -> Result<Arc<dyn DiskFile>, RecoverError> {
    let name = segment_name(number);
    disk.open(&name).map_err(failed(&format!("open {name}")))
}

fn take_spare(disk: &dyn Disk, names: &[String]) -> Result<Option<Arc<dyn DiskFile>>, RecoverError> {
    if !names.iter().any(|name| name == SPARE_NAME) {
        return Ok(None);
    }
    let file = disk.open(SPARE_NAME).map_err(failed("open the spare segment"))?;
    if file.len() == limits::LOG_SEGMENT_BYTES {
        return Ok(Some(file));
    }
    // It was not finished.
    disk.remove(SPARE_NAME).map_err(failed("remove the spare segment"))?;
    Ok(None)
}

/// The first file of an empty log, with its checkpoint.
fn begin(disk: &dyn Disk, replay: &mut Replay) -> Result<End, RecoverError> {
    const FIRST: u64 = 1;
    let name = segment_name(FIRST);
    let file = disk
        .create(&name, limits::LOG_SEGMENT_BYTES)
        .map_err(failed("make the first segment"))?;
    let mut buffer = Vec::new();
    frame::write(&mut buffer, FIRST, 1, &Content::Checkpoint(Checkpoint::default()));
    frame::end_batch(&mut buffer, 0);
    file.write_at(&buffer, 0)
        .and_then(|()| file.sync())
        .map_err(failed("write the first segment"))?;
    replay.state.batch = 1;
    replay.segments.add_file(FIRST, file.clone());
    Ok(End {
        segment: FIRST,
        file,
        offset: buffer.len() as u64,
    })
}

/// What was read so far.
struct Replay {
    /// After the last whole batch.
    state: Checkpoint,
    /// Entries up to this one (exclusive) stood in files that are gone; a purge must cover them.
    missing_before: u64,
    tail: Tail,
    segments: Segments,
}

impl Replay {
    fn new(tail_bytes: usize) -> Self {
        Self {
            state: Checkpoint::default(),
            missing_before: 0,
            tail: Tail::new(0, tail_bytes),
            segments: Segments::default(),
        }
    }

    /// Reads one file; its end, which is 0 if it was never begun.
    fn segment(
        &mut self,
        number: u64,
        file: &Arc<dyn DiskFile>,
        oldest: bool,
        newest: bool,
    ) -> Result<u64, RecoverError> {
        let len = usize::try_from(file.len()).expect("a segment fits into memory");
        let mut bytes = vec![0; len];
        file.read_at(&mut bytes, 0)
            .map_err(failed(&format!("read {}", segment_name(number))))?;
        if oldest && number > 1 {
            self.take_up(number, &bytes)?;
        }
        let mut at = 0;
        let mut whole = 0;
        let mut batch = Vec::new();
        while let Some(found) = frame::read(&bytes[at..], number) {
            if found.batch != self.state.batch + 1 {
                return Err(damaged(number, at, "a write is missing before it"));
            }
            batch.push((at, found.content));
            at += found.len;
            if found.last {
                if whole == 0 && !matches!(batch[0].1, Content::Checkpoint(_)) {
                    return Err(damaged(number, 0, "the segment does not begin with its checkpoint"));
                }
                for (place, content) in batch.drain(..) {
                    self.take(number, place, content)?;
                }
                self.state.batch += 1;
                whole = at;
            }
        }
        let torn = !batch.is_empty() | self.search(number, &bytes, at)?;
        if !newest && torn {
            return Err(damaged(
                number,
                whole,
                "it cannot be read, but there is a later segment",
            ));
        }
        if newest && torn {
            tracing::warn!(
                segment = number,
                offset = whole,
                "cut off a write that a crash had left unfinished at the end of the Raft log"
            );
            // Its frames must not be met again behind what will be written here.
            let zeros = vec![0; len - whole];
            file.write_at(&zeros, whole as u64)
                .and_then(|()| file.sync())
                .map_err(failed("cut off an unfinished write"))?;
        }
        if whole == 0 && (!newest || (oldest && number > 1)) {
            return Err(damaged(number, 0, "its checkpoint cannot be read"));
        }
        Ok(whole as u64)
    }

    /// Looks for frames of this segment behind the place where reading ended. Those of the batch that comes next are
    /// the scattered rest of an unfinished write; those of a later one prove that what cannot be read was durable.
    fn search(&self, number: u64, bytes: &[u8], from: usize) -> Result<bool, RecoverError> {
        let needle = number.to_be_bytes();
        let finder = memchr::memmem::Finder::new(&needle);
        let mut torn = false;
        let mut at = from;
        // A frame has its segment's number behind its checksum and length.
        while let Some(next) = bytes.get(at + 8..).and_then(|rest| finder.find(rest)) {
            at += next;
            if let Some(found) = frame::read(&bytes[at..], number) {
                if found.batch > self.state.batch + 1 {
                    return Err(damaged(number, from, "it cannot be read, but a later write can"));
                }
                torn = true;
            }
            at += 1;
        }
        Ok(torn)
    }

    /// Begins with what the oldest file's checkpoint says of those that are gone.
    fn take_up(&mut self, number: u64, bytes: &[u8]) -> Result<(), RecoverError> {
        match frame::read(bytes, number) {
            Some(frame::Frame {
                content: Content::Checkpoint(checkpoint),
                ..
            }) => {
                let next = next_index(checkpoint.last);
                self.state = checkpoint;
                self.missing_before = next;
                self.tail.begin_at(next);
                self.segments.begin_at(next);
                Ok(())
            }
            _ => Err(damaged(number, 0, "its checkpoint cannot be read")),
        }
    }

    fn take(&mut self, number: u64, place: usize, content: Content<'_>) -> Result<(), RecoverError> {
        match content {
            Content::Checkpoint(checkpoint) => {
                if checkpoint != self.state {
                    return Err(damaged(
                        number,
                        place,
                        "its checkpoint does not fit the segment before it",
                    ));
                }
            }
            Content::Vote(vote) => self.state.vote = Some(vote),
            Content::Entry(bytes) => self.entry(number, place, bytes)?,
            Content::Truncate(first) => self.truncate(number, place, first)?,
            Content::Purge(upto) => {
                // Beyond the end it is a snapshot's; before it, it is an entry that was there.
                let last = self.state.last;
                let beyond = last.is_none_or(|last| upto.index > last.index);
                if beyond != (Some(upto) > last) {
                    return Err(damaged(number, place, "it purges an entry that the log never had"));
                }
                self.state.purged = self.state.purged.max(Some(upto));
                self.state.last = self.state.last.max(Some(upto));
                self.tail.purge_before(upto.index + 1);
                self.segments.purge_before(upto.index + 1);
            }
            Content::Committed(id) => self.state.committed = Some(id),
            Content::Mark => {}
        }
        Ok(())
    }

    fn entry(&mut self, number: u64, place: usize, bytes: &[u8]) -> Result<(), RecoverError> {
        let wrong = |what: String| damaged(number, place, &what);
        let entry = record::open(Bytes::copy_from_slice(bytes)).map_err(|error| wrong(error.to_string()))?;
        let (index, want) = (entry.log_id.index, next_index(self.state.last));
        if index != want {
            return Err(wrong(format!("entry {index} stands where entry {want} should")));
        }
        if self
            .state
            .last
            .is_some_and(|last| entry.log_id.leader_id < last.leader_id)
        {
            return Err(wrong(format!(
                "entry {index} is of an older term than the one before it"
            )));
        }
        self.state.last = Some(entry.log_id);
        self.segments.append(
            index,
            [Location {
                segment: number,
                offset: (place + frame::HEADER_BYTES) as u64,
                len: u32::try_from(bytes.len()).expect("a record is far below 4 GiB"),
            }],
        );
        // Sequence 0 counts as durable from the start, so old entries leave memory as new ones come.
        self.tail.push(entry, 0);
        Ok(())
    }

    fn truncate(&mut self, number: u64, place: usize, first: Option<LogId>) -> Result<(), RecoverError> {
        let next = next_index(first);
        if self.state.purged.is_some_and(|purged| next <= purged.index) {
            return Err(damaged(number, place, "purged entries were truncated"));
        }
        if !is_within(first, self.state.last) {
            return Err(damaged(number, place, "it truncates behind its end"));
        }
        self.state.last = first;
        self.missing_before = self.missing_before.min(next);
        self.tail.truncate_from(next);
        self.segments.truncate_from(next);
        Ok(())
    }

    /// The checks that only make sense at the end.
    fn finish(&self) -> Result<(), RecoverError> {
        let Checkpoint {
            vote,
            committed,
            purged,
            last,
            batch: _,
        } = &self.state;
        let wrong = |what: String| Err(RecoverError::Damaged(what));
        if next_index(*purged) < self.missing_before {
            return wrong(format!("entries before {} are missing", self.missing_before));
        }
        if !is_within(*purged, *last) {
            return wrong(format!(
                "entries up to {} were purged, but the log ends at {}",
                show(*purged),
                show(*last)
            ));
        }
        if !is_within(*committed, *last) {
            return wrong(format!(
                "entries up to {} were committed, but the log ends at {}",
                show(*committed),
                show(*last)
            ));
        }
        if let (Some(vote), Some(last)) = (vote, last)
            && last.leader_id.term > vote.leader_id.term
        {
            return wrong(format!(
                "the log reaches term {}, but the vote is of term {}",
                last.leader_id.term, vote.leader_id.term
            ));
        }
        Ok(())
    }
}

/// Whether a log that ends at `last` can have had `id`.
fn is_within(id: Option<LogId>, last: Option<LogId>) -> bool {
    id <= last && next_index(id) <= next_index(last)
}

fn damaged(number: u64, at: usize, what: &str) -> RecoverError {
    RecoverError::Damaged(format!("segment {number}, byte {at}: {what}"))
}

fn show(id: Option<LogId>) -> String {
    id.map_or_else(|| "nothing".into(), |id| format!("index {}", id.index))
}
