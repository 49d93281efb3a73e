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

/// Shortest time between two progress marks of a watcher whose keys do not change.
pub const PROGRESS_PERIOD: Duration = Duration::from_millis(250);
