//! Every bound of the etcd API, with its unit. Where etcd has the same, the number is etcd's.

use std::time::Duration;

/// Largest request, in bytes.
pub(super) const REQUEST_BYTES: usize = 1536 * 1024;

/// Largest message that is read at all, in bytes: beyond [`REQUEST_BYTES`], so that such a request gets etcd's words.
pub(super) const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Most operations in a list of a transaction, those of its nested transactions included.
pub(super) const TXN_OPS: usize = 128;

/// Bytes of keys and values in a piece of a streamed range.
pub(super) const RANGE_PIECE_BYTES: usize = 1024 * 1024;

/// Bytes of events in an answer of a watch that wants its answers fragmented; one event always goes.
pub(super) const FRAGMENT_BYTES: usize = REQUEST_BYTES;

/// Watches on one stream.
pub(super) const STREAM_WATCHES: usize = 100_000;

/// How often a watch that asked for it is told that nothing has happened.
pub(super) const PROGRESS_NOTIFY_PERIOD: Duration = Duration::from_secs(10 * 60);

/// How often a server makes sure that there is a leader.
pub(super) const LEADER_PROBE_PERIOD: Duration = Duration::from_secs(1);

/// How long there may be no leader before streams that need one are ended.
pub(super) const NO_LEADER_GRACE: Duration = Duration::from_secs(3);

/// Time to live of the lease of a lock or campaign that came without one, in seconds.
pub(super) const SESSION_TTL_S: i64 = 60;

const _: () = assert!(REQUEST_BYTES < MESSAGE_BYTES);
