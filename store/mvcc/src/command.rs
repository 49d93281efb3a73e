//! What a Raft entry tells the state machine to do, and its encoding.
//!
//! A command is checked against the limits and encoded once, where it is proposed; those bytes are what the log
//! holds, the network carries and every server decodes. The first byte is the version of the format.

use bytes::Bytes;

use crate::check;
use crate::codec::{Reader, Writer, read_list, write_list};
use crate::limits::{COMMAND_BYTES_MAX, TXN_DEPTH_MAX};
use crate::types::{Compare, CompareResult, CompareTarget, KeyRange, Op, RangeRequest, Revision, Txn};

pub use crate::check::CommandError;
pub use crate::codec::DecodeError;

const FORMAT: u8 = 1;
const TAG_TXN: u8 = 1;
const TAG_COMPACT: u8 = 2;

/// A change of the state, or the attempt at one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Carries out a transaction.
    Txn {
        /// The transaction.
        txn: Txn,
        /// If given, the transaction is refused unless its entry is of this Raft term (invariant I5).
        fence_term: Option<u64>,
    },
    /// Forgets what is superseded at a revision.
    Compact {
        /// The revision; it stays readable itself.
        revision: Revision,
    },
}

impl Command {
    /// Checks the command against the rules and limits. To be called before it is proposed.
    ///
    /// # Errors
    /// [`CommandError`], which says what is wrong.
    pub fn check(&self) -> Result<(), CommandError> {
        match self {
            Self::Txn { txn, fence_term: _ } => {
                check::txn_limits(txn)?;
                check::txn_shape(txn)?;
            }
            Self::Compact { revision: _ } => {}
        }
        Ok(())
    }

    /// [`check`](Self::check), and the encoding, which must also keep its bound.
    ///
    /// # Errors
    /// [`CommandError`], which says what is wrong.
    pub fn check_and_encode(&self) -> Result<Bytes, CommandError> {
        self.check()?;
        let bytes = self.encode();
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(CommandError::CommandTooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// Encodes it.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.byte(FORMAT);
        match self {
            Self::Txn { txn, fence_term } => {
                writer.byte(TAG_TXN);
                writer.flag(fence_term.is_some());
                writer.number(fence_term.unwrap_or(0));
                write_txn(&mut writer, txn);
            }
            Self::Compact { revision } => {
                writer.byte(TAG_COMPACT);
                writer.signed(*revision);
            }
        }
        writer.out.into()
    }

    /// Decodes one. Keys and values share `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] if `bytes` is not exactly one encoded command of a known format.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(DecodeError::TooLarge(bytes.len()));
        }
        let mut reader = Reader::new(bytes);
        match reader.byte()? {
            FORMAT => {}
            tag => {
                return Err(DecodeError::UnknownTag {
                    what: "command format",
                    tag,
                });
            }
        }
        let command = match reader.byte()? {
            TAG_TXN => {
                let fenced = reader.flag()?;
                let term = reader.number()?;
                let txn = read_txn(&mut reader, TXN_DEPTH_MAX)?;
                Self::Txn {
                    txn,
                    fence_term: fenced.then_some(term),
                }
            }
            TAG_COMPACT => Self::Compact {
                revision: reader.signed()?,
            },
            tag => return Err(DecodeError::UnknownTag { what: "command", tag }),
        };
        reader.finish()?;
        Ok(command)
    }
}

fn write_txn(writer: &mut Writer, txn: &Txn) {
    let Txn {
        compares,
        success,
        failure,
    } = txn;
    write_list(writer, compares, write_compare);
    write_list(writer, success, write_op);
    write_list(writer, failure, write_op);
}

fn read_txn(reader: &mut Reader, depth: usize) -> Result<Txn, DecodeError> {
    let deeper = depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
    Ok(Txn {
        compares: read_list(reader, read_compare)?,
        success: read_list(reader, |reader| read_op(reader, deeper))?,
        failure: read_list(reader, |reader| read_op(reader, deeper))?,
    })
}

pub(crate) fn write_range(writer: &mut Writer, range: &KeyRange) {
    writer.slice(&range.start);
    writer.flag(range.end.is_some());
    if let Some(end) = &range.end {
        writer.slice(end);
    }
}

pub(crate) fn read_range(reader: &mut Reader) -> Result<KeyRange, DecodeError> {
    let start = reader.slice()?;
    let end = if reader.flag()? { Some(reader.slice()?) } else { None };
    Ok(KeyRange { start, end })
}

fn write_compare(writer: &mut Writer, compare: &Compare) {
    let Compare { range, result, target } = compare;
    write_range(writer, range);
    writer.byte(match result {
        CompareResult::Equal => 0,
        CompareResult::Greater => 1,
        CompareResult::Less => 2,
        CompareResult::NotEqual => 3,
    });
    let (tag, number) = match target {
        CompareTarget::Version(number) => (0, *number),
        CompareTarget::CreateRevision(number) => (1, *number),
        CompareTarget::ModRevision(number) => (2, *number),
        CompareTarget::Lease(number) => (3, *number),
        CompareTarget::Value(value) => {
            writer.byte(4);
            writer.slice(value);
            return;
        }
    };
    writer.byte(tag);
    writer.signed(number);
}

