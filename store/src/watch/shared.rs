//! A change as all watchers share it: once in memory; encoded for etcd's watchers once, when the first of them needs it; and
//! looked into once for what it is about, for those who watch topics.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prost::Message;
use trireme_mvcc::machine::Change;
use trireme_mvcc::types::Event;

use super::metrics::WatchMetrics;
use super::topics::Topics;
use crate::server::etcd::convert;

/// See the module.
#[derive(Debug)]
pub(crate) struct SharedChange {
    change: Change,
    encoded: OnceLock<Box<[Encoded]>>,
    topics: OnceLock<TopicsOfEvents>,
}

/// What each event of a change is about.
#[derive(Debug)]
struct TopicsOfEvents {
    /// How it was told.
    by: &'static str,
    of: Box<[Box<[Bytes]>]>,
}

/// An event as an encoded `mvccpb.Event`, without and with the version before.
#[derive(Debug, Default)]
struct Encoded {
    plain: OnceLock<Bytes>,
    with_previous: OnceLock<Bytes>,
}

impl SharedChange {
    pub(super) fn new(change: Change) -> Self {
        Self {
            change,
            encoded: OnceLock::new(),
            topics: OnceLock::new(),
        }
    }

    /// What the event at `place` is about. It is looked for once: of a change, as good as all ask in the same way.
    pub(super) fn topics(&self, topics: &'static dyn Topics, place: usize) -> Cow<'_, [Bytes]> {
        let of = |event: &Arc<Event>| {
            let mut found = Vec::new();
            topics.each(event, &mut |topic| found.push(Bytes::copy_from_slice(topic)));
            found
        };
        let known = self.topics.get_or_init(|| TopicsOfEvents {
            by: topics.name(),
            of: self
                .change
                .events
                .iter()
                .map(|event| of(event).into_boxed_slice())
                .collect(),
        });
        if known.by == topics.name() {
            Cow::Borrowed(&known.of[place])
        } else {
            Cow::Owned(of(&self.change.events[place]))
        }
    }

    /// The event at `place`, encoded.
    pub(crate) fn encoded(&self, place: usize, with_previous: bool, metrics: &WatchMetrics) -> Bytes {
        let all = self
            .encoded
            .get_or_init(|| self.change.events.iter().map(|_| Encoded::default()).collect());
        let event: &Event = &self.change.events[place];
        if with_previous && event.prev_kv.is_some() {
            let bytes = all[place].with_previous.get_or_init(|| encode(event, true, metrics));
            return bytes.clone();
        }
        all[place].plain.get_or_init(|| encode(event, false, metrics)).clone()
    }
}

fn encode(event: &Event, with_previous: bool, metrics: &WatchMetrics) -> Bytes {
    metrics.encoded.add(1);
    convert::event(event, with_previous).encode_to_vec().into()
}

impl Deref for SharedChange {
    type Target = Change;

    fn deref(&self) -> &Change {
        &self.change
    }
}
