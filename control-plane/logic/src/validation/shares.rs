//! Counts that may be given as a share of all: `3`, `25%`.

use trireme_proto::api::meta::v1::IntOrString;

use super::{int_or_string, names, not_negative, report};
use crate::field_error::FieldErrors;

/// Requires a number that is not negative, or a percentage.
pub fn number_or_percent(value: Option<&IntOrString>, errors: &mut FieldErrors) {
    match int_or_string(value) {
        Ok(number) => not_negative(number.into(), errors),
        Err(text) => report(text, names::percent(text), errors),
    }
}

/// Requires a percentage to be at most 100; numbers may be anything.
pub fn at_most_all(value: Option<&IntOrString>, errors: &mut FieldErrors) {
    if percent_value(value).is_some_and(|percent| percent > 100) {
        errors.invalid(
            int_or_string(value).err().unwrap_or_default(),
            "must not be greater than 100%",
        );
    }
}

/// True for 0 and 0%, and for a value that is missing.
pub fn is_zero(value: Option<&IntOrString>) -> bool {
    match int_or_string(value) {
        Ok(number) => number == 0,
        Err(_) => percent_value(value) == Some(0),
    }
}

fn percent_value(value: Option<&IntOrString>) -> Option<u32> {
    int_or_string(value)
        .err()
        .and_then(|text| text.strip_suffix('%'))
        .and_then(|digits| digits.parse().ok())
}
