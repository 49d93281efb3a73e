//! The state as the entry being applied sees it: the storage's view, and over it what earlier entries of the same
//! chunk, and earlier operations of the same transaction, have written.
//!
//! It also gathers the batch. Reading through it and writing the batch afterwards gives exactly what applying
//! the entries one by one would have given.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::index::Known;
use crate::keys;
use crate::lease;
use crate::limits::FEW_KEYS;
use crate::range::{self, Bounds, ReadError};
use crate::recall::Recall;
use crate::record::Record;
use crate::scan::{Live, Overlay, Visit, Written, bounds, overlaid, scan, visit_key};
use crate::storage::{Access, StorageError, StorageRead, Table, WriteBatch};
use crate::types::{Event, EventKind, KeyRange, KeyValue, Lease, RangeRequest, RangeResponse, Revision};

const EVENT_PUT: u8 = 1;
const EVENT_DELETE: u8 = 2;

/// See the module.
pub(crate) struct View<'s, R: StorageRead> {
    base: &'s R,
    recall: &'s Recall,
    /// Opened when the first key is not known otherwise.
    one_key: Option<R::Cursor<'s>>,
    overlay: Overlay,
    /// Leases that were made, changed or, `None`, ended.
    leases: BTreeMap<i64, Option<Lease>>,
    /// Keys that were attached to a lease or, false, detached from it.
    attachments: BTreeMap<(i64, Bytes), bool>,
    batch: WriteBatch,
}

/// A moment in the making of a chunk, to go back to. Since then, nothing but events was written.
pub(crate) struct Mark {
    writes: usize,
}

impl<'s, R: StorageRead> View<'s, R> {
    /// Over what `base` holds. What `recall` knows is of the same state.
    pub(crate) fn new(base: &'s R, recall: &'s Recall) -> Self {
        Self {
            base,
            recall,
            one_key: None,
            overlay: BTreeMap::new(),
            leases: BTreeMap::new(),
            attachments: BTreeMap::new(),
            batch: WriteBatch::default(),
        }
    }

