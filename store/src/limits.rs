//! Every bound and default of the store, with its unit.
//!
//! Nothing else in this package writes such a number down.

use std::time::Duration;

/// Raft heartbeat period, in milliseconds.
pub const HEARTBEAT_PERIOD_MS: u64 = 100;
/// Shortest silence of the leader after which a server stands for election, in milliseconds.
pub const ELECTION_TIMEOUT_MIN_MS: u64 = 400;
/// Longest such silence, in milliseconds.
pub const ELECTION_TIMEOUT_MAX_MS: u64 = 700;
/// Worker threads of the consensus runtime at most. It has one for every two processors: where there are few, a thread that
/// wakes another for each step of a write costs more than the other does.
pub const CONSENSUS_THREADS_MAX: usize = 2;

/// Length of a segment of the Raft log, in bytes. A batch that is larger gets a longer one.
pub const LOG_SEGMENT_BYTES: u64 = 16 << 20;
/// A new segment is filled with zeros in pieces of this many bytes.
pub const LOG_ZERO_FILL_BYTES: usize = 1 << 20;
/// Bytes of the log's files that are written as one, as the kernel keeps them.
pub const LOG_PAGE_BYTES: usize = 4 << 10;
/// How long another process may take to let go of the log, before it counts as in use.
pub const LOG_LOCK_WAIT: Duration = Duration::from_secs(2);
/// Memory that the log's writer keeps for its next batch, in bytes.
pub const LOG_WRITE_BUFFER_KEPT_BYTES: usize = 1 << 20;
/// The last batch of the log is marked as whole when nothing was written behind it for this long.
pub const LOG_MARK_AFTER: Duration = Duration::from_millis(100);
/// The newest log entries kept in memory for replication and apply, in bytes.
pub const LOG_TAIL_CACHE_BYTES: usize = 4 << 20;
/// At most this much is put into one write of the log, in bytes, whatever is queued.
pub const LOG_WRITE_BATCH_BYTES: usize = 8 << 20;
/// Log entries read for one append to a follower, in bytes. One entry always goes.
pub const APPEND_BATCH_BYTES: usize = 2 << 20;
/// Log entries read at once when they are applied, in bytes. One entry always is.
pub const APPLY_BATCH_BYTES: usize = 2 << 20;
/// Entries in one append to a follower.
pub const APPEND_BATCH_ENTRIES: u64 = 1_024;
/// Appends to one follower that may be under way at once: one that is being synced, and one on its way. More of them would be
/// smaller.
pub const APPENDS_IN_FLIGHT: usize = 2;

/// A snapshot is made after this many new log entries.
pub const SNAPSHOT_LOG_ENTRIES: u64 = 50_000;
/// A snapshot is made and the log is cut when the log holds this many bytes.
pub const LOG_MAX_BYTES: u64 = 256 << 20;
/// How often the log's size is looked at.
pub const LOG_SIZE_CHECK_PERIOD: Duration = Duration::from_secs(1);
/// Log entries kept behind the snapshot for followers that are a little late.
pub const LOG_KEEP_ENTRIES: u64 = 20_000;
/// A follower further behind than this is sent a snapshot; more than [`LOG_KEEP_ENTRIES`].
pub const SNAPSHOT_LAG_ENTRIES: u64 = 30_000;
/// Log entries purged at once, at least.
pub const LOG_PURGE_BATCH_ENTRIES: u64 = 1_024;
/// A piece of a snapshot on the wire, in bytes.
pub const SNAPSHOT_CHUNK_BYTES: usize = 512 << 10;
/// How long the sending of a whole snapshot may take.
pub const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(20 * 60);
/// How long a snapshot's receiver or sender may make no progress at all.
pub const SNAPSHOT_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest message between peers, in bytes. Larger than any append or any batch of proposals.
pub const PEER_MESSAGE_BYTES: usize = 32 << 20;
/// Largest encoded command, in bytes.
pub const COMMAND_BYTES: usize = 6 << 20;
/// Commands in one batch of proposals.
pub const PROPOSAL_BATCH_COMMANDS: usize = 1_024;
/// Bytes of commands in one batch of proposals, beyond its first command.
pub const PROPOSAL_BATCH_BYTES: usize = 1 << 20;
/// Batches of proposals under way at once. More would make smaller batches.
pub const PROPOSAL_BATCHES_IN_FLIGHT: usize = 4;
/// Commands in one batch of proposals, from which on the next batch waits for more of them.
pub const PROPOSAL_CROWD: usize = 4;
/// How long after such a batch the next one goes.
pub const PROPOSAL_SPACING: Duration = Duration::from_millis(4);
/// Commands that one server has under way, in bytes; what would go beyond is refused as overload.
pub const PROPOSALS_IN_FLIGHT_BYTES: usize = 64 << 20;
/// What a command counts for at least, in bytes; also the unit that is counted in. Bounds their number to 65,536.
pub const PROPOSAL_MIN_BYTES: usize = 1 << 10;
/// Commands that wait for their batch.
pub const PROPOSAL_QUEUE_COMMANDS: usize = 10_000;
/// Of [`PROPOSALS_IN_FLIGHT_BYTES`], what each lane has for itself, in bytes: system, users, bulk.
pub const PROPOSALS_IN_FLIGHT_BYTES_BY_LANE: [usize; 3] = [16 << 20, 36 << 20, 12 << 20];
/// Commands in one batch of proposals that are taken of each lane, and of those before it, while others wait.
pub const PROPOSAL_BATCH_SHARES: [usize; 3] = [512, 896, PROPOSAL_BATCH_COMMANDS];
/// When to come back after overload.
pub const OVERLOAD_RETRY: Duration = Duration::from_millis(100);

