//! The bounds of the engine and of the watches that read it, with their units.

use std::time::Duration;

/// Block cache of the state's database, in bytes.
pub const BLOCK_CACHE_BYTES: usize = 16 << 20;

/// Memory that the state's database gathers writes in before it writes them out, in bytes.
pub const WRITE_BUFFER_BYTES: usize = 16 << 20;

/// A range read with a limit up to this many keys is answered on the spot; others go to the blocking pool.
pub const INLINE_RANGE_KEYS: usize = 16;

/// Large reads, and replays for watches, that run at the same time.
pub const BLOCKING_READS: usize = 4;

/// Counts of ranges that are remembered for lists that are read page by page.
pub const COUNTS_KEPT: usize = 128;

/// For how long, each second, compacted versions are removed, with pauses.
pub const REMOVAL_TURN: Duration = Duration::from_millis(800);

/// Shortest pause after a step of the removal; else it is as long as the step took.
pub const REMOVAL_PAUSE_MIN: Duration = Duration::from_millis(1);

/// The index of changes is merged after so many revisions were compacted away.
pub const EVENTS_MERGE_REVISIONS: i64 = 10_000;

/// Files that the state's database writes are synced in pieces of this size, in bytes, so that no sync takes long.
pub const FILE_SYNC_BYTES: u64 = 1 << 20;

/// The state's database writes no faster than this in the background, in bytes a second: the log's syncs come first.
pub const BACKGROUND_WRITE_BYTES_PER_SECOND: i64 = 128 << 20;

/// A file of the state's database is merged when this many of [`DELETIONS_WINDOW`] rows next to each other are deletions.
pub const DELETIONS_TRIGGER: usize = 2_048;

/// See [`DELETIONS_TRIGGER`].
pub const DELETIONS_WINDOW: usize = 8_192;

/// A file of the state's database is merged when this share of its rows are deletions.
pub const DELETIONS_RATIO: f64 = 0.4;

/// Changes that the watch hub keeps in memory, in bytes of their keys and values.
pub const WINDOW_BYTES: usize = 16 << 20;

/// Events that the watch hub keeps in memory.
pub const WINDOW_EVENTS: usize = 50_000;

/// What the window counts for an event besides its keys and values, in bytes.
pub const WINDOW_EVENT_OVERHEAD_BYTES: usize = 256;

/// Revisions that a watcher looks through at once before it lets others run.
pub const WATCH_STEP_REVISIONS: usize = 1_000;

/// Bytes of events after which a watcher's batch ends; a revision is never split.
pub const WATCH_BATCH_BYTES: usize = 1 << 20;

/// Bytes of events after which a round of the watchers of one stream ends; a revision is never split. A stream whose
/// client does not read holds one round.
pub const WATCH_ROUND_BYTES: usize = 256 << 10;

/// Events told to the watchers of one stream after which a round of them ends, each counted as often as it is told; a
/// revision is never split.
pub const WATCH_ROUND_EVENTS: usize = 20_000;

/// Shortest time between two progress marks of a watcher whose keys do not change.
pub const PROGRESS_PERIOD: Duration = Duration::from_millis(250);

const _: () = assert!(DELETIONS_TRIGGER < DELETIONS_WINDOW);
