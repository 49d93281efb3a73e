//! Every bound and period of the client, each with its unit.

use std::time::Duration;

/// How long one server may take to accept a connection and finish the TLS handshake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// When a server has not answered a connection attempt for this long, the next one is tried beside it.
pub const CONNECT_STAGGER: Duration = Duration::from_millis(250);

/// How often a connection is probed, busy or not. A stopped server is noticed after this and
/// [`KEEPALIVE_TIMEOUT`] together at the latest. A probe is a few bytes each way.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// How long the answer to a probe may take. A server answers it beside whatever else it does, so that this much silence is
/// not mere load.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one attempt of a unary call may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a call is tried again, over all servers, before it fails for good. It covers an election.
pub const RETRY_FOR: Duration = Duration::from_secs(10);

/// How long a call is tried again while no server accepts a connection at all.
pub const RETRY_WHILE_UNREACHABLE: Duration = Duration::from_secs(2);

/// First pause between two attempts; each later one is twice as long, up to [`RETRY_PAUSE_MAX`].
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);

/// Longest pause between two attempts.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Longest pause that a server's hint is followed for, before the jitter.
pub const RETRY_HINT_MAX: Duration = Duration::from_secs(5);

/// Largest answer that is accepted, in bytes. A list page is bounded by count, so this is generous.
pub const RESPONSE_MAX_BYTES: usize = 64 << 20;

/// Objects in one page of a list that is read whole.
pub const LIST_PAGE_ITEMS: i64 = 500;

/// Largest kubeconfig file that is read, in bytes.
pub const KUBECONFIG_MAX_BYTES: u64 = 1 << 20;

/// HTTP/2 flow control window of one stream, in bytes.
pub const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// HTTP/2 flow control window of a connection, in bytes: far larger than a stream's, so that one slow
/// stream cannot hold up the others.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// How long a watch of a short-lived program looks for a server before it gives up.
pub const WATCH_PATIENCE: Duration = Duration::from_secs(60);
