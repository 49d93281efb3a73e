//! What the state machine answers to an entry, and its encoding for the way back to the proposer.
//!
//! The encoding serves one exchange between servers; it is never stored.

use bytes::Bytes;

use crate::codec::{DecodeError, Reader, Writer, read_list, write_list};
use crate::limits::TXN_DEPTH_MAX;
use crate::types::{KeyValue, OpResponse, RangeResponse, Revision, TxnResponse};

const FORMAT: u8 = 1;

/// Why an entry changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was decided under another term than it was applied under.
    #[error("leadership of term {decided} has ended; the term is now {current}")]
    Deposed {
        /// The term of the decision.
        decided: u64,
        /// The term of the entry.
        current: u64,
    },
    /// It breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// It names a revision that is compacted away.
    #[error("revision {requested} has been compacted; the oldest available is {oldest}")]
    Compacted {
        /// What it named.
        requested: Revision,
        /// The oldest there is.
        oldest: Revision,
    },
    /// It names a revision that is not there yet.
    #[error("revision {requested} is in the future; the store is at {current}")]
    FutureRevision {
        /// What it named.
        requested: Revision,
        /// The present one.
        current: Revision,
    },
    /// It names a lease that does not exist, or no longer.
    #[error("lease {id} does not exist")]
    LeaseNotFound {
        /// The lease.
        id: i64,
    },
    /// It grants a lease that exists already.
    #[error("lease {id} exists already")]
    LeaseExists {
        /// The lease.
        id: i64,
    },
    /// It keeps the value or the lease of a key that does not exist.
    #[error("the key does not exist")]
    KeyNotFound,
    /// A server's disk is nearly full: see [`crate::alarm`].
    #[error("a server's disk is nearly full; only what makes room is accepted")]
    NoSpace,
    /// No majority agrees on the data: see [`crate::alarm`].
    #[error("the servers' data differ, and no majority agrees; nothing is written any more")]
    Corrupt,
}

/// What came of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It held no command.
    Blank,
    /// The transaction was carried out.
    Txn(TxnResponse),
    /// The compaction watermark was moved.
    Compacted,
    /// The lease was made.
    LeaseGranted {
        /// Its id.
        id: i64,
        /// Its time to live, in seconds.
        ttl_s: i64,
        /// The store's revision, which it does not change.
        revision: Revision,
    },
    /// The lease and its keys are gone.
    LeaseRevoked {
        /// The store's revision afterwards: that of the deletions, if there were any.
        revision: Revision,
    },
    /// What is left of leases was noted.
    LeaseCheckpointed,
    /// An alarm was raised or cleared; false if it had been so already.
    Alarm(bool),
    /// Nothing was changed.
    Refused(Refusal),
}

impl Outcome {
    /// Encodes it.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.byte(FORMAT);
        match self {
            Self::Blank => writer.byte(0),
            Self::Txn(response) => {
                writer.byte(1);
                write_txn(&mut writer, response);
            }
            Self::Compacted => writer.byte(2),
            Self::Alarm(changed) => {
                writer.byte(20);
                writer.flag(*changed);
            }
            Self::Refused(refusal) => {
                writer.byte(3);
                write_refusal(&mut writer, refusal);
            }
            Self::LeaseGranted { id, ttl_s, revision } => {
                writer.byte(4);
                writer.signed(*id);
                writer.signed(*ttl_s);
                writer.signed(*revision);
            }
            Self::LeaseRevoked { revision } => {
                writer.byte(5);
                writer.signed(*revision);
            }
            Self::LeaseCheckpointed => writer.byte(6),
        }
        writer.out.into()
    }

    /// Decodes one. Keys and values share `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] if `bytes` is not exactly one encoded outcome of a known format.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.byte()? {
            FORMAT => {}
            tag => {
                return Err(DecodeError::UnknownTag {
                    what: "outcome format",
                    tag,
                });
            }
        }
        let outcome = match reader.byte()? {
            0 => Self::Blank,
            1 => Self::Txn(read_txn(&mut reader, TXN_DEPTH_MAX)?),
            2 => Self::Compacted,
            20 => Self::Alarm(reader.flag()?),
            3 => Self::Refused(read_refusal(&mut reader)?),
            4 => Self::LeaseGranted {
                id: reader.signed()?,
                ttl_s: reader.signed()?,
                revision: reader.signed()?,
            },
            5 => Self::LeaseRevoked {
                revision: reader.signed()?,
            },
            6 => Self::LeaseCheckpointed,
            tag => return Err(DecodeError::UnknownTag { what: "outcome", tag }),
        };
        reader.finish()?;
        Ok(outcome)
    }
}

