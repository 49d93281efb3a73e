//! The objects of one kind, by namespace and name.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    ops::Bound,
    sync::Arc,
};

use slab::Slab;

use crate::{
    kind::KindInfo,
    object::{Object, ObjectKey},
};

/// Names a kind's table: group and plural name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeKey {
    /// Plural resource name. It comes first because it nearly always decides a comparison.
    pub plural: &'static str,
    /// API group.
    pub group: &'static str,
}

/// The objects of one kind.
#[derive(Debug)]
pub struct Table {
    info: &'static KindInfo,
    objects: Slab<Arc<dyn Object>>,
    /// Where each object is, for whoever looks for one. A search among a hundred thousand ordered keys, which mostly are not in the
    /// processor's caches, takes ten times as long.
    places: HashMap<Arc<ObjectKey>, usize>,
    /// The same, in order.
    ordered: BTreeMap<Arc<ObjectKey>, usize>,
}

impl TypeKey {
    /// The key of a kind's table.
    pub fn of(info: &KindInfo) -> Self {
        Self {
            plural: info.plural,
            group: info.group,
        }
    }
}

impl Table {
    pub(super) fn new(info: &'static KindInfo) -> Self {
        Self {
            info,
            objects: Slab::new(),
            places: HashMap::new(),
            ordered: BTreeMap::new(),
        }
    }

    /// The kind.
    pub fn info(&self) -> &'static KindInfo {
        self.info
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// True if there is no object.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<dyn Object>> {
        self.places.get(key).map(|place| &self.objects[*place])
    }

    /// Objects by namespace and name; of one namespace, or of all if it is empty.
    pub fn list<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<dyn Object>> {
        let start = ObjectKey::new(namespace, "");
        self.ordered
            .range::<ObjectKey, _>((Bound::Included(&start), Bound::Unbounded))
            .take_while(move |(key, _)| namespace.is_empty() || key.namespace == namespace)
            .map(|(_, place)| &self.objects[*place])
    }

    /// Puts or removes an object. Returns the shared key, and the object before.
    pub(super) fn set(
        &mut self,
        key: Arc<ObjectKey>,
        new: Option<Arc<dyn Object>>,
    ) -> (Arc<ObjectKey>, Option<Arc<dyn Object>>) {
        match (self.places.entry(key), new) {
            // The entry keeps its first key, so the indexes share that one instead of a copy for each version.
            (Entry::Occupied(entry), Some(object)) => {
                let old = std::mem::replace(&mut self.objects[*entry.get()], object);
                (Arc::clone(entry.key()), Some(old))
            }
            (Entry::Occupied(entry), None) => {
                let (key, place) = entry.remove_entry();
                self.ordered.remove(&key);
                (key, Some(self.objects.remove(place)))
            }
            (Entry::Vacant(entry), Some(object)) => {
                let (key, place) = (Arc::clone(entry.key()), self.objects.insert(object));
                self.ordered.insert(Arc::clone(&key), place);
                entry.insert(place);
                (key, None)
            }
            (Entry::Vacant(entry), None) => (entry.into_key(), None),
        }
    }
}
