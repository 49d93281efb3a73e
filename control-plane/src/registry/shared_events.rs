//! What watches share of the latest events.
//!
//! An event goes to everybody who watches its place, and most of them want the same of it. So what is made of an event is made
//! by the first who needs it and kept for the others: its key, its states, the objects decoded of them, which selectors look
//! into, and the bytes that clients are sent. The memory of this is bounded; the newest events are what it holds. A watch that
//! is behind makes for itself what it needs and takes nothing from those that are not.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use trireme_logic::{kinds, object::KindOps};
use trireme_store::kv::{Event, EventKind, KeyValue, Revision};

use super::{Stored, told::Told};
use crate::limits;

/// See the module.
#[derive(Debug)]
pub(super) struct SharedEvents {
    /// How much is held at most, as it is counted.
    limit_bytes: usize,
    held: Mutex<Held>,
}

/// Which event, and as what it is shown. That of a newer event is greater.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EventKey {
    revision: Revision,
    key: Bytes,
    group: &'static str,
    version: &'static str,
}

/// An event as watches see it. Both states have the revision of the event.
#[derive(Debug)]
pub(super) struct SharedEvent {
    /// The object before it; `None` if there was none.
    pub(super) before: Option<Arc<Told>>,
    /// The object after it; `None` if it was deleted.
    pub(super) after: Option<Arc<Told>>,
}

#[derive(Debug, Default)]
struct Held {
    events: BTreeMap<EventKey, Counted>,
    bytes: usize,
}

#[derive(Debug)]
struct Counted {
    event: Arc<SharedEvent>,
    bytes: usize,
}

impl Default for SharedEvents {
    fn default() -> Self {
        Self::within(limits::SHARED_EVENTS_BYTES)
    }
}

