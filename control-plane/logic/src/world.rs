//! The state of the cluster as the leader's loops see it: every object of every kind at one revision.
//!
//! Each server keeps one `World` up to date from its own replica, so that a new leader starts warm. It is
//! changed only by [`World::apply`], in the order of the store. Reading it never blocks and never fails.
//!
//! Of pods it has excerpts ([`take_excerpt`]): what only their nodes need is not in it.
//!
//! It is not a cache that may lag within itself: all tables and indexes show the same revision, which is
//! what lets controllers do without expectations (I8). A revision that changed several objects is complete
//! once all its changes were applied; the shell reconciles only between revisions.

mod excerpt;
mod health;
mod index;
mod marks;
mod table;
mod usage;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use self::{
    excerpt::take_excerpt,
    health::{Heartbeat, NodeHealthBook},
    table::{Table, TypeKey},
    usage::{HostPort, NodeUsage, PodRequest, Resources},
};

use trireme_proto::{
    api::core::v1::Pod,
    selector::{FieldSelector, LabelSelector},
};

use self::{index::Index, marks::Marks};
use crate::{
    kind::{Kind, KindInfo},
    object::{Object, ObjectKey},
};

/// One change, as the store's history has it.
#[derive(Debug, Clone)]
pub enum Mutation {
    /// The object is now this.
    Put(Arc<dyn Object>),
    /// The object is gone.
    Remove {
        /// Its kind.
        info: &'static KindInfo,
        /// Its key.
        key: ObjectKey,
    },
    /// The object is there, but what is stored cannot be read. The world keeps the last version that it could
    /// read, and remembers that there is something, so that nothing is destroyed for the want of it.
    Unreadable {
        /// Its kind.
        info: &'static KindInfo,
        /// Its key.
        key: ObjectKey,
    },
}

/// What a mutation did to one object.
#[derive(Debug, Clone)]
pub struct Change {
    /// The kind of the object.
    pub info: &'static KindInfo,
    /// The key of the object.
    pub key: ObjectKey,
    /// The object before; `None` if it is new.
    pub old: Option<Arc<dyn Object>>,
    /// The object now; `None` if it is gone.
    pub new: Option<Arc<dyn Object>>,
}

/// All objects at one revision, with the indexes that the loops need.
#[derive(Debug, Default)]
pub struct World {
    /// What the leader knows of the nodes' liveness. It is no part of the store: the shell keeps it up to
    /// date (see [`NodeHealthBook`]) and only the node life cycle controller reads it.
    pub node_health: NodeHealthBook,
    revision: i64,
    tables: BTreeMap<TypeKey, Table>,
    index: Index,
    marks: Marks,
    unreadable: BTreeSet<(TypeKey, ObjectKey)>,
}

impl Change {
    /// The object before and now, if it is a `K`.
    pub fn of<K: Kind>(&self) -> Option<(Option<&K>, Option<&K>)> {
        if TypeKey::of(self.info) != TypeKey::of(&K::INFO) {
            return None;
        }
        Some((
            self.old.as_deref().and_then(|object| object.downcast_ref()),
            self.new.as_deref().and_then(|object| object.downcast_ref()),
        ))
    }

    /// The object as it is now, or as it last was.
    pub fn latest(&self) -> &dyn Object {
        self.new
            .as_deref()
            .or(self.old.as_deref())
            .expect("a change has at least one side")
    }
}

impl World {
    /// A world without objects, at revision 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The revision up to which everything has been applied.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Applies one mutation of `revision`. `None` if it changed nothing that can be seen: the removal of
    /// something that is not there, or an object that cannot be read.
    pub fn apply(&mut self, mutation: Mutation, revision: i64) -> Option<Change> {
        self.advance(revision);
        let (info, key, new) = match mutation {
            Mutation::Put(object) => (object.info(), Arc::new(object.key()), Some(object)),
            Mutation::Remove { info, key } => (info, Arc::new(key), None),
            Mutation::Unreadable { info, key } => {
                self.unreadable.insert((TypeKey::of(info), key));
                return None;
            }
        };
        if !self.unreadable.is_empty() {
            self.unreadable.remove(&(TypeKey::of(info), (*key).clone()));
        }
        let table = self.tables.entry(TypeKey::of(info)).or_insert_with(|| Table::new(info));
        let (key, old) = table.set(key, new.clone());
        if old.is_none() && new.is_none() {
            return None;
        }
        self.index.update(info, &key, old.as_deref(), new.as_deref());
        self.marks.update(info, &key, old.as_deref(), new.as_deref());
        Some(Change {
            info,
            key: (*key).clone(),
            old,
            new,
        })
    }

    /// Notes that `revision` is applied, though it changed no object of the API.
    pub fn advance(&mut self, revision: i64) {
        self.revision = self.revision.max(revision);
    }

    /// One object.
    pub fn get<K: Kind>(&self, key: &ObjectKey) -> Option<&K> {
        self.get_object(&K::INFO, key).and_then(|object| object.downcast_ref())
    }

    /// One object of a kind known only at run time.
    pub fn get_object(&self, info: &KindInfo, key: &ObjectKey) -> Option<&Arc<dyn Object>> {
        self.tables.get(&TypeKey::of(info))?.get(key)
    }