/// What one seat of a lane stands for, in bytes that are expected to be read or written.
pub const SEAT_BYTES: usize = 1 << 10;
/// Seats of the system lane.
pub const SYSTEM_SEATS: u32 = 16_384;
/// Seats of the users' lane. As much as may be proposed at a time, so that writes wait for consensus, not here.
pub const USERS_SEATS: u32 = 65_536;
/// Seats of one slice of large work.
pub const BULK_SLICE_SEATS: u32 = (BULK_SLICE_BYTES / SEAT_BYTES) as u32;
/// Seats in use of all other lanes up to which a machine counts as idle, and does large work on all its processors.
pub const QUIET_SEATS: u32 = 64;
/// Slices of large work at a time, however many processors there are.
pub const BULK_SLICES_AT_ONCE_MAX: u32 = 64;
/// A slice of large work ends after so many bytes of answers.
pub const BULK_SLICE_BYTES: usize = 1 << 20;
/// A slice of large work ends after so many keys that it has looked at.
pub const BULK_SLICE_KEYS: usize = 4_096;
/// A range or list with a limit up to this many keys is small.
pub const SMALL_RANGE_KEYS: usize = 512;
/// Requests that wait in the system lane.
pub const SYSTEM_WAITING: usize = 4_096;
/// Requests that wait in the users' lane.
pub const USERS_WAITING: usize = 8_192;
/// Requests that wait in the bulk lane.
pub const BULK_WAITING: usize = 1_024;
/// One flow has at most one in so many of a lane's places to wait, and of the room for its answers.
pub const LANE_FLOW_SHARE: usize = 4;
/// How long a request waits for a seat of the system lane.
pub const SYSTEM_PATIENCE: Duration = Duration::from_secs(5);
/// How long a request waits for a seat of the users' lane.
pub const USERS_PATIENCE: Duration = Duration::from_secs(5);
/// How long large work waits for its next slice.
pub const BULK_PATIENCE: Duration = Duration::from_secs(10);
/// When large work that was refused comes back.
pub const BULK_RETRY: Duration = Duration::from_secs(1);
/// Answers up to this size, in bytes, are not counted.
pub const SMALL_ANSWER_BYTES: usize = 16 << 10;
/// Answers of the system lane that clients have not taken yet, in bytes.
pub const SYSTEM_ANSWER_BYTES: u64 = 64 << 20;
/// Answers of the users' lane that clients have not taken yet, in bytes.
pub const USERS_ANSWER_BYTES: u64 = 128 << 20;
/// Answers of the bulk lane that are being put together or that clients have not taken yet, in bytes.
pub const BULK_ANSWER_BYTES: u64 = 192 << 20;
/// What the oldest of the large answers may have beyond that, in bytes: more than the largest there can be.
pub const BULK_SENIOR_ANSWER_BYTES: u64 = 136 << 20;
/// What of an answer is handed to its connection at a time, in bytes.
pub const ANSWER_PIECE_BYTES: usize = 64 << 10;
/// A client that takes nothing of an answer for this long is cut off.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// How often a range read of the latest state starts over when what it read was compacted away meanwhile.
pub const RANGE_RESTARTS_MAX: usize = 3;

