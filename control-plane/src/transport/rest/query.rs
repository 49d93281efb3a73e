//! The options that stand behind a path: read once, into what the registry takes. Pure.
//!
//! Which combinations are refused, and in which words, is as Kubernetes has it.

mod deletion;
mod listing;
mod writing;

use std::{collections::BTreeMap, str::FromStr};

use percent_encoding::percent_decode_str;
use trireme_logic::field_error::FieldErrors;

pub(super) use self::{
    deletion::delete_options,
    listing::{ListOptions, WatchOptions, WatchStart},
    writing::{WriteOptions, WriteVerb},
};
use crate::{limits, status::ApiError};

/// The one value that a dry run has.
const DRY_RUN_ALL: &str = "All";

/// Names and values, decoded.
#[derive(Debug, Default, Clone)]
pub(super) struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    /// Reads what stands behind a `?`.
    ///
    /// # Errors
    /// `BadRequest` for what is no text, and for too many parameters.
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (index, pair) in text.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            if index >= limits::QUERY_PARAMETERS_MAX {
                let most = limits::QUERY_PARAMETERS_MAX;
                return Err(ApiError::bad_request(format!("there are more than {most} parameters")));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            all.entry(decoded(name)?).or_default().push(decoded(value)?);
        }
        Ok(Self(all))
    }

    /// The first value; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    /// The first value, if the name is there at all.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|values| values.first()).map(String::as_str)
    }

    /// Every value.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Anything but `0` and `false` is yes, as Kubernetes has it.
    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        let value = self.find(name)?;
        Some(value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// A number, if there is one.
    ///
    /// # Errors
    /// `BadRequest` if it is none.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        match self.find(name) {
            None | Some("") => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| ApiError::bad_request(format!("the parameter {name} is {text:?}, which is no number"))),
        }
    }

    /// Whether nothing is to be stored; other values than the one known are errors.
    fn dry_run(&self, errors: &mut FieldErrors) -> bool {
        let values = self.all("dryRun");
        errors.field("dryRun", |errors| {
            for value in values.iter().filter(|value| *value != DRY_RUN_ALL) {
                errors.not_supported(value, &[DRY_RUN_ALL]);
            }
        });
        !values.is_empty()
    }
}

fn decoded(text: &str) -> Result<String, ApiError> {
    let text = text.replace('+', " ");
    let text = percent_decode_str(&text).decode_utf8();
    text.map(std::borrow::Cow::into_owned)
        .map_err(|_| ApiError::bad_request("the parameters are not UTF-8"))
}

/// Refuses options that have errors.
fn refuse_if_any(kind: &str, errors: FieldErrors) -> Result<(), ApiError> {
    let errors = errors.into_errors();
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid_options(kind, &errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("labelSelector=a%3Db%2Cc+in+(d)&watch&limit=5&limit=6&&x=").expect("read");
        assert_eq!(query.get("labelSelector"), "a=b,c in (d)");
        assert_eq!(query.boolean("watch"), Some(true));
        assert_eq!(query.number::<i64>("limit").expect("a number"), Some(5));
        assert_eq!(query.number::<i64>("x").expect("none"), None);
        assert_eq!(query.boolean("pretty"), None);
        assert!(query.number::<i64>("labelSelector").is_err());
        assert!(Query::parse("a=%ff").is_err());
    }

    #[test]
    fn booleans_are_as_kubernetes_reads_them() {
        for (text, expected) in [
            ("w=0", false),
            ("w=False", false),
            ("w=1", true),
            ("w=true", true),
            ("w=no", true),
        ] {
            assert_eq!(Query::parse(text).expect("read").boolean("w"), Some(expected), "{text}");
        }
    }

    #[test]
    fn there_is_a_bound() {
        let most = vec!["a=b"; limits::QUERY_PARAMETERS_MAX].join("&");
        assert!(Query::parse(&most).is_ok());
        let error = Query::parse(&format!("{most}&a=b")).expect_err("one too many");
        assert_eq!(error.reason(), crate::status::Reason::BadRequest);
    }
}
