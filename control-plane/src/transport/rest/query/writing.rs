//! Options of creates, updates and patches.

use trireme_logic::field_error::FieldErrors;

use super::{Query, refuse_if_any};
use crate::{
    pipeline::{FieldManager, Validation},
    status::ApiError,
};

const VALIDATIONS: [&str; 3] = ["Ignore", "Strict", "Warn"];

/// Which write they are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum WriteVerb {
    /// A new object.
    Create,
    /// A whole object.
    Update,
    /// Part of one.
    Patch,
    /// Part of one, as its manager declares it.
    Apply,
}

/// How something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct WriteOptions {
    /// Everything but storing.
    pub(in super::super) dry_run: bool,
    /// What becomes of unknown fields.
    pub(in super::super) validation: Validation,
    /// Who says that it wrote it; empty if nobody said.
    pub(in super::super) field_manager: String,
    /// An apply takes what others own.
    pub(in super::super) force: bool,
}

impl WriteVerb {
    fn options_kind(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Patch | Self::Apply => "PatchOptions",
        }
    }
}

impl WriteOptions {
    /// Reads them.
    ///
    /// # Errors
    /// `Invalid`.
    pub(in super::super) fn parse(query: &Query, verb: WriteVerb) -> Result<Self, ApiError> {
        let mut errors = FieldErrors::default();
        let dry_run = query.dry_run(&mut errors);
        let (validation, manager) = (query.get("fieldValidation"), query.get("fieldManager"));
        let force = query.boolean("force");
        errors.field("force", |errors| {
            if verb == WriteVerb::Patch && force.is_some() {
                errors.forbidden("may not be specified for non-apply patch");
            }
        });
        errors.field("fieldManager", |errors| {
            if verb == WriteVerb::Apply && manager.is_empty() {
                errors.required("is required for apply patch");
            }
            FieldManager::check(manager, errors);
        });
        errors.field("fieldValidation", |errors| {
            if !validation.is_empty() && !VALIDATIONS.contains(&validation) {
                errors.not_supported(validation, &VALIDATIONS);
            }
        });
        refuse_if_any(verb.options_kind(), errors)?;
        Ok(Self {
            dry_run,
            validation: match validation {
                "Ignore" => Validation::Ignore,
                "Strict" => Validation::Strict,
                _ => Validation::Warn,
            },
            field_manager: manager.to_owned(),
            force: force.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use trireme_logic::limits::FIELD_MANAGER_BYTES;

    use super::*;

    fn parse(text: &str, verb: WriteVerb) -> Result<WriteOptions, ApiError> {
        WriteOptions::parse(&Query::parse(text).expect("a query"), verb)
    }

    #[test]
    fn options_are_read() {
        let options = parse("dryRun=All&fieldValidation=Strict&fieldManager=me", WriteVerb::Create).expect("read");
        assert!(options.dry_run && options.validation == Validation::Strict && options.field_manager == "me");
        let options = parse("", WriteVerb::Update).expect("read");
        assert!(!options.dry_run && options.validation == Validation::Warn && !options.force);
        assert!(
            parse("force=true&fieldManager=me", WriteVerb::Apply)
                .expect("read")
                .force
        );
    }

    #[test]
    fn what_is_not_an_option_is_refused_in_kubernetes_words() {
        let long = "x".repeat(FIELD_MANAGER_BYTES + 1);
        for (text, verb, words) in [
            (
                "dryRun=Some",
                WriteVerb::Create,
                "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"Some\": supported values: \"All\"",
            ),
            (
                "fieldValidation=Lax",
                WriteVerb::Update,
                "UpdateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"Lax\": supported values: \"Ignore\", \"Strict\", \"Warn\"",
            ),
            (
                "force=true",
                WriteVerb::Patch,
                "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
            ),
            (
                "",
                WriteVerb::Apply,
                "fieldManager: Required value: is required for apply patch",
            ),
            (
                &format!("fieldManager={long}"),
                WriteVerb::Create,
                "may not be more than 128 bytes",
            ),
            (
                "fieldManager=a%0ab",
                WriteVerb::Create,
                "invalid character U+000A (at position 1)",
            ),
        ] {
            let error = parse(text, verb).expect_err(text);
            assert_eq!(error.reason().http_code(), 422, "{text}");
            assert!(error.message().contains(words), "{text}: {error}");
        }
        assert!(parse(&format!("fieldManager={}", &long[1..]), WriteVerb::Create).is_ok());
    }
}
