//! Who makes a change, as the owners of fields know them: a name that the request gives, or the program that sent it.
//!
//! Doors hand it to the permit. What has none, such as a loop of this process, owns nothing of what it writes.

use trireme_logic::{
    apply::UNKNOWN_MANAGER,
    field_error::{FieldError, FieldErrorReason, FieldErrors},
    limits::FIELD_MANAGER_BYTES,
};

use crate::status::ApiError;

/// The option of requests that names one.
const OPTION: &str = "fieldManager";

/// A manager of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldManager {
    name: String,
    is_named: bool,
}

impl FieldManager {
    /// The manager that a request names, else the program that its user agent names.
    ///
    /// # Errors
    /// `Invalid` for a name that is too long or not printable.
    pub fn of_request(field_manager: &str, user_agent: &str) -> Result<Self, ApiError> {
        if field_manager.is_empty() {
            return Ok(Self {
                name: program_of(user_agent),
                is_named: false,
            });
        }
        let mut errors = FieldErrors::default();
        errors.field(OPTION, |errors| Self::check(field_manager, errors));
        let errors = errors.into_errors();
        if errors.is_empty() {
            Ok(Self {
                name: field_manager.to_owned(),
                is_named: true,
            })
        } else {
            Err(ApiError::invalid_options("PatchOptions", &errors))
        }
    }

    /// Checks a name that a request gives. The path is that of the option.
    pub(crate) fn check(name: &str, errors: &mut FieldErrors) {
        if name.len() > FIELD_MANAGER_BYTES {
            return errors.too_long(FIELD_MANAGER_BYTES);
        }
        let mut letters = name.char_indices();
        if let Some((position, letter)) = letters.find(|(_, letter)| letter.is_control()) {
            let code = u32::from(letter);
            errors.invalid(
                name,
                format_args!("invalid character U+{code:04X} (at position {position})"),
            );
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name that somebody who applies must have given.
    ///
    /// # Errors
    /// `Invalid` if the request named none.
    pub(crate) fn applier(manager: Option<&Self>) -> Result<&str, ApiError> {
        match manager {
            Some(manager) if manager.is_named => Ok(&manager.name),
            Some(_) | None => Err(invalid_option(
                OPTION,
                FieldErrorReason::Required,
                "Required value: is required for apply patch".to_owned(),
            )),
        }
    }
}

/// Only what is applied can be forced.
///
/// # Errors
/// `Invalid` if another patch is.
pub fn refuse_force(force: bool) -> Result<(), ApiError> {
    if force {
        let message = "Forbidden: may not be specified for non-apply patch".to_owned();
        Err(invalid_option("force", FieldErrorReason::Forbidden, message))
    } else {
        Ok(())
    }
}

fn invalid_option(field: &str, reason: FieldErrorReason, message: String) -> ApiError {
    let error = FieldError {
        reason,
        field: field.to_owned(),
        message,
    };
    ApiError::invalid_options("PatchOptions", &[error])
}

/// `kubectl` of `kubectl/v1.36 (linux/amd64)`.
fn program_of(user_agent: &str) -> String {
    let program = user_agent.split('/').next().unwrap_or_default();
    let mut name = String::new();
    for letter in program.chars().filter(|letter| !letter.is_control()) {
        if name.len() + letter.len_utf8() > FIELD_MANAGER_BYTES {
            break;
        }
        name.push(letter);
    }
    if name.is_empty() {
        name.push_str(UNKNOWN_MANAGER);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Reason;

    #[test]
    fn a_manager_is_named_or_a_program() {
        let long_agent = format!("{}/1", "ü".repeat(100));
        let longest = "m".repeat(FIELD_MANAGER_BYTES);
        for (field_manager, user_agent, expected) in [
            ("me", "kubectl/v1.36", "me"),
            ("", "kubectl/v1.36 (linux/amd64)", "kubectl"),
            ("", "curl", "curl"),
            ("", "", "unknown"),
            ("", "/1", "unknown"),
            ("", "a\u{7}b/1", "ab"),
            ("", &long_agent, &"ü".repeat(64)),
            (&longest, "", &longest),
        ] {
            let manager = FieldManager::of_request(field_manager, user_agent).expect("good");
            assert_eq!(manager.name(), expected);
            let applier = FieldManager::applier(Some(&manager));
            assert_eq!(
                applier.is_ok(),
                !field_manager.is_empty(),
                "{field_manager} {user_agent}"
            );
        }
    }

    #[test]
    fn bad_names_are_refused() {
        let error = FieldManager::of_request(&"m".repeat(FIELD_MANAGER_BYTES + 1), "").expect_err("too long");
        assert_eq!(error.reason(), Reason::Invalid);
        assert_eq!(
            error.message(),
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes"
        );
        // Bytes count, not letters.
        assert!(FieldManager::of_request(&"ü".repeat(FIELD_MANAGER_BYTES / 2 + 1), "").is_err());
        let error = FieldManager::of_request("a\nb", "").expect_err("not printable");
        assert!(
            error.message().ends_with("invalid character U+000A (at position 1)"),
            "{error}"
        );
        let error = FieldManager::applier(None).expect_err("none");
        assert_eq!(
            error.message(),
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
        );
        assert_eq!(error.causes()[0].field, "fieldManager");
        assert!(refuse_force(false).is_ok() && refuse_force(true).is_err());
    }
}
