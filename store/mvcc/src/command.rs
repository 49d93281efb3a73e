//! What a Raft entry tells the state machine to do, and its encoding.
//!
//! A command is checked against the limits and encoded once, where it is proposed; those bytes are what the log
//! holds, the network carries and every server decodes. The first byte is the version of the format.

use bytes::Bytes;

use crate::alarm::{Alarm, AlarmKind};
use crate::check;
use crate::codec::{Reader, Writer, read_list, write_list};
use crate::limits::{COMMAND_BYTES_MAX, TXN_DEPTH_MAX};
use crate::types::{
    Compare, CompareResult, CompareTarget, KeyRange, Op, Order, RangeRequest, Revision, RevisionFilter, SortBy, Txn,
};

pub use crate::check::CommandError;
pub use crate::codec::DecodeError;

const FORMAT: u8 = 1;
const TAG_TXN: u8 = 1;
const TAG_COMPACT: u8 = 2;
const TAG_LEASE_GRANT: u8 = 3;
const TAG_LEASE_REVOKE: u8 = 4;
const TAG_LEASE_CHECKPOINT: u8 = 5;

/// Of a put.
const FLAG_PREV_KV: u8 = 1;
const FLAG_IGNORE_VALUE: u8 = 2;
const FLAG_IGNORE_LEASE: u8 = 4;

/// Of a range.
const FLAG_KEYS_ONLY: u8 = 1;
const FLAG_OPTIONS: u8 = 2;
const TAG_RAISE_ALARM: u8 = 20;
const TAG_CLEAR_ALARM: u8 = 21;

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
    /// Makes a lease.
    LeaseGrant {
        /// Its id; 0 for one that is chosen where it is applied.
        id: i64,
        /// Its time to live, in seconds.
        ttl_s: i64,
    },
    /// Ends a lease and deletes the keys attached to it, in one revision.
    LeaseRevoke {
        /// Which.
        id: i64,
        /// If given, it is refused unless its entry is of this Raft term (invariant I5). Set where the leader has
        /// found the lease to have expired.
        fence_term: Option<u64>,
    },
    /// Notes how much of their time to live leases have left, for the leaders to come.
    LeaseCheckpoint {
        /// Ids, and seconds; 0 seconds for "all of it". Leases that are not there are passed over.
        entries: Vec<(i64, i64)>,
        /// If given, it is refused unless its entry is of this Raft term (invariant I5).
        fence_term: Option<u64>,
    },
    /// Raises an alarm, unless it is raised already.
    RaiseAlarm(Alarm),
    /// Clears an alarm, if it is raised.
    ClearAlarm {
        /// What it is about.
        kind: AlarmKind,
        /// Whom it concerns.
        member: u64,
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
            Self::Compact { revision: _ } | Self::RaiseAlarm(_) | Self::ClearAlarm { .. } => {}
            Self::LeaseGrant { id: _, ttl_s } => check::lease_ttl(*ttl_s)?,
            Self::LeaseRevoke { id, fence_term: _ } => check::lease_id(*id)?,
            Self::LeaseCheckpoint { entries, fence_term: _ } => check::lease_checkpoint(entries)?,
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
                write_fence(&mut writer, *fence_term);
                write_txn(&mut writer, txn);
            }
            Self::Compact { revision } => {
                writer.byte(TAG_COMPACT);
                writer.signed(*revision);
            }
            Self::LeaseGrant { id, ttl_s } => {
                writer.byte(TAG_LEASE_GRANT);
                writer.signed(*id);
                writer.signed(*ttl_s);
            }
            Self::LeaseRevoke { id, fence_term } => {
                writer.byte(TAG_LEASE_REVOKE);
                write_fence(&mut writer, *fence_term);
                writer.signed(*id);
            }
            Self::LeaseCheckpoint { entries, fence_term } => {
                writer.byte(TAG_LEASE_CHECKPOINT);
                write_fence(&mut writer, *fence_term);
                write_list(&mut writer, entries, |writer, (id, remaining)| {
                    writer.signed(*id);
                    writer.signed(*remaining);
                });
            }
            Self::RaiseAlarm(Alarm { kind, member, cause }) => {
                writer.byte(TAG_RAISE_ALARM);
                writer.byte(kind.tag());
                writer.number(*member);
                writer.slice(cause.as_bytes());
            }
            Self::ClearAlarm { kind, member } => {
                writer.byte(TAG_CLEAR_ALARM);
                writer.byte(kind.tag());
                writer.number(*member);
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
            TAG_TXN => Self::Txn {
                fence_term: read_fence(&mut reader)?,
                txn: read_txn(&mut reader, TXN_DEPTH_MAX)?,
            },
            TAG_COMPACT => Self::Compact {
                revision: reader.signed()?,
            },
            TAG_LEASE_GRANT => Self::LeaseGrant {
                id: reader.signed()?,
                ttl_s: reader.signed()?,
            },
            TAG_LEASE_REVOKE => Self::LeaseRevoke {
                fence_term: read_fence(&mut reader)?,
                id: reader.signed()?,
            },
            TAG_LEASE_CHECKPOINT => Self::LeaseCheckpoint {
                fence_term: read_fence(&mut reader)?,
                entries: read_list(&mut reader, |reader| Ok((reader.signed()?, reader.signed()?)))?,
            },
            TAG_RAISE_ALARM => Self::RaiseAlarm(Alarm {
                kind: AlarmKind::from_tag(reader.byte()?)?,
                member: reader.number()?,
                cause: String::from_utf8_lossy(&reader.slice()?).into_owned(),
            }),
            TAG_CLEAR_ALARM => Self::ClearAlarm {
                kind: AlarmKind::from_tag(reader.byte()?)?,
                member: reader.number()?,
            },
            tag => return Err(DecodeError::UnknownTag { what: "command", tag }),
        };
        reader.finish()?;
        Ok(command)
    }
}

