//! What a failure of the store means to a client.

use std::time::Duration;

use trireme_store::kv::KvError;

use super::{ApiError, Cause};

/// When to come back for a revision that this server has not reached.
const FUTURE_RETRY: Duration = Duration::from_secs(1);

impl From<KvError> for ApiError {
    fn from(error: KvError) -> Self {
        match error {
            KvError::Compacted { requested, oldest } => Self::expired(format!(
                "The resourceVersion for the provided watch or list is too old: {requested} ({oldest})"
            )),
            KvError::FutureRevision { requested, current } => {
                let cause = Cause {
                    reason: "ResourceVersionTooLarge".to_owned(),
                    field: String::new(),
                    message: "Too large resource version".to_owned(),
                };
                Self::timeout(format!("Too large resource version: {requested}, current: {current}"))
                    .cause(cause)
                    .retry_after(FUTURE_RETRY)
            }
            KvError::Invalid(why) => Self::bad_request(why),
            KvError::LeaseNotFound { .. } | KvError::LeaseExists { .. } | KvError::KeyNotFound => {
                Self::bad_request(error.to_string())
            }
            KvError::NoSpace | KvError::Corrupt => Self::unavailable(error.to_string()),
            // Only writes of the leader's loops carry a fence: to them it says "stop", to a client it is a retry.
            KvError::Deposed { .. } => Self::unavailable(error.to_string()),
            KvError::Unavailable(why) => Self::unavailable(format!("the cluster has no leader at present: {why}")),
            KvError::UnknownOutcome(why) => Self::unknown_outcome(format!(
                "the write was sent, but whether it was carried out is not known: {why}; read before you repeat it"
            )),
            KvError::Overloaded(refused) => Self::too_many_requests(refused.to_string(), refused.retry_after),
            KvError::Stopped(why) => Self::unavailable(format!("this server is stopping: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use trireme_store::lanes::{Full, Lane, Refused};

    use super::*;
    use crate::status::Reason;

    #[test]
    fn each_failure_of_the_store_has_its_reason() {
        for (error, reason, retryable) in [
            (
                KvError::Compacted {
                    requested: 1,
                    oldest: 2,
                },
                Reason::Expired,
                false,
            ),
            (
                KvError::FutureRevision {
                    requested: 9,
                    current: 2,
                },
                Reason::Timeout,
                true,
            ),
            (KvError::Invalid("x".into()), Reason::BadRequest, false),
            (
                KvError::Deposed { decided: 1, current: 2 },
                Reason::ServiceUnavailable,
                true,
            ),
            (KvError::Unavailable("x".into()), Reason::ServiceUnavailable, true),
            (KvError::UnknownOutcome("x".into()), Reason::UnknownOutcome, false),
            (
                KvError::Overloaded(Refused {
                    lane: Lane::Bulk,
                    full: Full::Queue,
                    waiting: 3,
                    retry_after: Duration::from_millis(5),
                }),
                Reason::TooManyRequests,
                true,
            ),
            (KvError::Stopped("x".into()), Reason::ServiceUnavailable, true),
        ] {
            let mapped = ApiError::from(error.clone());
            assert_eq!((mapped.reason(), mapped.is_retryable()), (reason, retryable), "{error}");
        }
    }
}