/// How long a request waits for a leader to be known.
pub const LEADER_WAIT: Duration = Duration::from_secs(5);
/// How long a write waits for its outcome before it is reported as unknown.
pub const PROPOSAL_DEADLINE: Duration = Duration::from_secs(10);
/// How long a linearizable read waits before it is refused.
pub const READ_DEADLINE: Duration = Duration::from_secs(5);
/// How long a write that is under way when the leader changes still waits for its outcome.
pub const LEADER_CHANGE_GRACE: Duration = Duration::from_millis(1_500);
/// Reads that share one question for a read index, from which on the next question waits for more of them.
pub const READ_ROUND_CROWD: usize = 32;
/// How long after such a question the next one is asked.
pub const READ_ROUND_SPACING: Duration = Duration::from_millis(3);
/// How long one question for a read index may take before it is asked again.
pub const READ_INDEX_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before asking again when a server said that it does not lead.
pub const LEADER_RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long an append may take before the follower counts as unreachable.
pub const APPEND_TIMEOUT: Duration = Duration::from_millis(2_000);
/// Heartbeats that may time out one after the other before the connection is made anew.
pub const HEARTBEAT_TIMEOUTS_BEFORE_RECONNECT: u32 = 5;
/// How long a change of the membership may take.
pub const MEMBERSHIP_DEADLINE: Duration = Duration::from_secs(30);
/// Longest name or address of a server, in bytes: a DNS name with its port fits.
pub const MEMBER_TEXT_BYTES_MAX: usize = 512;
/// Servers that a cluster has at most, its learners included.
pub const MEMBERS_MAX: usize = 64;
/// A learner within this many entries of the leader has caught up and may be promoted.
pub const PROMOTE_LAG_ENTRIES: u64 = 1_000;

/// Shortest time to live of a lease, in seconds; shorter ones are raised to it. An election must fit in.
pub const LEASE_TTL_MIN_S: i64 = 2;
/// What is left of a lease is noted for later leaders no later than this after the last note.
pub const LEASE_CHECKPOINT_PERIOD_MAX: Duration = Duration::from_secs(5 * 60);
/// And no sooner than this.
pub const LEASE_CHECKPOINT_PERIOD_MIN: Duration = Duration::from_secs(1);
/// A time to live that the clock cannot express counts as this.
pub const LEASE_HORIZON: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
/// Expired leases that the leader takes up at once.
pub const LEASE_REVOKES_AT_ONCE: usize = 100;
/// Of them, commands under way at once.
pub const LEASE_REVOKES_IN_FLIGHT: usize = 16;
/// Leases in one note of what is left.
pub const LEASE_CHECKPOINTS_AT_ONCE: usize = 1_000;
/// The leader takes up leases no more often than this: at most 1,000 are revoked a second.
pub const LEASE_PACE: Duration = Duration::from_millis(100);
/// Pause before a revocation is tried again.
pub const LEASE_RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Changes younger than this are always kept in the history.
pub const HISTORY_MIN_AGE: Duration = Duration::from_secs(5 * 60);
/// This many of the latest revisions are always kept in the history.
pub const HISTORY_MIN_REVISIONS: i64 = 100_000;
/// How often the leader considers a compaction, unless the history is to be short.
pub const COMPACTION_PERIOD: Duration = Duration::from_secs(30);
/// And no more often than this.
pub const COMPACTION_PERIOD_MIN: Duration = Duration::from_secs(1);
/// Times at which a server stood at a revision that it remembers; a day and a half at that pace, longer times less exactly.
pub const HISTORY_SAMPLES_MAX: usize = 4_096;
/// How often it is noted that a replica makes progress.
pub const PROGRESS_NOTE_PERIOD: Duration = Duration::from_millis(250);

/// How often the leader asks every server how it stands: quarantine, hashes, space.
pub const CONDITION_PERIOD: Duration = Duration::from_secs(2);
/// How long a server may take to say how it stands.
pub const CONDITION_TIMEOUT: Duration = Duration::from_secs(1);
/// At each multiple of this many entries every server remembers its state's hash.
pub const HASH_AGREED_ENTRIES: u64 = 1_024;
/// Hashes of those indexes that a server remembers.
pub const HASH_SAMPLES_AGREED: usize = 64;
/// Hashes of the latest batches that a server remembers.
pub const HASH_SAMPLES_RECENT: usize = 256;

