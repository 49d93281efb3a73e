//! The first keys of an answer in an order that is not the keys' own, from keys that come by in theirs.
//!
//! No more is held than the answer may have: what falls behind the bounds is dropped, and so is whatever would come
//! behind it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::types::{KeyValue, Order, SortBy};

/// The place of a key in an order. Equal ones are in the order of their keys, whichever the direction.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rank {
    measure: Measure,
    descending: bool,
    key: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Measure {
    Number(i64),
    Bytes(Bytes),
}

impl Rank {
    fn of(kv: &KeyValue, order: Order) -> Self {
        let measure = match order.by {
            SortBy::Key => Measure::Bytes(kv.key.clone()),
            SortBy::Version => Measure::Number(kv.version),
            SortBy::CreateRevision => Measure::Number(kv.create_revision),
            SortBy::ModRevision => Measure::Number(kv.mod_revision),
            SortBy::Value => Measure::Bytes(kv.value.clone()),
        };
        Self {
            measure,
            descending: order.descending,
            key: kv.key.clone(),
        }
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.measure.cmp(&other.measure);
        let order = if self.descending { order.reverse() } else { order };
        order.then_with(|| self.key.cmp(&other.key))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The first keys of those that were offered.
#[derive(Debug)]
pub struct First {
    order: Order,
    limit: usize,
    bytes_max: usize,
    held: BTreeMap<Rank, KeyValue>,
    bytes: usize,
    /// The first of those that did not fit. Neither does any behind it.
    cut: Option<Rank>,
}

impl First {
    /// At most `limit` keys and `bytes_max` bytes, but always one key.
    #[must_use]
    pub fn new(order: Order, limit: usize, bytes_max: usize) -> Self {
        Self {
            order,
            limit,
            bytes_max,
            held: BTreeMap::new(),
            bytes: 0,
            cut: None,
        }
    }

    /// Takes a key in, if it is among the first.
    pub fn offer(&mut self, kv: KeyValue) {
        let rank = Rank::of(&kv, self.order);
        if self.cut.as_ref().is_some_and(|cut| rank > *cut) {
            return;
        }
        self.bytes += kv.bytes();
        self.held.insert(rank, kv);
        while self.held.len() > self.limit || (self.bytes > self.bytes_max && self.held.len() > 1) {
            let Some((rank, kv)) = self.held.pop_last() else { break };
            self.bytes -= kv.bytes();
            self.cut = Some(rank);
        }
    }

    /// What is held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The keys in order, and whether others did not fit.
    #[must_use]
    pub fn finish(self) -> (Vec<KeyValue>, bool) {
        (self.held.into_values().collect(), self.cut.is_some())
    }
}
