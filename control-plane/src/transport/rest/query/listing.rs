//! Options of lists and watches.

use std::time::Duration;

use trireme_logic::field_error::FieldErrors;
use trireme_store::kv::Revision;

use super::{Query, refuse_if_any};
use crate::{registry::ReadFrom, status::ApiError};

const KIND: &str = "ListOptions";
const EXACT: &str = "Exact";
const NOT_OLDER_THAN: &str = "NotOlderThan";

/// What of a range is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct ListOptions {
    /// As text; the kind decides which fields there are.
    pub(in super::super) label_selector: String,
    /// The same.
    pub(in super::super) field_selector: String,
    /// The most objects; 0 for all.
    pub(in super::super) limit: usize,
    /// The `continue` of the page before.
    pub(in super::super) continue_token: String,
    /// How fresh.
    pub(in super::super) from: ReadFrom,
}

/// How a range is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct WatchOptions {
    /// Where it begins.
    pub(in super::super) start: WatchStart,
    /// Progress is told now and then.
    pub(in super::super) bookmarks: bool,
    /// When it ends.
    pub(in super::super) timeout: Option<Duration>,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum WatchStart {
    /// With the objects that there are, at this revision or a later one. Their end is told if `is_told`.
    Present { not_older_than: Revision, is_told: bool },
    /// With what happens from now on.
    Now,
    /// Just after a revision.
    After(Revision),
}

