//! Which of many ranges a key lies in.
//!
//! Single keys and prefixes, which are nearly all ranges that are watched, are found by looking a key up, once for
//! every length of prefix that there is; only other ranges are tried one by one. So a look-up costs in the number of
//! what is found, not of all.

use std::collections::BTreeMap;

use bytes::Bytes;
use trireme_mvcc::types::KeyRange;

/// Ranges and who has them. One owner may have a range several times.
#[derive(Debug)]
pub(super) struct Ranges<T> {
    keys: BTreeMap<Bytes, Group<T>>,
    prefixes: BTreeMap<Bytes, Group<T>>,
    /// How many groups have a prefix of this length.
    prefix_lengths: BTreeMap<usize, usize>,
    others: BTreeMap<(Bytes, Bytes), Group<T>>,
    round: u64,
}

/// The owners of one range, each with how often it has it.
#[derive(Debug)]
pub(super) struct Group<T> {
    owners: BTreeMap<u64, (T, usize)>,
    /// The round in which it was last met.
    met: u64,
}

impl<T> Group<T> {
    /// The owners, each with how often it has the range.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&T, usize)> {
        self.owners.values().map(|(owner, times)| (owner, *times))
    }

    /// The owners.
    pub(super) fn owners(&self) -> impl Iterator<Item = (u64, &T)> {
        self.owners.iter().map(|(id, (owner, _))| (*id, owner))
    }
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self {
            owners: BTreeMap::new(),
            met: 0,
        }
    }
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self {
            keys: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            prefix_lengths: BTreeMap::new(),
            others: BTreeMap::new(),
            round: 0,
        }
    }
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

impl<T> Ranges<T> {
    /// Adds `range` for the owner `id`.
    pub(super) fn add(&mut self, range: &KeyRange, id: u64, owner: T) {
        let group = match shape(range) {
            Shape::Key(key) => self.keys.entry(key.clone()).or_default(),
            Shape::Prefix(prefix) => {
                if !self.prefixes.contains_key(prefix) {
                    *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
                }
                self.prefixes.entry(prefix.clone()).or_default()
            }
            Shape::Other(start, end) => self.others.entry((start.clone(), end.clone())).or_default(),
        };
        group.owners.entry(id).or_insert((owner, 0)).1 += 1;
    }

    /// Removes one `range` of the owner `id`.
    pub(super) fn remove(&mut self, range: &KeyRange, id: u64) {
        match shape(range) {
            Shape::Key(key) => {
                leave(&mut self.keys, key, id);
            }
            Shape::Prefix(prefix) => {
                if leave(&mut self.prefixes, prefix, id)
                    && let Some(groups) = self.prefix_lengths.get_mut(&prefix.len())
                {
                    *groups -= 1;
                    if *groups == 0 {
                        self.prefix_lengths.remove(&prefix.len());
                    }
                }
            }
            Shape::Other(start, end) => {
                leave(&mut self.others, &(start.clone(), end.clone()), id);
            }
        }
    }

    /// Begins a round: [`meet`](Self::meet) tells of each group once a round.
    pub(super) fn begin_round(&mut self) {
        self.round += 1;
    }

    /// The groups that `key` lies in and that were not met in this round yet.
    pub(super) fn meet(&mut self, key: &Bytes, mut found: impl FnMut(&Group<T>)) {
        let round = self.round;
        self.groups_of(key, |group| {
            if group.met != round {
                group.met = round;
                found(group);
            }
        });
    }

    /// All groups that `key` lies in.
    pub(super) fn find(&mut self, key: &Bytes, mut found: impl FnMut(&Group<T>)) {
        self.groups_of(key, |group| found(group));
    }

    fn groups_of(&mut self, key: &Bytes, mut found: impl FnMut(&mut Group<T>)) {
        if let Some(group) = self.keys.get_mut(key) {
            found(group);
        }
        for length in self.prefix_lengths.keys().take_while(|length| **length <= key.len()) {
            if let Some(group) = self.prefixes.get_mut(&key[..*length]) {
                found(group);
            }
        }
        for ((start, end), group) in &mut self.others {
            if key < start {
                break;
            }
            if end.is_empty() || key < end {
                found(group);
            }
        }
    }

