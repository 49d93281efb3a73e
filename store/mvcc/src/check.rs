//! What a transaction must look like: its limits, and the rule that it changes no key twice.
//!
//! The rule is checked on the text of the transaction alone, as etcd does: over puts and deletes together, where
//! the two sides of one nested transaction exclude each other. We are stricter in one point: sibling
//! nested transactions may not put and delete the same key either, whichever comes first. That keeps "one
//! version of a key per revision" true, which the layout of the data relies on.

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;

use crate::limits::{
    KEY_BYTES_MAX, LEASE_CHECKPOINT_ENTRIES_MAX, LEASE_TTL_MAX_S, TXN_DEPTH_MAX, TXN_OPS_MAX, VALUE_BYTES_MAX,
};
use crate::types::{Compare, CompareTarget, KeyRange, Op, Txn};

/// Why a command is refused before it is proposed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// An empty key.
    #[error("a key is empty")]
    EmptyKey,
    /// A key over [`KEY_BYTES_MAX`].
    #[error("a key has {bytes} bytes; at most {KEY_BYTES_MAX} are allowed")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A value over [`VALUE_BYTES_MAX`].
    #[error("the value of key {key:?} has {bytes} bytes; at most {VALUE_BYTES_MAX} are allowed")]
    ValueTooLarge {
        /// Whose value.
        key: Bytes,
        /// Its size.
        bytes: usize,
    },
    /// More compares or operations on a side than [`TXN_OPS_MAX`].
    #[error("the transaction has {count} {what}; at most {TXN_OPS_MAX} are allowed")]
    TooManyOps {
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
    },
    /// Nested deeper than [`TXN_DEPTH_MAX`].
    #[error("transactions are nested deeper than {TXN_DEPTH_MAX}")]
    TooDeep,
    /// A key would be changed twice.
    #[error("key {key:?} is changed more than once in the transaction")]
    DuplicateKey {
        /// The key.
        key: Bytes,
    },
    /// A lease with the id 0, which stands for "none".
    #[error("0 is not the id of a lease")]
    LeaseId,
    /// A time to live that no lease can have.
    #[error("a lease cannot live for {ttl_s} s; 1 to {LEASE_TTL_MAX_S} are allowed")]
    LeaseTtl {
        /// The time, in seconds.
        ttl_s: i64,
    },
    /// More leases in a checkpoint than [`LEASE_CHECKPOINT_ENTRIES_MAX`].
    #[error("the checkpoint has {count} leases; at most {LEASE_CHECKPOINT_ENTRIES_MAX} are allowed")]
    TooManyLeases {
        /// How many.
        count: usize,
    },
    /// The encoded command is over its bound.
    #[error("the transaction has {bytes} bytes; at most {max} are allowed", max = crate::limits::COMMAND_BYTES_MAX)]
    CommandTooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Checks the id of a lease.
///
/// # Errors
/// [`CommandError::LeaseId`].
pub fn lease_id(id: i64) -> Result<(), CommandError> {
    if id == 0 { Err(CommandError::LeaseId) } else { Ok(()) }
}

/// Checks how long a lease is to live.
///
/// # Errors
/// [`CommandError::LeaseTtl`].
pub fn lease_ttl(ttl_s: i64) -> Result<(), CommandError> {
    if (1..=LEASE_TTL_MAX_S).contains(&ttl_s) {
        Ok(())
    } else {
        Err(CommandError::LeaseTtl { ttl_s })
    }
}

/// Checks a checkpoint.
///
/// # Errors
/// [`CommandError::TooManyLeases`].
pub fn lease_checkpoint(entries: &[(i64, i64)]) -> Result<(), CommandError> {
    let count = entries.len();
    if count > LEASE_CHECKPOINT_ENTRIES_MAX {
        Err(CommandError::TooManyLeases { count })
    } else {
        Ok(())
    }
}

/// Checks counts, sizes and depth.
///
/// # Errors
/// [`CommandError`].
pub fn txn_limits(txn: &Txn) -> Result<(), CommandError> {
    let depth = depth(txn, TXN_DEPTH_MAX)?;
    debug_assert!(depth <= TXN_DEPTH_MAX);
    within("compares", count_compares(txn))?;
    within("operations on its success side", count_ops(&txn.success))?;
    within("operations on its failure side", count_ops(&txn.failure))?;
    sizes(txn)
}

