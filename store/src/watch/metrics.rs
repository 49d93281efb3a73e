//! What is counted of watches.

use super::hub::Hub;
use crate::metrics::{Collect, Counter, Level, Page};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct WatchMetrics {
    /// Watchers that there are.
    pub(crate) watchers: Level,
    /// Bytes of events that are ready for clients which have not taken them.
    pub(crate) queued_bytes: Level,
    /// Events that were given to clients, each as often as it was.
    pub(crate) sent: Counter,
    /// Encodings of events for etcd's clients.
    pub(crate) encoded: Counter,
    /// Reads of the history from disk.
    pub(crate) history_reads: Counter,
}

impl Collect for Hub {
    fn collect(&self, page: &mut Page) {
        let WatchMetrics {
            watchers,
            queued_bytes,
            sent,
            encoded,
            history_reads,
        } = self.metrics();
        page.level("trireme_store_watchers", "Watchers that this server serves.", watchers);
        page.gauge(
            "trireme_store_watchers_behind",
            "Watchers that have fallen so far behind that they need the history on disk.",
            self.behind() as f64,
        );
        page.level(
            "trireme_store_watch_queued_bytes",
            "Events that are ready for clients of etcd's API which have not taken them yet.",
            queued_bytes,
        );
        page.counter(
            "trireme_store_watch_events_sent_total",
            "Events given to watchers, each as often as it was given.",
            sent,
        );
        page.counter(
            "trireme_store_watch_events_encoded_total",
            "Encodings of events for clients of etcd's API; one is shared by all who want it.",
            encoded,
        );
        page.counter(
            "trireme_store_watch_history_reads_total",
            "Reads of the history from disk for watchers that had fallen behind or begin in the past.",
            history_reads,
        );
    }
}
