//! The keys that live, in their order, in memory: each with the revision of its newest version and, of those used last, that
//! version.
//!
//! The storage holds all versions, so a walk over a range as it is now must step over the old ones, and a key that is not
//! there must be looked for in every sorted run. Here neither is so. And nearly every write must know the version before it,
//! and most reads are of keys as they are now: what is kept lies where the walk comes by.
//!
//! It says what the storage says, or less, so no decision depends on what is kept (I2). It takes the length of each key and
//! some tens of bytes, and what it keeps of versions has a bound. Beyond that, a hand goes round the keys and drops each version
//! that was not used since it last came by (the clock of Corbató, "A paging experiment with the Multics system", 1968).
//!
//! It is made from the storage, in the background; until it is there, it says nothing, and the storage is asked instead.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::limits::{KEPT_OVERHEAD_BYTES, KEPT_SWEEP_BYTES, KEPT_VERSION_BYTES_MAX};
use crate::record::Record;
use crate::scan::{Overlay, bounds, scan};
use crate::storage::{StorageError, StorageRead};
use crate::types::{KeyRange, KeyValue, Revision};

/// See the module. One task notes changes, in their order; any number asks meanwhile.
#[derive(Debug)]
pub struct Index {
    inner: RwLock<Inner>,
    /// Most bytes of versions that are kept.
    kept_bytes_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    /// `None` until it is filled.
    keys: Option<BTreeMap<Box<[u8]>, Slot>>,
    /// What changed since the filling began; `None` for a key that was deleted.
    changed: BTreeMap<Box<[u8]>, Option<Revision>>,
    /// The state that it shows.
    revision: Revision,
    filling: u64,
    /// Bytes of the versions that are kept.
    kept_bytes: usize,
    /// The key that the hand came to last.
    hand: Option<Box<[u8]>>,
}

/// What is known of a key that lives.
#[derive(Debug)]
struct Slot {
    /// Of its newest version.
    revision: Revision,
    /// That version as it lies in the storage, if it is kept.
    row: Option<Box<[u8]>>,
    /// Whether that was used since the hand came by.
    is_used: AtomicBool,
}

/// One making of the index. It is void once another one has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filling(u64);

/// What a key is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It does not exist.
    Absent,
    /// Its newest version is of this revision, and not kept.
    At(Revision),
    /// Its newest version.
    Version(KeyValue),
}

/// A key that lives, met on a walk.
#[derive(Debug, Clone, Copy)]
pub struct Met<'a> {
    /// The key.
    pub key: &'a [u8],
    slot: &'a Slot,
}

impl<'a> Met<'a> {
    /// The revision of its newest version.
    pub fn revision(&self) -> Revision {
        self.slot.revision
    }

    /// Its newest version, if that is kept.
    pub fn record(&self) -> Option<Record<'a>> {
        self.slot.record()
    }
}

impl Index {
    /// One that knows nothing yet, and will keep up to so many bytes of versions.
    pub fn new(kept_bytes_max: usize) -> Self {
        Self {
            inner: RwLock::default(),
            kept_bytes_max,
        }
    }

    /// Forgets everything: the state is another one, of revision `revision`. From here on changes are noted, so a view of the
    /// storage that is taken after this call may be used to [fill](Self::fill) it.
    pub fn begin(&self, revision: Revision) -> Filling {
        let mut inner = self.write();
        let filling = inner.filling + 1;
        *inner = Inner {
            revision,
            filling,
            ..Inner::default()
        };
        Filling(filling)
    }

    /// Makes a filling void, if it is under way: nobody will be there to use it.
    pub fn give_up(&self, filling: Filling) {
        let mut inner = self.write();
        if inner.keys.is_none() && inner.filling == filling.0 {
            inner.filling += 1;
        }
    }

    /// The making of it that began last.
    pub fn filling(&self) -> Filling {
        Filling(self.read().filling)
    }

