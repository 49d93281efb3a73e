//! What a call can come to, if not to its answer.

use std::time::Duration;

use prost::Message;
use tonic::Code;
use trireme_proto::api::meta::v1::Status as ApiStatus;

use crate::connection::ConnectError;

/// The type of the detail that carries a `kubernetes.meta.v1.Status`.
pub const STATUS_TYPE_URL: &str = "type.googleapis.com/kubernetes.meta.v1.Status";

/// The metadata by which gRPC tells a client when to try again, in milliseconds; negative for never.
const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// `google.rpc.Status`, which gRPC carries in its status details.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// One reason why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The machine-readable reason, such as `FieldValueInvalid`.
    pub reason: String,
    /// The field's path, such as `spec.replicas`; may be empty.
    pub field: String,
    /// The sentence.
    pub message: String,
}

/// A server's refusal.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The gRPC code.
    pub code: Code,
    /// Kubernetes' reason, such as `NotFound`, `AlreadyExists`, `Conflict`, `Invalid`, `Forbidden`, `Expired`.
    pub reason: String,
    /// The sentence for the user.
    pub message: String,
    /// Kubernetes' HTTP code for it; 0 if the server sent none.
    pub http_code: i32,
    /// The fields that are wrong.
    pub causes: Vec<Cause>,
    /// When to come back, if the server said so.
    pub retry_after: Option<Duration>,
    /// Whether the server itself made this answer; false for errors of the transport.
    pub from_server: bool,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    /// Reads the details of a gRPC status; without any, derives the reason from the code.
    #[must_use]
    pub fn from_status(status: &tonic::Status) -> Self {
        match decode_details(status.details()) {
            Some(api) => Self::from_api(status, api),
            None => Self {
                code: status.code(),
                reason: reason_of(status).to_owned(),
                message: transport_message(status),
                http_code: 0,
                causes: Vec::new(),
                retry_after: pushback(status),
                // tonic keeps the error that a status was made from; an answer of a server has none. A server of ours
                // gives details when it says "unavailable"; without them it is a proxy's or the transport's word.
                from_server: std::error::Error::source(status).is_none() && status.code() != Code::Unavailable,
            },
        }
    }

    fn from_api(status: &tonic::Status, api: ApiStatus) -> Self {
        let details = api.details.unwrap_or_default();
        let causes = details.causes.into_iter().map(|cause| Cause {
            reason: text(cause.reason),
            field: text(cause.field),
            message: text(cause.message),
        });
        let message = text(api.message);
        let retry_after = u64::try_from(number(details.retry_after_seconds))
            .ok()
            .filter(|s| *s > 0);
        Self {
            code: status.code(),
            reason: text(api.reason),
            message: if message.is_empty() {
                status.message().to_owned()
            } else {
                message
            },
            http_code: number(api.code),
            causes: causes.collect(),
            // The details have whole seconds only.
            retry_after: pushback(status).or(retry_after.map(Duration::from_secs)),
            from_server: true,
        }
    }

    /// Whether the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.reason == "NotFound"
    }

    /// Whether an object of that name exists already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    /// Whether the object changed since it was read.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict"
    }

    /// Whether a watch or a page asked for a revision that is no longer kept.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.reason.as_str(), "Expired" | "Gone") || self.code == Code::OutOfRange
    }
}

/// When to try again, as gRPC's own metadata say it.
fn pushback(status: &tonic::Status) -> Option<Duration> {
    let told = status.metadata().get(RETRY_PUSHBACK)?.to_str().ok()?;
    told.parse().ok().map(Duration::from_millis)
}

/// Prost gives proto2-style optional scalars as `Option` and proto3 ones plain; both read the same here.
fn text(value: impl Into<Option<String>>) -> String {
    value.into().unwrap_or_default()
}

/// See [`text`].
fn number(value: impl Into<Option<i32>>) -> i32 {
    value.into().unwrap_or_default()
}

fn decode_details(details: &[u8]) -> Option<ApiStatus> {
    if details.is_empty() {
        return None;
    }
    let rpc = RpcStatus::decode(details).ok()?;
    let any = rpc.details.into_iter().find(|any| any.type_url == STATUS_TYPE_URL)?;
    ApiStatus::decode(any.value.as_slice()).ok()
}

fn transport_message(status: &tonic::Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("the connection failed: {}", crate::dial::chain(source)),
        None => status.message().to_owned(),
    }
}

fn reason_of(status: &tonic::Status) -> &'static str {
    // What tonic says, on either side, of a message over its limit.
    if status.message().contains("message length too large") {
        return "RequestEntityTooLarge";
    }
    match status.code() {
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::Aborted => "Conflict",
        Code::InvalidArgument => "Invalid",
        Code::FailedPrecondition => "Conflict",
        Code::Unauthenticated => "Unauthorized",
        Code::PermissionDenied => "Forbidden",
        Code::OutOfRange => "Expired",
        Code::ResourceExhausted => "TooManyRequests",
        Code::DeadlineExceeded => "Timeout",
        Code::Unavailable => "ServiceUnavailable",
        Code::Unimplemented => "MethodNotAllowed",
        Code::Ok | Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => "InternalError",
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A server refused the request; nothing was changed.
    #[error(transparent)]
    Api(Box<ApiError>),
    /// No server could be reached; nothing was sent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Servers were reached, but none could carry the request out; nothing was changed.
    #[error("the cluster cannot answer at present: {message}")]
    Unavailable {
        /// What the last server said.
        message: String,
    },
    /// The request was sent, and whether it was or will be carried out is not known. Look before you repeat it.
    #[error("the outcome is unknown: {message}")]
    UnknownOutcome {
        /// What happened to the call.
        message: String,
    },
    /// The server's answer cannot be understood.
    #[error("cannot decode the server's answer: {0}")]
    Decode(String),
}

impl ClientError {
    /// The server's refusal, if it is one.
    #[must_use]
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            _ => None,
        }
    }

    /// See [`ApiError::is_not_found`].
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.api().is_some_and(ApiError::is_not_found)
    }

    /// See [`ApiError::is_already_exists`].
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.api().is_some_and(ApiError::is_already_exists)
    }

    /// See [`ApiError::is_conflict`].
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.api().is_some_and(ApiError::is_conflict)
    }

    /// See [`ApiError::is_gone`].
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.api().is_some_and(ApiError::is_gone)
    }
}
