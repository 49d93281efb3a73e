//! Why a request was not carried out, in one type for every transport.
//!
//! Reasons and sentences are those of Kubernetes, since clients show and some parse them. What a client may
//! see is the message; the private context behind it is for the log.

mod grpc;
mod store;

use std::{fmt, time::Duration};

use trireme_logic::{admission::group_resource, field_error::FieldError, kind::KindInfo};
use trireme_proto::api::meta::v1::{Status, StatusCause, StatusDetails};

/// The API group of options.
const META_GROUP: &str = "meta.k8s.io";

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The request makes no sense.
    BadRequest,
    /// Who is asking is not known.
    Unauthorized,
    /// Who is asking may not do this.
    Forbidden,
    /// There is no such object or resource.
    NotFound,
    /// There is one of this name already.
    AlreadyExists,
    /// The object is not in the state that the request assumes.
    Conflict,
    /// Fields break rules; see the causes.
    Invalid,
    /// The revision asked for is no longer kept.
    Expired,
    /// The resource does not have this verb.
    MethodNotAllowed,
    /// None of the forms that the client takes can be made.
    NotAcceptable,
    /// The object or request is too large.
    RequestEntityTooLarge,
    /// The body is of a form that is not read.
    UnsupportedMediaType,
    /// Too much at once; come back later.
    TooManyRequests,
    /// It took too long. Nothing was changed.
    Timeout,
    /// The client took too long to send its request. Nothing was changed.
    RequestTimeout,
    /// The cluster cannot do it at present. Nothing was changed.
    ServiceUnavailable,
    /// The write was sent but its outcome is not known.
    UnknownOutcome,
    /// A fault of the server.
    InternalError,
    /// This server does not do it yet.
    NotImplemented,
}

/// One field or thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable reason, such as `FieldValueInvalid`.
    pub reason: String,
    /// The field's path; may be empty.
    pub field: String,
    /// The sentence.
    pub message: String,
}

/// Why a request was not carried out.
#[derive(Clone)]
pub struct ApiError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    reason: Reason,
    message: String,
    group: &'static str,
    kind: String,
    name: String,
    uid: String,
    causes: Vec<Cause>,
    retry_after: Option<Duration>,
    context: Option<String>,
}

impl Reason {
    /// As it stands in a status object. An unknown outcome is a timeout to Kubernetes' clients.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Invalid => "Invalid",
            Self::Expired => "Expired",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::NotImplemented => "NotImplemented",
            Self::TooManyRequests => "TooManyRequests",
            Self::Timeout | Self::RequestTimeout | Self::UnknownOutcome => "Timeout",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::InternalError => "InternalError",
        }
    }

    /// The HTTP status code.
    #[must_use]
    pub fn http_code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::RequestTimeout => 408,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError => 500,
            Self::NotImplemented => 501,
            Self::ServiceUnavailable => 503,
            Self::Timeout | Self::UnknownOutcome => 504,
        }
    }
}

/// All errors in one line.
fn in_words(errors: &[FieldError]) -> String {
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match all.as_slice() {
        [one] => one.clone(),
        _ => format!("[{}]", all.join(", ")),
    }
}

fn causes_of(errors: &[FieldError]) -> Vec<Cause> {
    let cause = |error: &FieldError| Cause {
        reason: error.reason.cause().to_owned(),
        field: error.field.clone(),
        message: error.message.clone(),
    };
    errors.iter().map(cause).collect()
}

