//! Every limit and period of the API server, each with its unit. Nothing read from a client is trusted
//! before it has passed these (invariant I9).

use std::time::Duration;

/// Largest object, as stored, in bytes.
pub const OBJECT_MAX_BYTES: usize = 1_536 << 10;

/// Largest request, in bytes: an object in JSON may be larger than what is stored of it.
pub const REQUEST_MAX_BYTES: usize = 3 << 20;

/// Largest message that is no stored object, in bytes: the options of a deletion, a scale, a binding, an eviction.
pub const OPTIONS_MAX_BYTES: usize = 512 << 10;

/// Longest patch that is shown to whoever is told that it does not fit, in bytes.
pub const PATCH_SHOWN_BYTES: usize = 1 << 10;

/// Most unknown-field warnings in one answer.
pub const WARNINGS_MAX: usize = 32;

/// Most parameters behind the path of one request.
pub const QUERY_PARAMETERS_MAX: usize = 64;

/// Most forms that a client may say it accepts; those after them are not looked at.
pub const ACCEPT_CLAUSES_MAX: usize = 32;

/// Most aliases, and most anchors, of one YAML document.
pub const YAML_ALIASES_MAX: usize = 1_000;

/// Most scalars, lists and maps of one YAML document, each counted as often as aliases repeat it.
pub const YAML_NODES_MAX: usize = trireme_logic::limits::JSON_VALUES;

/// Longest sentence of one `Warning` header, in bytes.
pub const WARNING_MAX_BYTES: usize = 1_024;

/// How much is still taken in of a request that was answered before it was read, in bytes: more than that, and its connection ends.
pub const UNREAD_BODY_MAX_BYTES: usize = 256 << 10;

/// How long that may take.
pub const UNREAD_BODY_PATIENCE: Duration = Duration::from_secs(5);

/// When a client comes back whose body had no room.
pub const BODY_RETRY: Duration = Duration::from_secs(1);

/// Smallest answer that is compressed, in bytes.
pub const GZIP_MIN_BYTES: usize = 128 << 10;

/// Frames of a watch that are ready go together until they have this size, in bytes: beyond it, to copy them costs more than to
/// send them one by one.
pub const FRAMES_TOGETHER_BYTES: usize = 4 << 10;

/// An answer is sent in pieces of about this size, in bytes: one object more at most.
pub const ANSWER_PIECE_BYTES: usize = 64 << 10;

/// Shortest time after which a watch ends that does not say when, in seconds.
pub const WATCH_TIMEOUT_MIN_SECONDS: u64 = 1_800;

/// Longest such time. It is drawn by lot, so that watches that began together do not end together.
pub const WATCH_TIMEOUT_MAX_SECONDS: u64 = 3_600;

/// Objects of a collection that are deleted at the same time.
pub const COLLECTION_DELETES_CONCURRENT: usize = 16;

/// Longest `continue` token, in bytes.
pub const CONTINUE_MAX_BYTES: usize = 4 << 10;

/// Objects read from the store at a time while a list is put together.
pub const LIST_CHUNK_ITEMS: usize = 1_000;

/// The same in bytes: with either a chunk ends.
pub const LIST_CHUNK_BYTES: usize = 1 << 20;

/// Objects of a list that are encoded before others have their turn on the thread.
pub const ENCODE_CHUNK_ITEMS: usize = 256;

/// How often a write without a precondition starts over when another got in between.
pub const WRITE_ATTEMPTS_MAX: usize = 64;

/// How often an eviction is judged again when its pod or budget changed meanwhile.
pub const EVICTION_ATTEMPTS_MAX: usize = 20;

/// How often a patch is applied again when another write got in between.
pub const PATCH_ATTEMPTS_MAX: usize = 5;

/// How often a new suffix is tried when a generated name is taken.
pub const GENERATE_NAME_ATTEMPTS_MAX: usize = 8;

/// Characters of the suffix of a generated name.
pub const GENERATE_NAME_SUFFIX_CHARS: usize = 5;

/// Longest part of `generateName` that is kept, so that name and suffix fit in 63 bytes.
pub const GENERATE_NAME_BASE_MAX_BYTES: usize = 58;

/// Objects that a list reads one by one, since an index names them; more are found by reading the whole range.
pub const FOUND_MAX_ITEMS: usize = 256;

/// How long such a list waits for the index to show what was acknowledged, before the range is read instead.
pub const FINDER_WAIT: Duration = Duration::from_millis(100);

/// What watches share of the latest events, in bytes: states, the objects decoded of them as they are estimated, and what
/// was encoded of them.
pub const SHARED_EVENTS_BYTES: usize = 32 << 20;

