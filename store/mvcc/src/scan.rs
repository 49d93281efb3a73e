//! Walks the live versions of a range of keys at one revision, over a view and writes not yet in it.
//!
//! One walk serves reads, compares, deletes and ranges inside transactions. It goes forward only, touches each
//! key's newer versions once and seeks past long tails of old ones.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::keys;
use crate::record::Record;
use crate::storage::{Access, Cursor, StorageError, StorageRead, Table};
use crate::types::{KeyRange, KeyValue, Revision};

/// Old versions of a key that are stepped over before it pays to seek.
const STEPS_BEFORE_SEEK: usize = 4;

/// A version written by an entry of the chunk that is being applied.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) revision: Revision,
    /// `None` if the key was deleted.
    pub(crate) kv: Option<KeyValue>,
}

/// Versions that the view does not hold yet, oldest first; all newer than anything the view holds.
pub(crate) type Overlay = BTreeMap<Bytes, Vec<Written>>;

/// A live version that was met.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Live<'a> {
    Stored {
        key: &'a [u8],
        mod_revision: Revision,
        record: Record<'a>,
    },
    Written(&'a KeyValue),
}

impl Live<'_> {
    pub(crate) fn to_key_value(self, with_value: bool) -> KeyValue {
        match self {
            Self::Stored {
                key,
                mod_revision,
                record,
            } => record.to_key_value(key, mod_revision, with_value),
            Self::Written(kv) if with_value => kv.clone(),
            Self::Written(kv) => KeyValue {
                value: Bytes::new(),
                ..kv.clone()
            },
        }
    }
}

impl Live<'_> {
    /// Shows its key and value.
    pub(crate) fn with<T>(self, look: impl FnOnce(&[u8], &[u8]) -> T) -> T {
        match self {
            Self::Stored {
                key,
                mod_revision: _,
                record,
            } => look(key, record.value),
            Self::Written(kv) => look(&kv.key, &kv.value),
        }
    }

    /// Its mod revision and its create revision.
    pub(crate) fn revisions(self) -> (Revision, Revision) {
        match self {
            Self::Stored {
                key: _,
                mod_revision,
                record,
            } => (mod_revision, record.create_revision),
            Self::Written(kv) => (kv.mod_revision, kv.create_revision),
        }
    }
}

/// What is done with each version met.
pub(crate) type Visit<'v> = dyn FnMut(Live<'_>) -> ControlFlow<()> + 'v;

/// Visits the live versions of `range` at `revision` in the order of keys.
pub(crate) fn scan<R: StorageRead>(
    reader: &R,
    overlay: &Overlay,
    range: &KeyRange,
    revision: Revision,
    visit: &mut Visit<'_>,
) -> Result<(), StorageError> {
    let Some(end) = &range.end else {
        if let Some(written) = overlaid(overlay, &range.start, revision) {
            if let Some(kv) = &written.kv {
                let _ = visit(Live::Written(kv));
            }
            return Ok(());
        }
        let mut cursor = reader.cursor(Table::Data, Access::OneKey);
        return visit_key(&mut cursor, &range.start, revision, visit);
    };
    let Some(bounds) = bounds(range) else {
        return Ok(());
    };
    let upper = (!end.is_empty()).then(|| keys::escape(end));
    let cursor = reader.cursor(Table::Data, Access::Ordered { upper });
    merge(Walk::new(cursor, &range.start, revision), overlay, bounds, visit)
}

/// The bounds of a range in an ordered map of keys; `None` if there can be no key in it.
pub(crate) fn bounds(range: &KeyRange) -> Option<(Bound<&Bytes>, Bound<&Bytes>)> {
    let upper = match &range.end {
        None => Bound::Included(&range.start),
        Some(end) if end.is_empty() => Bound::Unbounded,
        Some(end) if *end <= range.start => return None,
        Some(end) => Bound::Excluded(end),
    };
    Some((Bound::Included(&range.start), upper))
}

/// The overlay's version of a key at `revision`, if it has one.
pub(crate) fn overlaid<'o>(overlay: &'o Overlay, key: &Bytes, revision: Revision) -> Option<&'o Written> {
    overlay.get(key).and_then(|versions| newest(versions, revision))
}

fn newest(versions: &[Written], revision: Revision) -> Option<&Written> {
    versions.iter().rev().find(|written| written.revision <= revision)
}

