//! The latest changes, in memory, without gaps.
//!
//! It covers all revisions from its first to the present one. Every revision has a change, so a revision's place is a
//! subtraction.

use std::collections::VecDeque;
use std::sync::Arc;

use trireme_mvcc::history::event_bytes;
use trireme_mvcc::types::Revision;

use super::shared::SharedChange;
use crate::engine::limits::{WINDOW_BYTES, WINDOW_EVENT_OVERHEAD_BYTES, WINDOW_EVENTS};

/// How much a window may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowLimits {
    pub(super) bytes: usize,
    pub(super) events: usize,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self {
            bytes: WINDOW_BYTES,
            events: WINDOW_EVENTS,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    limits: WindowLimits,
    changes: VecDeque<Arc<SharedChange>>,
    /// The present revision: that of the last change, if there is one.
    revision: Revision,
    bytes: usize,
    events: usize,
}

/// What a cursor finds.
#[derive(Debug)]
pub(super) enum Found<T = Vec<Arc<SharedChange>>> {
    /// These changes, one a revision, or what was made of them; there may be more behind them.
    Changes(T),
    /// Nothing: the cursor is past the present revision.
    Nothing,
    /// The window begins later: look into the history, up to and with this revision.
    History(Revision),
}

impl Window {
    pub(super) fn new(limits: WindowLimits, revision: Revision) -> Self {
        Self {
            limits,
            changes: VecDeque::new(),
            revision,
            bytes: 0,
            events: 0,
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// The first revision that it covers; the next one if it covers none.
    pub(super) fn first(&self) -> Revision {
        self.revision + 1 - self.changes.len() as Revision
    }

    /// Adds the next revision's change, and lets go of the oldest if it is too much.
    pub(super) fn push(&mut self, change: Arc<SharedChange>) {
        assert_eq!(change.revision, self.revision + 1, "I3: changes come without gaps");
        self.revision = change.revision;
        self.bytes += change_bytes(&change);
        self.events += change.events.len();
        self.changes.push_back(change);
        while self.bytes > self.limits.bytes || self.events > self.limits.events {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= change_bytes(&oldest);
            self.events -= oldest.events.len();
        }
    }

    /// Forgets everything: the state was replaced and stands at `revision` now.
    pub(super) fn reset(&mut self, revision: Revision) {
        *self = Self::new(self.limits, revision);
    }

    /// Up to `max` changes from revision `next` on.
    pub(super) fn from(&self, next: Revision, max: usize) -> Found<impl Iterator<Item = &Arc<SharedChange>>> {
        if next > self.revision {
            return Found::Nothing;
        }
        let first = self.first();
        match usize::try_from(next - first) {
            Ok(place) => Found::Changes(self.changes.range(place..).take(max)),
            Err(_) => Found::History(first - 1),
        }
    }
}

fn change_bytes(change: &SharedChange) -> usize {
    change
        .events
        .iter()
        .map(|event| event_bytes(event) + WINDOW_EVENT_OVERHEAD_BYTES)
        .sum()
}

#[cfg(test)]
mod tests {
    use trireme_mvcc::machine::Change;
    use trireme_mvcc::types::{Event, EventKind, KeyValue};

    use super::*;

    fn change(revision: Revision, value: &'static [u8]) -> Arc<SharedChange> {
        let kv = KeyValue {
            key: "k".into(),
            value: value.into(),
            mod_revision: revision,
            ..KeyValue::default()
        };
        let event = Event {
            kind: EventKind::Put,
            kv,
            prev_kv: None,
        };
        Arc::new(SharedChange::new(Change {
            revision,
            events: vec![Arc::new(event)],
        }))
    }

    fn check(window: &Window, next: Revision, max: usize) -> String {
        match window.from(next, max) {
            Found::Changes(changes) => {
                format!("{:?}", changes.map(|change| change.revision).collect::<Vec<_>>())
            }
            Found::Nothing => format!("nothing at {}", window.revision()),
            Found::History(until) => format!("history until {until}"),
        }
    }

    #[test]
    fn finds_every_revision_or_says_where_it_is() {
        let mut window = Window::new(
            WindowLimits {
                bytes: usize::MAX,
                events: 3,
            },
            10,
        );
        assert_eq!(check(&window, 11, 9), "nothing at 10");
        assert_eq!(check(&window, 10, 9), "history until 10");
        for revision in 11..=15 {
            window.push(change(revision, b""));
        }
        assert_eq!(check(&window, 13, 9), "[13, 14, 15]");
        assert_eq!(check(&window, 14, 1), "[14]");
        assert_eq!(check(&window, 12, 9), "history until 12");
        assert_eq!(check(&window, 20, 9), "nothing at 15");
        window.reset(40);
        assert_eq!(check(&window, 16, 9), "history until 40");
        assert_eq!(check(&window, 41, 9), "nothing at 40");
    }

    #[test]
    fn bytes_are_bounded() {
        let each = 100 + 1 + WINDOW_EVENT_OVERHEAD_BYTES;
        let mut window = Window::new(
            WindowLimits {
                bytes: 2 * each,
                events: usize::MAX,
            },
            1,
        );
        for revision in 2..=9 {
            window.push(change(revision, &[7; 100]));
        }
        assert_eq!(check(&window, 8, 9), "[8, 9]");
        assert_eq!(check(&window, 7, 9), "history until 7");
    }
}
