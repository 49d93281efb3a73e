//! How long to wait before talking to the cluster again.

use crate::limits;
use crate::pod::restart::exponential;
use std::time::Duration;

/// The delay before the attempt after `failures` failures in a row: doubling, and random between half
/// and the whole of it, so that a thousand agents do not come back in one moment.
pub(crate) fn delay(failures: u32) -> Duration {
    let whole = exponential(limits::RECONNECT_BACKOFF_BASE, failures, limits::RECONNECT_BACKOFF_MAX);
    whole.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_within_their_bounds() {
        for failures in 0..40 {
            let delay = delay(failures);
            assert!(delay >= limits::RECONNECT_BACKOFF_BASE / 2 && delay <= limits::RECONNECT_BACKOFF_MAX);
        }
        assert!(delay(30) >= limits::RECONNECT_BACKOFF_MAX / 2);
    }
}
