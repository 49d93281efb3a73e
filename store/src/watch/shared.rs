//! A change as all watchers share it: once in memory, and encoded for etcd's watchers once, when the first of them
//! needs it.

use std::ops::Deref;
use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message;
use trireme_mvcc::machine::Change;
use trireme_mvcc::types::Event;

use super::metrics::WatchMetrics;
use crate::server::etcd::convert;

/// See the module.
#[derive(Debug)]
pub(crate) struct SharedChange {
    change: Change,
    encoded: OnceLock<Box<[Encoded]>>,
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
