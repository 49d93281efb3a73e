//! The one place where failures become gRPC statuses.
//!
//! The details carry the same status object that the REST interface answers with, in a `google.rpc.Status`.

use bytes::Bytes;
use prost::Message;
use tonic::{Code, metadata::MetadataMap};

use super::{ApiError, Reason};

/// The metadata by which gRPC tells a client when to try again, in milliseconds. The details have whole seconds.
const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The type of the detail that carries a `kubernetes.meta.v1.Status`.
const STATUS_TYPE_URL: &str = "type.googleapis.com/kubernetes.meta.v1.Status";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl Reason {
    /// The gRPC code. Clients go by it to tell refusals from "not carried out" (`Unavailable`, `ResourceExhausted`
    /// with a delay) and "not known" (`DeadlineExceeded`, `Unknown`).
    #[must_use]
    pub fn grpc_code(self) -> Code {
        match self {
            Self::BadRequest
            | Self::Invalid
            | Self::NotAcceptable
            | Self::RequestEntityTooLarge
            | Self::UnsupportedMediaType => Code::InvalidArgument,
            Self::Unauthorized => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
            Self::NotFound => Code::NotFound,
            Self::AlreadyExists => Code::AlreadyExists,
            Self::Conflict => Code::Aborted,
            Self::Expired => Code::OutOfRange,
            Self::MethodNotAllowed | Self::NotImplemented => Code::Unimplemented,
            Self::TooManyRequests => Code::ResourceExhausted,
            // A timeout here means that nothing was changed, which gRPC can only say as "unavailable".
            Self::Timeout | Self::RequestTimeout | Self::ServiceUnavailable => Code::Unavailable,
            Self::UnknownOutcome => Code::Unknown,
            Self::InternalError => Code::Internal,
        }
    }
}

impl From<ApiError> for tonic::Status {
    fn from(error: ApiError) -> Self {
        if error.reason() == Reason::InternalError {
            tracing::error!(error = ?error, "a request failed inside the server");
        }
        let code = error.reason().grpc_code();
        let status = RpcStatus {
            code: code as i32,
            message: error.message().to_owned(),
            details: vec![Any {
                type_url: STATUS_TYPE_URL.to_owned(),
                value: error.to_status().encode_to_vec(),
            }],
        };
        let mut metadata = MetadataMap::new();
        if let Some(delay) = error.retry_delay()
            && let Ok(pause) = delay.as_millis().to_string().parse()
        {
            metadata.insert(RETRY_PUSHBACK, pause);
        }
        let details = Bytes::from(status.encode_to_vec());
        Self::with_details_and_metadata(code, error.message(), details, metadata)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn clients_read_back_what_was_said() {
        let error = ApiError::too_many_requests("later", Duration::from_millis(1_200));
        let read = trireme_client::ApiError::from_status(&error.into());
        assert_eq!(read.code, Code::ResourceExhausted);
        assert_eq!(read.reason, "TooManyRequests");
        assert_eq!(read.http_code, 429);
        assert_eq!(read.message, "later");
        assert_eq!(read.retry_after, Some(Duration::from_millis(1_200)));
        assert!(read.from_server);
    }
}
