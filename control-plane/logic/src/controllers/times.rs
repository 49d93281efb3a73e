//! Arithmetic on timestamps.

use trireme_proto::api::meta::v1::Time;

/// A timestamp as something that can be compared: seconds, then nanoseconds.
pub fn order(time: Time) -> (i64, i32) {
    (time.seconds, time.nanos)
}

/// True if `one` is later than `other`.
pub fn is_after(one: Time, other: Time) -> bool {
    order(one) > order(other)
}

/// `time` and so many seconds.
pub fn plus_seconds(time: Time, seconds: i64) -> Time {
    Time {
        seconds: time.seconds.saturating_add(seconds),
        nanos: time.nanos,
    }
}

/// `time` and so many milliseconds, rounded up to whole seconds so that a deadline is not met too early.
pub fn plus_millis(time: Time, millis: u64) -> Time {
    plus_seconds(time, i64::try_from(millis.div_ceil(1000)).unwrap_or(i64::MAX))
}

/// Seconds from `earlier` to `later`; negative if they are the other way round.
pub fn seconds_between(earlier: Time, later: Time) -> i64 {
    later.seconds.saturating_sub(earlier.seconds)
}

/// The earlier of two deadlines.
pub fn earlier(first: Option<Time>, second: Option<Time>) -> Option<Time> {
    match (first, second) {
        (Some(first), Some(second)) => Some(if is_after(first, second) { second } else { first }),
        (one, other) => one.or(other),
    }
}

/// The later of two.
pub fn later(first: Option<Time>, second: Option<Time>) -> Option<Time> {
    match (first, second) {
        (Some(first), Some(second)) => Some(if is_after(first, second) { first } else { second }),
        (one, other) => one.or(other),
    }
}
