//! Amounts of resources as Kubernetes writes them: `500m`, `1.5Gi`, `2e3`.
//!
//! An amount is exact down to a billionth. Arithmetic saturates at the bounds, and never wraps.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

use crate::limits::QUANTITY_BYTES_MAX;

/// Billionths in one.
const NANO: i128 = 1_000_000_000;
/// Billionths in a thousandth.
const NANO_PER_MILLI: i128 = 1_000_000;

/// An exact amount, and the family of suffixes it is written with.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    nanos: i128,
    format: Format,
}

/// A family of suffixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `n`, `u`, `m`, none, `k`, `M`, `G`, `T`, `P`, `E`: powers of 1000.
    DecimalSi,
    /// `Ki`, `Mi`, `Gi`, `Ti`, `Pi`, `Ei`: powers of 1024.
    BinarySi,
    /// `e3`, `e6` and so on: powers of 1000 in scientific notation.
    DecimalExponent,
}

/// Text that is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// The number before the suffix is malformed.
    #[error("quantity `{0}` does not begin with a number")]
    Number(String),
    /// There is no such suffix.
    #[error("quantity `{text}` has the unknown suffix `{suffix}`")]
    Suffix {
        /// The whole quantity.
        text: String,
        /// What follows the number.
        suffix: String,
    },
    /// The amount is beyond what can be held.
    #[error("quantity `{0}` is too large")]
    TooLarge(String),
    /// The text is longer than [`QUANTITY_BYTES_MAX`].
    #[error("a quantity is at most {QUANTITY_BYTES_MAX} bytes long, this one has {0}")]
    TooLong(usize),
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self {
        nanos: 0,
        format: Format::DecimalSi,
    };

    /// That many whole units.
    pub fn from_units(units: i64, format: Format) -> Self {
        Self {
            nanos: i128::from(units) * NANO,
            format,
        }
    }

    /// That many thousandths, as processor time is counted.
    pub fn from_milli(milli: i64) -> Self {
        Self {
            nanos: i128::from(milli) * NANO_PER_MILLI,
            format: Format::DecimalSi,
        }
    }

    /// Whole units, rounded up (away from zero); the nearest bound if it does not fit.
    pub fn value(&self) -> i64 {
        saturate(divide_away_from_zero(self.nanos, NANO))
    }

    /// Thousandths, rounded up (away from zero); the nearest bound if it does not fit.
    pub fn milli_value(&self) -> i64 {
        saturate(divide_away_from_zero(self.nanos, NANO_PER_MILLI))
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// The family of suffixes it is written with.
    pub fn format(&self) -> Format {
        self.format
    }
}

impl Default for Amount {
    fn default() -> Self {
        Self::ZERO
    }
}

// Two amounts are equal if they are equally much, however they are written.
impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Amount {}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        // Nothing has no format of its own to keep.
        if self.is_zero() {
            self.format = other.format;
        }
        self.nanos = self.nanos.saturating_add(other.nanos);
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Self) {
        if self.is_zero() {
            self.format = other.format;
        }
        self.nanos = self.nanos.saturating_sub(other.nanos);
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(mut self, other: Self) -> Self {
        self -= other;
        self
    }
}

impl FromStr for Amount {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        if text.len() > QUANTITY_BYTES_MAX {
            return Err(InvalidQuantity::TooLong(text.len()));
        }
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let number_end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(InvalidQuantity::Number(text.to_owned()));
        }
        let (format, base, exponent) = parse_suffix(suffix).ok_or_else(|| InvalidQuantity::Suffix {
            text: text.to_owned(),
            suffix: suffix.to_owned(),
        })?;

        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        // A `-len` power of ten places the point, nine more make it billionths.
        let nanos = scale(digits, 9 - fraction.len() as i32, base, exponent)
            .ok_or_else(|| InvalidQuantity::TooLarge(text.to_owned()))?;
        Ok(Self {
            nanos: if negative { -nanos } else { nanos },
            format,
        })
    }
}

/// `digits * 10^power_of_ten * base^exponent`, rounded up; none if it does not fit.
fn scale(digits: &str, power_of_ten: i32, base: i128, exponent: i32) -> Option<i128> {
    if digits.is_empty() {
        return Some(0);
    }
    let mut value: i128 = digits.parse().ok()?;
    let mut divisor: i128 = 1;
    // Powers of the same base are one, so that what fits is not multiplied beyond all bounds first.
    let powers = match base {
        10 => [(10, exponent + power_of_ten), (10, 0)],
        _ => [(base, exponent), (10, power_of_ten)],
    };
    for (base, exponent) in powers {
        for _ in 0..exponent {
            value = value.checked_mul(base)?;
        }
        for _ in exponent..0 {
            // A divisor beyond all bounds leaves less than a billionth, which counts as one.
            divisor = divisor.saturating_mul(base);
        }
    }
    Some(divide_away_from_zero(value, divisor))
}

/// Family, base and exponent of a suffix.
fn parse_suffix(suffix: &str) -> Option<(Format, i128, i32)> {
    let decimal = |exponent| Some((Format::DecimalSi, 10, exponent));
    let binary = |exponent| Some((Format::BinarySi, 1024, exponent));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let exponent: i8 = exponent.parse().ok()?;
            Some((Format::DecimalExponent, 10, i32::from(exponent)))
        }
    }
}

