//! Who is to be woken for what a change is about.
//!
//! Some watch a range of which only a small part concerns them, which the keys do not tell: the agent of a node watches the pods
//! of all namespaces, and wants those of its node. If each were woken for every change of the range, each change would cost in
//! the number of watchers. So whoever watches may name the one topic that it cares about, and how the topics of a change are told.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use trireme_mvcc::types::{Event, KeyRange};

use super::shared::SharedChange;

/// How it is told what a change is about.
pub trait Topics: Debug + Send + Sync {
    /// A name of its own.
    fn name(&self) -> &'static str;

    /// Tells each topic of a change: all that the key was about before it, and is after it.
    fn each(&self, event: &Event, found: &mut dyn FnMut(&[u8]));
}

/// What of a range concerns a watcher.
#[derive(Debug, Clone)]
pub struct About {
    /// How topics are told.
    pub topics: &'static dyn Topics,
    /// The one that it cares about.
    pub topic: Bytes,
}

impl About {
    /// Whether the event at `place` of a change is about it.
    pub(super) fn concerns(&self, change: &SharedChange, place: usize) -> bool {
        change.topics(self.topics, place).contains(&self.topic)
    }
}

/// Owners of topics, each of a range.
#[derive(Debug)]
pub(super) struct TopicTable<T> {
    ranges: Vec<TopicRange<T>>,
}

/// The topics of one range.
#[derive(Debug)]
struct TopicRange<T> {
    range: KeyRange,
    topics: &'static dyn Topics,
    owners: BTreeMap<Bytes, BTreeMap<u64, T>>,
}

impl<T> Default for TopicTable<T> {
    fn default() -> Self {
        Self { ranges: Vec::new() }
    }
}

impl<T> TopicTable<T> {
    /// Adds the owner `id` of a topic. It may have one.
    pub(super) fn add(&mut self, range: &KeyRange, about: &About, id: u64, owner: T) {
        let known = self.ranges.iter().position(|of| of.is(range, about));
        let index = known.unwrap_or_else(|| {
            self.ranges.push(TopicRange {
                range: range.clone(),
                topics: about.topics,
                owners: BTreeMap::new(),
            });
            self.ranges.len() - 1
        });
        let owners = self.ranges[index].owners.entry(about.topic.clone()).or_default();
        owners.insert(id, owner);
    }

    /// Removes it.
    pub(super) fn remove(&mut self, range: &KeyRange, about: &About, id: u64) {
        let Some(index) = self.ranges.iter().position(|of| of.is(range, about)) else {
            return;
        };
        let all = &mut self.ranges[index].owners;
        if let Some(owners) = all.get_mut(&about.topic) {
            owners.remove(&id);
            if owners.is_empty() {
                all.remove(&about.topic);
            }
        }
        if all.is_empty() {
            self.ranges.swap_remove(index);
        }
    }

    /// The owners of what the event at `place` of a change is about; one may be told several times.
    pub(super) fn meet(&self, change: &SharedChange, place: usize, mut found: impl FnMut(&T)) {
        let key = &change.events[place].kv.key;
        for of in self.ranges.iter().filter(|of| of.range.contains(key)) {
            let topics = change.topics(of.topics, place);
            let owners = topics.iter().filter_map(|topic| of.owners.get(topic));
            owners.flat_map(BTreeMap::values).for_each(&mut found);
        }
    }

    /// All owners.
    pub(super) fn owners(&self) -> impl Iterator<Item = &T> {
        let topics = self.ranges.iter().flat_map(|of| of.owners.values());
        topics.flat_map(BTreeMap::values)
    }
}

impl<T> TopicRange<T> {
    fn is(&self, range: &KeyRange, about: &About) -> bool {
        self.range == *range && self.topics.name() == about.topics.name()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use trireme_mvcc::machine::Change;
    use trireme_mvcc::types::{EventKind, KeyValue};

    use super::*;

    /// A change is about what its value was before it and is after it.
    #[derive(Debug)]
    pub(in super::super) struct Values;

    impl Topics for Values {
        fn name(&self) -> &'static str {
            "values"
        }

        fn each(&self, event: &Event, found: &mut dyn FnMut(&[u8])) {
            event.prev_kv.iter().for_each(|kv| found(&kv.value));
            if event.kind == EventKind::Put {
                found(&event.kv.value);
            }
        }
    }

    fn about(topic: &'static str) -> About {
        About {
            topics: &Values,
            topic: topic.into(),
        }
    }

    fn change(key: &'static str, before: Option<&'static str>, after: &'static str) -> SharedChange {
        let kv = |value: &'static str| KeyValue {
            key: key.into(),
            value: value.into(),
            ..KeyValue::default()
        };
        let event = Event {
            kind: EventKind::Put,
            kv: kv(after),
            prev_kv: before.map(kv),
        };
        SharedChange::new(Change {
            revision: 1,
            events: vec![Arc::new(event)],
        })
    }

    fn met(table: &TopicTable<u64>, change: &SharedChange) -> Vec<u64> {
        let mut ids = Vec::new();
        table.meet(change, 0, |id| ids.push(*id));
        ids.sort_unstable();
        ids
    }

    /// A change is about its key.
    #[derive(Debug)]
    struct Keys;

    impl Topics for Keys {
        fn name(&self) -> &'static str {
            "keys"
        }

        fn each(&self, event: &Event, found: &mut dyn FnMut(&[u8])) {
            found(&event.kv.key);
        }
    }

    /// What was looked for in one way is not taken for what another way tells.
    #[test]
    fn topics_of_each_kind_are_told() {
        let change = change("pods/x", Some("a"), "b");
        for _ in 0..2 {
            assert_eq!(*change.topics(&Values, 0), ["a", "b"]);
            assert_eq!(*change.topics(&Keys, 0), ["pods/x"]);
        }
        assert!(about("b").concerns(&change, 0));
        assert!(!about("c").concerns(&change, 0));
    }

    #[test]
    fn only_those_are_met_whom_it_concerns() {
        let (pods, nodes) = (KeyRange::prefix("pods/"), KeyRange::prefix("nodes/"));
        let mut table = TopicTable::default();
        for (id, range, topic) in [(1, &pods, "a"), (2, &pods, "a"), (3, &pods, "b"), (4, &nodes, "a")] {
            table.add(range, &about(topic), id, id);
        }
        assert_eq!(met(&table, &change("pods/x", None, "a")), [1, 2]);
        assert_eq!(met(&table, &change("pods/x", Some("a"), "b")), [1, 2, 3]);
        assert_eq!(met(&table, &change("nodes/x", None, "a")), [4]);
        assert!(met(&table, &change("pods/x", None, "c")).is_empty());
        assert!(met(&table, &change("others/x", None, "a")).is_empty());
        assert_eq!(table.owners().count(), 4);

        table.remove(&pods, &about("a"), 1);
        assert_eq!(met(&table, &change("pods/x", Some("a"), "b")), [2, 3]);
        for (id, range, topic) in [(2, &pods, "a"), (3, &pods, "b"), (4, &nodes, "a"), (4, &nodes, "a")] {
            table.remove(range, &about(topic), id);
        }
        assert!(table.ranges.is_empty());
    }
}
