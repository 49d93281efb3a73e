//! Points in time: RFC 3339 in UTC, to the second (`Time`) or the microsecond (`MicroTime`).
//!
//! A message that was never set holds zero seconds; Kubernetes' own encoder writes its unset times that
//! way, so zero counts as unset and is not written.

use std::fmt;
use std::str::FromStr;

use jiff::{Timestamp, civil::DateTime, tz::Offset};
use serde::de::Visitor;
use serde::{Deserializer, Serializer};

use super::serde_by_json_value;
use crate::api::meta::v1::{MicroTime, Time};
use crate::json::{Context, JsonValue};

/// Text that is not an RFC 3339 time, or a time that RFC 3339 cannot say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTime {
    /// The text is not of the form `2026-01-02T03:04:05Z`.
    #[error("`{0}` is not an RFC 3339 time such as `2026-01-02T03:04:05Z`")]
    Text(String),
    /// The time is not in the years 1 to 9999.
    #[error("{0} seconds since 1970 is not in the years 1 to 9999")]
    OutOfRange(i64),
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const NANOS_PER_MICRO: i32 = 1_000;
/// 0001-01-01T00:00:00Z.
const SECONDS_MIN: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z less the largest offset, the end of what jiff says in any zone.
const SECONDS_MAX: i64 = 253_402_207_200;

macro_rules! time {
    ($time:ident, $digits:literal, $nanos:expr) => {
        impl $time {
            /// The time that many seconds after 1970 began, in UTC.
            pub fn from_unix_seconds(seconds: i64) -> Self {
                Self { seconds, nanos: 0 }
            }

            /// The time that many nanoseconds after 1970 began, cut to this type's precision.
            pub fn from_unix_nanos(nanos: i64) -> Self {
                let sub_second = nanos.rem_euclid(NANOS_PER_SECOND);
                Self {
                    seconds: nanos.div_euclid(NANOS_PER_SECOND),
                    nanos: $nanos(i32::try_from(sub_second).unwrap_or_default()),
                }
            }

            /// Whole seconds since 1970 began.
            pub fn unix_seconds(&self) -> i64 {
                self.seconds
            }

            /// Whether it was never set.
            pub fn is_zero(&self) -> bool {
                self.seconds == 0 && self.nanos == 0
            }

            /// The RFC 3339 text.
            ///
            /// # Errors
            /// If the time is outside the years 1 to 9999, which only protobuf from outside can bring about.
            pub fn to_rfc3339(self) -> Result<String, InvalidTime> {
                let mut text = Vec::new();
                self.write_rfc3339(&mut text)?;
                Ok(String::from_utf8(text).expect("digits and signs are text"))
            }

            /// Writes the same behind what `text` holds, which stays as it is if there is none.
            pub(crate) fn write_rfc3339(self, text: &mut Vec<u8>) -> Result<(), InvalidTime> {
                let invalid = || InvalidTime::OutOfRange(self.seconds);
                if !(SECONDS_MIN..=SECONDS_MAX).contains(&self.seconds) {
                    return Err(invalid());
                }
                let timestamp = Timestamp::new(self.seconds, $nanos(self.nanos)).map_err(|_| invalid())?;
                write(Offset::UTC.to_datetime(timestamp), $digits, text);
                Ok(())
            }
        }

        impl FromStr for $time {
            type Err = InvalidTime;

            fn from_str(text: &str) -> Result<Self, InvalidTime> {
                let (seconds, nanos) = parse(text)?;
                Ok(Self {
                    seconds,
                    nanos: $nanos(nanos),
                })
            }
        }

        impl fmt::Display for $time {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.to_rfc3339() {
                    Ok(text) => f.write_str(&text),
                    Err(error) => write!(f, "<{error}>"),
                }
            }
        }

        impl JsonValue for $time {
            fn read<'de, D: Deserializer<'de>>(deserializer: D, _: &mut Context) -> Result<Self, D::Error> {
                let (seconds, nanos) = deserializer.deserialize_str(TimeVisitor)?;
                Ok(Self {
                    seconds,
                    nanos: $nanos(nanos),
                })
            }

            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.to_rfc3339().map_err(serde::ser::Error::custom)?)
            }

            /// As Kubernetes has it: its zero is null.
            fn write_absent<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_unit()
            }

            fn is_null(&self) -> bool {
                self.is_zero()
            }
        }

        serde_by_json_value!($time);
    };
}

time!(Time, 0, |_: i32| 0);
time!(MicroTime, 6, |nanos: i32| nanos - nanos % NANOS_PER_MICRO);

impl MicroTime {
    /// Nanoseconds since 1970 began; the nearest that fits if it does not.
    pub fn unix_nanos(&self) -> i64 {
        self.seconds
            .saturating_mul(NANOS_PER_SECOND)
            .saturating_add(i64::from(self.nanos))
    }
}