fn write_fence(writer: &mut Writer, fence_term: Option<u64>) {
    writer.flag(fence_term.is_some());
    writer.number(fence_term.unwrap_or(0));
}

fn read_fence(reader: &mut Reader) -> Result<Option<u64>, DecodeError> {
    let fenced = reader.flag()?;
    let term = reader.number()?;
    Ok(fenced.then_some(term))
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
            ignore_value,
            ignore_lease,
        } => {
            writer.byte(0);
            writer.slice(key);
            writer.slice(value);
            writer.signed(*lease);
            writer.byte(flags([
                (FLAG_PREV_KV, *prev_kv),
                (FLAG_IGNORE_VALUE, *ignore_value),
                (FLAG_IGNORE_LEASE, *ignore_lease),
            ]));
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
        0 => {
            let (key, value, lease) = (reader.slice()?, reader.slice()?, reader.signed()?);
            let flags = read_flags(reader, FLAG_PREV_KV | FLAG_IGNORE_VALUE | FLAG_IGNORE_LEASE)?;
            Op::Put {
                key,
                value,
                lease,
                prev_kv: flags & FLAG_PREV_KV != 0,
                ignore_value: flags & FLAG_IGNORE_VALUE != 0,
                ignore_lease: flags & FLAG_IGNORE_LEASE != 0,
            }
        }
        1 => Op::Delete {
            range: read_range(reader)?,
            prev_kv: reader.flag()?,
        },
        2 => Op::Range(read_range_request(reader)?),
        3 => Op::Txn(Box::new(read_txn(reader, depth)?)),
        tag => return Err(DecodeError::UnknownTag { what: "operation", tag }),
    })
}

fn flags(flags: impl IntoIterator<Item = (u8, bool)>) -> u8 {
    flags
        .into_iter()
        .fold(0, |all, (flag, set)| if set { all | flag } else { all })
}

fn read_flags(reader: &mut Reader, known: u8) -> Result<u8, DecodeError> {
    match reader.byte()? {
        flags if flags & !known == 0 => Ok(flags),
        tag => Err(DecodeError::UnknownTag { what: "flag", tag }),
    }
}

/// The options follow only if there are any.
fn write_range_request(writer: &mut Writer, request: &RangeRequest) {
    let RangeRequest {
        range,
        limit,
        revision,
        keys_only,
        count_only,
        order,
        filter,
        count_total,
        bytes_max,
    } = request;
    let options = *order != Order::default() || !filter.is_open() || *count_total || *bytes_max > 0;
    write_range(writer, range);
    writer.count(*limit);
    writer.signed(*revision);
    writer.byte(flags([(FLAG_KEYS_ONLY, *keys_only), (FLAG_OPTIONS, options)]));
    writer.flag(*count_only);
    if options {
        write_order(writer, *order);
        let RevisionFilter {
            min_mod_revision,
            max_mod_revision,
            min_create_revision,
            max_create_revision,
        } = filter;
        for bound in [
            min_mod_revision,
            max_mod_revision,
            min_create_revision,
            max_create_revision,
        ] {
            writer.signed(*bound);
        }
        writer.flag(*count_total);
        writer.count(*bytes_max);
    }
}

