//! Waiting for a condition with a deadline: what tests do instead of sleeping.

use std::{future::Future, time::Duration};

use anyhow::{Result, anyhow};
use tokio::time::Instant;

/// How often a condition is looked at.
const POLL_PERIOD: Duration = Duration::from_millis(25);

/// Looks again and again until `look` gives a value.
///
/// # Errors
/// If it gave none within `deadline`; the message says what was waited for and why the last look failed.
pub async fn poll_until<T, F, Fut>(what: &str, deadline: Duration, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let until = Instant::now() + deadline;
    loop {
        let last = match look().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => "it did not hold".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= until {
            return Err(anyhow!(
                "waited {} s in vain for {what}; at last: {last}",
                deadline.as_secs()
            ));
        }
        tokio::time::sleep(POLL_PERIOD).await;
    }
}

/// Looks again and again until `holds` says true.
///
/// # Errors
/// As [`poll_until`].
pub async fn wait_until<F, Fut>(what: &str, deadline: Duration, mut holds: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<bool>>,
{
    poll_until(what, deadline, || {
        let look = holds();
        async move { Ok(look.await?.then_some(())) }
    })
    .await
}