/// Writes a time in UTC, with so many digits of its second's fraction: none, or those of microseconds. Lists of many objects are full of times, and general
/// formatting takes longer than everything else about them.
fn write(time: DateTime, fraction_digits: usize, text: &mut Vec<u8>) {
    let parts = [
        (i32::from(time.year()), 4, b'-'),
        (i32::from(time.month()), 2, b'-'),
        (i32::from(time.day()), 2, b'T'),
        (i32::from(time.hour()), 2, b':'),
        (i32::from(time.minute()), 2, b':'),
    ];
    for (number, digits, sign) in parts {
        write_digits(number, digits, text);
        text.push(sign);
    }
    write_digits(i32::from(time.second()), 2, text);
    if fraction_digits > 0 {
        text.push(b'.');
        write_digits(time.subsec_nanosecond() / NANOS_PER_MICRO, fraction_digits, text);
    }
    text.push(b'Z');
}

/// Writes the last so many digits of a number that is not negative.
fn write_digits(number: i32, digits: usize, text: &mut Vec<u8>) {
    let start = text.len();
    text.resize(start + digits, b'0');
    let mut rest = number.unsigned_abs();
    for digit in text[start..].iter_mut().rev() {
        *digit = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
    }
}

/// Seconds since 1970 and nanoseconds. Stricter than jiff, which also takes other forms of ISO 8601.
fn parse(text: &str) -> Result<(i64, i32), InvalidTime> {
    let invalid = || InvalidTime::Text(text.to_owned());
    let bytes = text.as_bytes();
    let is_rfc3339 = bytes.len() >= "2026-01-02T03:04:05Z".len()
        && bytes[10] == b'T'
        && bytes[0].is_ascii_digit()
        && bytes.iter().all(|b| b.is_ascii_digit() || b"-+:.TZ".contains(b));
    if !is_rfc3339 {
        return Err(invalid());
    }
    let timestamp: Timestamp = text.parse().map_err(|_| invalid())?;
    let nanos = i64::from(timestamp.subsec_nanosecond());
    // Before 1970 jiff counts both parts backwards, protobuf only the seconds.
    let seconds = timestamp.as_second() + nanos.div_euclid(NANOS_PER_SECOND);
    let nanos = nanos.rem_euclid(NANOS_PER_SECOND);
    if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) {
        return Err(InvalidTime::OutOfRange(seconds));
    }
    Ok((seconds, i32::try_from(nanos).unwrap_or_default()))
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = (i64, i32);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an RFC 3339 time")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(i64, i32), E> {
        parse(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn times_are_seconds() {
        let cases = [
            ("2026-01-02T03:04:05Z", 1_767_323_045, "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05.999Z", 1_767_323_045, "2026-01-02T03:04:05Z"),
            ("2026-01-02T05:04:05+02:00", 1_767_323_045, "2026-01-02T03:04:05Z"),
            ("1969-12-31T23:59:58.5Z", -2, "1969-12-31T23:59:58Z"),
            ("0001-01-01T00:00:00Z", SECONDS_MIN, "0001-01-01T00:00:00Z"),
        ];
        for (text, seconds, canonical) in cases {
            let time: Time = text.parse().unwrap();
            assert_eq!((time.unix_seconds(), time.to_string().as_str()), (seconds, canonical));
        }
    }

    #[test]
    fn times_are_written_as_general_formatting_has_them() {
        let days = (SECONDS_MIN..SECONDS_MAX).step_by(86_400 * 59 + 3_661);
        for seconds in days.chain([-1, 0, 1, 951_782_400, SECONDS_MAX]) {
            let time = MicroTime {
                seconds,
                nanos: 12_345_678,
            };
            let timestamp = Timestamp::new(seconds, time.nanos).unwrap();
            assert_eq!(time.to_rfc3339().unwrap(), format!("{timestamp:.6}"));
            let timestamp = Timestamp::from_second(seconds).unwrap();
            assert_eq!(
                Time::from_unix_seconds(seconds).to_rfc3339().unwrap(),
                format!("{timestamp:.0}")
            );
        }
    }

    #[test]
    fn micro_times_keep_six_digits() {
        let time: MicroTime = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
        assert_eq!(time.to_string(), "2026-01-02T03:04:05.123456Z");
        assert_eq!(
            MicroTime::from_unix_nanos(-1).to_string(),
            "1969-12-31T23:59:59.999999Z"
        );
        assert_eq!(
            MicroTime::from_unix_seconds(5).to_string(),
            "1970-01-01T00:00:05.000000Z"
        );
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "now",
            "2026-01-02",
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05z",
            "20260102T030405Z0000",
            "2026-13-02T03:04:05Z",
            "2026-01-02T03:04:05[UTC]",
            "+002026-01-02T03:04:05Z",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
        let far = Time::from_unix_seconds(i64::MAX);
        assert_eq!(far.to_rfc3339(), Err(InvalidTime::OutOfRange(i64::MAX)));
        assert!(serde_json::to_string(&far).is_err());
    }
}
