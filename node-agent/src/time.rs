//! Wall-clock moments, and the one place where the agent reads the wall clock.
//!
//! Moments name when something happened, for people and for back-off after a restart of the agent.
//! Waiting is tokio's business. The pod machine gets `now` handed in.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A moment in nanoseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(i64);

impl Moment {
    /// From nanoseconds since 1970.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From seconds since 1970.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SECOND))
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(NANOS_PER_SECOND)
    }

    /// True for the zero moment, which stands for "never" in a runtime's answers.
    #[must_use]
    pub const fn is_unset(self) -> bool {
        self.0 == 0
    }

    /// This moment and `duration` more; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339, such as the times of log lines.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let timestamp: jiff::Timestamp = text.parse().ok()?;
        i64::try_from(timestamp.as_nanosecond()).ok().map(Self)
    }
}

impl fmt::Display for Moment {
    /// RFC 3339 in UTC with nine digits of fraction, as in log files.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(timestamp) => write!(formatter, "{timestamp:.9}"),
            Err(_) => write!(formatter, "{}ns", self.0),
        }
    }
}

/// The present moment. Only drivers call this; they hand the value on.
#[must_use]
pub fn wall_now() -> Moment {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_prints_and_parses_back() {
        let moment = Moment::from_nanos(1_700_000_000_120_000_000);
        assert_eq!(moment.to_string(), "2023-11-14T22:13:20.120000000Z");
        assert_eq!(Moment::parse(&moment.to_string()), Some(moment));
        assert_eq!(Moment::parse("yesterday"), None);
    }

    #[test]
    fn arithmetic_saturates() {
        let early = Moment::from_seconds(5);
        let late = early.plus(Duration::from_secs(3));
        assert_eq!(late.since(early), Duration::from_secs(3));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(
            Moment::from_nanos(i64::MAX).plus(Duration::from_secs(1)).nanos(),
            i64::MAX
        );
    }
}
