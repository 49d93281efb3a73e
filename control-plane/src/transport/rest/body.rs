//! What a client sends: taken in within its limit, and brought to JSON or to a bare protobuf message.

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost::Message;
use trireme_proto::v1::Encoding;

use super::{envelope, negotiate::Format, yaml};
use crate::{limits, pipeline::Validation, services::verbs::Sent, status::ApiError};

/// An object as it was sent.
#[derive(Debug)]
pub(super) struct Document {
    /// Its bytes.
    pub(super) sent: Sent,
    /// What people should know of it.
    pub(super) warnings: Vec<String>,
}

/// Takes in a whole body.
///
/// # Errors
/// `RequestEntityTooLarge`, or `RequestTimeout` and `TooManyRequests` from the port, which bounds how long and how much.
pub(super) async fn read(body: &mut Body) -> Result<Bytes, ApiError> {
    let limited = Limited::new(body, limits::REQUEST_MAX_BYTES);
    match limited.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(refused(&*error)),
    }
}

/// Takes in what a request still sends that has been answered already, and lets go of it, without keeping the answer waiting.
///
/// HTTP/1.1 has no way to tell a client to stop: it would find its connection closed while it sends, and might never read why
/// it was refused.
pub(super) fn discard(body: Body) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(tokio::time::timeout(limits::UNREAD_BODY_PATIENCE, async move {
        let mut rest = Limited::new(body, limits::UNREAD_BODY_MAX_BYTES);
        while let Some(Ok(_)) = rest.frame().await {}
    }));
}

fn refused(error: &(dyn std::error::Error + 'static)) -> ApiError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            let limit = limits::REQUEST_MAX_BYTES;
            return ApiError::too_large(format!("Request entity too large: limit is {limit}"));
        }
        if let Some(status) = error.downcast_ref::<tonic::Status>() {
            return match status.code() {
                tonic::Code::DeadlineExceeded => ApiError::request_timeout("the request's body did not come in time"),
                _ => ApiError::too_many_requests(status.message(), limits::BODY_RETRY),
            };
        }
        cause = error.source();
    }
    ApiError::bad_request(format!("the request's body broke off: {error}"))
}

/// Brings an object to a form that the pipeline reads.
///
/// # Errors
/// `BadRequest`, `RequestEntityTooLarge`.
pub(super) fn document(
    format: Format,
    body: Bytes,
    expected: (&str, &str),
    validation: Validation,
) -> Result<Document, ApiError> {
    let plain = |body, encoding| Document {
        sent: Sent { body, encoding },
        warnings: Vec::new(),
    };
    match format {
        Format::Json => Ok(plain(body, Encoding::Json)),
        Format::Yaml => {
            let yaml::Read { json, warnings } = yaml::read(&body, validation)?;
            Ok(Document {
                warnings,
                ..plain(json.into(), Encoding::Json)
            })
        }
        Format::Protobuf => {
            let unknown = envelope::unwrap(&body)?;
            let named = unknown.type_meta.unwrap_or_default();
            let (api_version, kind) = expected;
            if !named.kind.is_empty() && named.kind != kind {
                return Err(ApiError::bad_request(format!(
                    "the object provided is a {}, but a {kind} is expected",
                    named.kind
                )));
            }
            if !api_version.is_empty() && !named.api_version.is_empty() && named.api_version != api_version {
                return Err(ApiError::bad_request(format!(
                    "the API version in the data ({}) does not match the expected API version ({api_version})",
                    named.api_version
                )));
            }
            Ok(plain(unknown.raw, Encoding::Protobuf))
        }
    }
}

/// Reads a message that is no object of a kind that is stored, such as the options of a deletion.
///
/// # Errors
/// As [`document`].
pub(super) fn message<M>(format: Format, body: Bytes, kind: &str) -> Result<M, ApiError>
where
    M: Message + Default + serde::de::DeserializeOwned,
{
    let Sent { body, encoding } = document(format, body, ("", kind), Validation::Ignore)?.sent;
    crate::pipeline::decode_message(kind, body, encoding)
}

#[cfg(test)]
mod tests {
    use trireme_proto::api::meta::v1::DeleteOptions;

    use super::*;

    #[tokio::test]
    async fn a_body_has_a_limit() {
        let most = vec![b' '; limits::REQUEST_MAX_BYTES];
        assert_eq!(
            read(&mut Body::from(most.clone())).await.expect("at the limit").len(),
            most.len()
        );
        let error = read(&mut Body::from([most, vec![b' ']].concat()))
            .await
            .expect_err("over it");
        assert_eq!(error.reason().http_code(), 413);
        assert_eq!(error.message(), "Request entity too large: limit is 3145728");
    }

    #[test]
    fn each_form_leads_to_the_same_message() {
        let options = DeleteOptions {
            grace_period_seconds: Some(5),
            ..DeleteOptions::default()
        };
        let wrapped = envelope::wrap("v1", "DeleteOptions", &options.encode_to_vec());
        for (format, body) in [
            (
                Format::Json,
                b"{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":5}".to_vec(),
            ),
            (Format::Yaml, b"gracePeriodSeconds: 5\n".to_vec()),
            (Format::Protobuf, wrapped),
        ] {
            let read: DeleteOptions = message(format, body.into(), "DeleteOptions").expect("read");
            assert_eq!(read, options, "{format:?}");
        }
        let other = envelope::wrap("v1", "Pod", b"");
        assert!(message::<DeleteOptions>(Format::Protobuf, other.into(), "DeleteOptions").is_err());
    }
}
