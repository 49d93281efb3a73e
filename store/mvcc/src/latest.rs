//! The newest versions of the keys used last, in memory.
//!
//! Nearly every write must know the version before it, and most reads are of one key as it is now. A database finds that
//! by a search through several sorted runs; this is one look into a hash table. It is a cache and nothing more: what it
//! says is what the storage says, or it says nothing, so that no decision depends on what is in it (I2).
//!
//! It has two generations. What is used goes into the young one; when that is full, the old one is forgotten and the young one
//! takes its place. So what was used since stays, without any order being kept among the keys.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::limits::{LATEST_ENTRY_BYTES_MAX, LATEST_ENTRY_OVERHEAD_BYTES};
use crate::types::{KeyValue, Revision};

/// Parts with a lock of their own.
const SHARDS: usize = 16;
const _: () = assert!(SHARDS.is_power_of_two());

/// What a key is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// When it came to be so: the revision of its last change or, if it is not known to have had one, one by which it was so.
    pub revision: Revision,
    /// Its newest version; `None` if it does not exist.
    pub kv: Option<KeyValue>,
}

/// See the module. One task [notes](Self::note) changes, in their order; any number asks and offers meanwhile.
#[derive(Debug)]
pub struct Latest {
    shards: [Mutex<Shard>; SHARDS],
    /// Most bytes of one generation of one shard.
    generation_bytes: usize,
}

/// With a hash that is made for short keys: a range asks for a thousand at a time.
type Table = HashMap<Bytes, Known, RandomState>;

#[derive(Debug, Default)]
struct Shard {
    young: Table,
    young_bytes: usize,
    old: Table,
    /// The revision of the last change that was noted here. What was read before it may be out of date.
    changed: Revision,
}

impl Latest {
    /// An empty one that takes up to `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            generation_bytes: bytes / SHARDS / 2,
        }
    }

    /// What the key is now, if that is known. Whoever reads beside the one who writes must check that `revision` is not
    /// beyond the state that it answers for, and that this state was the present one before and after the question.
    pub fn get(&self, key: &[u8]) -> Option<Known> {
        self.shard(key).get(key, self.generation_bytes)
    }

    /// Notes what a change made of a key. Of versions that are large nothing is kept.
    pub fn note(&self, key: &Bytes, known: &Known) {
        let mut shard = self.shard(key);
        shard.changed = shard.changed.max(known.revision);
        shard.put(key, known, self.generation_bytes);
    }

    /// Keeps what was read of a key in the state of revision `as_of`, unless a change was noted since that may concern it.
    pub fn offer(&self, key: &Bytes, kv: Option<&KeyValue>, as_of: Revision) {
        let mut shard = self.shard(key);
        if shard.changed > as_of || shard.has(key) {
            return;
        }
        let known = Known {
            revision: kv.map_or(as_of, |kv| kv.mod_revision),
            kv: kv.cloned(),
        };
        shard.put(key, &known, self.generation_bytes);
    }

    /// Forgets everything: the state is another one now, of revision `revision`.
    pub fn clear(&self, revision: Revision) {
        for shard in &self.shards {
            *lock(shard) = Shard {
                changed: revision,
                ..Shard::default()
            };
        }
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        // FNV-1a over the end of the key, where keys differ; the tables have a hash of their own.
        let tail = &key[key.len().saturating_sub(8)..];
        let hash = tail.iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
        lock(&self.shards[hash as usize % SHARDS])
    }
}

impl Shard {
    fn has(&self, key: &[u8]) -> bool {
        self.young.contains_key(key) || self.old.contains_key(key)
    }

    fn get(&mut self, key: &[u8], generation_bytes: usize) -> Option<Known> {
        if let Some(known) = self.young.get(key) {
            return Some(known.clone());
        }
        let (key, known) = self.old.remove_entry(key)?;
        self.insert(key, known.clone(), generation_bytes);
        Some(known)
    }

    fn put(&mut self, key: &Bytes, known: &Known, generation_bytes: usize) {
        if let Some(before) = self.young.remove(key) {
            self.young_bytes -= bytes_of(key, &before);
        }
        self.old.remove(key);
        if bytes_of(key, known) <= LATEST_ENTRY_BYTES_MAX.min(generation_bytes) {
            let (key, known) = compact(key, known);
            self.insert(key, known, generation_bytes);
        }
    }