/// What such an event is counted for beside its keys, values and encodings, in bytes.
pub const SHARED_EVENT_OVERHEAD_BYTES: usize = 1 << 10;

/// How much memory a decoded object is estimated to take for each byte of its stored form.
pub const DECODED_BYTES_A_BYTE: usize = 3;

/// Shortest pause between two bookmarks of one watch.
pub const BOOKMARK_PERIOD: Duration = Duration::from_secs(2);

/// How long reads wait for this server's replica to reach a revision that the client named.
pub const REVISION_WAIT: Duration = Duration::from_secs(3);

/// Longest grace period of a deletion, in seconds: one year.
pub const GRACE_PERIOD_MAX_SECONDS: i64 = 366 * 24 * 3_600;

/// How long a server's or node's certificate is valid.
pub const LEAF_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3_600);

/// How long an admin's certificate is valid.
pub const ADMIN_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3_600);

/// How long the cluster's CA certificate is valid: 20 years.
pub const CA_VALIDITY: Duration = Duration::from_secs(20 * 365 * 24 * 3_600);

/// How far certificates are back-dated, for clocks that disagree.
pub const CLOCK_SKEW: Duration = Duration::from_secs(10 * 60);

/// A certificate is renewed once less than this share of its validity is left: one in this many.
pub const RENEW_LAST_SHARE: u32 = 3;

/// Largest certificate request, in bytes of PEM.
pub const CSR_MAX_BYTES: usize = 16 << 10;

/// Most extra names that a joining server may ask for.
pub const SUBJECT_ALT_NAMES_MAX: usize = 32;

/// How long a join token is valid if nothing is said.
pub const TOKEN_TTL_DEFAULT: Duration = Duration::from_secs(24 * 3_600);

/// Longest validity of a join token.
pub const TOKEN_TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

/// How long an ended token is remembered, so that its use can be explained.
pub const TOKEN_MEMORY: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Longest description of a token, in bytes.
pub const TOKEN_DESCRIPTION_MAX_BYTES: usize = 256;

/// Random bytes of a token's secret.
pub const TOKEN_SECRET_BYTES: usize = 24;

/// Random bytes of a token's id.
pub const TOKEN_ID_BYTES: usize = 5;

/// Most connections of one listener.
pub const CONNECTIONS_MAX: usize = 20_000;

/// How long a client may take for its TLS handshake.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be open without a request before it is closed.
pub const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection on which there has been no request for this long, and at most twice as long, is closed.
pub const CONNECTION_IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long a request's message may take to come in, once it has begun.
pub const MESSAGE_READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What a connection may send of messages before they are whole and read, in bytes.
pub const CONNECTION_UNFINISHED_BYTES: usize = 128 << 20;

/// What all connections of a port together may send so, in bytes.
pub const PORT_UNFINISHED_BYTES: usize = 512 << 20;

/// How long an HTTP/1.1 client may take to send its headers.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Largest HTTP header block, in bytes.
pub const HEADERS_MAX_BYTES: u32 = 64 << 10;

/// Most headers of one HTTP/1.1 request.
pub const HEADERS_MAX: usize = 100;

/// What is read ahead of one HTTP/1.1 connection, in bytes. Headers that do not fit are refused.
pub const HTTP1_BUFFER_BYTES: usize = 128 << 10;

/// HTTP/2 streams at a time on one connection.
pub const STREAMS_MAX: u32 = 10_000;

/// Flow control window of one HTTP/2 stream, in bytes.
pub const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// Flow control window of a whole HTTP/2 connection, in bytes: far above one stream's, so that a slow
/// stream cannot hold up the others.
pub const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// What a connection has written is sent when it comes to this, in bytes, or when the connection has nothing more to write.
pub const GATHERED_BYTES: usize = 64 << 10;

/// How much room for so much each thread keeps at most, in pieces.
pub const GATHERED_SPARE: usize = 4;

/// Bytes buffered for one HTTP/2 stream towards a client that does not read.
pub const SEND_BUFFER_BYTES: usize = 400 << 10;

/// Pause between keep-alive probes of an HTTP/2 connection.
pub const KEEPALIVE_PERIOD: Duration = Duration::from_secs(10);

/// How long the answer to a keep-alive probe may take.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams that a client may open and reset before they were accepted ("rapid reset", CVE-2023-44487). A busy server reads
/// many frames before it accepts what they open, and a client that takes back all its calls at once is no attacker: its
/// connection may be shared by others.
pub const PENDING_RESET_STREAMS_MAX: usize = 500;