impl ApiError {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            reason,
            message: message.into(),
            group: "",
            kind: String::new(),
            name: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after: None,
            context: None,
        }))
    }

    fn about(mut self, info: &KindInfo, kind: &str, name: &str) -> Self {
        self.0.group = info.group;
        kind.clone_into(&mut self.0.kind);
        name.clone_into(&mut self.0.name);
        self
    }

    /// The request makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// Who is asking is not known.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(Reason::Unauthorized, message)
    }

    /// Who is asking may not do this.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Reason::Forbidden, message)
    }

    /// `pods "x" is forbidden: why`
    #[must_use]
    pub fn forbidden_object(info: &KindInfo, name: &str, why: impl fmt::Display) -> Self {
        Self::new(
            Reason::Forbidden,
            format!("{} \"{name}\" is forbidden: {why}", group_resource(info)),
        )
        .about(info, info.plural, name)
    }

    /// `pods "x" not found`
    #[must_use]
    pub fn not_found(info: &KindInfo, name: &str) -> Self {
        Self::new(
            Reason::NotFound,
            format!("{} \"{name}\" not found", group_resource(info)),
        )
        .about(info, info.plural, name)
    }

    /// Something other than an object was not found.
    #[must_use]
    pub fn not_found_other(message: impl Into<String>) -> Self {
        Self::new(Reason::NotFound, message)
    }

    /// `pods "x" already exists`
    #[must_use]
    pub fn already_exists(info: &KindInfo, name: &str) -> Self {
        Self::new(
            Reason::AlreadyExists,
            format!("{} \"{name}\" already exists", group_resource(info)),
        )
        .about(info, info.plural, name)
    }

    /// Something other than an object exists already.
    #[must_use]
    pub fn already_exists_other(message: impl Into<String>) -> Self {
        Self::new(Reason::AlreadyExists, message)
    }

    /// `Operation cannot be fulfilled on pods "x": why`
    #[must_use]
    pub fn conflict(info: &KindInfo, name: &str, why: impl fmt::Display) -> Self {
        Self::new(
            Reason::Conflict,
            format!(
                "Operation cannot be fulfilled on {} \"{name}\": {why}",
                group_resource(info)
            ),
        )
        .about(info, info.plural, name)
    }

    /// The object is not the one that the request was made for.
    #[must_use]
    pub fn modified(info: &KindInfo, name: &str) -> Self {
        const WHY: &str = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(info, name, WHY)
    }

    /// Something other than an object is not in the state that the request assumes.
    #[must_use]
    pub fn conflict_other(message: impl Into<String>) -> Self {
        Self::new(Reason::Conflict, message)
    }

    /// `Pod "x" is invalid: [first, second]`
    #[must_use]
    pub fn invalid(info: &KindInfo, name: &str, errors: &[FieldError]) -> Self {
        let kind = if info.group.is_empty() {
            info.kind.to_owned()
        } else {
            format!("{}.{}", info.kind, info.group)
        };
        let list = in_words(errors);
        let mut error =
            Self::new(Reason::Invalid, format!("{kind} \"{name}\" is invalid: {list}")).about(info, info.kind, name);
        error.0.causes = causes_of(errors);
        error
    }

    /// The options of a request break rules. `kind` is theirs, such as `ListOptions`.
    #[must_use]
    pub fn invalid_options(kind: &str, errors: &[FieldError]) -> Self {
        let mut error = Self::new(
            Reason::Invalid,
            format!("{kind}.{META_GROUP} \"\" is invalid: {}", in_words(errors)),
        );
        error.0.group = META_GROUP;
        kind.clone_into(&mut error.0.kind);
        error.0.causes = causes_of(errors);
        error
    }

    /// None of the forms that a client takes can be made; `made` are those that can.
    #[must_use]
    pub fn not_acceptable(made: &[&str]) -> Self {
        let list = made.join(", ");
        Self::new(
            Reason::NotAcceptable,
            format!("only the following media types are accepted: {list}"),
        )
    }

    /// The body is of a form that is not read; `read` are those that are.
    #[must_use]
    pub fn unsupported_media_type(read: &[&str]) -> Self {
        let list = read.join(", ");
        Self::new(
            Reason::UnsupportedMediaType,
            format!("the body of the request was in an unknown format - accepted media types include: {list}"),
        )
    }

    /// This server does not do it yet.
    #[must_use]
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(Reason::NotImplemented, message)
    }

    /// The revision asked for is no longer kept.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    /// The resource does not have this verb.
    #[must_use]
    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(Reason::MethodNotAllowed, message)
    }

    /// The object or request is too large.
    #[must_use]
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(Reason::RequestEntityTooLarge, message)
    }

    /// Too much at once.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(Reason::TooManyRequests, message).retry_after(retry_after)
    }

    /// It took too long; nothing was changed.
    #[must_use]
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(Reason::Timeout, message)
    }

    /// The client took too long to send its request; nothing was changed.
    #[must_use]
    pub fn request_timeout(message: impl Into<String>) -> Self {
        Self::new(Reason::RequestTimeout, message)
    }

    /// The cluster cannot do it at present; nothing was changed.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Reason::ServiceUnavailable, message)
    }

    /// The write was sent but its outcome is not known.
    #[must_use]
    pub fn unknown_outcome(message: impl Into<String>) -> Self {
        Self::new(Reason::UnknownOutcome, message)
    }

    /// A fault of the server. The message is public: say what was being done, and put why into the context.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(
            Reason::InternalError,
            format!("Internal error occurred: {}", message.into()),
        )
    }

    /// Adds what only the log may say.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.context = Some(context.to_string());
        self
    }

    /// Says when to come back.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Says which object it is about.
    #[must_use]
    pub fn regarding(self, info: &KindInfo, name: &str) -> Self {
        self.about(info, info.plural, name)
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, cause: Cause) -> Self {
        self.0.causes.push(cause);
        self
    }

    /// The kind of the failure.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The sentence for the client.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The fields at fault.
    #[must_use]
    pub fn causes(&self) -> &[Cause] {
        &self.0.causes
    }

    /// When to come back, if that may help.
    #[must_use]
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same request may succeed later and certainly was not carried out.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.reason(),
            Reason::TooManyRequests | Reason::ServiceUnavailable | Reason::Timeout | Reason::RequestTimeout
        )
    }

    /// What the log should say beyond the message.
    #[must_use]
    pub fn private_context(&self) -> Option<&str> {
        self.0.context.as_deref()
    }

    /// The status object that clients of every transport get.
    #[must_use]
    pub fn to_status(&self) -> Status {
        let inner = &*self.0;
        // The field has whole seconds: round up, so that nobody comes back too early.
        let whole_seconds = |after: Duration| i32::try_from(after.as_millis().div_ceil(1_000)).unwrap_or(i32::MAX);
        let cause = |cause: &Cause| StatusCause {
            reason: cause.reason.clone(),
            message: cause.message.clone(),
            field: cause.field.clone(),
        };
        let details = StatusDetails {
            name: inner.name.clone(),
            group: inner.group.to_owned(),
            kind: inner.kind.clone(),
            uid: inner.uid.clone(),
            retry_after_seconds: inner.retry_after.map_or(0, whole_seconds),
            causes: inner.causes.iter().map(cause).collect(),
        };
        Status {
            metadata: None,
            status: "Failure".to_owned(),
            message: inner.message.clone(),
            reason: inner.reason.as_str().to_owned(),
            details: Some(details),
            code: i32::from(inner.reason.http_code()),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.message)
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.0.reason, self.0.message)?;
        match &self.0.context {
            Some(context) => write!(formatter, " ({context})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ApiError {}