/// Space that is kept back on each server's disk, in bytes: given free when nothing else is left.
pub const SPACE_RESERVE_BYTES: u64 = 64 << 20;
/// With less than this much left on a server's disk, in bytes, beside the reserve, the cluster takes no more data.
pub const SPACE_LOW_BYTES: u64 = 128 << 20;
/// With less than this much left, in bytes, the reserve is given free.
pub const SPACE_CRITICAL_BYTES: u64 = 32 << 20;
/// The alarm ends once this many times [`SPACE_LOW_BYTES`] are free again.
pub const SPACE_ENOUGH_FACTOR: u64 = 2;
/// How often the space is looked at.
pub const SPACE_CHECK_PERIOD: Duration = Duration::from_secs(1);

/// How much the revision grows when a cluster is restored or recovered: more than any cluster can have written since
/// the backup, so that no revision ever stands for two states. A day at 100,000 writes a second.
pub const REFOUND_REVISIONS: i64 = 10_000_000_000;
/// A piece of a backup, in bytes.
pub const BACKUP_CHUNK_BYTES: usize = 512 << 10;
/// Largest header of a backup, in bytes.
pub const BACKUP_HEADER_BYTES_MAX: usize = 1 << 20;
/// Entries of the log that a recovery applies at once.
pub const RECOVER_BATCH_ENTRIES: usize = 256;

/// How long the sender of a snapshot that broke off keeps it, so that the transfer can go on.
pub const SNAPSHOT_RESUME_PATIENCE: Duration = Duration::from_secs(120);

/// How long a snapshot may wait for its transfer to begin before the log behind it is not held for it any more.
pub const SNAPSHOT_BEGIN_PATIENCE: Duration = Duration::from_secs(30);

/// How often the leader looks for a change of the membership that its predecessor has left half done.
pub const MEMBERSHIP_CHECK_PERIOD: Duration = Duration::from_secs(1);
/// How long a removal waits for enough of the other voters to answer before it is refused.
pub const VOTER_SILENCE_MAX: Duration = Duration::from_secs(3);
/// How often a server that has moved tells the others, until they know.
pub const ANNOUNCE_PERIOD: Duration = Duration::from_millis(500);

/// How long a clean shutdown waits for the consensus core.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

const _: () = assert!(SNAPSHOT_LAG_ENTRIES > LOG_KEEP_ENTRIES);
const _: () = assert!(SPACE_CRITICAL_BYTES < SPACE_LOW_BYTES && SPACE_ENOUGH_FACTOR > 1);
const _: () = assert!(CONDITION_TIMEOUT.as_millis() < CONDITION_PERIOD.as_millis());
const _: () =
    assert!(HEARTBEAT_PERIOD_MS < ELECTION_TIMEOUT_MIN_MS && ELECTION_TIMEOUT_MIN_MS < ELECTION_TIMEOUT_MAX_MS);
const _: () = assert!(PROPOSAL_BATCH_BYTES + COMMAND_BYTES < PEER_MESSAGE_BYTES);
const _: () = assert!(APPEND_BATCH_BYTES + COMMAND_BYTES < PEER_MESSAGE_BYTES);
const _: () = {
    let [system, users, bulk] = PROPOSALS_IN_FLIGHT_BYTES_BY_LANE;
    assert!(system + users + bulk == PROPOSALS_IN_FLIGHT_BYTES);
    let most = PROPOSAL_BATCH_BYTES + COMMAND_BYTES;
    assert!(
        most < system && most < users && most < bulk,
        "every batch fits into an idle leader"
    );
};
const _: () = assert!(trireme_mvcc::limits::COMMAND_BYTES_MAX <= COMMAND_BYTES);
const _: () =
    assert!(MEMBERS_MAX * (3 * MEMBER_TEXT_BYTES_MAX + 256) < trireme_mvcc::limits::OPAQUE_POSITION_BYTES_MAX);
const _: () = assert!(LEASE_CHECKPOINTS_AT_ONCE <= trireme_mvcc::limits::LEASE_CHECKPOINT_ENTRIES_MAX);
const _: () = assert!(LEASE_TTL_MIN_S as u64 * 1_000 >= 2 * ELECTION_TIMEOUT_MAX_MS);
