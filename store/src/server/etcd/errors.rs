//! etcd's errors: the codes and the very words that its clients compare.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::kv::KvError;

/// The metadata by which a server tells a gRPC client when to try again, in milliseconds.
const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The metadata by which a server says what is overloaded: the message has to be etcd's.
const OVERLOAD: &str = "trireme-overload";

/// An error that etcd has words for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EtcdError {
    code: Code,
    text: &'static str,
}

macro_rules! errors {
    ($($name:ident: $code:ident $text:literal)*) => {
        $(pub(super) const $name: EtcdError = EtcdError { code: Code::$code, text: concat!("etcdserver: ", $text) };)*
    };
}

errors! {
    EMPTY_KEY: InvalidArgument "key is not provided"
    KEY_NOT_FOUND: InvalidArgument "key not found"
    VALUE_PROVIDED: InvalidArgument "value is provided"
    LEASE_PROVIDED: InvalidArgument "lease is provided"
    TOO_MANY_OPS: InvalidArgument "too many operations in txn request"
    DUPLICATE_KEY: InvalidArgument "duplicate key given in txn request"
    INVALID_SORT_OPTION: InvalidArgument "invalid sort option"
    REQUEST_TOO_LARGE: InvalidArgument "request is too large"
    COMPACTED: OutOfRange "mvcc: required revision has been compacted"
    FUTURE_REVISION: OutOfRange "mvcc: required revision is a future revision"
    NO_SPACE: ResourceExhausted "mvcc: database space exceeded"
    TOO_MANY_REQUESTS: ResourceExhausted "too many requests"
    LEASE_NOT_FOUND: NotFound "requested lease not found"
    LEASE_EXISTS: FailedPrecondition "lease already exists"
    LEASE_TTL_TOO_LARGE: OutOfRange "too large lease TTL"
    NO_LEADER: Unavailable "no leader"
    LEADER_CHANGED: Unavailable "leader changed"
    NOT_LEADER: FailedPrecondition "not leader"
    BAD_TRANSFEREE: FailedPrecondition "bad leader transferee"
    TIMEOUT: Unavailable "request timed out"
    STOPPED: Unavailable "server stopped"
    CORRUPT: DataLoss "corrupt cluster"
    MEMBER_NOT_FOUND: NotFound "member not found"
    MEMBER_BAD_URLS: InvalidArgument "given member URLs are invalid"
    PEER_URL_EXISTS: FailedPrecondition "Peer URLs already exists"
    MEMBER_NOT_LEARNER: FailedPrecondition "can only promote a learner member"
    LEARNER_NOT_READY: FailedPrecondition "can only promote a learner member which is in sync with leader"
    UNHEALTHY: Unavailable "unhealthy cluster"
}

impl EtcdError {
    /// Its words.
    pub(super) fn text(self) -> &'static str {
        self.text
    }
}

impl From<EtcdError> for Status {
    fn from(error: EtcdError) -> Self {
        Self::new(error.code, error.text)
    }
}

/// An error of the store, in etcd's words.
pub(super) fn status(error: KvError) -> Status {
    let known = match error {
        KvError::Compacted { .. } => COMPACTED,
        KvError::FutureRevision { .. } => FUTURE_REVISION,
        KvError::LeaseNotFound { .. } => LEASE_NOT_FOUND,
        KvError::LeaseExists { .. } => LEASE_EXISTS,
        KvError::KeyNotFound => KEY_NOT_FOUND,
        KvError::NoSpace => NO_SPACE,
        KvError::Corrupt => CORRUPT,
        KvError::Deposed { .. } => LEADER_CHANGED,
        KvError::Unavailable(_) => NO_LEADER,
        KvError::UnknownOutcome(_) => TIMEOUT,
        KvError::Stopped(_) => STOPPED,
        KvError::Invalid(why) => return Status::invalid_argument(format!("etcdserver: {why}")),
        KvError::Overloaded(refused) => {
            let mut status = Status::from(TOO_MANY_REQUESTS);
            if let Ok(why) = MetadataValue::try_from(refused.to_string()) {
                status.metadata_mut().insert(OVERLOAD, why);
            }
            if let Ok(pause) = MetadataValue::try_from(refused.retry_after.as_millis().to_string()) {
                status.metadata_mut().insert(RETRY_PUSHBACK, pause);
            }
            return status;
        }
    };
    known.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lanes::{Full, Lane, Refused};

    #[test]
    fn errors_have_the_words_that_clients_compare() {
        let check = |error: KvError, code: Code, text: &str| {
            let status = status(error);
            assert_eq!((status.code(), status.message()), (code, text));
        };
        check(
            KvError::Compacted {
                requested: 1,
                oldest: 2,
            },
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
        );
        check(
            KvError::NoSpace,
            Code::ResourceExhausted,
            "etcdserver: mvcc: database space exceeded",
        );
        check(
            KvError::UnknownOutcome("slow".into()),
            Code::Unavailable,
            "etcdserver: request timed out",
        );
        check(
            KvError::Invalid("so not".into()),
            Code::InvalidArgument,
            "etcdserver: so not",
        );
    }

    #[test]
    fn overload_says_when_to_come_back() {
        let status = status(KvError::Overloaded(Refused {
            lane: Lane::Bulk,
            full: Full::Queue,
            waiting: 7,
            retry_after: Duration::from_millis(100),
        }));
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "etcdserver: too many requests");
        let told = |name| {
            status
                .metadata()
                .get(name)
                .expect("metadata")
                .to_str()
                .expect("text")
                .to_owned()
        };
        assert_eq!(told(RETRY_PUSHBACK), "100");
        assert!(told(OVERLOAD).contains("the lane bulk is full"), "{}", told(OVERLOAD));
    }
}
