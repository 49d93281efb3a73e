//! The ways into the world other than by key. Each entry shares the key of the table's own entry.
//!
//! Everything here follows from the objects alone, and an update removes exactly what the old version of an
//! object had added.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use trireme_proto::api::core::v1::Pod;

use super::{
    table::TypeKey,
    usage::{NodeUsage, PodRequest},
};
use crate::{
    controllers::pods,
    kind::KindInfo,
    object::{Object, ObjectKey},
    scheduler::{self, affinity},
};

/// Plural names of the kinds that controllers adopt.
const ADOPTABLE: [&str; 2] = ["pods", "replicasets"];

type KeySet = BTreeSet<Arc<ObjectKey>>;

/// All indexes.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_uid: BTreeMap<Box<str>, (&'static KindInfo, Arc<ObjectKey>)>,
    by_owner: BTreeMap<Box<str>, BTreeMap<TypeKey, (&'static KindInfo, KeySet)>>,
    without_controller: BTreeMap<TypeKey, KeySet>,
    pods_by_node: BTreeMap<Box<str>, NodePods>,
    pending_pods: KeySet,
    pods_to_schedule: KeySet,
    pods_to_schedule_beside_others: KeySet,
    pods_with_affinity: KeySet,
}

#[derive(Debug, Default)]
struct NodePods {
    keys: KeySet,
    usage: NodeUsage,
}

impl Index {
    /// Follows the change of one object.
    pub(super) fn update(
        &mut self,
        info: &'static KindInfo,
        key: &Arc<ObjectKey>,
        old: Option<&dyn Object>,
        new: Option<&dyn Object>,
    ) {
        self.update_meta(info, key, old, new);
        let pod = |object: Option<&'_ dyn Object>| object.is_some_and(|object| object.as_any().is::<Pod>());
        if pod(old) || pod(new) {
            let old = old.and_then(|object| object.as_any().downcast_ref::<Pod>());
            let new = new.and_then(|object| object.as_any().downcast_ref::<Pod>());
            self.update_pod(key, old, new);
        }
    }

    fn update_meta(
        &mut self,
        info: &'static KindInfo,
        key: &Arc<ObjectKey>,
        old: Option<&dyn Object>,
        new: Option<&dyn Object>,
    ) {
        let (old, new) = (old.map(Object::metadata), new.map(Object::metadata));
        if old.map(|meta| &meta.uid) != new.map(|meta| &meta.uid) {
            if let Some(old) = old {
                self.by_uid.remove(old.uid.as_str());
            }
            if let Some(new) = new {
                self.by_uid.insert(new.uid.as_str().into(), (info, Arc::clone(key)));
            }
        }
        if let (Some(old), Some(new)) = (old, new)
            && old.owner_references == new.owner_references
        {
            return;
        }
        let type_key = TypeKey::of(info);
        for owner in old.into_iter().flat_map(|meta| &meta.owner_references) {
            self.remove_owner(&owner.uid, type_key, key);
        }
        for owner in new.into_iter().flat_map(|meta| &meta.owner_references) {
            let kinds = self.by_owner.entry(owner.uid.as_str().into()).or_default();
            kinds
                .entry(type_key)
                .or_insert_with(|| (info, KeySet::new()))
                .1
                .insert(Arc::clone(key));
        }
        if ADOPTABLE.contains(&info.plural) {
            let free =
                new.is_some_and(|meta| !meta.owner_references.iter().any(|owner| owner.controller == Some(true)));
            let keys = self.without_controller.entry(type_key).or_default();
            if free {
                keys.insert(Arc::clone(key));
            } else {
                keys.remove(&**key);
            }
        }
    }

    fn remove_owner(&mut self, uid: &str, type_key: TypeKey, key: &ObjectKey) {
        let Some(kinds) = self.by_owner.get_mut(uid) else {
            return;
        };
        if let Some((_, keys)) = kinds.get_mut(&type_key) {
            keys.remove(key);
            if keys.is_empty() {
                kinds.remove(&type_key);
            }
        }
        if kinds.is_empty() {
            self.by_owner.remove(uid);
        }
    }

