//! A container's log as plain text.

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderValue, header};
use trireme_logic::field_error::FieldErrors;
use trireme_proto::{
    api::meta::v1::Time,
    v1::{LogsChunk, LogsRequest},
};

use super::query::Query;
use crate::{
    pipeline::Permit,
    registry::Registry,
    services::{
        resources::{LogSource, logs},
        verbs::requested,
    },
    status::ApiError,
};

/// What of a log is asked for.
#[derive(Debug, Clone, PartialEq)]
struct LogOptions {
    request: LogsRequest,
    /// Where it is cut off.
    limit_bytes: Option<u64>,
}

/// Sends a log.
///
/// # Errors
/// `Invalid` options, and those of the log's source.
pub(super) async fn logs_answer(
    registry: &Arc<Registry>,
    source: &dyn LogSource,
    permit: &Permit,
    query: &Query,
) -> Result<Response, ApiError> {
    let options = parse(query, registry.environment().now())?;
    let key = requested(permit)?.key();
    let wanted = LogsRequest {
        namespace: key.namespace.clone(),
        pod: key.name.clone(),
        ..options.request
    };
    let chunks = logs::logs(registry, source, permit, key, wanted).await?;
    let mut left = options.limit_bytes.unwrap_or(u64::MAX);
    let pieces = chunks
        .map(move |chunk| {
            chunk.map(|LogsChunk { mut data }| {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                data.truncate(here);
                left -= here as u64;
                (data, left == 0)
            })
        })
        .boxed();
    let mut response = Body::from_stream(until_cut(pieces)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// The pieces up to the one that is the last.
fn until_cut(
    pieces: stream::BoxStream<'static, Result<(Bytes, bool), ApiError>>,
) -> impl stream::Stream<Item = Result<Bytes, ApiError>> + Send {
    stream::unfold(Some(pieces), |pieces| async move {
        let mut pieces = pieces?;
        match pieces.next().await? {
            Ok((data, is_last)) => Some((Ok(data), (!is_last).then_some(pieces))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

fn parse(query: &Query, now: Time) -> Result<LogOptions, ApiError> {
    let yes = |name| query.boolean(name).unwrap_or(false);
    let tail_lines = query.number::<i64>("tailLines")?;
    let limit_bytes = query.number::<i64>("limitBytes")?;
    let since_seconds = query.number::<i64>("sinceSeconds")?;
    let since_time = query.get("sinceTime");
    let mut errors = FieldErrors::default();
    errors.field("tailLines", |errors| {
        if let Some(lines) = tail_lines.filter(|lines| *lines < 0) {
            errors.invalid(lines, "must be greater than or equal to 0");
        }
    });
    errors.field("limitBytes", |errors| {
        if let Some(bytes) = limit_bytes.filter(|bytes| *bytes < 1) {
            errors.invalid(bytes, "must be greater than 0");
        }
    });
    errors.field("sinceSeconds", |errors| {
        if let Some(seconds) = since_seconds.filter(|seconds| *seconds < 1) {
            errors.invalid(seconds, "must be greater than 0");
        }
        if since_seconds.is_some() && !since_time.is_empty() {
            errors.forbidden("at most one of `sinceTime` or `sinceSeconds` may be specified");
        }
    });
    let errors = errors.into_errors();
    if !errors.is_empty() {
        return Err(ApiError::invalid_options("PodLogOptions", &errors));
    }
    let since = match since_time {
        "" => since_seconds,
        text => {
            let then: jiff::Timestamp = text
                .parse()
                .map_err(|_| ApiError::bad_request(format!("sinceTime is {text:?}, which is no time of RFC 3339")))?;
            Some((now.seconds - then.as_second()).max(1))
        }
    };
    Ok(LogOptions {
        request: LogsRequest {
            container: query.get("container").to_owned(),
            follow: yes("follow"),
            previous: yes("previous"),
            timestamps: yes("timestamps"),
            tail_lines,
            since_seconds: since,
            ..LogsRequest::default()
        },
        limit_bytes: limit_bytes.and_then(|bytes| u64::try_from(bytes).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time {
        seconds: 1_800_000_000,
        nanos: 0,
    };

    fn options(text: &str) -> Result<LogOptions, ApiError> {
        parse(&Query::parse(text).expect("a query"), NOW)
    }

    #[test]
    fn options_are_read() {
        let read =
            options("container=a&follow=true&previous=1&tailLines=5&timestamps=true&limitBytes=9").expect("read");
        assert_eq!(read.limit_bytes, Some(9));
        let request = read.request;
        assert!(request.follow && request.previous && request.timestamps);
        assert_eq!((request.container.as_str(), request.tail_lines), ("a", Some(5)));
        let since = |text| options(text).expect("read").request.since_seconds;
        assert_eq!(since("sinceSeconds=7"), Some(7));
        assert_eq!(since("sinceTime=2027-01-15T07:59:00Z"), Some(60));
        assert_eq!(since("sinceTime=2028-01-15T07:59:00Z"), Some(1));
        assert_eq!(since(""), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "tailLines=-1",
            "limitBytes=0",
            "sinceSeconds=0",
            "sinceTime=yesterday",
            "tailLines=x",
            "sinceSeconds=1&sinceTime=2027-01-15T07:59:00Z",
        ] {
            let error = options(text).expect_err(text);
            assert!(matches!(error.reason().http_code(), 400 | 422), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn nothing_comes_after_the_cut() {
        let pieces = [
            Ok((Bytes::from_static(b"ab"), false)),
            Ok((Bytes::from_static(b"c"), true)),
            Ok((Bytes::new(), true)),
        ];
        let all: Vec<_> = until_cut(stream::iter(pieces).boxed()).collect().await;
        assert_eq!(all.len(), 2);
    }
}