fn read_compare(reader: &mut Reader) -> Result<Compare, DecodeError> {
    let range = read_range(reader)?;
    let result = match reader.byte()? {
        0 => CompareResult::Equal,
        1 => CompareResult::Greater,
        2 => CompareResult::Less,
        3 => CompareResult::NotEqual,
        tag => {
            return Err(DecodeError::UnknownTag {
                what: "compare result",
                tag,
            });
        }
    };
    let target = match reader.byte()? {
        0 => CompareTarget::Version(reader.signed()?),
        1 => CompareTarget::CreateRevision(reader.signed()?),
        2 => CompareTarget::ModRevision(reader.signed()?),
        3 => CompareTarget::Lease(reader.signed()?),
        4 => CompareTarget::Value(reader.slice()?),
        tag => {
            return Err(DecodeError::UnknownTag {
                what: "compare target",
                tag,
            });
        }
    };
    Ok(Compare { range, result, target })
}

fn write_op(writer: &mut Writer, op: &Op) {
    match op {
        Op::Put {
            key,
            value,
            lease,
            prev_kv,
        } => {
            writer.byte(0);
            writer.slice(key);
            writer.slice(value);
            writer.signed(*lease);
            writer.flag(*prev_kv);
        }
        Op::Delete { range, prev_kv } => {
            writer.byte(1);
            write_range(writer, range);
            writer.flag(*prev_kv);
        }
        Op::Range(request) => {
            writer.byte(2);
            write_range_request(writer, request);
        }
        Op::Txn(txn) => {
            writer.byte(3);
            write_txn(writer, txn);
        }
    }
}

fn read_op(reader: &mut Reader, depth: usize) -> Result<Op, DecodeError> {
    Ok(match reader.byte()? {
        0 => Op::Put {
            key: reader.slice()?,
            value: reader.slice()?,
            lease: reader.signed()?,
            prev_kv: reader.flag()?,
        },
        1 => Op::Delete {
            range: read_range(reader)?,
            prev_kv: reader.flag()?,
        },
        2 => Op::Range(read_range_request(reader)?),
        3 => Op::Txn(Box::new(read_txn(reader, depth)?)),
        tag => return Err(DecodeError::UnknownTag { what: "operation", tag }),
    })
}

fn write_range_request(writer: &mut Writer, request: &RangeRequest) {
    let RangeRequest {
        range,
        limit,
        revision,
        keys_only,
        count_only,
    } = request;
    write_range(writer, range);
    writer.count(*limit);
    writer.signed(*revision);
    writer.flag(*keys_only);
    writer.flag(*count_only);
}

fn read_range_request(reader: &mut Reader) -> Result<RangeRequest, DecodeError> {
    Ok(RangeRequest {
        range: read_range(reader)?,
        limit: reader.size()?,
        revision: reader.signed()?,
        keys_only: reader.flag()?,
        count_only: reader.flag()?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{any_txn, put};

    fn nested(depth: usize) -> Txn {
        let mut txn = Txn {
            success: vec![put("k", "v")],
            ..Txn::default()
        };
        for _ in 1..depth {
            txn = Txn {
                success: vec![Op::Txn(Box::new(txn))],
                ..Txn::default()
            };
        }
        txn
    }

    proptest! {
        #[test]
        fn comes_back(txn in any_txn(), fence_term in any::<Option<u64>>(), revision in any::<i64>()) {
            for command in [Command::Txn { txn: txn.clone(), fence_term }, Command::Compact { revision }] {
                let bytes = command.encode();
                prop_assert_eq!(Command::decode(bytes).unwrap(), command);
            }
        }

        #[test]
        fn damage_is_refused_or_read_never_fatal(txn in any_txn(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let whole = Command::Txn { txn, fence_term: Some(7) }.encode();
            let mut damaged = whole.to_vec();
            damaged[at.index(whole.len())] = byte;
            let _ = Command::decode(damaged.into());
            prop_assert!(Command::decode(whole.slice(..cut.index(whole.len()))).is_err());
        }

        #[test]
        fn garbage_is_refused_not_fatal(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::decode(bytes.clone().into());
            // Garbage that gets past the first bytes digs deeper.
            for (byte, value) in bytes.iter_mut().zip([FORMAT, TAG_TXN, 0, 0]) {
                *byte = value;
            }
            let _ = Command::decode(bytes.into());
        }
    }

    #[test]
    fn depth_is_bounded() {
        let at_bound = Command::Txn {
            txn: nested(TXN_DEPTH_MAX),
            fence_term: None,
        };
        at_bound.check().unwrap();
        assert_eq!(Command::decode(at_bound.encode()).unwrap(), at_bound);
        let beyond = Command::Txn {
            txn: nested(TXN_DEPTH_MAX + 1),
            fence_term: None,
        };
        assert_eq!(beyond.check(), Err(CommandError::TooDeep));
        assert_eq!(Command::decode(beyond.encode()), Err(DecodeError::TooDeep));
    }

    #[test]
    fn size_is_bounded() {
        let value = "x".repeat(crate::limits::VALUE_BYTES_MAX);
        let of = |keys: &[&str]| {
            let success = keys.iter().map(|key| put(key, &value)).collect();
            Command::Txn {
                txn: Txn {
                    success,
                    ..Txn::default()
                },
                fence_term: None,
            }
        };
        of(&["a", "b"]).check_and_encode().unwrap();
        let refused = of(&["a", "b", "c"]).check_and_encode();
        assert!(
            matches!(refused, Err(CommandError::CommandTooLarge { .. })),
            "{refused:?}"
        );
        assert!(matches!(
            Command::decode(of(&["a", "b", "c"]).encode()),
            Err(DecodeError::TooLarge(_))
        ));
    }
}
