//! What answers give away about requests whose outcome nobody was told.
//!
//! Every value is written by one request only. So whoever was shown a value with its revision has seen that request
//! take effect, and when. This is sound: if what was shown is wrong, the model will not agree either.

use std::collections::{BTreeMap, BTreeSet};

use crate::linear::{
    history::{Call, Outcome},
    model::{Event, KeyValue},
};

/// One change as a watcher was told of it: the key, and the value or none if it was deleted.
pub type Change = (String, Option<String>);

/// What is known of revisions beside the answers to their own requests.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Where values were written, by key and value.
    shown: BTreeMap<(String, String), BTreeSet<i64>>,
    /// All changes of a revision.
    witnessed: BTreeMap<i64, BTreeSet<Change>>,
}

impl Evidence {
    /// What the answers themselves show.
    pub fn of(calls: &[Call]) -> Self {
        let mut evidence = Self::default();
        for call in calls {
            if let Outcome::Done { answer, .. } = &call.outcome {
                for kv in answer.shown() {
                    evidence.show(kv);
                }
            }
        }
        evidence
    }

    /// Adds the whole changes of revisions, as a watcher of all keys was told.
    #[must_use]
    pub fn with_witness(mut self, events: &BTreeMap<i64, Vec<Event>>) -> Self {
        for (revision, events) in events {
            for event in events {
                if event.deleted {
                    continue;
                }
                self.show(&event.kv);
            }
            let changes = events.iter().map(change).collect();
            self.witnessed.insert(*revision, changes);
        }
        self
    }

    fn show(&mut self, kv: &KeyValue) {
        let at = (kv.key.clone(), kv.value.clone());
        self.shown.entry(at).or_default().insert(kv.mod_revision);
    }

    /// The revisions at which any of these values was seen to have been written. More than one is a broken promise.
    pub(super) fn places(&self, writes: &[(&str, &str)]) -> BTreeSet<i64> {
        let places = writes
            .iter()
            .filter_map(|(key, value)| self.shown.get(&((*key).to_owned(), (*value).to_owned())));
        places.flatten().copied().collect()
    }

    /// Whether a revision may consist of these changes, as far as is known.
    pub(super) fn allows(&self, revision: i64, events: &[Event]) -> bool {
        match self.witnessed.get(&revision) {
            None => true,
            Some(witnessed) => *witnessed == events.iter().map(change).collect(),
        }
    }
}

fn change(event: &Event) -> Change {
    let value = (!event.deleted).then(|| event.kv.value.clone());
    (event.kv.key.clone(), value)
}
