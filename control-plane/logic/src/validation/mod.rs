//! Rules that many kinds share: names, labels, selectors, quantities, metadata.
//!
//! The functions here report what is wrong; what a whole object must be is said in its kind's file.

pub mod conditions;
pub mod labels;
pub mod metadata;
pub mod names;
pub mod quantities;
pub mod shares;

use trireme_proto::api::meta::v1::IntOrString;

use crate::field_error::FieldErrors;

/// The message for a field that may not change.
pub const IMMUTABLE: &str = "field is immutable";

/// Requires a value that is not negative.
pub fn not_negative(value: i64, errors: &mut FieldErrors) {
    if value < 0 {
        errors.invalid(value, "must be greater than or equal to 0");
    }
}

/// Requires a value in a range, both ends included.
pub fn in_range(value: i64, low: i64, high: i64, errors: &mut FieldErrors) {
    if value < low || value > high {
        errors.invalid(value, format_args!("must be between {low} and {high}, inclusive"));
    }
}

/// Requires one of a few words; an empty one is reported as missing.
pub fn one_of(value: &str, supported: &[&str], errors: &mut FieldErrors) {
    if value.is_empty() {
        errors.required("");
    } else if !supported.contains(&value) {
        errors.not_supported(value, supported);
    }
}

/// Reports each complaint about a value.
pub fn report(value: &str, complaints: Vec<String>, errors: &mut FieldErrors) {
    for complaint in complaints {
        errors.invalid(value, complaint);
    }
}

/// Requires that a field did not change.
pub fn unchanged<T: PartialEq + serde::Serialize>(new: &T, old: &T, errors: &mut FieldErrors) {
    if new != old {
        errors.invalid(AsJson(new), IMMUTABLE);
    }
}

/// The number, or else the text, of a field that may be either; one that is missing is 0.
pub fn int_or_string(value: Option<&IntOrString>) -> Result<i32, &str> {
    match value {
        None => Ok(0),
        Some(value) => value.as_str().map_or(Ok(value.int_val), Err),
    }
}

/// Shows a value in an error as its JSON.
pub struct AsJson<'a, T>(pub &'a T);

impl<T: serde::Serialize> std::fmt::Debug for AsJson<'_, T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A value that has no JSON is shown as nothing rather than hiding the error about it.
        formatter.write_str(&serde_json::to_string(self.0).unwrap_or_default())
    }
}