/// Visits one key, if it lives at `revision`: one seek.
pub(crate) fn visit_key<C: Cursor>(
    cursor: &mut C,
    key: &[u8],
    revision: Revision,
    visit: &mut Visit<'_>,
) -> Result<(), StorageError> {
    let mut target = keys::escape(key);
    let escaped = target.len();
    keys::push_version(&mut target, revision);
    cursor.seek(&target)?;
    let Some((found, value)) = cursor.entry() else {
        return Ok(());
    };
    if !found.starts_with(&target[..escaped]) {
        return Ok(());
    }
    let (_, mod_revision) = keys::split_data_key(found)?;
    let record = Record::decode(value)?;
    if !record.tombstone {
        let _ = visit(Live::Stored {
            key,
            mod_revision,
            record,
        });
    }
    Ok(())
}

fn merge<C: Cursor>(
    mut walk: Walk<C>,
    overlay: &Overlay,
    bounds: (Bound<&Bytes>, Bound<&Bytes>),
    visit: &mut Visit<'_>,
) -> Result<(), StorageError> {
    let revision = walk.revision;
    let mut written = overlay
        .range::<Bytes, _>(bounds)
        .filter_map(|(key, versions)| newest(versions, revision).map(|written| (key, written)))
        .peekable();
    let mut stored = walk.advance()?;
    loop {
        let flow = match written.peek() {
            None if !stored => return Ok(()),
            Some((key, newer)) if !stored || key[..] <= walk.key[..] => {
                // A version of the overlay hides the stored one of the same key.
                if stored && key[..] == walk.key[..] {
                    stored = walk.advance()?;
                }
                let flow = newer
                    .kv
                    .as_ref()
                    .map_or(ControlFlow::Continue(()), |kv| visit(Live::Written(kv)));
                written.next();
                flow
            }
            _ => {
                let flow = visit(walk.here()?);
                if flow.is_continue() {
                    stored = walk.advance()?;
                }
                flow
            }
        };
        if flow.is_break() {
            return Ok(());
        }
    }
}

/// Goes from live version to live version of a cursor.
struct Walk<C> {
    cursor: C,
    revision: Revision,
    /// Where to begin; `None` once begun.
    start: Option<Vec<u8>>,
    /// The escaped present key.
    escaped: Vec<u8>,
    /// The present key.
    key: Vec<u8>,
    target: Vec<u8>,
}

impl<C: Cursor> Walk<C> {
    fn new(cursor: C, start: &[u8], revision: Revision) -> Self {
        let start = Some(keys::escape(start));
        Self {
            cursor,
            revision,
            start,
            escaped: Vec::new(),
            key: Vec::new(),
            target: Vec::new(),
        }
    }

    /// Goes to the next live version; false at the end.
    fn advance(&mut self) -> Result<bool, StorageError> {
        match self.start.take() {
            Some(start) => self.cursor.seek(&start)?,
            None => self.leave_key()?,
        }
        loop {
            // Here the cursor is at the newest version of a key, or at the end.
            let Some((found, _)) = self.cursor.entry() else {
                return Ok(false);
            };
            let (escaped, newest) = keys::split_data_key(found)?;
            self.escaped.clear();
            self.escaped.extend_from_slice(escaped);
            if newest > self.revision {
                self.seek_version(self.revision)?;
            }
            match self.cursor.entry() {
                None => return Ok(false),
                Some((found, _)) if !found.starts_with(&self.escaped) => {}
                Some((_, value)) => {
                    if !Record::decode(value)?.tombstone {
                        keys::unescape_into(&self.escaped, &mut self.key);
                        return Ok(true);
                    }
                    self.leave_key()?;
                }
            }
        }
    }

    fn seek_version(&mut self, revision: Revision) -> Result<(), StorageError> {
        self.target.clone_from(&self.escaped);
        keys::push_version(&mut self.target, revision);
        self.cursor.seek(&self.target)
    }

    /// Goes past all versions of the present key.
    fn leave_key(&mut self) -> Result<(), StorageError> {
        for _ in 0..STEPS_BEFORE_SEEK {
            self.cursor.next()?;
            if self
                .cursor
                .entry()
                .is_none_or(|(found, _)| !found.starts_with(&self.escaped))
            {
                return Ok(());
            }
        }
        // No version is at revision 0, so this ends behind the oldest.
        self.seek_version(0)
    }

    fn here(&self) -> Result<Live<'_>, StorageError> {
        let Some((found, value)) = self.cursor.entry() else {
            return Err(StorageError::Corrupt("a cursor moved while it was read".into()));
        };
        let (_, mod_revision) = keys::split_data_key(found)?;
        Ok(Live::Stored {
            key: &self.key,
            mod_revision,
            record: Record::decode(value)?,
        })
    }
}