fn depth(txn: &Txn, left: usize) -> Result<usize, CommandError> {
    let left = left.checked_sub(1).ok_or(CommandError::TooDeep)?;
    let mut deepest = 0;
    for nested in nested(txn) {
        deepest = deepest.max(depth(nested, left)?);
    }
    Ok(deepest + 1)
}

fn nested(txn: &Txn) -> impl Iterator<Item = &Txn> {
    txn.success.iter().chain(&txn.failure).filter_map(|op| match op {
        Op::Txn(txn) => Some(&**txn),
        Op::Put { .. } | Op::Delete { .. } | Op::Range(_) => None,
    })
}

fn within(what: &'static str, count: usize) -> Result<(), CommandError> {
    if count > TXN_OPS_MAX {
        Err(CommandError::TooManyOps { count, what })
    } else {
        Ok(())
    }
}

fn count_compares(txn: &Txn) -> usize {
    txn.compares.len() + nested(txn).map(count_compares).sum::<usize>()
}

fn count_ops(ops: &[Op]) -> usize {
    ops.iter()
        .map(|op| match op {
            Op::Txn(txn) => 1 + count_ops(&txn.success) + count_ops(&txn.failure),
            Op::Put { .. } | Op::Delete { .. } | Op::Range(_) => 1,
        })
        .sum()
}

fn sizes(txn: &Txn) -> Result<(), CommandError> {
    for Compare {
        range,
        result: _,
        target,
    } in &txn.compares
    {
        range_sizes(range)?;
        if let CompareTarget::Value(value) = target {
            value_size(&range.start, value)?;
        }
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Put { key, value, .. } => {
                if key.is_empty() {
                    return Err(CommandError::EmptyKey);
                }
                key_size(key)?;
                value_size(key, value)?;
            }
            Op::Delete { range, .. } => range_sizes(range)?,
            Op::Range(request) => range_sizes(&request.range)?,
            Op::Txn(txn) => sizes(txn)?,
        }
    }
    Ok(())
}

fn range_sizes(range: &KeyRange) -> Result<(), CommandError> {
    if range.start.is_empty() && range.end.is_none() {
        return Err(CommandError::EmptyKey);
    }
    key_size(&range.start)?;
    range.end.as_deref().map_or(Ok(()), key_size)
}

fn key_size(key: &[u8]) -> Result<(), CommandError> {
    if key.len() > KEY_BYTES_MAX {
        Err(CommandError::KeyTooLong { bytes: key.len() })
    } else {
        Ok(())
    }
}

fn value_size(key: &Bytes, value: &[u8]) -> Result<(), CommandError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(CommandError::ValueTooLarge {
            key: key.clone(),
            bytes: value.len(),
        });
    }
    Ok(())
}

/// Checks that no key is changed twice. Deletes may overlap each other: a key can be deleted only once.
///
/// # Errors
/// [`CommandError::DuplicateKey`].
pub fn txn_shape(txn: &Txn) -> Result<(), CommandError> {
    changes_of(&txn.success)?;
    changes_of(&txn.failure)?;
    Ok(())
}

/// What a list of operations may change.
#[derive(Debug, Default)]
struct Changes<'a> {
    puts: BTreeSet<&'a Bytes>,
    deletes: Vec<&'a KeyRange>,
}

impl<'a> Changes<'a> {
    /// The key that would be changed twice if both happened.
    fn conflict(&self, other: &Self) -> Option<&'a Bytes> {
        let (few, many) = if self.puts.len() < other.puts.len() {
            (self, other)
        } else {
            (other, self)
        };
        let twice_put = few.puts.iter().find(|key| many.puts.contains(*key)).copied();
        twice_put
            .or_else(|| self.deleted_of(&other.puts))
            .or_else(|| other.deleted_of(&self.puts))
    }

    fn deleted_of(&self, puts: &BTreeSet<&'a Bytes>) -> Option<&'a Bytes> {
        self.deletes.iter().find_map(|range| first_in(puts, range))
    }

    fn merge(&mut self, other: Self) {
        self.puts.extend(other.puts);
        self.deletes.extend(other.deletes);
    }

    fn add(&mut self, other: Self) -> Result<(), CommandError> {
        match self.conflict(&other) {
            Some(key) => Err(CommandError::DuplicateKey { key: key.clone() }),
            None => {
                self.merge(other);
                Ok(())
            }
        }
    }
}

fn first_in<'a>(puts: &BTreeSet<&'a Bytes>, range: &KeyRange) -> Option<&'a Bytes> {
    let from = (Bound::Included(&range.start), Bound::Unbounded);
    puts.range::<Bytes, _>(from)
        .next()
        .copied()
        .filter(|key| range.contains(key))
}