impl ListOptions {
    /// Reads the options of a list.
    ///
    /// # Errors
    /// `Invalid` for a combination that makes no sense, `BadRequest` for what cannot be read.
    pub(in super::super) fn of_list(query: &Query) -> Result<Self, ApiError> {
        let (version, matching) = (query.get("resourceVersion"), query.get("resourceVersionMatch"));
        let continue_token = query.get("continue");
        let mut errors = FieldErrors::default();
        if !matching.is_empty() {
            errors.field("resourceVersionMatch", |errors| {
                if version.is_empty() {
                    errors.forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided");
                }
                if !continue_token.is_empty() {
                    errors.forbidden("resourceVersionMatch is forbidden when continue is provided");
                }
                if !matches!(matching, EXACT | NOT_OLDER_THAN) {
                    errors.not_supported(matching, &[EXACT, NOT_OLDER_THAN, ""]);
                }
                if matching == EXACT && version == "0" {
                    errors.forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
                }
            });
        }
        if query.find("sendInitialEvents").is_some() {
            errors.field("sendInitialEvents", |errors| {
                errors.forbidden("sendInitialEvents is forbidden for list");
            });
        }
        refuse_if_any(KIND, errors)?;
        if !continue_token.is_empty() && !matches!(version, "" | "0") {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let limit = limit_of(query)?;
        // Pages without a word on it are of exactly that revision: so it was before there was a word.
        let is_exact = matching == EXACT || (matching.is_empty() && limit > 0);
        let from = match ReadFrom::parse(version)? {
            ReadFrom::NotOlderThan(revision) if is_exact => ReadFrom::Exactly(revision),
            other => other,
        };
        Ok(Self {
            from,
            limit,
            ..Self::selectors(query)
        })
    }

    /// Reads what of a range is to be followed, or deleted.
    pub(in super::super) fn selectors(query: &Query) -> Self {
        Self {
            label_selector: query.get("labelSelector").to_owned(),
            field_selector: query.get("fieldSelector").to_owned(),
            limit: 0,
            continue_token: query.get("continue").to_owned(),
            from: ReadFrom::Latest,
        }
    }
}

fn limit_of(query: &Query) -> Result<usize, ApiError> {
    let limit = query.number::<i64>("limit")?.unwrap_or(0);
    usize::try_from(limit).map_err(|_| ApiError::bad_request("the limit must not be negative"))
}

impl WatchOptions {
    /// Reads the options of a watch.
    ///
    /// # Errors
    /// As [`ListOptions::of_list`].
    pub(in super::super) fn parse(query: &Query) -> Result<Self, ApiError> {
        let initial = query.boolean("sendInitialEvents");
        let bookmarks = query.boolean("allowWatchBookmarks").unwrap_or(false);
        check(query, initial, bookmarks)?;
        let start = match (ReadFrom::parse(query.get("resourceVersion"))?, initial) {
            (ReadFrom::Latest | ReadFrom::Anything, Some(false)) => WatchStart::Now,
            (ReadFrom::NotOlderThan(revision) | ReadFrom::Exactly(revision), Some(false) | None) => {
                WatchStart::After(revision)
            }
            (ReadFrom::NotOlderThan(revision) | ReadFrom::Exactly(revision), Some(true)) => WatchStart::Present {
                not_older_than: revision,
                is_told: true,
            },
            (ReadFrom::Latest | ReadFrom::Anything, initial) => WatchStart::Present {
                not_older_than: 0,
                is_told: initial == Some(true),
            },
        };
        let timeout = query.number::<u32>("timeoutSeconds")?.filter(|seconds| *seconds > 0);
        Ok(Self {
            start,
            bookmarks,
            timeout: timeout.map(|seconds| Duration::from_secs(u64::from(seconds))),
        })
    }
}

fn check(query: &Query, initial: Option<bool>, bookmarks: bool) -> Result<(), ApiError> {
    let matching = query.get("resourceVersionMatch");
    let mut errors = FieldErrors::default();
    errors.field("resourceVersionMatch", |errors| {
        if initial.is_some() && matching != NOT_OLDER_THAN {
            errors.forbidden(format_args!(
                "sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER_THAN}"
            ));
        }
        if matching.is_empty() {
            return;
        }
        if initial.is_none() {
            errors.forbidden("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
        }
        if matching != NOT_OLDER_THAN {
            errors.not_supported(matching, &[NOT_OLDER_THAN]);
        }
        if !query.get("continue").is_empty() {
            errors.forbidden("resourceVersionMatch is forbidden when continue is provided");
        }
    });
    if initial == Some(true) && !bookmarks {
        errors.field("allowWatchBookmarks", |errors| {
            errors.forbidden("sendInitialEvents requires setting allowWatchBookmarks to true");
        });
    }
    refuse_if_any(KIND, errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<ListOptions, ApiError> {
        ListOptions::of_list(&Query::parse(text).expect("a query"))
    }

    fn watch(text: &str) -> Result<WatchOptions, ApiError> {
        WatchOptions::parse(&Query::parse(text).expect("a query"))
    }

    #[test]
    fn how_fresh_a_list_is() {
        for (text, expected) in [
            ("", ReadFrom::Latest),
            ("resourceVersion=0", ReadFrom::Anything),
            ("resourceVersion=0&limit=5", ReadFrom::Anything),
            ("resourceVersion=7", ReadFrom::NotOlderThan(7)),
            ("resourceVersion=7&limit=5", ReadFrom::Exactly(7)),
            (
                "resourceVersion=7&limit=5&resourceVersionMatch=NotOlderThan",
                ReadFrom::NotOlderThan(7),
            ),
            ("resourceVersion=7&resourceVersionMatch=Exact", ReadFrom::Exactly(7)),
        ] {
            assert_eq!(list(text).expect(text).from, expected, "{text}");
        }
    }

    #[test]
    fn lists_that_make_no_sense_are_refused_in_kubernetes_words() {
        for (text, code, words) in [
            (
                "resourceVersionMatch=Exact",
                422,
                "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            ),
            (
                "resourceVersionMatch=Exact&resourceVersion=0",
                422,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ),
            (
                "resourceVersionMatch=Newer&resourceVersion=1",
                422,
                "Unsupported value: \"Newer\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
            ),
            (
                "resourceVersionMatch=Exact&resourceVersion=1&continue=x",
                422,
                "resourceVersionMatch is forbidden when continue is provided",
            ),
            ("sendInitialEvents=true", 422, "sendInitialEvents is forbidden for list"),
            (
                "resourceVersion=5&continue=x",
                400,
                "specifying resource version is not allowed when using continue",
            ),
            ("resourceVersion=abc", 400, "Invalid value: \"abc\""),
            ("limit=-1", 400, "must not be negative"),
            ("limit=x", 400, "no number"),
        ] {
            let error = list(text).expect_err(text);
            assert_eq!(error.reason().http_code(), code, "{text}");
            assert!(error.message().contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn where_a_watch_begins() {
        let present = |not_older_than, is_told| WatchStart::Present {
            not_older_than,
            is_told,
        };
        let streamed = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1";
        let from_now = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
        for (text, expected) in [
            (String::new(), present(0, false)),
            ("resourceVersion=0".to_owned(), present(0, false)),
            ("resourceVersion=7".to_owned(), WatchStart::After(7)),
            (streamed.to_owned(), present(0, true)),
            (format!("{streamed}&resourceVersion=7"), present(7, true)),
            (from_now.to_owned(), WatchStart::Now),
            (format!("{from_now}&resourceVersion=7"), WatchStart::After(7)),
        ] {
            assert_eq!(watch(&text).expect("read").start, expected, "{text}");
        }
        let timeout = watch("timeoutSeconds=5&allowWatchBookmarks=true").expect("read");
        assert_eq!(
            (timeout.timeout, timeout.bookmarks),
            (Some(Duration::from_secs(5)), true)
        );
    }

    #[test]
    fn watches_that_make_no_sense_are_refused() {
        for (text, words) in [
            (
                "sendInitialEvents=true",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ),
            (
                "sendInitialEvents=true&resourceVersionMatch=Exact&allowWatchBookmarks=1",
                "requires setting resourceVersionMatch",
            ),
            (
                "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
                "allowWatchBookmarks",
            ),
            (
                "resourceVersionMatch=NotOlderThan",
                "is forbidden for watch unless sendInitialEvents is provided",
            ),
        ] {
            let error = watch(text).expect_err(text);
            assert_eq!(error.reason().http_code(), 422, "{text}");
            assert!(error.message().contains(words), "{text}: {error}");
        }
    }
}