impl fmt::Display for Amount {
    /// The canonical form: no fraction, and the largest suffix that allows that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Below 1024, and between whole numbers, a binary suffix would force rounding.
        let is_whole = self.nanos % NANO == 0;
        let is_binary = self.format == Format::BinarySi && is_whole && self.nanos.abs() >= 1024 * NANO;
        let format = match self.format {
            Format::BinarySi if !is_binary => Format::DecimalSi,
            format => format,
        };
        match format {
            Format::BinarySi => {
                let (value, power) = take_factors(self.nanos / NANO, 1024, BINARY_SUFFIXES.len() - 1);
                write!(f, "{value}{}", BINARY_SUFFIXES[power])
            }
            Format::DecimalSi => {
                let (value, power) = take_factors(self.nanos, 1000, DECIMAL_SUFFIXES.len() - 1);
                let power = if value == 0 { DECIMAL_UNIT } else { power };
                write!(f, "{value}{}", DECIMAL_SUFFIXES[power])
            }
            Format::DecimalExponent => {
                let (value, power) = take_factors(self.nanos, 1000, usize::MAX);
                match power * 3 {
                    _ if value == 0 => write!(f, "0"),
                    9 => write!(f, "{value}"),
                    exponent => write!(f, "{value}e{}", exponent as i64 - 9),
                }
            }
        }
    }
}

const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL_SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
/// The index of no suffix.
const DECIMAL_UNIT: usize = 3;

/// Divides by `factor` while nothing is lost, at most `max` times; the quotient and how often.
fn take_factors(mut value: i128, factor: i128, max: usize) -> (i128, usize) {
    let mut count = 0;
    while value != 0 && count < max && value % factor == 0 {
        value /= factor;
        count += 1;
    }
    (value, count)
}

fn divide_away_from_zero(value: i128, divisor: i128) -> i128 {
    let rest = value % divisor;
    value / divisor + rest.signum()
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn canonical_forms() {
        let cases = [
            ("0", "0"),
            ("0Gi", "0"),
            ("0e5", "0"),
            ("-0", "0"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("+1", "1"),
            ("-1", "-1"),
            ("007", "7"),
            ("1.5Gi", "1536Mi"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1000e3", "1e6"),
            ("1e-3", "1e-3"),
            ("12e1", "120"),
            ("12E", "12E"),
            ("1000k", "1M"),
            ("1500k", "1500k"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("-0.1n", "-1n"),
            ("1u", "1u"),
            ("8Ei", "8Ei"),
            ("1.4Gi", "1503238553600m"),
            ("-1.4Gi", "-1503238553600m"),
            ("1.0000000001Gi", "1073741824107374183n"),
        ];
        for (text, canonical) in cases {
            assert_eq!(text.parse::<Amount>().unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn values_round_up() {
        let cases = [
            ("100m", 1, 100),
            ("1", 1, 1_000),
            ("1.1", 2, 1_100),
            ("-1.1", -2, -1_100),
            ("1Ki", 1024, 1_024_000),
            ("1u", 1, 1),
            ("12E", i64::MAX, i64::MAX),
            ("-12E", i64::MIN, i64::MIN),
            ("1P", 1_000_000_000_000_000, 1_000_000_000_000_000_000),
        ];
        for (text, value, milli) in cases {
            let amount: Amount = text.parse().unwrap();
            assert_eq!((amount.value(), amount.milli_value()), (value, milli), "{text}");
        }
    }

    #[test]
    fn refused() {
        for text in ["", ".", "-", "+", "Gi", "m", "1..2", "1.2.3", "--1", "abc"] {
            let error = text.parse::<Amount>().unwrap_err();
            assert_eq!(error, InvalidQuantity::Number(text.to_owned()), "{text}");
        }
        for text in [
            "1gi", "1K", "1 Gi", " 1", "1 ", "1mi", "1e", "1e1.5", "1e999", "1x", "1\u{e9}",
        ] {
            let error = text.parse::<Amount>();
            assert!(error.is_err(), "{text}: {error:?}");
        }
        let error = "9999999999999999999999999E".parse::<Amount>().unwrap_err();
        assert!(matches!(error, InvalidQuantity::TooLarge(_)), "{error}");
        assert!("0".repeat(QUANTITY_BYTES_MAX).parse::<Amount>().unwrap().is_zero());
        let long = "1".repeat(QUANTITY_BYTES_MAX + 1);
        let error = long.parse::<Amount>().unwrap_err();
        assert_eq!(error, InvalidQuantity::TooLong(QUANTITY_BYTES_MAX + 1));
    }

    #[test]
    fn arithmetic_keeps_the_format() {
        let mut sum = Amount::ZERO;
        sum += "512Mi".parse().unwrap();
        sum += "1G".parse().unwrap();
        assert_eq!(sum.format(), Format::BinarySi);
        assert_eq!(sum.value(), 512 * 1024 * 1024 + 1_000_000_000);
        sum -= "1G".parse().unwrap();
        assert_eq!(sum.to_string(), "512Mi");
        assert_eq!("1".parse::<Amount>().unwrap(), "1000m".parse().unwrap());
        assert!("999m".parse::<Amount>().unwrap() < "1".parse().unwrap());
    }
}