impl SharedEvents {
    /// None yet, and never more than so many bytes.
    pub(super) fn within(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            held: Mutex::default(),
        }
    }

    /// The event as everybody sees it to whom it is shown by `ops`; `None` if it is not one of an object.
    pub(super) fn share(self: &Arc<Self>, ops: &'static dyn KindOps, event: &Event) -> Option<Arc<SharedEvent>> {
        let info = ops.info();
        let key = EventKey {
            revision: event.kv.mod_revision,
            key: event.kv.key.clone(),
            group: info.group,
            version: info.version,
        };
        if let Some(counted) = self.held().events.get(&key) {
            return Some(Arc::clone(&counted.event));
        }
        let made = Arc::new(self.make(ops, event, &key)?);
        let stored_bytes = bytes_of(&event.kv) + event.prev_kv.as_ref().map_or(0, bytes_of);
        let bytes = limits::SHARED_EVENT_OVERHEAD_BYTES + stored_bytes * (1 + limits::DECODED_BYTES_A_BYTE);
        let mut held = self.held();
        match held.events.entry(key) {
            // Somebody else was as fast. There is to be one of it, or its bytes would be made twice.
            Entry::Occupied(other) => return Some(Arc::clone(&other.get().event)),
            Entry::Vacant(place) => {
                let event = Arc::clone(&made);
                place.insert(Counted { event, bytes });
            }
        }
        held.bytes += bytes;
        held.forget_beyond(self.limit_bytes);
        Some(made)
    }

    /// Counts bytes that were made of an event, if it is still held.
    pub(super) fn count(&self, key: &EventKey, bytes: usize) {
        let mut held = self.held();
        if let Some(counted) = held.events.get_mut(key) {
            counted.bytes += bytes;
            held.bytes += bytes;
            held.forget_beyond(self.limit_bytes);
        }
    }

    fn make(self: &Arc<Self>, ops: &'static dyn KindOps, event: &Event, key: &EventKey) -> Option<SharedEvent> {
        let path = std::str::from_utf8(&event.kv.key).ok()?;
        let (_, object) = kinds::parse_storage_key(path)?;
        let told = |kv: &KeyValue| {
            let stored = Stored::new(ops, object.clone(), kv.value.clone(), event.kv.mod_revision);
            Arc::new(Told::shared(stored, Arc::downgrade(self), key.clone()))
        };
        Some(SharedEvent {
            before: event.prev_kv.as_ref().map(told),
            after: (event.kind == EventKind::Put).then(|| told(&event.kv)),
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Forgets the oldest. Who still tells one of them keeps it as long.
    fn forget_beyond(&mut self, limit_bytes: usize) {
        while self.bytes > limit_bytes
            && let Some((_, oldest)) = self.events.pop_first()
        {
            self.bytes -= oldest.bytes;
        }
    }
}

fn bytes_of(kv: &KeyValue) -> usize {
    kv.key.len() + kv.value.len()
}

#[cfg(test)]
mod tests {
    use trireme_logic::{object::ObjectKey, testing::mk_pod};
    use trireme_proto::v1::Encoding;

    use super::*;
    use crate::{
        registry::{Door, ToldAs, ops_of, stored::encode},
        status::ApiError,
    };

    const FORM: ToldAs = ToldAs {
        door: Door::Rest,
        event: "MODIFIED",
        encoding: Encoding::Json,
        metadata: None,
    };

    /// A change of a pod at a revision, with so many bytes of each state.
    fn change(revision: Revision, bytes: usize) -> Event {
        let mut pod = mk_pod("shop", "web");
        let annotations = &mut pod.metadata.as_mut().expect("present").annotations;
        annotations.insert("note".to_owned(), "x".repeat(bytes));
        let key = kinds::storage_key(ops_of("", "pods").info(), &ObjectKey::new("shop", "web"));
        let kv = KeyValue {
            key: key.into(),
            value: encode(&mut pod).expect("encoded"),
            mod_revision: revision,
            ..KeyValue::default()
        };
        let before = KeyValue {
            mod_revision: revision - 1,
            ..kv.clone()
        };
        Event {
            kind: EventKind::Put,
            kv,
            prev_kv: Some(before),
        }
    }

    fn share(events: &Arc<SharedEvents>, event: &Event) -> Arc<SharedEvent> {
        events.share(ops_of("", "pods"), event).expect("a pod's event")
    }

    fn after(event: &SharedEvent) -> &Arc<Told> {
        event.after.as_ref().expect("it was not deleted")
    }

    fn is_held(events: &Arc<SharedEvents>, revision: Revision) -> bool {
        events.held().events.keys().any(|key| key.revision == revision)
    }

    #[test]
    fn states_are_those_of_the_event_at_its_revision() {
        let events = Arc::<SharedEvents>::default();
        let put = change(7, 10);
        let deleted = Event {
            kind: EventKind::Delete,
            kv: KeyValue {
                value: Bytes::new(),
                mod_revision: 8,
                ..put.kv.clone()
            },
            prev_kv: Some(put.kv.clone()),
        };
        let created = Event {
            prev_kv: None,
            ..change(9, 10)
        };
        for (event, revision, states) in [
            (put, 7, (true, true)),
            (deleted, 8, (true, false)),
            (created, 9, (false, true)),
        ] {
            let seen = share(&events, &event);
            assert_eq!((seen.before.is_some(), seen.after.is_some()), states);
            for told in [&seen.before, &seen.after].into_iter().flatten() {
                assert_eq!(told.revision(), revision);
                assert_eq!(told.key(), &ObjectKey::new("shop", "web"));
                assert_eq!(told.object().expect("decodes").metadata().annotations["note"].len(), 10);
            }
        }
        let lease = Event {
            kv: KeyValue {
                key: "/elsewhere".into(),
                ..KeyValue::default()
            },
            ..change(10, 1)
        };
        assert!(events.share(ops_of("", "pods"), &lease).is_none());
    }

    #[test]
    fn an_event_is_one_for_all_and_its_bytes_are_made_once() {
        let events = Arc::<SharedEvents>::default();
        let event = change(7, 2_000);
        let made = std::sync::atomic::AtomicUsize::new(0);
        let start = std::sync::Barrier::new(8);
        let told_bytes = std::thread::scope(|scope| {
            let watch = || {
                start.wait();
                let told = Arc::clone(after(&share(&events, &event)));
                let bytes = told.in_form(FORM, |stored| {
                    made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    Ok(stored.to_json()?.into())
                });
                bytes.expect("JSON")
            };
            let watches: Vec<_> = (0..8).map(|_| scope.spawn(watch)).collect();
            watches
                .into_iter()
                .map(|watch| watch.join().expect("no panic"))
                .collect::<Vec<_>>()
        });
        assert_eq!(made.load(std::sync::atomic::Ordering::Relaxed), 1);
        let alone = after(&share(&Arc::default(), &event)).to_json().expect("JSON");
        for bytes in &told_bytes {
            assert_eq!(bytes.as_ptr(), told_bytes[0].as_ptr(), "shared, not copied");
            assert_eq!(*bytes, alone);
        }
        let metadata = ToldAs {
            metadata: Some("v1"),
            ..FORM
        };
        let other = after(&share(&events, &event)).in_form(metadata, |_| Ok("metadata".into()));
        assert_eq!(other.expect("made"), "metadata", "another form has bytes of its own");
    }

    #[test]
    fn what_failed_to_be_made_is_tried_again() {
        let events = Arc::<SharedEvents>::default();
        let told = share(&events, &change(7, 10));
        let failed = after(&told).in_form(FORM, |_| Err(ApiError::internal("no")));
        failed.expect_err("it was refused");
        assert_eq!(after(&told).in_form(FORM, |_| Ok("yes".into())).expect("made"), "yes");
    }

    #[test]
    fn versions_that_are_shown_are_kept_apart() {
        let events = Arc::<SharedEvents>::default();
        let event = Event {
            kv: KeyValue {
                key: kinds::storage_key(
                    ops_of("autoscaling", "horizontalpodautoscalers").info(),
                    &ObjectKey::new("shop", "web"),
                )
                .into(),
                ..change(7, 0).kv
            },
            prev_kv: None,
            kind: EventKind::Put,
        };
        for version in ["v1", "v2"] {
            let ops = kinds::by_resource("autoscaling", version, "horizontalpodautoscalers").expect("served");
            let seen = events.share(ops, &event).expect("an object's");
            assert_eq!(after(&seen).kind().version, version);
        }
        assert_eq!(events.held().events.len(), 2);
    }

    /// The memory is bounded, holds the newest, and a watch that is behind is told the same without taking their place.
    #[test]
    fn the_memory_is_bounded_and_is_of_the_newest() {
        let limit_bytes = 200_000;
        let events = Arc::new(SharedEvents::within(limit_bytes));
        let mut previous = None;
        for revision in 1..=100 {
            let seen = share(&events, &change(revision, 2_000));
            let bytes = after(&seen).in_form(FORM, |stored| Ok(stored.to_json()?.into()));
            bytes.expect("JSON");
            let held = events.held();
            let counted: usize = held.events.values().map(|counted| counted.bytes).sum();
            assert_eq!(counted, held.bytes);
            assert!(counted <= limit_bytes, "{counted}");
            previous = Some(seen);
        }
        assert!(is_held(&events, 100) && !is_held(&events, 1));
        let fast = share(&events, &change(100, 2_000));
        assert!(Arc::ptr_eq(&fast, &previous.expect("a hundred")));

        let late = share(&events, &change(1, 2_000));
        assert_eq!(after(&late).revision(), 1);
        assert!(after(&late).to_json().is_ok());
        assert!(!is_held(&events, 1) && is_held(&events, 100));

        // What is made of the only event counts as well.
        let alone = share(&events, &change(200, 10));
        let bytes = after(&alone).in_form(FORM, |_| Ok(vec![0; limit_bytes].into()));
        assert_eq!(bytes.expect("made").len(), limit_bytes);
        let held = events.held();
        assert_eq!((held.events.len(), held.bytes), (0, 0));
    }
}
