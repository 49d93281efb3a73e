//! Who is to be woken for which key.
//!
//! Watchers of the same range share one bell. Single keys and prefixes, which are nearly all ranges, are found by
//! looking a key up, once for every length of prefix that is watched; only other ranges are tried one by one. So
//! waking costs in the number of those woken, not of all.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;
use trireme_mvcc::types::KeyRange;

#[derive(Debug)]
struct Group {
    bell: Arc<Notify>,
    watchers: usize,
    /// The round in which it was last rung.
    rung: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Interest {
    keys: BTreeMap<Bytes, Group>,
    prefixes: BTreeMap<Bytes, Group>,
    /// How many groups have a prefix of this length.
    prefix_lengths: BTreeMap<usize, usize>,
    others: BTreeMap<(Bytes, Bytes), Group>,
    round: u64,
}

enum Shape<'r> {
    Key(&'r Bytes),
    Prefix(&'r Bytes),
    Other(&'r Bytes, &'r Bytes),
}

fn shape(range: &KeyRange) -> Shape<'_> {
    match &range.end {
        None => Shape::Key(&range.start),
        Some(end) if *end == KeyRange::prefix_end(&range.start) && !is_all_ones(&range.start) => {
            Shape::Prefix(&range.start)
        }
        Some(end) => Shape::Other(&range.start, end),
    }
}

/// A prefix of nothing but the highest byte has no end, as has the range from there on, which is larger.
fn is_all_ones(start: &[u8]) -> bool {
    !start.is_empty() && start.iter().all(|byte| *byte == u8::MAX)
}

impl Interest {
    /// Adds a watcher; answers the bell that rings when one of its keys may have changed.
    pub(super) fn add(&mut self, range: &KeyRange) -> Arc<Notify> {
        let group = match shape(range) {
            Shape::Key(key) => self.keys.entry(key.clone()),
            Shape::Prefix(prefix) => {
                if !self.prefixes.contains_key(prefix) {
                    *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
                }
                self.prefixes.entry(prefix.clone())
            }
            Shape::Other(start, end) => {
                let group = self
                    .others
                    .entry((start.clone(), end.clone()))
                    .or_insert_with(Group::new);
                group.watchers += 1;
                return Arc::clone(&group.bell);
            }
        };
        let group = group.or_insert_with(Group::new);
        group.watchers += 1;
        Arc::clone(&group.bell)
    }

    /// Removes a watcher of `range`.
    pub(super) fn remove(&mut self, range: &KeyRange) {
        match shape(range) {
            Shape::Key(key) => {
                leave(&mut self.keys, key);
            }
            Shape::Prefix(prefix) => {
                if leave(&mut self.prefixes, prefix)
                    && let Some(groups) = self.prefix_lengths.get_mut(&prefix.len())
                {
                    *groups -= 1;
                    if *groups == 0 {
                        self.prefix_lengths.remove(&prefix.len());
                    }
                }
            }
            Shape::Other(start, end) => {
                leave(&mut self.others, &(start.clone(), end.clone()));
            }
        }
    }

    /// Wakes the watchers of these keys, each once.
    pub(super) fn ring<'k>(&mut self, keys: impl IntoIterator<Item = &'k Bytes>) {
        self.round += 1;
        let round = self.round;
        for key in keys {
            if let Some(group) = self.keys.get_mut(key) {
                group.ring(round);
            }
            for length in self.prefix_lengths.keys().take_while(|length| **length <= key.len()) {
                if let Some(group) = self.prefixes.get_mut(&key[..*length]) {
                    group.ring(round);
                }
            }
            for ((start, end), group) in &mut self.others {
                if key >= start && (end.is_empty() || key < end) {
                    group.ring(round);
                }
            }
        }
    }

    /// Wakes everybody.
    pub(super) fn ring_all(&mut self) {
        self.round += 1;
        let groups = self
            .keys
            .values_mut()
            .chain(self.prefixes.values_mut())
            .chain(self.others.values_mut());
        for group in groups {
            group.ring(self.round);
        }
    }

    /// How many groups there are.
    #[cfg(test)]
    pub(super) fn groups(&self) -> usize {
        self.keys.len() + self.prefixes.len() + self.others.len()
    }
}

impl Group {
    fn new() -> Self {
        Self {
            bell: Arc::new(Notify::new()),
            watchers: 0,
            rung: 0,
        }
    }

    fn ring(&mut self, round: u64) {
        if self.rung != round {
            self.rung = round;
            self.bell.notify_waiters();
        }
    }
}

/// True if that was the group's last watcher.
fn leave<K: Ord>(groups: &mut BTreeMap<K, Group>, key: &K) -> bool {
    let Some(group) = groups.get_mut(key) else { return false };
    group.watchers -= 1;
    let empty = group.watchers == 0;
    if empty {
        groups.remove(key);
    }
    empty
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn check(range: &KeyRange, key: &'static str, woken: bool) {
        let mut interest = Interest::default();
        let other = interest.add(&KeyRange::key("elsewhere"));
        let bell = interest.add(range);
        let (mut rung, mut untouched) = (Box::pin(bell.notified()), Box::pin(other.notified()));
        interest.ring([&Bytes::from_static(key.as_bytes())]);
        assert_eq!(rung.as_mut().now_or_never().is_some(), woken, "{range:?} {key}");
        assert!(untouched.as_mut().now_or_never().is_none());
        interest.remove(range);
        assert_eq!(interest.groups(), 1);
        assert_eq!(interest.prefix_lengths, BTreeMap::new());
    }

    #[test]
    fn rings_for_keys_of_the_range_alone() {
        let between = |start: &'static str, end: &'static str| KeyRange {
            start: start.into(),
            end: Some(end.into()),
        };
        check(&KeyRange::key("a"), "a", true);
        check(&KeyRange::key("a"), "ab", false);
        check(&KeyRange::prefix("a"), "a", true);
        check(&KeyRange::prefix("a"), "ab", true);
        check(&KeyRange::prefix("ab"), "a", false);
        check(&KeyRange::prefix("ab"), "ac", false);
        check(&KeyRange::prefix(""), "anything", true);
        check(&between("a", "c"), "b", true);
        check(&between("a", "c"), "c", false);
        check(&between("b", ""), "a", false);
        check(&between("b", ""), "z", true);
    }

    #[test]
    fn a_range_from_the_highest_byte_on_is_not_a_prefix() {
        let range = KeyRange {
            start: Bytes::from_static(&[0xff]),
            end: Some(Bytes::new()),
        };
        assert!(matches!(shape(&range), Shape::Other(..)));
    }

    #[test]
    fn the_same_range_shares_a_bell_until_the_last_leaves() {
        let mut interest = Interest::default();
        let range = KeyRange::prefix("p/");
        let (one, two) = (interest.add(&range), interest.add(&range));
        assert!(Arc::ptr_eq(&one, &two));
        interest.remove(&range);
        assert_eq!(interest.groups(), 1);
        interest.remove(&range);
        assert_eq!(interest.groups(), 0);
    }
}