fn changes_of(ops: &[Op]) -> Result<Changes<'_>, CommandError> {
    let mut all = Changes::default();
    // All deletes of this level come first, then each put and nested transaction is held against what is there.
    for op in ops {
        if let Op::Delete { range, .. } = op {
            all.deletes.push(range);
        }
    }
    for op in ops {
        match op {
            Op::Put { key, .. } => {
                let one = Changes {
                    puts: BTreeSet::from([key]),
                    deletes: Vec::new(),
                };
                all.add(one)?;
            }
            Op::Txn(txn) => {
                let mut either = changes_of(&txn.success)?;
                either.merge(changes_of(&txn.failure)?);
                all.add(either)?;
            }
            Op::Delete { .. } | Op::Range(_) => {}
        }
    }
    Ok(all)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::{delete, delete_prefix, put};

    fn nest(success: Vec<Op>, failure: Vec<Op>) -> Op {
        Op::Txn(Box::new(Txn {
            compares: Vec::new(),
            success,
            failure,
        }))
    }

    fn shape(success: Vec<Op>) -> bool {
        txn_shape(&Txn {
            success,
            ..Txn::default()
        })
        .is_ok()
    }

    #[test]
    fn no_key_is_changed_twice() {
        let cases = [
            (true, vec![put("a", ""), put("b", "")]),
            (false, vec![put("a", ""), put("a", "")]),
            (false, vec![put("a", ""), delete("a")]),
            (false, vec![delete("a"), put("a", "")]),
            (false, vec![put("ab", ""), delete_prefix("a")]),
            (true, vec![put("b", ""), delete_prefix("a")]),
            (true, vec![delete("a"), delete_prefix("a")]),
            (false, vec![put("a", ""), nest(vec![put("a", "")], vec![])]),
            (false, vec![delete("a"), nest(vec![], vec![put("a", "")])]),
            (true, vec![nest(vec![put("a", "")], vec![put("a", "")])]),
            (true, vec![nest(vec![put("a", "")], vec![delete("a")])]),
            (
                false,
                vec![nest(vec![put("a", "")], vec![]), nest(vec![put("a", "")], vec![])],
            ),
            (
                false,
                vec![nest(vec![put("a", "")], vec![]), nest(vec![delete("a")], vec![])],
            ),
            (
                false,
                vec![nest(vec![delete("a")], vec![]), nest(vec![], vec![put("a", "")])],
            ),
            (
                true,
                vec![nest(vec![delete("a")], vec![]), nest(vec![delete("a")], vec![])],
            ),
        ];
        for (allowed, ops) in cases {
            assert_eq!(shape(ops.clone()), allowed, "{ops:?}");
        }
        // The two sides of the transaction itself exclude each other.
        let sides = Txn {
            success: vec![put("a", "")],
            failure: vec![put("a", "")],
            ..Txn::default()
        };
        txn_shape(&sides).unwrap();
    }

    #[test]
    fn limits_hold_at_the_bound() {
        let of = |success| {
            txn_limits(&Txn {
                success,
                ..Txn::default()
            })
        };
        let many = |count: usize| (0..count).map(|n| put(&n.to_string(), "")).collect::<Vec<_>>();
        of(many(TXN_OPS_MAX)).unwrap();
        assert!(
            matches!(of(many(TXN_OPS_MAX + 1)), Err(CommandError::TooManyOps { count, .. }) if count == TXN_OPS_MAX + 1)
        );
        // Nested operations count, and so does their transaction.
        assert!(of(vec![nest(many(TXN_OPS_MAX - 1), vec![])]).is_ok());
        assert!(of(vec![nest(many(TXN_OPS_MAX / 2), many(TXN_OPS_MAX / 2))]).is_err());
        of(vec![put(&"k".repeat(KEY_BYTES_MAX), &"v".repeat(VALUE_BYTES_MAX))]).unwrap();
        assert!(matches!(
            of(vec![put(&"k".repeat(KEY_BYTES_MAX + 1), "")]),
            Err(CommandError::KeyTooLong { .. })
        ));
        assert!(matches!(
            of(vec![put("k", &"v".repeat(VALUE_BYTES_MAX + 1))]),
            Err(CommandError::ValueTooLarge { .. })
        ));
        assert_eq!(of(vec![put("", "")]), Err(CommandError::EmptyKey));
        assert_eq!(of(vec![delete("")]), Err(CommandError::EmptyKey));
        of(vec![delete_prefix("")]).unwrap();
    }
}
