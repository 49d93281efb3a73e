//! Every bound that the state machine's language and work have, each with its unit.
//!
//! The bounds on commands are checked where a command is proposed, never where it is applied: a
//! committed entry must mean the same on servers of every version, also after a bound has changed.

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 4 * 1024;

/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1536 * 1024;

/// Most compares of a transaction, its nested ones included; the same bound holds for the operations of
/// its success side, and again for those of its failure side.
pub const TXN_OPS_MAX: usize = 1_000;

/// Largest encoded command, in bytes.
pub const COMMAND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How deep transactions may nest; 1 is a transaction without nested ones.
pub const TXN_DEPTH_MAX: usize = 4;

/// Longest time to live of a lease, in seconds; etcd's bound.
pub const LEASE_TTL_MAX_S: i64 = 9_000_000_000;

/// Most leases in one checkpoint.
pub const LEASE_CHECKPOINT_ENTRIES_MAX: usize = 10_000;

/// What a key counts for in an answer besides its key and value, in bytes.
pub const KEY_VALUE_OVERHEAD_BYTES: usize = 64;

/// Largest answer of a range read that sets no bound of its own, in bytes as
/// [`KeyValue::bytes`](crate::types::KeyValue::bytes) counts them. Beyond it the read is refused.
pub const RANGE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Most keys and values that one transaction answers with, its ranges and previous versions together, in bytes. Beyond
/// it the transaction is refused. It crosses the wire between servers in one message.
pub const TXN_ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Longest cause of an alarm, in bytes; what is beyond it is cut off.
pub const ALARM_CAUSE_BYTES_MAX: usize = 1024;

/// Most alarms that can be raised at a time.
pub const ALARMS_MAX: usize = 64;

/// Longest opaque applied position of the Raft layer, in bytes.
pub const OPAQUE_POSITION_BYTES_MAX: usize = 1024 * 1024;

/// Payload that one frame of a snapshot is filled up to, in bytes. One record may exceed it.
pub const SNAPSHOT_FRAME_BYTES: usize = 256 * 1024;

/// Largest frame of a snapshot that is read, in bytes: one frame's fill and the largest record beyond it.
pub const SNAPSHOT_FRAME_BYTES_MAX: usize = SNAPSHOT_FRAME_BYTES + 2 * COMMAND_BYTES_MAX;

/// Events whose predecessors one step of compaction removes.
pub const COMPACT_STEP_EVENTS: usize = 128;

/// Events that one chunk of history answers with, at most; a revision is never split.
pub const HISTORY_CHUNK_EVENTS: usize = 1_000;

/// Bytes of events after which a chunk of history ends; a revision is never split.
pub const HISTORY_CHUNK_BYTES: usize = 1024 * 1024;

/// Index records that one chunk of history looks at, at most; a revision is never split.
pub const HISTORY_CHUNK_SCANNED: usize = 20_000;

/// Largest version of a key that is kept in memory for the next read or write of it, in bytes with
/// [`KEPT_OVERHEAD_BYTES`].
pub const KEPT_VERSION_BYTES_MAX: usize = 32 * 1024;

/// What a version in memory counts for besides its value, in bytes.
pub const KEPT_OVERHEAD_BYTES: usize = 32;

/// How far below the bound the versions in memory are brought when they reach it, in bytes.
pub const KEPT_SWEEP_BYTES: usize = 256 * 1024;

/// Ranges of at most so many keys are looked at key by key while entries are applied.
pub const FEW_KEYS: usize = 16;

/// Newest versions of keys that a state machine keeps in memory unless told otherwise, in bytes.
pub const KEPT_BYTES: usize = 64 * 1024 * 1024;
