//! What clients asked and were told, with the times. Plain data, so that the checks are pure.

use super::model::{Answer, KeyRange, KeyValue, Op, Refusal};

/// Microseconds since the run began, on one monotonic clock for all clients.
pub type Micros = u64;

/// One request of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which client.
    pub client: usize,
    /// What it asked for.
    pub op: Op,
    /// When it was sent.
    pub invoked: Micros,
    /// When the answer was there. Means nothing for an unknown outcome, which stays possible for ever.
    pub returned: Micros,
    /// What came of it.
    pub outcome: Outcome,
}

impl Call {
    /// A revision that somebody else made: it may stand anywhere in the order.
    pub fn foreign(revision: i64) -> Self {
        Self {
            client: usize::MAX,
            op: Op::Foreign { revision },
            invoked: 0,
            returned: 0,
            outcome: Outcome::Unknown,
        }
    }
}

/// What a client knows of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out.
    Done {
        /// The revision in the answer's header.
        revision: i64,
        /// The answer.
        answer: Answer,
    },
    /// It was certainly not carried out.
    Refused(Refusal),
    /// It may be carried out, once, from then on at any time, or never.
    Unknown,
}

/// A read that need not be of the latest revision: of a past one, or of whatever a member has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRead {
    /// Which keys.
    pub range: KeyRange,
    /// The revision that was asked for; 0 for the member's own latest.
    pub asked: i64,
    /// The revision in the answer's header.
    pub header: i64,
    /// The keys.
    pub kvs: Vec<KeyValue>,
    /// When it was sent.
    pub invoked: Micros,
}

/// A lease's life as its holder knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerm {
    /// Its id.
    pub lease: i64,
    /// The seconds it was granted.
    pub ttl_seconds: u64,
    /// When the request for the last grant or keep-alive that was acknowledged was sent.
    pub kept_from: Micros,
}

/// Everything the clients of a run recorded, watches aside.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The requests.
    pub calls: Vec<Call>,
    /// Reads of the past.
    pub past_reads: Vec<PastRead>,
    /// The leases that were granted.
    pub leases: Vec<LeaseTerm>,
}

impl History {
    /// The requests, and the ends of leases as requests that nobody waits for: they may happen from the moment on when
    /// the holder must expect them, and never before.
    pub fn with_expiries(&self) -> Vec<Call> {
        let mut calls = self.calls.clone();
        calls.extend(self.leases.iter().map(|term| {
            let end = term.kept_from + term.ttl_seconds * 1_000_000;
            Call {
                client: usize::MAX,
                op: Op::Expire { lease: term.lease },
                invoked: end,
                returned: end,
                outcome: Outcome::Unknown,
            }
        }));
        calls.sort_by_key(|call| call.invoked);
        calls
    }
}