/// Streams that may be reset by this server for a client's errors before the connection ends.
pub const LOCAL_RESET_STREAMS_MAX: usize = 1_024;

/// How long open requests may take to end at shutdown.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Pause after a failed accept (out of file descriptors, say).
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a server may take to answer when its state is asked for.
pub const SERVER_STATUS_TIMEOUT: Duration = Duration::from_millis(1_500);

/// A server whose replica is this many log entries behind the furthest is shown as lagging.
pub const LAGGING_ENTRIES: u64 = 10_000;

/// A server that does not vote yet and is this many log entries behind the furthest is shown as catching up.
pub const CATCHING_UP_ENTRIES: u64 = 1_000;

/// A server that is behind and has made no progress for this long may have stalled.
pub const STALLED_AFTER: Duration = Duration::from_secs(10);

/// How long after the first look such a server is asked again: many heartbeats.
pub const STALLED_LOOK_PAUSE: Duration = Duration::from_millis(500);

/// How often a node sends a heartbeat.
pub const NODE_HEARTBEAT_PERIOD: Duration = Duration::from_secs(5);

/// How long a node's last heartbeat is kept in memory: long after its silence was judged.
pub const HEARTBEAT_KEPT: Duration = Duration::from_secs(600);

/// How often heartbeats are passed on to the leader. Short against [`NODE_HEARTBEAT_PERIOD`], so that a
/// hop costs a node little of its grace.
pub const HEARTBEAT_FORWARD_PERIOD: Duration = Duration::from_millis(250);

/// How often the leader looks whether heartbeats have changed a node's state.
pub const NODE_HEALTH_PERIOD: Duration = Duration::from_millis(250);

/// How long an assignment stream waits for more changes before it sends, so that pods bound in one pass
/// travel together.
pub const ASSIGNMENTS_DEBOUNCE: Duration = Duration::from_millis(20);

/// Commands that wait for a slow agent before its session is refused more.
pub const SESSION_COMMANDS_IN_FLIGHT: usize = 64;

/// Pieces of a log between the agent and a user who reads slowly.
pub const LOG_FRAMES_IN_FLIGHT: usize = 16;

/// How long a node has to begin its answer to a request for a log.
pub const LOG_ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Pod states of one report that are stored at the same time.
pub const STATUS_REPORTS_CONCURRENT: usize = 32;

/// First pause before a failed reconcile is tried again, in milliseconds; it doubles each time.
pub const RECONCILE_RETRY_INITIAL_MS: u64 = 50;

/// Longest pause before a failed reconcile is tried again, in milliseconds.
pub const RECONCILE_RETRY_MAX_MS: u64 = 10_000;

/// Keys that are reconciled at the same time.
pub const RECONCILES_CONCURRENT: usize = 64;

/// Writes of one reconcile, or bindings of one scheduling pass, that are in flight at the same time.
pub const LOOP_WRITES_CONCURRENT: usize = 128;

/// Pods that one scheduling pass decides on.
pub const SCHEDULING_PASS_PODS: usize = 1_000;

/// Events for people that the leader's loops may store in one second, and at once after a quiet time. What
/// is over it is counted and dropped: events must not crowd out work.
pub const LOOP_EVENTS_PER_SECOND: u32 = 200;

/// Distinct recent events that are remembered, so that a repeat is counted in the one stored before.
pub const RECENT_EVENTS_MAX: usize = 4_096;

/// Objects that one page of the initial list of the world holds.
pub const WORLD_LIST_PAGE: usize = 1_000;

/// Largest message of a node agent: a batch of pod states.
pub const NODE_MESSAGE_MAX_BYTES: usize = 8 << 20;

/// A server whose world is further behind its replica than this is not ready, in revisions.
pub const READINESS_LAG: i64 = 10_000;

/// Pause before a server tries again to tell the others where it serves etcd's API.
pub const ETCD_ANNOUNCE_RETRY: Duration = Duration::from_millis(500);

/// Pause before a joining server asks again to become a voter.
pub const PROMOTION_RETRY: Duration = Duration::from_millis(50);

/// How often a server looks whether its certificate must be renewed.
pub const CERTIFICATE_CHECK_PERIOD: Duration = Duration::from_secs(3_600);

const _: () = assert!(2 * trireme_store::limits::PEER_MESSAGE_BYTES <= CONNECTION_UNFINISHED_BYTES);
const _: () = assert!(2 * CONNECTION_UNFINISHED_BYTES <= PORT_UNFINISHED_BYTES);
