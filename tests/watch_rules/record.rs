//! What one watch asked for and was sent.

use crate::linear::model::{Event, KeyRange};

/// One watch, from its creation to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Who watched, for findings.
    pub name: String,
    /// Which keys.
    pub range: KeyRange,
    /// The first revision asked for; 0 for the first one after the creation.
    pub start: i64,
    /// Whether puts were filtered out.
    pub no_put: bool,
    /// Whether deletes were filtered out.
    pub no_delete: bool,
    /// Whether the keys before the change were asked for.
    pub prev_kv: bool,
    /// Whether one revision's events may come in several messages.
    pub fragment: bool,
    /// What was sent, in order.
    pub messages: Vec<Message>,
}

/// One message of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The revision in its header.
    pub revision: i64,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The watch is there.
    Created,
    /// Changes.
    Events(Vec<Event>),
    /// Everything up to the header's revision was sent.
    Progress,
    /// The watch is over.
    Canceled {
        /// If it began before what the store still has: the first revision that it has.
        compact_revision: i64,
    },
}

impl Watch {
    /// All events, in order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.messages.iter().flat_map(|message| match &message.body {
            Body::Events(events) => events.as_slice(),
            Body::Created | Body::Progress | Body::Canceled { .. } => &[],
        })
    }

    /// Whether an event is one that was asked for, whatever its revision.
    pub fn wants(&self, event: &Event) -> bool {
        let filtered = if event.deleted { self.no_delete } else { self.no_put };
        !filtered && self.range.contains(&event.kv.key)
    }

    /// The first revision whose events are to be sent. None if the watch was never created.
    pub fn first_revision(&self) -> Option<i64> {
        let created = self.messages.iter().find(|message| message.body == Body::Created)?;
        Some(if self.start > 0 {
            self.start
        } else {
            created.revision + 1
        })
    }
}

/// An event in a few words.
pub(super) fn describe(event: &Event) -> String {
    let what = if event.deleted { "delete of" } else { "put of" };
    format!("{what} {} at revision {}", event.kv.key, event.kv.mod_revision)
}