    /// True if something is stored under the key that could not be read. Its absence from the world then
    /// proves nothing.
    pub fn is_unreadable(&self, info: &KindInfo, key: &ObjectKey) -> bool {
        self.unreadable.contains(&(TypeKey::of(info), key.clone()))
    }

    /// True if something in the namespace could not be read.
    pub fn has_unreadable_in(&self, namespace: &str) -> bool {
        self.unreadable.iter().any(|(_, key)| key.namespace == namespace)
    }

    /// Objects by namespace and name; of one namespace, or of all if it is empty.
    pub fn list<'a, K: Kind>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a K> {
        self.list_objects(&K::INFO, namespace)
            .filter_map(|object| object.downcast_ref())
    }

    /// As [`World::list`], for a kind known only at run time.
    pub fn list_objects<'a>(
        &'a self,
        info: &KindInfo,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<dyn Object>> {
        self.tables
            .get(&TypeKey::of(info))
            .into_iter()
            .flat_map(move |table| table.list(namespace))
    }

    /// Number of objects of a kind.
    pub fn count<K: Kind>(&self) -> usize {
        self.tables.get(&TypeKey::of(&K::INFO)).map_or(0, Table::len)
    }

    /// Every table, by group and plural name.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.values()
    }

    /// Whether indexes can name the objects of a kind that two selectors mean, since one requirement is an equal label, or
    /// one of few fields.
    pub fn tells(info: &KindInfo, labels: &LabelSelector, fields: &FieldSelector) -> bool {
        marks::tell(info, labels, fields)
    }

    /// Keys of at most `most` objects of a kind in a namespace, or in all if it is empty, among which are all that two
    /// selectors mean, in no promised order. `None` if they may be more, or if indexes do not [tell](Self::tells).
    pub fn candidates(
        &self,
        info: &KindInfo,
        namespace: &str,
        labels: &LabelSelector,
        fields: &FieldSelector,
        most: usize,
    ) -> Option<Vec<ObjectKey>> {
        self.marks.candidates(info, namespace, labels, fields, most)
    }

    /// The object with a uid, whatever its kind.
    pub fn by_uid(&self, uid: &str) -> Option<&Arc<dyn Object>> {
        let (info, key) = self.index.by_uid(uid)?;
        self.get_object(info, key)
    }

    /// All objects that name `uid` among their owners, by kind and key.
    pub fn owned_by<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<dyn Object>> {
        self.index
            .owned_by(uid)
            .filter_map(|(info, key)| self.get_object(info, key))
    }

    /// The objects of kind `K` whose controller is `uid`, by key.
    pub fn controlled_by<'a, K: Kind>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a K> {
        self.index
            .owned_of_kind(uid, TypeKey::of(&K::INFO))
            .filter_map(move |key| {
                let object: &K = self.get(key)?;
                let controller = object
                    .metadata()?
                    .owner_references
                    .iter()
                    .find(|owner| owner.controller == Some(true));
                (controller?.uid == uid).then_some(object)
            })
    }

    /// Every uid that some object names as its owner.
    pub fn owner_uids(&self) -> impl Iterator<Item = &str> {
        self.index.owner_uids()
    }

    /// The objects of kind `K` in a namespace that no controller owns. Kept for pods and replica sets,
    /// which controllers adopt.
    pub fn without_controller<'a, K: Kind>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a K> {
        self.index
            .without_controller(TypeKey::of(&K::INFO), namespace)
            .filter_map(|key| self.get(key))
    }

    /// The pods bound to a node, by key.
    pub fn pods_on_node<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Pod> {
        self.index.pods_on_node(node).filter_map(|key| self.get(key))
    }

    /// The names of all nodes that pods are bound to, whether or not such a node exists.
    pub fn nodes_with_pods(&self) -> impl Iterator<Item = &str> {
        self.index.nodes_with_pods()
    }

    /// The pods that are neither bound nor finished, by key. Includes those that are being deleted and those
    /// that another scheduler looks after.
    pub fn pending_pods(&self) -> impl Iterator<Item = &Pod> {
        self.index.pending_pods().filter_map(|key| self.get(key))
    }

    /// Those of [`pending_pods`](Self::pending_pods) that ask for this scheduler, by key.
    pub fn pods_to_schedule(&self) -> impl Iterator<Item = &Pod> {
        self.index.pods_to_schedule().filter_map(|key| self.get(key))
    }

    /// Those of [`pods_to_schedule`](Self::pods_to_schedule) whose place depends on which pods lie where, by key.
    pub fn pods_to_schedule_beside_others(&self) -> impl Iterator<Item = &Pod> {
        self.index
            .pods_to_schedule_beside_others()
            .filter_map(|key| self.get(key))
    }

    /// The unfinished bound pods that have terms about other pods, by key.
    pub fn pods_with_affinity(&self) -> impl Iterator<Item = &Pod> {
        self.index.pods_with_affinity().filter_map(|key| self.get(key))
    }

    /// What the unfinished pods of a node take up; `None` if there are none.
    pub fn node_usage(&self, node: &str) -> Option<&NodeUsage> {
        self.index.node_usage(node)
    }
}

#[cfg(test)]
mod tests;
