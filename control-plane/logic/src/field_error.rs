//! What is wrong with an object, field by field.
//!
//! The reasons and the wording are those of Kubernetes' `field.Error`, since clients show and some parse them.

use std::fmt;

use crate::limits;

/// The kind of a field error; becomes the `reason` of a status cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldErrorReason {
    /// A value is against the rules.
    Invalid,
    /// A value must be given.
    Required,
    /// A value must not be given.
    Forbidden,
    /// A value stands twice where it must be unique.
    Duplicate,
    /// A value is not one of those supported.
    NotSupported,
    /// A value is too long.
    TooLong,
    /// A list has too many items.
    TooMany,
    /// A referenced thing does not exist.
    NotFound,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldError {
    /// Why.
    pub reason: FieldErrorReason,
    /// JSON path, such as `spec.containers[0].name`.
    pub field: String,
    /// The message without the path, such as `Invalid value: "A": must be lower case`.
    pub message: String,
}

/// Collects field errors while it knows where in the object it is: up to [`limits::FIELD_ERRORS`] of them.
#[derive(Debug, Default)]
pub struct FieldErrors {
    path: String,
    errors: Vec<FieldError>,
}

impl FieldErrorReason {
    /// The `reason` of a status cause, as Kubernetes names it.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Invalid | Self::TooLong | Self::TooMany => "FieldValueInvalid",
            Self::Required => "FieldValueRequired",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotSupported => "FieldValueNotSupported",
            Self::NotFound => "FieldValueNotFound",
        }
    }
}

impl FieldErrors {
    /// Runs `check` one field deeper.
    pub fn field(&mut self, name: &str, check: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
        check(self);
        self.path.truncate(length);
    }

    /// Runs `check` one list index or map key deeper.
    pub fn index(&mut self, index: impl fmt::Display, check: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(&format!("[{index}]"));
        check(self);
        self.path.truncate(length);
    }

    /// `Invalid value: "value": why`
    pub fn invalid(&mut self, value: impl fmt::Debug, why: impl fmt::Display) {
        self.push(FieldErrorReason::Invalid, format!("Invalid value: {value:?}: {why}"));
    }

    /// `Invalid value: why`, about a value that would say nothing or is too much to show.
    pub fn invalid_unshown(&mut self, why: impl fmt::Display) {
        self.push(FieldErrorReason::Invalid, format!("Invalid value: {why}"));
    }

    /// `Required value: why`
    pub fn required(&mut self, why: impl fmt::Display) {
        let why = why.to_string();
        let message = if why.is_empty() {
            "Required value".into()
        } else {
            format!("Required value: {why}")
        };
        self.push(FieldErrorReason::Required, message);
    }

    /// `Forbidden: why`
    pub fn forbidden(&mut self, why: impl fmt::Display) {
        self.push(FieldErrorReason::Forbidden, format!("Forbidden: {why}"));
    }

    /// `Duplicate value: "value"`
    pub fn duplicate(&mut self, value: impl fmt::Debug) {
        self.push(FieldErrorReason::Duplicate, format!("Duplicate value: {value:?}"));
    }

    /// `Unsupported value: "value": supported values: "a", "b"`
    pub fn not_supported(&mut self, value: impl fmt::Debug, supported: &[&str]) {
        let list: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        self.push(
            FieldErrorReason::NotSupported,
            format!("Unsupported value: {value:?}: supported values: {}", list.join(", ")),
        );
    }

    /// `Too long: may not be more than N bytes`
    pub fn too_long(&mut self, limit_bytes: usize) {
        self.push(
            FieldErrorReason::TooLong,
            format!("Too long: may not be more than {limit_bytes} bytes"),
        );
    }

    /// `Too many: N: must have at most LIMIT items`
    pub fn too_many(&mut self, count: usize, limit: usize) {
        self.push(
            FieldErrorReason::TooMany,
            format!("Too many: {count}: must have at most {limit} items"),
        );
    }

    /// `Not found: "value"`
    pub fn not_found(&mut self, value: impl fmt::Debug) {
        self.push(FieldErrorReason::NotFound, format!("Not found: {value:?}"));
    }

    /// What was found, in the order of the checks.
    pub fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }

    /// True if nothing was found.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    fn push(&mut self, reason: FieldErrorReason, message: String) {
        if self.errors.len() >= limits::FIELD_ERRORS {
            return;
        }
        self.errors.push(FieldError {
            reason,
            field: self.path.clone(),
            message,
        });
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            // The object as a whole.
            return formatter.write_str(&self.message);
        }
        write!(formatter, "{}: {}", self.field, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_most_of_errors() {
        let mut errors = FieldErrors::default();
        for index in 0..=limits::FIELD_ERRORS {
            errors.index(index, |errors| errors.required(""));
        }
        let errors = errors.into_errors();
        assert_eq!(errors.len(), limits::FIELD_ERRORS);
        assert_eq!(
            errors[limits::FIELD_ERRORS - 1].field,
            format!("[{}]", limits::FIELD_ERRORS - 1)
        );
    }
}
