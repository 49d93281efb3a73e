//! Where work that may block runs: on tokio's blocking pool. In a simulation it runs on the spot, since threads have no
//! order that could be repeated.

#[cfg(feature = "sim")]
use tokio::task::JoinError;

/// Runs `work` where it may block, whether or not its result is waited for.
#[cfg(not(feature = "sim"))]
pub(crate) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// Runs `work` where it may block, whether or not its result is waited for.
#[cfg(feature = "sim")]
pub(crate) fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, JoinError>> + Send + Unpin {
    use futures::future::Either;
    if crate::sim::is_simulated() {
        Either::Left(std::future::ready(Ok(work())))
    } else {
        Either::Right(tokio::task::spawn_blocking(work))
    }
}
