//! An integer, or a string that is a name (of a port) or a percentage (of replicas).

use std::fmt;

use serde::de::Visitor;
use serde::{Deserializer, Serializer};

use super::serde_by_json_value;
use crate::api::meta::v1::IntOrString;
use crate::json::{Context, JsonValue};

/// The `type` of an integer.
const INT: i64 = 0;
/// The `type` of a string.
const STRING: i64 = 1;

/// Which way a percentage of a count is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Away from zero.
    Up,
    /// Towards zero.
    Down,
}

/// A string that is not a percentage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an integer nor a percentage such as `25%`")]
pub struct InvalidIntOrPercent(pub String);

impl IntOrString {
    /// An integer.
    pub fn from_int(value: i32) -> Self {
        Self {
            r#type: INT,
            int_val: value,
            str_val: String::new(),
        }
    }

    /// A string.
    pub fn from_string(value: impl Into<String>) -> Self {
        Self {
            r#type: STRING,
            int_val: 0,
            str_val: value.into(),
        }
    }

    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i32> {
        (self.r#type != STRING).then_some(self.int_val)
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        (self.r#type == STRING).then_some(&self.str_val)
    }

    /// The integer itself, or the percentage of `total`.
    ///
    /// # Errors
    /// If it is a string that is not a whole number followed by `%`.
    pub fn resolve(&self, total: i32, rounding: Rounding) -> Result<i32, InvalidIntOrPercent> {
        let Some(text) = self.as_str() else {
            return Ok(self.int_val);
        };
        let invalid = || InvalidIntOrPercent(text.to_owned());
        let digits = text.strip_suffix('%').ok_or_else(invalid)?;
        let percent: i32 = digits.parse().map_err(|_| invalid())?;
        let hundredfold = i64::from(percent) * i64::from(total);
        let rest = hundredfold % 100;
        let away = match rounding {
            Rounding::Up => rest.signum(),
            Rounding::Down => 0,
        };
        Ok(i32::try_from(hundredfold / 100 + away).unwrap_or(if hundredfold < 0 { i32::MIN } else { i32::MAX }))
    }
}

impl From<i32> for IntOrString {
    fn from(value: i32) -> Self {
        Self::from_int(value)
    }
}

impl From<&str> for IntOrString {
    fn from(value: &str) -> Self {
        Self::from_string(value)
    }
}

impl From<String> for IntOrString {
    fn from(value: String) -> Self {
        Self::from_string(value)
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => f.write_str(text),
            None => write!(f, "{}", self.int_val),
        }
    }
}

impl JsonValue for IntOrString {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, _: &mut Context) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntOrStringVisitor)
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_str() {
            Some(text) => serializer.serialize_str(text),
            None => serializer.serialize_i32(self.int_val),
        }
    }

    /// As Kubernetes has it: its zero is the number 0.
    fn write_absent<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(0)
    }
}

serde_by_json_value!(IntOrString);

struct IntOrStringVisitor;

impl Visitor<'_> for IntOrStringVisitor {
    type Value = IntOrString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a 32-bit integer or a string")
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<IntOrString, E> {
        let invalid = |_| E::invalid_value(serde::de::Unexpected::Signed(value), &self);
        i32::try_from(value).map(IntOrString::from_int).map_err(invalid)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<IntOrString, E> {
        let invalid = |_| E::invalid_value(serde::de::Unexpected::Unsigned(value), &self);
        i32::try_from(value).map(IntOrString::from_int).map_err(invalid)
    }

    fn visit_str<E>(self, text: &str) -> Result<IntOrString, E> {
        Ok(IntOrString::from_string(text))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn percentages_are_rounded_as_asked() {
        let cases = [
            (IntOrString::from(3), 10, 3, 3),
            (IntOrString::from("25%"), 10, 3, 2),
            (IntOrString::from("25%"), 4, 1, 1),
            (IntOrString::from("0%"), 4, 0, 0),
            (IntOrString::from("100%"), 7, 7, 7),
            (IntOrString::from("1%"), 1, 1, 0),
            (IntOrString::from("200%"), i32::MAX, i32::MAX, i32::MAX),
        ];
        for (value, total, up, down) in cases {
            assert_eq!(value.resolve(total, Rounding::Up).unwrap(), up, "{value}");
            assert_eq!(value.resolve(total, Rounding::Down).unwrap(), down, "{value}");
        }
    }

    #[test]
    fn other_strings_are_no_percentages() {
        for text in ["", "%", "5", "x%", "5 %", "1.5%", "%5"] {
            let value = IntOrString::from(text);
            let error = value.resolve(10, Rounding::Up).unwrap_err();
            assert_eq!(error, InvalidIntOrPercent(text.to_owned()));
        }
    }

    #[test]
    fn json_is_a_number_or_a_string() {
        for (json, value) in [("5", IntOrString::from(5)), ("\"http\"", IntOrString::from("http"))] {
            assert_eq!(serde_json::from_str::<IntOrString>(json).unwrap(), value);
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
        }
        for json in ["5.5", "true", "3000000000", "{}"] {
            let error = serde_json::from_str::<IntOrString>(json).unwrap_err().to_string();
            assert!(error.contains("a 32-bit integer or a string"), "{error}");
        }
    }
}