    fn update_pod(&mut self, key: &Arc<ObjectKey>, old: Option<&Pod>, new: Option<&Pod>) {
        let place = |pod: &Pod| (pods::spec(pod).node_name.clone(), pods::is_finished(pod));
        if let (Some(old), Some(new)) = (old, new)
            && place(old) == place(new)
            && pods::spec(old) == pods::spec(new)
        {
            return;
        }
        if let Some(old) = old {
            let node = pods::spec(old).node_name.as_str();
            if let Some(entry) = self.pods_by_node.get_mut(node) {
                entry.keys.remove(&**key);
                if !pods::is_finished(old) {
                    entry.usage.remove(&PodRequest::of(old));
                }
                if entry.keys.is_empty() {
                    self.pods_by_node.remove(node);
                }
            }
            self.pending_pods.remove(&**key);
            self.pods_to_schedule.remove(&**key);
            self.pods_to_schedule_beside_others.remove(&**key);
            self.pods_with_affinity.remove(&**key);
        }
        if let Some(new) = new {
            let node = pods::spec(new).node_name.as_str();
            if !node.is_empty() {
                let entry = self.pods_by_node.entry(node.into()).or_default();
                entry.keys.insert(Arc::clone(key));
                if !pods::is_finished(new) {
                    entry.usage.add(&PodRequest::of(new));
                    if affinity::has_terms(new) {
                        self.pods_with_affinity.insert(Arc::clone(key));
                    }
                }
            } else if !pods::is_finished(new) {
                self.pending_pods.insert(Arc::clone(key));
                if scheduler::asks_for_us(new) {
                    self.pods_to_schedule.insert(Arc::clone(key));
                    if scheduler::depends_on_other_pods(new) {
                        self.pods_to_schedule_beside_others.insert(Arc::clone(key));
                    }
                }
            }
        }
    }

    pub(super) fn by_uid(&self, uid: &str) -> Option<(&'static KindInfo, &ObjectKey)> {
        self.by_uid.get(uid).map(|(info, key)| (*info, &**key))
    }

    pub(super) fn owned_by<'a>(&'a self, uid: &str) -> impl Iterator<Item = (&'static KindInfo, &'a ObjectKey)> {
        let kinds = self.by_owner.get(uid).into_iter().flat_map(BTreeMap::values);
        kinds.flat_map(|(info, keys)| keys.iter().map(|key| (*info, &**key)))
    }

    pub(super) fn owned_of_kind<'a>(&'a self, uid: &str, kind: TypeKey) -> impl Iterator<Item = &'a ObjectKey> {
        let keys = self.by_owner.get(uid).and_then(|kinds| kinds.get(&kind));
        keys.into_iter().flat_map(|(_, keys)| keys.iter().map(|key| &**key))
    }

    pub(super) fn owner_uids(&self) -> impl Iterator<Item = &str> {
        self.by_owner.keys().map(|uid| &**uid)
    }

    pub(super) fn without_controller<'a>(
        &'a self,
        kind: TypeKey,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a ObjectKey> {
        let start = ObjectKey::new(namespace, "");
        let keys = self.without_controller.get(&kind).into_iter();
        keys.flat_map(move |keys| keys.range::<ObjectKey, _>((Bound::Included(start.clone()), Bound::Unbounded)))
            .map(|key| &**key)
            .take_while(move |key| namespace.is_empty() || key.namespace == namespace)
    }

    pub(super) fn pods_on_node<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a ObjectKey> {
        self.pods_by_node
            .get(node)
            .into_iter()
            .flat_map(|entry| entry.keys.iter().map(|key| &**key))
    }

    pub(super) fn nodes_with_pods(&self) -> impl Iterator<Item = &str> {
        self.pods_by_node.keys().map(|node| &**node)
    }

    pub(super) fn pending_pods(&self) -> impl Iterator<Item = &ObjectKey> {
        self.pending_pods.iter().map(|key| &**key)
    }

    pub(super) fn pods_to_schedule(&self) -> impl Iterator<Item = &ObjectKey> {
        self.pods_to_schedule.iter().map(|key| &**key)
    }

    pub(super) fn pods_to_schedule_beside_others(&self) -> impl Iterator<Item = &ObjectKey> {
        self.pods_to_schedule_beside_others.iter().map(|key| &**key)
    }

    pub(super) fn pods_with_affinity(&self) -> impl Iterator<Item = &ObjectKey> {
        self.pods_with_affinity.iter().map(|key| &**key)
    }

    pub(super) fn node_usage(&self, node: &str) -> Option<&NodeUsage> {
        self.pods_by_node.get(node).map(|entry| &entry.usage)
    }
}
