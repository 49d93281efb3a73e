//! Lines of progress with the time since the beginning.

use tokio::time::Instant;

/// Tells how far `up` has come.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
}

impl Progress {
    /// Begins now.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// One step is done, or begins.
    pub(crate) fn step(&self, text: impl AsRef<str>) {
        eprintln!("[{:6.2} s] {}", self.started.elapsed().as_secs_f64(), text.as_ref());
    }

    /// Seconds since the beginning.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}
