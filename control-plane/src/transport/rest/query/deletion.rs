//! Options of deletions, which come in the body or, without one, behind the path.

use trireme_proto::api::meta::v1::DeleteOptions as Sent;

use super::Query;
use crate::{registry::DeleteOptions, status::ApiError};

/// How to delete, as a body says or, if there is none, the query.
///
/// # Errors
/// `Invalid` for options that contradict each other or are not known, `BadRequest` for numbers that are none.
pub(in super::super) fn delete_options(body: Option<Sent>, query: &Query) -> Result<DeleteOptions, ApiError> {
    let sent = match body {
        Some(sent) => sent,
        None => from_query(query)?,
    };
    DeleteOptions::of_sent(sent)
}

fn from_query(query: &Query) -> Result<Sent, ApiError> {
    Ok(Sent {
        grace_period_seconds: query.number("gracePeriodSeconds")?,
        orphan_dependents: query.boolean("orphanDependents"),
        propagation_policy: query.find("propagationPolicy").map(str::to_owned),
        dry_run: query.all("dryRun").to_vec(),
        ..Sent::default()
    })
}

#[cfg(test)]
mod tests {
    use trireme_proto::api::meta::v1::Preconditions;

    use super::*;
    use crate::registry::Propagation;

    #[test]
    fn options_come_from_the_body_or_the_query() {
        let query = Query::parse("gracePeriodSeconds=5&propagationPolicy=Foreground&dryRun=All").expect("a query");
        let options = delete_options(None, &query).expect("read");
        assert_eq!(options.grace_period_seconds, Some(5));
        assert_eq!((options.propagation, options.dry_run), (Propagation::Foreground, true));
        let body = Sent {
            orphan_dependents: Some(true),
            preconditions: Some(Preconditions {
                uid: Some("u".to_owned()),
                resource_version: None,
            }),
            ..Sent::default()
        };
        let options = delete_options(Some(body), &query).expect("read");
        assert_eq!(
            (options.grace_period_seconds, options.propagation),
            (None, Propagation::Orphan)
        );
        assert_eq!((options.uid.as_str(), options.dry_run), ("u", false));
        let query = Query::parse("orphanDependents=false").expect("a query");
        assert_eq!(
            delete_options(None, &query).expect("read").propagation,
            Propagation::Background
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, words) in [
            (
                "propagationPolicy=Sink",
                "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Sink\": supported values: \"Background\", \"Foreground\", \"Orphan\"",
            ),
            ("propagationPolicy=Orphan&orphanDependents=true", "cannot be both set"),
            ("dryRun=1", "dryRun: Unsupported value"),
            ("gracePeriodSeconds=soon", "no number"),
        ] {
            let error = delete_options(None, &Query::parse(text).expect("a query")).expect_err(text);
            assert!(error.message().contains(words), "{text}: {error}");
        }
    }
}