fn write_refusal(writer: &mut Writer, refusal: &Refusal) {
    match refusal {
        Refusal::Deposed { decided, current } => {
            writer.byte(0);
            writer.number(*decided);
            writer.number(*current);
        }
        Refusal::Invalid(why) => {
            writer.byte(1);
            writer.slice(why.as_bytes());
        }
        Refusal::Compacted { requested, oldest } => {
            writer.byte(2);
            writer.signed(*requested);
            writer.signed(*oldest);
        }
        Refusal::FutureRevision { requested, current } => {
            writer.byte(3);
            writer.signed(*requested);
            writer.signed(*current);
        }
        Refusal::LeaseNotFound { id } => {
            writer.byte(4);
            writer.signed(*id);
        }
        Refusal::LeaseExists { id } => {
            writer.byte(5);
            writer.signed(*id);
        }
        Refusal::KeyNotFound => writer.byte(6),
        Refusal::NoSpace => writer.byte(20),
        Refusal::Corrupt => writer.byte(21),
    }
}

fn read_refusal(reader: &mut Reader) -> Result<Refusal, DecodeError> {
    Ok(match reader.byte()? {
        0 => Refusal::Deposed {
            decided: reader.number()?,
            current: reader.number()?,
        },
        1 => Refusal::Invalid(String::from_utf8_lossy(&reader.slice()?).into_owned()),
        2 => Refusal::Compacted {
            requested: reader.signed()?,
            oldest: reader.signed()?,
        },
        3 => Refusal::FutureRevision {
            requested: reader.signed()?,
            current: reader.signed()?,
        },
        4 => Refusal::LeaseNotFound { id: reader.signed()? },
        5 => Refusal::LeaseExists { id: reader.signed()? },
        6 => Refusal::KeyNotFound,
        20 => Refusal::NoSpace,
        21 => Refusal::Corrupt,
        tag => return Err(DecodeError::UnknownTag { what: "refusal", tag }),
    })
}

fn write_txn(writer: &mut Writer, response: &TxnResponse) {
    let TxnResponse {
        succeeded,
        responses,
        revision,
    } = response;
    writer.flag(*succeeded);
    writer.signed(*revision);
    write_list(writer, responses, write_op);
}

fn read_txn(reader: &mut Reader, depth: usize) -> Result<TxnResponse, DecodeError> {
    let deeper = depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
    Ok(TxnResponse {
        succeeded: reader.flag()?,
        revision: reader.signed()?,
        responses: read_list(reader, |reader| read_op(reader, deeper))?,
    })
}

fn write_op(writer: &mut Writer, response: &OpResponse) {
    match response {
        OpResponse::Put(previous) => {
            writer.byte(0);
            writer.flag(previous.is_some());
            if let Some(kv) = previous {
                write_kv(writer, kv);
            }
        }
        OpResponse::Delete { deleted, prev_kvs } => {
            writer.byte(1);
            writer.number(*deleted);
            write_list(writer, prev_kvs, write_kv);
        }
        OpResponse::Range(RangeResponse {
            kvs,
            more,
            count,
            revision,
        }) => {
            writer.byte(2);
            write_list(writer, kvs, write_kv);
            writer.flag(*more);
            writer.flag(count.is_some());
            writer.number(count.unwrap_or(0));
            writer.signed(*revision);
        }
        OpResponse::Txn(response) => {
            writer.byte(3);
            write_txn(writer, response);
        }
    }
}