    /// Fills it from a view. False if that was void before it came to an end.
    ///
    /// # Errors
    /// [`StorageError`], fatal.
    pub fn fill<R: StorageRead>(&self, filling: Filling, reader: &R) -> Result<bool, StorageError> {
        /// How many keys are taken between two looks at whether somebody still wants them.
        const KEYS_AT_A_TIME: usize = 1_024;
        let mut keys = BTreeMap::new();
        let mut is_wanted = true;
        scan(
            reader,
            &Overlay::new(),
            &KeyRange::prefix(""),
            Revision::MAX,
            &mut |live| {
                let (revision, _) = live.revisions();
                live.with(|key, _| keys.insert(Box::from(key), Slot::of(revision)));
                is_wanted = keys.len() % KEYS_AT_A_TIME != 0 || self.read().filling == filling.0;
                if is_wanted {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        )?;
        let mut inner = self.write();
        if !is_wanted || inner.filling != filling.0 {
            return Ok(false);
        }
        for (key, revision) in std::mem::take(&mut inner.changed) {
            match revision {
                Some(revision) => drop(keys.insert(key, Slot::of(revision))),
                None => drop(keys.remove(&key)),
            }
        }
        inner.keys = Some(keys);
        Ok(true)
    }

    /// Notes what a chunk made of its keys, and the revision that it led to. Of versions that are large only the revision is
    /// kept.
    pub(crate) fn note(&self, overlay: &Overlay, revision: Revision) {
        let mut inner = self.write();
        inner.revision = revision;
        for (key, versions) in overlay {
            let Some(newest) = versions.last() else { continue };
            let Inner {
                keys,
                changed,
                kept_bytes,
                ..
            } = &mut *inner;
            let Some(keys) = keys else {
                changed.insert(Box::from(&key[..]), newest.kv.as_ref().map(|kv| kv.mod_revision));
                continue;
            };
            let Some(kv) = &newest.kv else {
                if let Some(slot) = keys.remove(&key[..]) {
                    *kept_bytes -= slot.bytes();
                }
                continue;
            };
            // Most keys are there already: they are not copied again.
            if let Some(slot) = keys.get_mut(&key[..]) {
                *kept_bytes -= slot.bytes();
                slot.revision = kv.mod_revision;
                *kept_bytes += slot.keep(kv, self.kept_bytes_max);
            } else {
                let mut slot = Slot::of(kv.mod_revision);
                *kept_bytes += slot.keep(kv, self.kept_bytes_max);
                keys.insert(Box::from(&key[..]), slot);
            }
        }
        inner.make_room(self.kept_bytes_max);
    }

    /// Keeps versions that were read, those which are still the newest ones of their keys.
    pub fn keep<'k>(&self, versions: impl IntoIterator<Item = &'k KeyValue>) {
        let mut inner = self.write();
        let Inner { keys, kept_bytes, .. } = &mut *inner;
        let Some(keys) = keys else { return };
        for kv in versions {
            if let Some(slot) = keys.get_mut(&kv.key[..])
                && slot.revision == kv.mod_revision
                && slot.row.is_none()
            {
                *kept_bytes += slot.keep(kv, self.kept_bytes_max);
            }
        }
        inner.make_room(self.kept_bytes_max);
    }

    /// What a key is now, and the state that this is of. Nothing while it is not filled.
    ///
    /// Whoever reads beside the one who writes must check that this state was the present one before and after the question.
    pub fn get(&self, key: &[u8]) -> Option<(Known, Revision)> {
        let inner = self.read();
        let known = match inner.keys.as_ref()?.get(key) {
            None => Known::Absent,
            Some(slot) => match slot.record() {
                None => Known::At(slot.revision),
                Some(record) => Known::Version(record.to_key_value(key, slot.revision, true)),
            },
        };
        Some((known, inner.revision))
    }

    /// Visits the keys of a range in order, until it is told to end, and says which state they are of. Nothing while it is not
    /// filled. Changes wait for its end.
    pub fn walk(&self, range: &KeyRange, mut visit: impl FnMut(Met<'_>) -> ControlFlow<()>) -> Option<Revision> {
        let inner = self.read();
        let all = inner.keys.as_ref()?;
        if let Some((start, end)) = bounds(range) {
            let bounds = (start.map(|key| &key[..]), end.map(|key| &key[..]));
            let mut met = all.range::<[u8], _>(bounds).map(|(key, slot)| Met { key, slot });
            let _ = met.try_for_each(&mut visit);
        }
        Some(inner.revision)
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Drops versions that are not used, if more are kept than may be, and some more, so that it is not done for each change.
    fn make_room(&mut self, kept_bytes_max: usize) {
        let Self {
            keys: Some(keys),
            kept_bytes,
            hand,
            ..
        } = self
        else {
            return;
        };
        if *kept_bytes <= kept_bytes_max {
            return;
        }
        let wanted = kept_bytes_max.saturating_sub(KEPT_SWEEP_BYTES.min(kept_bytes_max / 2));
        while *kept_bytes > wanted {
            let start = hand.take().map_or(Bound::Unbounded, Bound::Excluded);
            let from = start.as_ref().map(|key| &key[..]);
            for (key, slot) in keys.range_mut::<[u8], _>((from, Bound::Unbounded)) {
                if slot.row.is_none() || std::mem::take(slot.is_used.get_mut()) {
                    continue;
                }
                *kept_bytes -= slot.bytes();
                slot.row = None;
                if *kept_bytes <= wanted {
                    *hand = Some(key.clone());
                    break;
                }
            }
        }
    }
}

impl Slot {
    fn of(revision: Revision) -> Self {
        Self {
            revision,
            row: None,
            is_used: AtomicBool::new(false),
        }
    }

    /// What its version counts for.
    fn bytes(&self) -> usize {
        self.row.as_ref().map_or(0, |row| row.len() + KEPT_OVERHEAD_BYTES)
    }

    /// Keeps its version, if that is not too large, and tells what it counts for.
    fn keep(&mut self, kv: &KeyValue, kept_bytes_max: usize) -> usize {
        let is_small = kv.value.len() + KEPT_OVERHEAD_BYTES <= KEPT_VERSION_BYTES_MAX.min(kept_bytes_max / 2);
        // Many keys are written once and not asked for again: such a one must not outlast those that are.
        *self.is_used.get_mut() = self.row.is_some();
        self.row = is_small.then(|| Record::of(kv).encode().into_boxed_slice());
        self.bytes()
    }

    fn record(&self) -> Option<Record<'_>> {
        let row = self.row.as_ref()?;
        // Only what changes is written: many look at the same keys at the same time.
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
        Record::decode(row).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::machine::StateMachine;
    use crate::memory::MemoryStorage;
    use crate::recall::Recall;
    use crate::storage::Storage as _;
    use crate::testing::{delete, entry, put, txn};
    use crate::types::Op;

    fn mk_machine() -> StateMachine<MemoryStorage> {
        StateMachine::open(Arc::new(MemoryStorage::new())).unwrap()
    }

    /// Applies each operation as a transaction of its own.
    fn apply(machine: &mut StateMachine<MemoryStorage>, ops: impl IntoIterator<Item = Op>) {
        for op in ops {
            let index = machine.hash().0 + 1;
            machine.apply([entry(index, Some(txn(vec![op])))]).unwrap();
        }
    }

    /// The keys of a range, with the revisions of their newest versions.
    fn keys(index: &Index, range: &KeyRange) -> Option<Vec<(String, Revision)>> {
        let mut keys = Vec::new();
        index.walk(range, |met| {
            keys.push((String::from_utf8_lossy(met.key).into_owned(), met.revision()));
            ControlFlow::Continue(())
        })?;
        Some(keys)
    }

    /// What is kept of a key's newest version.
    fn kept(index: &Index, key: &str) -> Option<Bytes> {
        match index.get(key.as_bytes()) {
            Some((Known::Version(kv), _)) => Some(kv.value),
            _ => None,
        }
    }

    fn mk_version(key: &'static str, value: Vec<u8>, mod_revision: Revision) -> KeyValue {
        KeyValue {
            key: Bytes::from_static(key.as_bytes()),
            value: value.into(),
            create_revision: 2,
            mod_revision,
            version: 1,
            lease: 0,
        }
    }

    fn named<const N: usize>(expected: [(&str, Revision); N]) -> Option<Vec<(String, Revision)>> {
        Some(expected.map(|(key, revision)| (key.to_owned(), revision)).to_vec())
    }

    #[test]
    fn changes_during_the_filling_win_over_what_it_reads() {
        let mut machine = mk_machine();
        apply(&mut machine, [put("a", "1"), put("b", "1"), put("c", "1")]);
        let recall = machine.recall().clone();
        let index = &recall.index;
        let filling = index.begin(4);
        assert_eq!(index.get(b"a"), None, "it says nothing before it is filled");
        let before = machine.storage().snapshot();
        apply(&mut machine, [delete("a"), put("b", "2"), put("d", "1")]);
        assert!(index.fill(filling, &before).unwrap());
        assert_eq!(
            keys(index, &KeyRange::prefix("")),
            named([("b", 6), ("c", 4), ("d", 7)])
        );
        // And those after it are seen.
        apply(&mut machine, [delete("b"), put("a", "2"), put("c", "2")]);
        assert_eq!(
            keys(index, &KeyRange::prefix("")),
            named([("a", 9), ("c", 10), ("d", 7)])
        );
        assert_eq!(index.get(b"b"), Some((Known::Absent, 10)));
        assert_eq!(index.get(b"d"), Some((Known::At(7), 10)), "written while it was filled");
        let Some((Known::Version(c), 10)) = index.get(b"c") else {
            panic!()
        };
        assert_eq!(
            (c.mod_revision, c.create_revision, c.version, &c.value[..]),
            (10, 4, 2, &b"2"[..])
        );
    }

    #[test]
    fn a_filling_that_is_overtaken_is_void() {
        let storage = MemoryStorage::new();
        let index = Index::new(1_000);
        let (first, second) = (index.begin(1), index.begin(1));
        assert!(!index.fill(first, &storage.snapshot()).unwrap());
        assert_eq!(index.get(b"a"), None);
        assert!(index.fill(second, &storage.snapshot()).unwrap());
        assert_eq!(index.get(b"a"), Some((Known::Absent, 1)));
    }

    #[test]
    fn ranges_have_their_bounds() {
        let mut machine = mk_machine();
        apply(&mut machine, ["a", "b", "ba", "c"].map(|key| put(key, "")));
        let index = &machine.recall().index;
        let names = |range: &KeyRange| {
            let found = keys(index, range).unwrap();
            found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        let range = |start: &'static str, end: &'static str| KeyRange {
            start: Bytes::from_static(start.as_bytes()),
            end: Some(Bytes::from_static(end.as_bytes())),
        };
        assert_eq!(names(&KeyRange::key("b")), ["b"]);
        assert_eq!(names(&KeyRange::prefix("b")), ["b", "ba"]);
        assert_eq!(names(&range("b", "c")), ["b", "ba"]);
        assert_eq!(names(&range("ba", "")), ["ba", "c"]);
        assert_eq!(names(&range("c", "b")), Vec::<String>::new());
        assert_eq!(names(&range("b", "b")), Vec::<String>::new());
        let mut met = 0;
        index.walk(&KeyRange::prefix(""), |_| {
            met += 1;
            if met == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!(met, 2);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let mut machine = mk_machine();
        let large = "x".repeat(KEPT_VERSION_BYTES_MAX);
        apply(&mut machine, [put("a", "1"), put("a", &large), put("b", "1")]);
        let index = &machine.recall().index;
        assert_eq!(index.get(b"a"), Some((Known::At(3), 4)), "too large to keep");
        index.keep([&mk_version("a", vec![1], 2)]);
        assert_eq!(index.get(b"a"), Some((Known::At(3), 4)), "no longer what it is");
        index.keep([&mk_version("c", vec![1], 2)]);
        assert_eq!(index.get(b"c"), Some((Known::Absent, 4)), "deleted since");
        index.keep([&mk_version("a", vec![7], 3)]);
        assert_eq!(kept(index, "a").unwrap(), [7][..]);
        // Nothing is left of another state.
        index.begin(9);
        index.keep([&mk_version("a", vec![7], 3)]);
        assert_eq!(index.get(b"a"), None);
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let most = 100 * (KEPT_OVERHEAD_BYTES + 110);
        let recall = Arc::new(Recall::new(most));
        let mut machine = StateMachine::open_with(Arc::new(MemoryStorage::new()), Arc::clone(&recall)).unwrap();
        let index = &recall.index;
        assert!(index.fill(index.filling(), &machine.storage().snapshot()).unwrap());
        let value = "v".repeat(100);
        let mut held_most = 0;
        for number in 0..2_000 {
            apply(&mut machine, [put(&format!("{number:04}"), &value)]);
            assert!(
                kept(index, "0000").is_some(),
                "the key that is always used was forgotten"
            );
            // The account is right, also of what is deleted or replaced.
            if number % 3 == 0 {
                apply(&mut machine, [put(&format!("{:04}", number / 2), "short")]);
                apply(&mut machine, [delete(&format!("{:04}", number / 2 + 1))]);
            }
            let inner = index.read();
            let held = inner.keys.as_ref().unwrap().values().map(Slot::bytes).sum::<usize>();
            assert_eq!(held, inner.kept_bytes);
            held_most = held_most.max(held);
        }
        assert!(held_most <= most && held_most > most / 2, "{held_most} of {most}");
        assert_eq!(kept(index, "1000"), None);
    }
}
