//! Every bound and period of the agent, with its unit.
//!
//! The numbers that users of Kubernetes rely on (back-off, grace) are Kubernetes' own.

use std::time::Duration;

/// Delay before the second restart of a container in a row; the first restart is immediate.
pub const RESTART_BACKOFF_BASE: Duration = Duration::from_secs(10);
/// The longest delay between two restarts of a container.
pub const RESTART_BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A container that ran this long starts its back-off anew.
pub const RESTART_BACKOFF_RESET: Duration = Duration::from_secs(600);
/// Delay after the first failed pull of an image; doubles up to [`IMAGE_BACKOFF_MAX`].
pub const IMAGE_BACKOFF_BASE: Duration = Duration::from_secs(10);
/// The longest delay between two pulls of an image.
pub const IMAGE_BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Delay after the first failed runtime operation of a pod; doubles up to [`OPERATION_BACKOFF_MAX`].
pub const OPERATION_BACKOFF_BASE: Duration = Duration::from_millis(500);
/// The longest delay between two attempts at a runtime operation.
pub const OPERATION_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Seconds between TERM and KILL when neither the pod nor its deletion names a grace period.
pub const TERMINATION_GRACE_DEFAULT_SECONDS: i64 = 30;
/// The longest grace period that is honoured, in seconds.
pub const TERMINATION_GRACE_MAX_SECONDS: i64 = 86_400;

/// How often the runtime's whole inventory is listed when nothing else asks for it.
pub const RELIST_PERIOD: Duration = Duration::from_secs(1);
/// Runtime operations that run at the same time, over all pods.
pub const OPERATIONS_IN_PARALLEL_MAX: usize = 8;
/// Probes that run at the same time, over all pods.
pub const PROBES_IN_PARALLEL_MAX: usize = 32;
/// A runtime call that takes longer than this (a stop's grace period apart) has failed.
pub const RUNTIME_CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// An image pull that takes longer than this has failed.
pub const IMAGE_PULL_TIMEOUT: Duration = Duration::from_secs(600);
/// Pods that a node takes, unless configured otherwise.
pub const PODS_MAX_DEFAULT: u32 = 110;

/// Delay before the first reconnection to the cluster.
pub const RECONNECT_BACKOFF_BASE: Duration = Duration::from_millis(100);
/// The longest delay between two reconnections.
pub const RECONNECT_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Heartbeat period until the server has told its own.
pub const HEARTBEAT_PERIOD_DEFAULT: Duration = Duration::from_secs(5);
/// A heartbeat period that a server tells is held to at least this.
pub const HEARTBEAT_PERIOD_MIN: Duration = Duration::from_millis(100);
/// A heartbeat period that a server tells is held to at most this.
pub const HEARTBEAT_PERIOD_MAX: Duration = Duration::from_secs(60);
/// How long statuses are collected before a batch is sent.
pub const STATUS_BATCH_PERIOD: Duration = Duration::from_millis(100);
/// Statuses in one batch.
pub const STATUS_BATCH_MAX: usize = 500;
/// A status report that is not answered in this time is sent again.
pub const STATUS_CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Events that wait to be stored; more are dropped.
pub const EVENTS_WAITING_MAX: usize = 1024;
/// Events that are remembered, so that what repeats is counted.
pub const EVENTS_KNOWN_MAX: usize = 1024;
/// Events that one pod may tell at once.
pub const EVENTS_PER_POD_BURST: u32 = 25;
/// How long a pod that told so many waits for each further one.
pub const EVENTS_PER_POD_PERIOD: Duration = Duration::from_secs(300);
/// How long a hook after a container's start may take.
pub const POST_START_HOOK_TIMEOUT: Duration = Duration::from_secs(600);
/// What a container has left after TERM when its hook before that took all of the grace period.
pub const GRACE_AFTER_HOOK_MIN: Duration = Duration::from_secs(2);
/// How often bounded empty directories are measured.
pub const EMPTY_DIRECTORY_CHECK_PERIOD: Duration = Duration::from_secs(10);
/// Entries of one volume that are looked at when it is measured.
pub const MEASURED_ENTRIES_MAX: usize = 1_000_000;
/// Seconds between TERM and KILL for a pod that uses more of the node's disk than it may.
pub const EVICTION_GRACE_SECONDS: i64 = 1;
/// Bytes of one message on the assignment stream.
pub const ASSIGNMENTS_MESSAGE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// How often the certificate's remaining life is looked at.
pub const CERTIFICATE_CHECK_PERIOD: Duration = Duration::from_secs(60);

/// A container's log file is rotated when it reaches this size.
pub const LOG_FILE_MAX_BYTES: u64 = 10 * 1024 * 1024;
/// Rotated log files kept beside the current one.
pub const LOG_ROTATED_FILES_MAX: u32 = 2;
/// The longest piece of a line in one log record; longer lines are split into partial records.
pub const LOG_LINE_MAX_BYTES: usize = 16 * 1024;
/// How often a followed log is looked at for new lines.
pub const LOG_FOLLOW_PERIOD: Duration = Duration::from_millis(200);
/// Bytes of one frame of a log on its way to the cluster.
pub const LOG_FRAME_MAX_BYTES: usize = 64 * 1024;
/// Logs that are sent at the same time.
pub const LOG_STREAMS_MAX: usize = 64;

/// Bytes of one entry of an image archive that is read into memory (index, manifest, configuration).
pub const IMAGE_METADATA_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Files of one unpacked image.
pub const IMAGE_FILES_MAX: usize = 1_000_000;
/// Unpacked bytes of one image.
pub const IMAGE_UNPACKED_MAX_BYTES: u64 = 32 * 1024 * 1024 * 1024;
/// Layers of one image.
pub const IMAGE_LAYERS_MAX: usize = 128;

/// Passes over a value when `$(NAME)` references are expanded are one; the result is held to this size.
pub const EXPANDED_VALUE_MAX_BYTES: usize = 1024 * 1024;
/// The end of a container's log that goes into its termination message.
pub const TERMINATION_MESSAGE_MAX_BYTES: usize = 2048;
/// How long the process runtime waits for a shim to report that its command started.
pub const SHIM_START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an own containerd has until its socket answers.
pub const CONTAINERD_START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an own containerd is probed.
pub const CONTAINERD_PROBE_PERIOD: Duration = Duration::from_secs(2);
/// How long an own containerd has to end after TERM.
pub const CONTAINERD_STOP_TIMEOUT: Duration = Duration::from_secs(10);
