//! Durations and lists as people read them in tables.
//!
//! The forms are those that `kubectl` users know. Nothing here is parsed again by a program.

use trireme_proto::api::meta::v1::Time;

use crate::controllers::times::seconds_between;

/// Words for a duration in two or three significant figures: `45s`, `3m20s`, `5h`, `2d4h`, `3y`.
pub fn duration_short(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    match seconds {
        // Two clocks may differ a little; more than that is worth showing.
        ..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        0..120 => format!("{seconds}s"),
        120..600 => pair(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => pair(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => pair(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => pair(seconds / YEAR, "y", seconds % YEAR / DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// The same for the time from one moment to another. Moments at the ends of all time are as far apart as can be said.
pub fn duration_between(earlier: Time, later: Time) -> String {
    duration_short(seconds_between(earlier, later))
}

/// `a,b,c`, or `none` for nothing.
pub fn joined_or<I, S>(items: I, none: &str) -> String
where
    I: IntoIterator<Item = S>,
    S: AsRef<str>,
{
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(item.as_ref());
    }
    if text.is_empty() { none.into() } else { text }
}

/// Two units, the smaller one only when it is not zero.
fn pair(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_forms_of_kubectl() {
        let day = 86_400;
        for (seconds, text) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (28_799, "7h59m"),
            (28_800, "8h"),
            (2 * day - 1, "47h"),
            (2 * day, "2d"),
            (2 * day + 3600, "2d1h"),
            (8 * day, "8d"),
            (729 * day, "729d"),
            (730 * day, "2y"),
            (731 * day, "2y1d"),
            (8 * 365 * day, "8y"),
        ] {
            assert_eq!(duration_short(seconds), text, "{seconds} s");
        }
    }

    #[test]
    fn empty_lists_have_a_word() {
        assert_eq!(joined_or(["a", "b"], "<none>"), "a,b");
        assert_eq!(joined_or(Vec::<String>::new(), "<none>"), "<none>");
    }
}