    /// The newest version of a key, if it lives.
    pub(crate) fn latest(&mut self, key: &Bytes) -> Result<Option<KeyValue>, StorageError> {
        if let Some(written) = overlaid(&self.overlay, key, Revision::MAX) {
            return Ok(written.kv.clone());
        }
        match self.recall.index.get(key) {
            Some((Known::Version(kv), _)) => return Ok(Some(kv)),
            Some((Known::Absent, _)) => return Ok(None),
            Some((Known::At(revision), _)) => {
                if let Some(found) = range::version(self.base, key, revision)? {
                    // Who writes it makes it known; but many only look, each at the same few keys.
                    self.recall.index.keep([&found]);
                    return Ok(Some(found));
                }
            }
            None => {}
        }
        let base = self.base;
        let cursor = self
            .one_key
            .get_or_insert_with(|| base.cursor(Table::Data, Access::OneKey));
        let mut found = None;
        visit_key(cursor, key, Revision::MAX, &mut |live| {
            found = Some(live.to_key_value(true));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Visits the newest versions of a range.
    pub(crate) fn scan_latest(&mut self, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), StorageError> {
        if range.end.is_none() {
            if let Some(kv) = self.latest(&range.start)? {
                let _ = visit(Live::Written(&kv));
            }
            return Ok(());
        }
        let Some(few) = self.few_keys(range) else {
            return scan(self.base, &self.overlay, range, Revision::MAX, visit);
        };
        for key in few {
            if let Some(kv) = self.latest(&key)?
                && visit(Live::Written(&kv)).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    /// The keys of a range that may live, in order, if they are known to be few. To open a cursor over a range takes longer than
    /// to look for some keys, the more so the more files the storage has.
    fn few_keys(&self, range: &KeyRange) -> Option<BTreeSet<Bytes>> {
        let Some(bounds) = bounds(range) else {
            return Some(BTreeSet::new());
        };
        let mut stored = Vec::new();
        self.recall.index.walk(range, |met| {
            stored.push(Bytes::copy_from_slice(met.key));
            if stored.len() > FEW_KEYS {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        let written = self.overlay.range::<Bytes, _>(bounds).take(FEW_KEYS + 1);
        let written: Vec<Bytes> = written.map(|(key, _)| key.clone()).collect();
        if stored.len().max(written.len()) > FEW_KEYS {
            return None;
        }
        Some(stored.into_iter().chain(written).collect())
    }

    /// Reads a range at `revision`, which may include writes of this chunk.
    pub(crate) fn read(
        &self,
        request: &RangeRequest,
        bounds: Bounds,
        revision: Revision,
        current: Revision,
    ) -> Result<RangeResponse, ReadError> {
        range::read(self.base, &self.overlay, request, bounds, revision, current)
    }

    /// The lease `id`, if it exists.
    pub(crate) fn lease(&self, id: i64) -> Result<Option<Lease>, StorageError> {
        match self.leases.get(&id) {
            Some(written) => Ok(*written),
            None => lease::lease(self.base, id),
        }
    }

    /// Stores a lease or, `None`, ends it.
    pub(crate) fn set_lease(&mut self, id: i64, lease: Option<Lease>) {
        let key = keys::lease_key(id).to_vec();
        match &lease {
            Some(lease) => self.batch.put(Table::Leases, key, lease::encode(lease)),
            None => self.batch.delete(Table::Leases, key),
        }
        self.leases.insert(id, lease);
    }

    /// The keys attached to the lease `id`, in order.
    pub(crate) fn attached_keys(&self, id: i64) -> Result<Vec<Bytes>, StorageError> {
        let mut attached: BTreeSet<Bytes> = lease::attached_keys(self.base, id)?.into_iter().collect();
        let written = self.attachments.range((id, Bytes::new())..);
        for ((_, key), is_attached) in written.take_while(|((of, _), _)| *of == id) {
            if *is_attached {
                attached.insert(key.clone());
            } else {
                attached.remove(key);
            }
        }
        Ok(attached.into_iter().collect())
    }

    fn attach(&mut self, id: i64, key: &Bytes, is_attached: bool) {
        let row = keys::attachment_key(id, key);
        if is_attached {
            self.batch.put(Table::LeaseKeys, row, Vec::new());
        } else {
            self.batch.delete(Table::LeaseKeys, row);
        }
        self.attachments.insert((id, key.clone()), is_attached);
    }

    /// Keys follow the lease of their newest version.
    fn move_attachment(&mut self, key: &Bytes, from: i64, to: i64) {
        if from == to {
            return;
        }
        if from != 0 {
            self.attach(from, key, false);
        }
        if to != 0 {
            self.attach(to, key, true);
        }
    }

    /// Marks this moment.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            writes: self.batch.len(),
        }
    }

    /// Undoes the events that were written since `mark`.
    pub(crate) fn undo(&mut self, mark: &Mark, events: &[Arc<Event>]) {
        for event in events.iter().rev() {
            let key = &event.kv.key;
            let versions = self.overlay.get_mut(key);
            if versions.is_some_and(|versions| versions.pop().is_some() && versions.is_empty()) {
                self.overlay.remove(key);
            }
            // What is said of attachments may now repeat what the storage says, which does no harm.
            let (before, after) = leases_of(event);
            if before != after {
                if after != 0 {
                    self.attachments.insert((after, key.clone()), false);
                }
                if before != 0 {
                    self.attachments.insert((before, key.clone()), true);
                }
            }
        }
        self.batch.truncate(mark.writes);
    }

    /// Stores the change that an event tells of, as change number `sub` of its revision.
    pub(crate) fn write(&mut self, event: &Event, sub: u32) {
        let revision = event.kv.mod_revision;
        let key = &event.kv.key;
        let (record, kind, kv) = match event.kind {
            EventKind::Put => (Record::of(&event.kv), EVENT_PUT, Some(event.kv.clone())),
            EventKind::Delete => (Record::TOMBSTONE, EVENT_DELETE, None),
        };
        self.batch
            .put(Table::Data, keys::data_key(key, revision), record.encode());
        let mut index = Vec::with_capacity(key.len() + 1);
        index.push(kind);
        index.extend_from_slice(key);
        self.batch.put(Table::Events, keys::event_key(revision, sub), index);
        self.overlay
            .entry(key.clone())
            .or_default()
            .push(Written { revision, kv });
        let (before, after) = leases_of(event);
        self.move_attachment(key, before, after);
    }

    /// The batch of all that was written, and what it makes of the keys.
    pub(crate) fn into_parts(self) -> (WriteBatch, Overlay) {
        (self.batch, self.overlay)
    }
}

/// The leases of a key before and after an event; 0 for none.
fn leases_of(event: &Event) -> (i64, i64) {
    let before = event.prev_kv.as_ref().map_or(0, |kv| kv.lease);
    (before, event.kv.lease)
}

/// Takes a value of the table `Events` apart: the kind of the change, and the user key.
pub(crate) fn split_event(value: &[u8]) -> Result<(EventKind, &[u8]), StorageError> {
    match value {
        [EVENT_PUT, key @ ..] => Ok((EventKind::Put, key)),
        [EVENT_DELETE, key @ ..] => Ok((EventKind::Delete, key)),
        _ => Err(StorageError::Corrupt("an event record is malformed".into())),
    }
}
