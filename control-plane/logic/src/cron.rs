//! Schedules in the five fields of cron, or as a word such as `@hourly`: the text and what it means.
//!
//! The forms are those that Kubernetes takes, and a text that is not one of them is refused in its words.

/// The highest seconds, minutes and so on that fit a schedule, and the names that stand for numbers.
struct Bounds {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds {
    low: 0,
    high: 59,
    names: &[],
};
const HOURS: Bounds = Bounds {
    low: 0,
    high: 23,
    names: &[],
};
const DAYS: Bounds = Bounds {
    low: 1,
    high: 31,
    names: &[],
};
const MONTHS: Bounds = Bounds {
    low: 1,
    high: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const WEEKDAYS: Bounds = Bounds {
    low: 0,
    high: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

/// How many fields a schedule has.
const FIELDS: usize = 5;

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// At the moments that fit every field.
    At(Moments),
    /// Every so many seconds, at least one.
    Every {
        /// The seconds from one start to the next.
        seconds: u64,
    },
}

/// Which moments fit. In each field bit `n` stands for the number `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moments {
    /// Minutes of the hour, 0 to 59.
    pub minutes: u64,
    /// Hours of the day, 0 to 23.
    pub hours: u64,
    /// Days of the month, 1 to 31.
    pub days: u64,
    /// Months of the year, 1 to 12.
    pub months: u64,
    /// Days of the week, 0 for Sunday to 6.
    pub weekdays: u64,
    /// The days of the month were left open by `*`.
    pub any_day: bool,
    /// The days of the week were left open by `*`.
    pub any_weekday: bool,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSchedule(String);

impl std::str::FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        if text.is_empty() {
            return refuse("empty spec string");
        }
        if text.starts_with('@') {
            return word(text);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return refuse(format_args!(
                "expected exactly {FIELDS} fields, found {}: [{}]",
                fields.len(),
                fields.join(" ")
            ));
        };
        let (minutes, _) = field(minutes, &MINUTES)?;
        let (hours, _) = field(hours, &HOURS)?;
        let (days, any_day) = field(days, &DAYS)?;
        let (months, _) = field(months, &MONTHS)?;
        let (weekdays, any_weekday) = field(weekdays, &WEEKDAYS)?;
        Ok(Self::At(Moments {
            minutes,
            hours,
            days,
            months,
            weekdays,
            any_day,
            any_weekday,
        }))
    }
}

fn refuse<T>(why: impl std::fmt::Display) -> Result<T, InvalidSchedule> {
    Err(InvalidSchedule(why.to_string()))
}

/// A word that stands for a schedule.
fn word(text: &str) -> Result<Schedule, InvalidSchedule> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let Some(duration) = text.strip_prefix("@every ") else {
                return refuse(format_args!("unrecognized descriptor: {text}"));
            };
            return match duration_seconds(duration) {
                // Less than a second is as much as one.
                Some(seconds) => Ok(Schedule::Every {
                    seconds: seconds.max(1),
                }),
                None => refuse(format_args!(
                    "failed to parse duration {text}: time: invalid duration {duration:?}"
                )),
            };
        }
    };
    fields.parse()
}

/// Whole seconds of a duration such as `1h30m`.
fn duration_seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut seconds = 0.0_f64;
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = &rest[letters..];
        seconds += number * unit;
    }
    // A duration of more is refused where Kubernetes' clock would overflow, too.
    const LONGEST_SECONDS: f64 = 9_223_372_036.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and below the longest duration"
    )]
    (seconds <= LONGEST_SECONDS).then_some(seconds as u64)
}

/// The bits of a field, and whether it leaves everything open.
fn field(text: &str, bounds: &Bounds) -> Result<(u64, bool), InvalidSchedule> {
    let (mut bits, mut open) = (0, false);
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (of_part, open_part) = range(part, bounds)?;
        bits |= of_part;
        open |= open_part;
    }
    Ok((bits, open))
}

