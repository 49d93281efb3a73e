//! When this replica last made progress: applied an entry, or received a part of a snapshot.
//!
//! A replica that is behind and makes none has stalled. Noted now and then, not with each entry.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::node::Node;
use crate::limits;

/// See the module.
#[derive(Debug)]
pub(crate) struct ProgressClock {
    last: Mutex<Instant>,
}

impl Default for ProgressClock {
    fn default() -> Self {
        Self {
            last: Mutex::new(Instant::now()),
        }
    }
}

impl ProgressClock {
    /// There was progress just now.
    pub(crate) fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long ago the last was.
    pub(crate) fn idle(&self) -> Duration {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Notes what is applied, until `stop`.
pub(crate) async fn run(node: Arc<Node>, stop: CancellationToken) {
    let mut applied = node.applied.clone();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
        node.progress.note();
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(limits::PROGRESS_NOTE_PERIOD) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idleness_begins_anew_with_progress() {
        let clock = ProgressClock::default();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.idle(), Duration::from_secs(7));
        clock.note();
        assert_eq!(clock.idle(), Duration::ZERO);
    }
}