fn read_range_request(reader: &mut Reader) -> Result<RangeRequest, DecodeError> {
    let range = read_range(reader)?;
    let (limit, revision) = (reader.size()?, reader.signed()?);
    let flags = read_flags(reader, FLAG_KEYS_ONLY | FLAG_OPTIONS)?;
    let mut request = RangeRequest {
        limit,
        revision,
        keys_only: flags & FLAG_KEYS_ONLY != 0,
        count_only: reader.flag()?,
        ..RangeRequest::latest(range)
    };
    if flags & FLAG_OPTIONS != 0 {
        request.order = read_order(reader)?;
        request.filter = RevisionFilter {
            min_mod_revision: reader.signed()?,
            max_mod_revision: reader.signed()?,
            min_create_revision: reader.signed()?,
            max_create_revision: reader.signed()?,
        };
        request.count_total = reader.flag()?;
        request.bytes_max = reader.size()?;
    }
    Ok(request)
}

fn write_order(writer: &mut Writer, order: Order) {
    writer.byte(match order.by {
        SortBy::Key => 0,
        SortBy::Version => 1,
        SortBy::CreateRevision => 2,
        SortBy::ModRevision => 3,
        SortBy::Value => 4,
    });
    writer.flag(order.descending);
}

fn read_order(reader: &mut Reader) -> Result<Order, DecodeError> {
    let by = match reader.byte()? {
        0 => SortBy::Key,
        1 => SortBy::Version,
        2 => SortBy::CreateRevision,
        3 => SortBy::ModRevision,
        4 => SortBy::Value,
        tag => {
            return Err(DecodeError::UnknownTag {
                what: "sort order",
                tag,
            });
        }
    };
    Ok(Order {
        by,
        descending: reader.flag()?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{LEASE_CHECKPOINT_ENTRIES_MAX, LEASE_TTL_MAX_S};
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
        fn comes_back(txn in any_txn(), fence_term in any::<Option<u64>>(), revision in any::<i64>(), id in any::<i64>(),
                      entries in proptest::collection::vec(any::<(i64, i64)>(), 0..5)) {
            for command in [
                Command::Txn { txn: txn.clone(), fence_term },
                Command::Compact { revision },
                Command::LeaseGrant { id, ttl_s: revision },
                Command::LeaseRevoke { id, fence_term },
                Command::LeaseCheckpoint { entries, fence_term },
            ] {
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
    fn an_entry_of_the_first_release_still_reads() {
        // A put of k = v with the previous version asked for, and a range of one key, keys only.
        let bytes: &[u8] = &[
            FORMAT, TAG_TXN, 0, 0, 0, 2, 0, 1, b'k', 1, b'v', 0, 1, 2, 1, b'k', 0, 0, 0, 1, 0, 0,
        ];
        let range = RangeRequest {
            keys_only: true,
            ..RangeRequest::latest(KeyRange::key("k"))
        };
        let txn = Txn {
            success: vec![put("k", "v"), Op::Range(range)],
            ..Txn::default()
        };
        let command = Command::Txn { txn, fence_term: None };
        assert_eq!(Command::decode(Bytes::from_static(bytes)).unwrap(), command);
        assert_eq!(command.encode(), bytes, "and is still written so");
    }

    #[test]
    fn leases_are_bounded() {
        let grant = |id, ttl_s| Command::LeaseGrant { id, ttl_s }.check();
        grant(1, 1).unwrap();
        grant(-1, LEASE_TTL_MAX_S).unwrap();
        grant(0, 1).unwrap();
        assert_eq!(
            Command::LeaseRevoke {
                id: 0,
                fence_term: None
            }
            .check(),
            Err(CommandError::LeaseId)
        );
        for ttl_s in [i64::MIN, 0, LEASE_TTL_MAX_S + 1] {
            assert_eq!(grant(1, ttl_s), Err(CommandError::LeaseTtl { ttl_s }));
        }
        let checkpoint = |count| Command::LeaseCheckpoint {
            entries: vec![(1, 1); count],
            fence_term: None,
        };
        checkpoint(LEASE_CHECKPOINT_ENTRIES_MAX).check().unwrap();
        assert!(checkpoint(LEASE_CHECKPOINT_ENTRIES_MAX + 1).check().is_err());
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