fn read_op(reader: &mut Reader, depth: usize) -> Result<OpResponse, DecodeError> {
    Ok(match reader.byte()? {
        0 => OpResponse::Put(if reader.flag()? { Some(read_kv(reader)?) } else { None }),
        1 => OpResponse::Delete {
            deleted: reader.number()?,
            prev_kvs: read_list(reader, read_kv)?,
        },
        2 => {
            let kvs = read_list(reader, read_kv)?;
            let more = reader.flag()?;
            let counted = reader.flag()?;
            let count = reader.number()?;
            let revision = reader.signed()?;
            OpResponse::Range(RangeResponse {
                kvs,
                more,
                count: counted.then_some(count),
                revision,
            })
        }
        3 => OpResponse::Txn(read_txn(reader, depth)?),
        tag => {
            return Err(DecodeError::UnknownTag {
                what: "operation response",
                tag,
            });
        }
    })
}

fn write_kv(writer: &mut Writer, kv: &KeyValue) {
    let KeyValue {
        key,
        value,
        create_revision,
        mod_revision,
        version,
        lease,
    } = kv;
    writer.slice(key);
    writer.slice(value);
    writer.signed(*create_revision);
    writer.signed(*mod_revision);
    writer.signed(*version);
    writer.signed(*lease);
}

fn read_kv(reader: &mut Reader) -> Result<KeyValue, DecodeError> {
    Ok(KeyValue {
        key: reader.slice()?,
        value: reader.slice()?,
        create_revision: reader.signed()?,
        mod_revision: reader.signed()?,
        version: reader.signed()?,
        lease: reader.signed()?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcomes() -> Vec<Outcome> {
        let kv = KeyValue {
            key: "k".into(),
            value: "v".into(),
            create_revision: 2,
            mod_revision: 300,
            version: 4,
            lease: -5,
        };
        let range = |count: Option<u64>| {
            OpResponse::Range(RangeResponse {
                kvs: vec![kv.clone()],
                more: count.is_none(),
                count,
                revision: 9,
            })
        };
        let inner = TxnResponse {
            succeeded: false,
            responses: vec![range(Some(3)), range(None)],
            revision: 9,
        };
        let responses = vec![
            OpResponse::Put(None),
            OpResponse::Put(Some(kv.clone())),
            OpResponse::Delete {
                deleted: 2,
                prev_kvs: vec![kv.clone(), kv.clone()],
            },
            OpResponse::Txn(inner),
        ];
        vec![
            Outcome::Blank,
            Outcome::Txn(TxnResponse {
                succeeded: true,
                responses,
                revision: 9,
            }),
            Outcome::Compacted,
            Outcome::Alarm(true),
            Outcome::Refused(Refusal::NoSpace),
            Outcome::Refused(Refusal::Corrupt),
            Outcome::Refused(Refusal::Deposed {
                decided: 1,
                current: u64::MAX,
            }),
            Outcome::Refused(Refusal::Invalid("why".into())),
            Outcome::Refused(Refusal::Compacted {
                requested: -1,
                oldest: 7,
            }),
            Outcome::Refused(Refusal::FutureRevision {
                requested: 9,
                current: 7,
            }),
            Outcome::LeaseGranted {
                id: -4,
                ttl_s: 60,
                revision: 9,
            },
            Outcome::LeaseRevoked { revision: 9 },
            Outcome::LeaseCheckpointed,
            Outcome::Refused(Refusal::LeaseNotFound { id: 4 }),
            Outcome::Refused(Refusal::LeaseExists { id: i64::MIN }),
            Outcome::Refused(Refusal::KeyNotFound),
        ]
    }

    #[test]
    fn comes_back() {
        for outcome in outcomes() {
            assert_eq!(Outcome::decode(outcome.encode()).unwrap(), outcome);
        }
    }

    proptest! {
        #[test]
        fn damage_is_refused_or_read_never_fatal(which in 0usize..16, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = outcomes()[which].encode().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Outcome::decode(bytes.into());
        }
    }
}
