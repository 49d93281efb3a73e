//! Every bound and period of the command line, each with its unit.

use std::time::Duration;

/// Largest manifest file or standard input, in bytes; the server's limit for one request.
pub(crate) const MANIFEST_MAX_BYTES: usize = 3 << 20;

/// Deepest nesting of a manifest.
pub(crate) const MANIFEST_MAX_DEPTH: usize = 64;

/// Most documents in one manifest file.
pub(crate) const MANIFEST_MAX_DOCUMENTS: usize = 10_000;

/// Most YAML aliases in one manifest file, and most nodes that they may unfold to.
pub(crate) const MANIFEST_MAX_ALIASES: usize = 1_000;

/// See [`MANIFEST_MAX_ALIASES`].
pub(crate) const MANIFEST_MAX_NODES: usize = 500_000;

/// Largest annotation of the last apply, in bytes; all annotations of an object together may have 256 KiB.
pub(crate) const LAST_APPLIED_MAX_BYTES: usize = 200 << 10;

/// Objects in one page of a list.
pub(crate) const LIST_PAGE_ITEMS: i64 = 500;

/// How often a change is computed anew when the object changed in between.
pub(crate) const CONFLICT_RETRIES: usize = 5;

/// How long a call of the command line is tried again. It covers an election.
pub(crate) const RETRY_FOR: Duration = Duration::from_secs(8);

/// How often `up` and `down` look at what cannot be waited for otherwise.
pub(crate) const LOCAL_POLL: Duration = Duration::from_millis(25);

/// How long `up` waits for the cluster to stand.
pub(crate) const UP_TIMEOUT: Duration = Duration::from_secs(120);

/// How long `up` waits for the pods of the manifests that it applied.
pub(crate) const UP_PODS_TIMEOUT: Duration = Duration::from_secs(180);

/// How long `up` sees no progress of the pods before it says why they do not run.
pub(crate) const UP_STALL: Duration = Duration::from_secs(5);

/// How long `down` waits for a process to end before it is killed. Agents end their pods in this time.
pub(crate) const DOWN_TIMEOUT: Duration = Duration::from_secs(40);

/// How long a backup waits for its next bytes.
pub(crate) const BACKUP_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a line of progress on a terminal is drawn anew.
pub(crate) const PROGRESS_PERIOD: Duration = Duration::from_millis(200);

/// The shortest history that a server can be told to keep: lists that are read page by page live on it.
pub(crate) const HISTORY_AGE_MIN: Duration = Duration::from_secs(10);

/// How many lines of a dead process's log are shown.
pub(crate) const LOG_TAIL_LINES: usize = 8;
