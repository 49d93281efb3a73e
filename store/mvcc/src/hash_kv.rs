//! A hash over the readable content: what replicas compare whose physical compaction has come to different places.
//!
//! It covers, of every key, each version since the watermark and the one that lived there; whatever a compaction may have
//! removed is left out, also where it is still lying around. Unlike the rolling hash (see [`crate::hash`]) it is
//! computed from what the disk holds now, so it finds what has rotted there.

use std::cmp::Ordering;

use crate::keys;
use crate::meta::Revisions;
use crate::range::{ReadError, resolve};
use crate::record::Record;
use crate::storage::{Access, Cursor, StorageError, StorageRead, Table};
use crate::types::{HashKv, Revision};

/// Hashes everything that can be read up to `revision`; 0 for the latest. Reads all of it, holds none of it.
///
/// # Errors
/// [`ReadError`].
pub fn hash_kv<R: StorageRead>(reader: &R, revision: Revision) -> Result<HashKv, ReadError> {
    let state = Revisions::load(reader)?;
    let hash_revision = resolve(revision, state)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut cursor = reader.cursor(Table::Data, Access::Ordered { upper: None });
    cursor.seek(&[])?;
    let mut of_key = OfKey::default();
    while let Some((key, value)) = cursor.entry() {
        if of_key.counts(key, value, state.compacted, hash_revision)? {
            for part in [key, value] {
                hasher.update(&(part.len() as u64).to_be_bytes());
                hasher.update(part);
            }
        }
        cursor.next()?;
    }
    Ok(HashKv {
        hash: hasher.finalize(),
        hash_revision,
        compact_revision: state.compacted,
    })
}

/// What was met of the present key.
#[derive(Default)]
struct OfKey {
    escaped: Vec<u8>,
    /// The version that is in force at the watermark has been met: all that follow are superseded.
    in_force_met: bool,
}

impl OfKey {
    /// Whether this version is part of the content. Versions of a key come newest first.
    fn counts(&mut self, key: &[u8], value: &[u8], watermark: Revision, last: Revision) -> Result<bool, StorageError> {
        let (escaped, revision) = keys::split_data_key(key)?;
        if escaped != self.escaped {
            self.escaped.clear();
            self.escaped.extend_from_slice(escaped);
            self.in_force_met = false;
        }
        if revision > last {
            return Ok(false);
        }
        Ok(match revision.cmp(&watermark) {
            // The watermark's own change is kept, deletions too, and so is what it replaced.
            Ordering::Greater | Ordering::Equal => true,
            Ordering::Less => !std::mem::replace(&mut self.in_force_met, true) && !Record::decode(value)?.tombstone,
        })
    }
}