/// `number | number "-" number [ "/" number ]`, or `*`.
fn range(text: &str, bounds: &Bounds) -> Result<(u64, bool), InvalidSchedule> {
    let (ends, step) = match text.split('/').collect::<Vec<_>>()[..] {
        [ends] => (ends, None),
        [ends, step] => (ends, Some(number(step)?)),
        _ => return refuse(format_args!("too many slashes: {text}")),
    };
    let (low, high, open) = match ends.split('-').collect::<Vec<_>>()[..] {
        ["*" | "?", ..] => (bounds.low, bounds.high, step.is_none_or(|step| step <= 1)),
        [only] => {
            let only = number_or_name(only, bounds)?;
            // A single number with steps goes on to the end.
            let high = if step.is_some() { bounds.high } else { only };
            (only, high, false)
        }
        [low, high] => (number_or_name(low, bounds)?, number_or_name(high, bounds)?, false),
        _ => return refuse(format_args!("too many hyphens: {text}")),
    };
    if low < bounds.low {
        return refuse(format_args!(
            "beginning of range ({low}) below minimum ({}): {text}",
            bounds.low
        ));
    }
    if high > bounds.high {
        return refuse(format_args!(
            "end of range ({high}) above maximum ({}): {text}",
            bounds.high
        ));
    }
    if low > high {
        return refuse(format_args!(
            "beginning of range ({low}) beyond end of range ({high}): {text}"
        ));
    }
    let step = step.unwrap_or(1);
    if step == 0 {
        return refuse(format_args!("step of range should be a positive number: {text}"));
    }
    let bits = (low..=high)
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .fold(0, |bits, number| bits | 1 << number);
    Ok((bits, open))
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<u32, InvalidSchedule> {
    let lower = text.to_lowercase();
    let named = (bounds.low..).zip(bounds.names).find(|(_, name)| **name == lower);
    named.map_or_else(|| number(text), |(number, _)| Ok(number))
}

fn number(text: &str) -> Result<u32, InvalidSchedule> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => refuse(format_args!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => refuse(format_args!(
            "failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(text: &str) -> Moments {
        match text.parse() {
            Ok(Schedule::At(moments)) => moments,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn numbers(bits: u64) -> Vec<u32> {
        (0..64).filter(|number| bits & 1 << number != 0).collect()
    }

    #[test]
    fn fields_say_which_numbers_fit() {
        let every = |low: u32, high: u32| (low..=high).collect::<Vec<_>>();
        let open = moments("* * * * *");
        assert_eq!(numbers(open.minutes), every(0, 59));
        assert_eq!(numbers(open.hours), every(0, 23));
        assert_eq!(numbers(open.days), every(1, 31));
        assert_eq!(numbers(open.months), every(1, 12));
        assert_eq!(numbers(open.weekdays), every(0, 6));
        assert!(open.any_day && open.any_weekday);

        let narrow = moments("*/20  20/3 1-3,7 Jan-mar,DEC sun,3-5/2");
        assert_eq!(numbers(narrow.minutes), [0, 20, 40]);
        assert_eq!(numbers(narrow.hours), [20, 23]);
        assert_eq!(numbers(narrow.days), [1, 2, 3, 7]);
        assert_eq!(numbers(narrow.months), [1, 2, 3, 12]);
        assert_eq!(numbers(narrow.weekdays), [0, 3, 5]);
        assert!(!narrow.any_day && !narrow.any_weekday);
    }

    #[test]
    fn words_stand_for_fields() {
        for (word, fields) in [
            ("@yearly", "0 0 1 1 *"),
            ("@annually", "0 0 1 1 ?"),
            ("@monthly", "0 0 1 * *"),
            ("@weekly", "0 0 * * sun"),
            ("@daily", "0 0 * * *"),
            ("@midnight", "0 0 */1 * *"),
            ("@hourly", "0 * * * *"),
        ] {
            assert_eq!(moments(word), moments(fields), "{word}");
        }
        for (text, seconds) in [
            ("@every 1h30m", 5400),
            ("@every 1.5h", 5400),
            ("@every 90s", 90),
            ("@every 10ms", 1),
        ] {
            assert_eq!(text.parse(), Ok(Schedule::Every { seconds }), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        for (text, why) in [
            ("", "empty spec string"),
            ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
            ("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"),
            ("@often", "unrecognized descriptor: @often"),
            (
                "@every day",
                "failed to parse duration @every day: time: invalid duration \"day\"",
            ),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            ("5-2 * * * *", "beginning of range (5) beyond end of range (2): 5-2"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            (
                "x * * * *",
                "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            ("* * * * */-1", "negative number (-1) not allowed: -1"),
        ] {
            let error = text.parse::<Schedule>().expect_err(text);
            assert_eq!(error.to_string(), why, "{text}");
        }
    }
}
