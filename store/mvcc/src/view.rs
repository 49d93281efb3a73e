//! The state as the entry being applied sees it: the storage's view, and over it what earlier entries of the same
//! chunk, and earlier operations of the same transaction, have written.
//!
//! It also gathers the batch. Reading through it and writing the batch afterwards gives exactly what applying
//! the entries one by one would have given.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::keys;
use crate::range;
use crate::record::Record;
use crate::scan::{Overlay, Visit, Written, overlaid, scan, visit_key};
use crate::storage::{Access, StorageError, StorageRead, Table, WriteBatch};
use crate::types::{Event, EventKind, KeyRange, KeyValue, RangeRequest, RangeResponse, Revision};

const EVENT_PUT: u8 = 1;
const EVENT_DELETE: u8 = 2;

/// See the module.
pub(crate) struct View<'s, R: StorageRead> {
    base: &'s R,
    one_key: R::Cursor<'s>,
    overlay: Overlay,
    batch: WriteBatch,
}

impl<'s, R: StorageRead> View<'s, R> {
    pub(crate) fn new(base: &'s R) -> Self {
        let one_key = base.cursor(Table::Data, Access::OneKey);
        Self {
            base,
            one_key,
            overlay: BTreeMap::new(),
            batch: WriteBatch::default(),
        }
    }

    /// The newest version of a key, if it lives.
    pub(crate) fn latest(&mut self, key: &Bytes) -> Result<Option<KeyValue>, StorageError> {
        if let Some(written) = overlaid(&self.overlay, key, Revision::MAX) {
            return Ok(written.kv.clone());
        }
        let mut found = None;
        visit_key(&mut self.one_key, key, Revision::MAX, &mut |live| {
            found = Some(live.to_key_value(true));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Visits the newest versions of a range.
    pub(crate) fn scan_latest(&mut self, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), StorageError> {
        match (&range.end, overlaid(&self.overlay, &range.start, Revision::MAX)) {
            // One key that is not in the overlay: reuse the open cursor.
            (None, None) => visit_key(&mut self.one_key, &range.start, Revision::MAX, visit),
            _ => scan(self.base, &self.overlay, range, Revision::MAX, visit),
        }
    }

    /// Reads a range at `revision`, which may include writes of this chunk.
    pub(crate) fn read(
        &self,
        request: &RangeRequest,
        revision: Revision,
        current: Revision,
    ) -> Result<RangeResponse, StorageError> {
        range::read(self.base, &self.overlay, request, revision, current)
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
    }

    /// The batch of all that was written.
    pub(crate) fn into_batch(self) -> WriteBatch {
        self.batch
    }
}

/// Takes a value of the table `Events` apart: the kind of the change, and the user key.
pub(crate) fn split_event(value: &[u8]) -> Result<(EventKind, &[u8]), StorageError> {
    match value {
        [EVENT_PUT, key @ ..] => Ok((EventKind::Put, key)),
        [EVENT_DELETE, key @ ..] => Ok((EventKind::Delete, key)),
        _ => Err(StorageError::Corrupt("an event record is malformed".into())),
    }
}