    fn insert(&mut self, key: Bytes, known: Known, generation_bytes: usize) {
        let bytes = bytes_of(&key, &known);
        if self.young_bytes + bytes > generation_bytes {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(key, known);
    }
}

fn bytes_of(key: &[u8], known: &Known) -> usize {
    let value = known.kv.as_ref().map_or(0, |kv| kv.value.len());
    LATEST_ENTRY_OVERHEAD_BYTES + key.len() + value
}

/// Copies it into memory of its own: a key or value may be part of a large message, which it would keep whole.
fn compact(key: &Bytes, known: &Known) -> (Bytes, Known) {
    let Known { revision, kv } = known;
    let Some(kv) = kv else {
        let known = Known {
            revision: *revision,
            kv: None,
        };
        return (Bytes::copy_from_slice(key), known);
    };
    let mut both = Vec::with_capacity(key.len() + kv.value.len());
    both.extend_from_slice(key);
    both.extend_from_slice(&kv.value);
    let value = Bytes::from(both);
    let key = value.slice(..key.len());
    let known = Known {
        revision: *revision,
        kv: Some(KeyValue {
            key: key.clone(),
            value: value.slice(key.len()..),
            ..*kv
        }),
    };
    (key, known)
}

/// A panic elsewhere leaves nothing half done here.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn mk_version(key: &'static str, value: Vec<u8>, revision: Revision) -> Known {
        Known {
            revision,
            kv: Some(KeyValue {
                key: Bytes::from_static(key.as_bytes()),
                value: value.into(),
                create_revision: 2,
                mod_revision: revision,
                version: 1,
                lease: 0,
            }),
        }
    }

    #[test]
    fn what_was_noted_last_is_known() {
        let latest = Latest::new(1 << 20);
        let key = Bytes::from_static(b"a");
        assert_eq!(latest.get(&key), None);
        for known in [
            mk_version("a", vec![1; 10], 5),
            Known { revision: 6, kv: None },
            mk_version("a", Vec::new(), 7),
        ] {
            latest.note(&key, &known);
            assert_eq!(latest.get(&key), Some(known));
        }
        latest.clear(9);
        assert_eq!(latest.get(&key), None);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_taken() {
        let latest = Latest::new(1 << 20);
        let key = Bytes::from_static(b"a");
        let old = mk_version("a", vec![1], 5);
        latest.offer(&key, old.kv.as_ref(), 8);
        assert_eq!(latest.get(&key), Some(old.clone()));
        // A change makes it known, and what was read earlier does not take its place, not even when it is forgotten.
        let large = mk_version("a", vec![0; LATEST_ENTRY_BYTES_MAX], 9);
        latest.note(&key, &large);
        assert_eq!(latest.get(&key), None, "too large to keep");
        latest.offer(&key, old.kv.as_ref(), 8);
        assert_eq!(latest.get(&key), None);
        // The same after the whole state was replaced.
        latest.clear(20);
        latest.offer(&key, None, 19);
        assert_eq!(latest.get(&key), None);
        latest.offer(&key, None, 20);
        assert_eq!(latest.get(&key), Some(Known { revision: 20, kv: None }));
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let bytes = SHARDS * 2 * 10 * (LATEST_ENTRY_OVERHEAD_BYTES + 104);
        let latest = Latest::new(bytes);
        let name = |number: u32| Bytes::from(format!("{number:04}"));
        let mut held_most = 0;
        for number in 0..10_000 {
            let key = name(number);
            let known = Known {
                revision: i64::from(number) + 2,
                kv: Some(KeyValue {
                    key: key.clone(),
                    value: vec![0; 100].into(),
                    ..KeyValue::default()
                }),
            };
            latest.note(&key, &known);
            assert!(
                latest.get(&name(0)).is_some(),
                "the key that is always used was forgotten"
            );
            let held = latest.shards.iter().map(|shard| {
                let shard = lock(shard);
                let all = shard.young.iter().chain(&shard.old);
                all.map(|(key, known)| bytes_of(key, known)).sum::<usize>()
            });
            held_most = held_most.max(held.sum());
        }
        assert!(held_most <= bytes && held_most > bytes / 4, "{held_most} of {bytes}");
        assert_eq!(latest.get(&name(5)), None);
    }

    #[test]
    fn it_keeps_no_message_alive() {
        let message = Bytes::from(vec![7; 100_000]);
        let key = message.slice(..4);
        let latest = Latest::new(1 << 20);
        let known = Known {
            revision: 3,
            kv: Some(KeyValue {
                key: key.clone(),
                value: message.slice(10..20),
                ..KeyValue::default()
            }),
        };
        latest.note(&key, &known);
        drop((known, key));
        assert!(message.is_unique());
    }
}
