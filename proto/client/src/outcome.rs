//! Whether a failed attempt may be repeated. Pure: a gRPC status in, a verdict out.
//!
//! The rule behind it: a write is repeated only when it was certainly not carried out, or when its
//! precondition makes the repetition harmless; anything else is reported as unknown.

use std::error::Error;
use std::time::Duration;

use tonic::Code;

use crate::dial::NotSent;
use crate::error::ApiError;

/// What a failed attempt means.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The server decided; another attempt would be answered the same.
    Refused(Box<ApiError>),
    /// Nothing was changed, and a later attempt may succeed.
    NotCarriedOut {
        message: String,
        retry_after: Option<Duration>,
        /// Whether another server should be asked.
        move_on: bool,
    },
    /// The request may have been carried out, or may yet be.
    Unknown { message: String },
}

/// How far a call may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing: repeat it after every failure that may pass.
    Read,
    /// It changes something only if a precondition holds, so that it cannot be carried out twice.
    Preconditioned,
    /// It changes something: repeat it only if it was not carried out.
    Write,
}

/// Judges a failed attempt.
pub(crate) fn judge(status: &tonic::Status) -> Verdict {
    if was_not_sent(status) {
        let message = status.message().to_owned();
        return Verdict::NotCarriedOut {
            message,
            retry_after: None,
            move_on: true,
        };
    }
    let error = ApiError::from_status(status);
    if !error.from_server {
        return Verdict::Unknown { message: error.message };
    }
    match error.code {
        Code::Unavailable => Verdict::NotCarriedOut {
            message: error.message,
            retry_after: error.retry_after,
            move_on: true,
        },
        Code::ResourceExhausted if error.retry_after.is_some() => Verdict::NotCarriedOut {
            message: error.message,
            retry_after: error.retry_after,
            move_on: false,
        },
        Code::DeadlineExceeded | Code::Unknown | Code::Cancelled => Verdict::Unknown { message: error.message },
        _ => Verdict::Refused(Box::new(error)),
    }
}

/// Whether the refusal of a repeated write may be the echo of its own earlier attempt.
pub(crate) fn may_be_own_echo(error: &ApiError) -> bool {
    error.is_conflict() || error.is_already_exists() || error.is_not_found()
}

fn was_not_sent(status: &tonic::Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        // hyper cancels what still waits in its queue when a connection ends.
        let cancelled = error
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_canceled);
        if cancelled || error.is::<NotSent>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Refused(_) => "refused",
            Verdict::NotCarriedOut { .. } => "not carried out",
            Verdict::Unknown { .. } => "unknown",
        }
    }

    #[test]
    fn an_error_of_the_transport_is_unknown_unless_it_says_otherwise() {
        let broken = tonic::Status::from_error(Box::new(std::io::Error::other("reset")));
        assert_eq!(name(&judge(&broken)), "unknown");
        let never_sent = tonic::Status::from_error(Box::new(NotSent));
        assert_eq!(name(&judge(&never_sent)), "not carried out");
    }

    #[test]
    fn unavailable_without_details_is_not_the_servers_word() {
        assert_eq!(name(&judge(&tonic::Status::unavailable("gone"))), "unknown");
    }

    #[test]
    fn answers_of_a_server() {
        for (code, expected) in [
            (Code::NotFound, "refused"),
            (Code::Aborted, "refused"),
            (Code::PermissionDenied, "refused"),
            (Code::DeadlineExceeded, "unknown"),
            (Code::Unknown, "unknown"),
            (Code::ResourceExhausted, "refused"),
        ] {
            assert_eq!(name(&judge(&tonic::Status::new(code, "said"))), expected, "{code:?}");
        }
    }

    #[test]
    fn overload_with_a_hint_is_repeated_and_without_one_is_not() {
        let with = |name: &'static str, value: &str| {
            let mut status = tonic::Status::resource_exhausted("full");
            status.metadata_mut().insert(name, value.parse().expect("metadata"));
            judge(&status)
        };
        let Verdict::NotCarriedOut {
            retry_after, move_on, ..
        } = with("grpc-retry-pushback-ms", "250")
        else {
            panic!("nothing was done");
        };
        assert_eq!((retry_after, move_on), (Some(Duration::from_millis(250)), false));
        // Negative: never again.
        assert_eq!(name(&with("grpc-retry-pushback-ms", "-1")), "refused");
        assert_eq!(name(&with("other", "250")), "refused");
    }
}
