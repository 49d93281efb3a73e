//! The total order of writes, played back: which changes each revision made. What watches are judged by.

use std::collections::BTreeMap;

use super::{
    history::Call,
    model::{Event, State},
};

/// Every change of a run, by revision.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    events: BTreeMap<i64, Vec<Event>>,
    /// The last revision that the order covers.
    last: i64,
    initial: Option<State>,
    /// Revisions up to here may have been forgotten by the store while it was watched.
    pub compacted: i64,
}

impl Replay {
    /// Plays an order that the search found.
    pub fn of(calls: &[Call], order: &[usize], initial: &State) -> Self {
        let mut state = initial.clone();
        let mut events: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
        for position in order {
            // A refused request does nothing, which is why it was placed.
            let Ok(applied) = state.evaluate(&calls[*position].op) else {
                continue;
            };
            state.commit(&applied);
            if !applied.events.is_empty() {
                events.insert(applied.revision, applied.events);
            }
        }
        Self {
            events,
            last: state.revision,
            initial: Some(initial.clone()),
            compacted: 0,
        }
    }

    /// Events given by hand, for tests of the rules.
    pub fn of_events(events: BTreeMap<i64, Vec<Event>>) -> Self {
        Self {
            last: events.keys().next_back().copied().unwrap_or(0),
            events,
            initial: None,
            compacted: 0,
        }
    }

    /// The last revision that is known. What a watch tells of later ones cannot be judged.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// The changes of one revision.
    pub fn at(&self, revision: i64) -> &[Event] {
        self.events.get(&revision).map_or(&[], Vec::as_slice)
    }

    /// The changes of the revisions from `first` to `last`, both included, in order.
    pub fn between(&self, first: i64, last: i64) -> impl Iterator<Item = &Event> {
        let range = if first <= last { Some(first..=last) } else { None };
        range
            .into_iter()
            .flat_map(|range| self.events.range(range))
            .flat_map(|(_, events)| events)
    }

    /// The keys at one revision, for reads of the past. None if the revision is not covered.
    pub fn state_at(&self, revision: i64) -> Option<BTreeMap<String, crate::linear::model::KeyValue>> {
        let initial = self.initial.as_ref()?;
        if revision < initial.revision || revision > self.last {
            return None;
        }
        let all = crate::linear::model::KeyRange::all();
        let mut keys: BTreeMap<_, _> = initial.range(&all).into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        for event in self.between(initial.revision + 1, revision) {
            if event.deleted {
                keys.remove(&event.kv.key);
            } else {
                keys.insert(event.kv.key.clone(), event.kv.clone());
            }
        }
        Some(keys)
    }
}