    /// All groups.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Group<T>> {
        self.keys
            .values()
            .chain(self.prefixes.values())
            .chain(self.others.values())
    }

    /// One range that covers all of them; `None` if there is none.
    pub(super) fn hull(&self) -> Option<KeyRange> {
        let starts = [
            self.keys.keys().next(),
            self.prefixes.keys().next(),
            self.others.keys().next().map(|(start, _)| start),
        ];
        let start = starts.into_iter().flatten().min()?.clone();
        let mut end: Option<Bytes> = None;
        let mut reach = |candidate: Bytes| {
            // An empty end is beyond all others.
            let further = match &end {
                None => true,
                Some(end) => !end.is_empty() && (candidate.is_empty() || candidate > *end),
            };
            if further {
                end = Some(candidate);
            }
        };
        if let Some((key, _)) = self.keys.last_key_value() {
            reach([key, &b"\0"[..]].concat().into());
        }
        self.prefixes
            .keys()
            .for_each(|prefix| reach(KeyRange::prefix_end(prefix)));
        self.others.keys().for_each(|(_, end)| reach(end.clone()));
        Some(KeyRange { start, end })
    }
}

/// True if that was the group's last owner.
fn leave<K: Ord, T>(groups: &mut BTreeMap<K, Group<T>>, key: &K, id: u64) -> bool {
    let Some(group) = groups.get_mut(key) else { return false };
    if let Some((_, times)) = group.owners.get_mut(&id) {
        *times -= 1;
        if *times == 0 {
            group.owners.remove(&id);
        }
    }
    let empty = group.owners.is_empty();
    if empty {
        groups.remove(key);
    }
    empty
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(start: &'static str, end: &'static str) -> KeyRange {
        KeyRange {
            start: start.into(),
            end: Some(end.into()),
        }
    }

    fn found(ranges: &mut Ranges<()>, key: &'static str) -> Vec<u64> {
        let mut ids = Vec::new();
        ranges.find(&key.into(), |group| ids.extend(group.owners().map(|(id, ())| id)));
        ids.sort_unstable();
        ids
    }

    fn check(range: &KeyRange, key: &'static str, expected: bool) {
        let mut ranges = Ranges::default();
        ranges.add(&KeyRange::key("elsewhere"), 1, ());
        ranges.add(range, 2, ());
        assert_eq!(found(&mut ranges, key), [2].repeat(expected.into()), "{range:?} {key}");
        ranges.remove(range, 2);
        assert_eq!(ranges.groups().count(), 1);
        assert_eq!(ranges.prefix_lengths, BTreeMap::new());
    }

    #[test]
    fn finds_ranges_by_key() {
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
        check(&between("c", "a"), "b", false);
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
    fn an_owner_may_have_a_range_twice() {
        let mut ranges = Ranges::default();
        let range = KeyRange::prefix("p/");
        ranges.add(&range, 1, ());
        ranges.add(&range, 1, ());
        ranges.add(&range, 2, ());
        assert_eq!(found(&mut ranges, "p/x"), [1, 2]);
        ranges.remove(&range, 1);
        assert_eq!(found(&mut ranges, "p/x"), [1, 2]);
        ranges.remove(&range, 1);
        assert_eq!(found(&mut ranges, "p/x"), [2]);
        ranges.remove(&range, 2);
        assert_eq!(ranges.groups().count(), 0);
    }

    #[test]
    fn a_group_is_met_once_a_round() {
        let mut ranges = Ranges::default();
        ranges.add(&KeyRange::prefix("a"), 1, ());
        for _ in 0..2 {
            ranges.begin_round();
            let mut met = 0;
            for key in ["a", "ab", "ac"] {
                ranges.meet(&key.into(), |_| met += 1);
            }
            assert_eq!(met, 1);
        }
    }

    #[test]
    fn the_hull_covers_all() {
        let check = |all: &[KeyRange], expected: Option<KeyRange>| {
            let mut ranges = Ranges::default();
            all.iter().for_each(|range| ranges.add(range, 1, ()));
            assert_eq!(ranges.hull(), expected, "{all:?}");
        };
        check(&[], None);
        check(&[KeyRange::key("k")], Some(between("k", "k\0")));
        check(&[KeyRange::key("k"), KeyRange::prefix("b")], Some(between("b", "k\0")));
        check(&[KeyRange::prefix("z"), between("a", "c")], Some(between("a", "{")));
        check(&[KeyRange::key("z"), between("m", "")], Some(between("m", "")));
        check(&[KeyRange::prefix(""), KeyRange::key("z")], Some(between("", "")));
    }
}
