//! The keys that live, in their order, each with the revision of its newest version, in memory.
//!
//! The storage holds all versions, so a walk over a range as it is now must step over the old ones, and a key that is not
//! there must be looked for in every sorted run. Here neither is so. It takes the length of each key and some tens of bytes.
//!
//! It is made from the storage, in the background; until it is there, it says nothing, and the storage is asked instead.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::scan::{Overlay, bounds, scan};
use crate::storage::{StorageError, StorageRead};
use crate::types::{KeyRange, Revision};

/// See the module. One task notes changes, in their order; any number asks meanwhile.
#[derive(Debug, Default)]
pub struct Index {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// `None` until it is filled.
    keys: Option<BTreeMap<Box<[u8]>, Revision>>,
    /// What changed since the filling began; `None` for a key that was deleted.
    changed: BTreeMap<Box<[u8]>, Option<Revision>>,
    /// The state that it shows.
    revision: Revision,
    filling: u64,
}

/// One making of the index. It is void once another one has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filling(u64);

/// Keys of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundKeys {
    /// The first ones, in order, with the revisions of their newest versions.
    pub keys: Vec<(Box<[u8]>, Revision)>,
    /// The state that they are of.
    pub revision: Revision,
}

impl Index {
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
                live.with(|key, _| keys.insert(Box::from(key), revision));
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
            set(&mut keys, key, revision);
        }
        inner.keys = Some(keys);
        Ok(true)
    }

    /// Notes what a chunk made of its keys, and the revision that it led to.
    pub(crate) fn note(&self, overlay: &Overlay, revision: Revision) {
        let mut inner = self.write();
        inner.revision = revision;
        for (key, versions) in overlay {
            let Some(newest) = versions.last() else { continue };
            let now = newest.kv.as_ref().map(|kv| kv.mod_revision);
            let Inner { keys, changed, .. } = &mut *inner;
            match keys {
                // Most keys are there already: they are not copied again.
                Some(keys) => match keys.get_mut(&key[..]) {
                    Some(revision) if now.is_some() => *revision = now.unwrap_or(*revision),
                    _ => set(keys, Box::from(&key[..]), now),
                },
                None => drop(changed.insert(Box::from(&key[..]), now)),
            }
        }
    }

    /// The revision of a key's newest version, `None` if it does not exist, and the state that this is of. Nothing while it is
    /// not filled.
    pub fn get(&self, key: &[u8]) -> Option<(Option<Revision>, Revision)> {
        let inner = self.read();
        let found = inner.keys.as_ref()?.get(key).copied();
        Some((found, inner.revision))
    }

    /// The first keys of a range, at most so many. Nothing while it is not filled.
    pub fn first(&self, range: &KeyRange, most: usize) -> Option<FoundKeys> {
        let inner = self.read();
        let all = inner.keys.as_ref()?;
        let keys = bounds(range).map_or_else(Vec::new, |(start, end)| {
            let bounds = (start.map(|key| &key[..]), end.map(|key| &key[..]));
            all.range::<[u8], _>(bounds)
                .take(most)
                .map(|(key, revision)| (key.clone(), *revision))
                .collect()
        });
        Some(FoundKeys {
            keys,
            revision: inner.revision,
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set(keys: &mut BTreeMap<Box<[u8]>, Revision>, key: Box<[u8]>, revision: Option<Revision>) {
    match revision {
        Some(revision) => drop(keys.insert(key, revision)),
        None => drop(keys.remove(&key)),
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

    fn keys(index: &Index, range: &KeyRange) -> Option<Vec<(String, Revision)>> {
        let found = index.first(range, 100)?;
        let name = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        Some(
            found
                .keys
                .iter()
                .map(|(key, revision)| (name(key), *revision))
                .collect(),
        )
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
        assert_eq!(index.get(b"b"), Some((None, 10)));
        assert_eq!(index.get(b"c"), Some((Some(10), 10)));
    }

    #[test]
    fn a_filling_that_is_overtaken_is_void() {
        let storage = MemoryStorage::new();
        let index = Index::default();
        let (first, second) = (index.begin(1), index.begin(1));
        assert!(!index.fill(first, &storage.snapshot()).unwrap());
        assert_eq!(index.get(b"a"), None);
        assert!(index.fill(second, &storage.snapshot()).unwrap());
        assert_eq!(index.get(b"a"), Some((None, 1)));
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
        assert_eq!(index.first(&KeyRange::prefix(""), 2).unwrap().keys.len(), 2);
    }
}
