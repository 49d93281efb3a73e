//! The objects of one kind, by namespace and name.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

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
    objects: BTreeMap<Arc<ObjectKey>, Arc<dyn Object>>,
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
            objects: BTreeMap::new(),
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
        self.objects.get(key)
    }

    /// Objects by namespace and name; of one namespace, or of all if it is empty.
    pub fn list<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<dyn Object>> {
        let start = ObjectKey::new(namespace, "");
        self.objects
            .range::<ObjectKey, _>((Bound::Included(&start), Bound::Unbounded))
            .take_while(move |(key, _)| namespace.is_empty() || key.namespace == namespace)
            .map(|(_, object)| object)
    }

    /// Puts or removes an object. Returns the shared key, and the object before.
    pub(super) fn set(
        &mut self,
        key: Arc<ObjectKey>,
        new: Option<Arc<dyn Object>>,
    ) -> (Arc<ObjectKey>, Option<Arc<dyn Object>>) {
        match new {
            None => match self.objects.remove_entry(&*key) {
                Some((key, old)) => (key, Some(old)),
                None => (key, None),
            },
            // The entry keeps its first key, so the indexes share that one instead of a copy for each version.
            Some(object) => match self.objects.get_key_value(&*key).map(|(key, _)| Arc::clone(key)) {
                Some(first) => {
                    let old = self.objects.insert(Arc::clone(&first), object);
                    (first, old)
                }
                None => {
                    self.objects.insert(Arc::clone(&key), object);
                    (key, None)
                }
            },
        }
    }
}
