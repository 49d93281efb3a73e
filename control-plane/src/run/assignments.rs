//! What a node is given: its pods, and the secrets and configuration that they name. Nothing else (I6).
//!
//! Level-triggered: the wanted set is computed from the world each time and compared with what was sent,
//! so a missed change cannot stay missed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use trireme_logic::{
    kind::{Kind, metadata_of},
    object::{Object, ObjectKey},
    world::World,
};
use trireme_proto::{
    api::core::v1::{ConfigMap, Container, EphemeralContainer, Pod, Secret},
    v1::{AssignedKind, AssignedRef},
};

/// The objects that a node should have, at one revision.
#[derive(Default)]
pub struct AssignmentSet {
    revision: i64,
    objects: BTreeMap<(AssignedKind, ObjectKey), Arc<dyn Object>>,
}

/// What brings a node from one set to another.
pub struct Difference {
    /// It is the whole set.
    pub complete: bool,
    /// At which the set is what the node should have.
    pub revision: i64,
    /// What is new, or has another version; of pods the world's excerpts.
    pub upserts: Vec<(AssignedKind, Arc<dyn Object>)>,
    /// What the node should have no more.
    pub removals: Vec<AssignedRef>,
}

/// The names of what a pod uses in its own namespace.
#[derive(Debug, Default, PartialEq, Eq)]
struct References {
    config_maps: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

impl AssignmentSet {
    /// What `node` should have.
    pub fn of(world: &World, node: &str) -> Self {
        let mut set = Self {
            revision: world.revision(),
            objects: BTreeMap::new(),
        };
        for pod in world.pods_on_node(node) {
            let meta = metadata_of(pod);
            let key = ObjectKey::new(&meta.namespace, &meta.name);
            let Some(object) = world.get_object(&Pod::INFO, &key) else {
                continue;
            };
            for (kind, name) in references_of(pod).named() {
                let key = ObjectKey::new(&key.namespace, name);
                let found = match kind {
                    AssignedKind::ConfigMap => world.get_object(&ConfigMap::INFO, &key),
                    AssignedKind::Secret => world.get_object(&Secret::INFO, &key),
                    AssignedKind::Pod => None,
                };
                if let Some(found) = found {
                    set.objects.insert((kind, key), found.clone());
                }
            }
            set.objects.insert((AssignedKind::Pod, key), object.clone());
        }
        set
    }

    /// Whether this object is in the set. A pod that another of its name has replaced is not; nodes know pods by uid.
    fn has(&self, id: &(AssignedKind, ObjectKey), object: &dyn Object) -> bool {
        let is_same =
            |found: &Arc<dyn Object>| id.0 != AssignedKind::Pod || found.metadata().uid == object.metadata().uid;
        self.objects.get(id).is_some_and(is_same)
    }

    /// Makes this set equal to `next`. Returns what brings the node there, or `None` if there is nothing to say. With
    /// `complete` it is the whole set, and always told.
    pub fn advance_to(&mut self, next: Self, complete: bool) -> Option<Difference> {
        let upserts: Vec<(AssignedKind, Arc<dyn Object>)> = next
            .objects
            .iter()
            .filter(|(id, object)| {
                complete
                    || self
                        .objects
                        .get(*id)
                        .is_none_or(|sent| version(&**sent) != version(&***object))
            })
            .map(|((kind, _), object)| (*kind, object.clone()))
            .collect();
        let removals: Vec<AssignedRef> = self
            .objects
            .iter()
            .filter(|(id, object)| !complete && !next.has(id, &***object))
            .map(|((kind, key), object)| AssignedRef {
                kind: *kind as i32,
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                uid: object.metadata().uid.clone(),
            })
            .collect();
        *self = next;
        let changed = complete || !upserts.is_empty() || !removals.is_empty();
        changed.then_some(Difference {
            complete,
            revision: self.revision,
            upserts,
            removals,
        })
    }
}

impl References {
    fn named(self) -> impl Iterator<Item = (AssignedKind, String)> {
        let config_maps = self.config_maps.into_iter().map(|name| (AssignedKind::ConfigMap, name));
        let secrets = self.secrets.into_iter().map(|name| (AssignedKind::Secret, name));
        config_maps.chain(secrets).filter(|(_, name)| !name.is_empty())
    }
}

fn version(object: &dyn Object) -> (&str, &str) {
    let meta = object.metadata();
    (&meta.uid, &meta.resource_version)
}

fn references_of(pod: &Pod) -> References {
    let mut references = References::default();
    let Some(spec) = &pod.spec else { return references };
    references
        .secrets
        .extend(spec.image_pull_secrets.iter().map(|reference| reference.name.clone()));
    for volume in spec.volumes.iter().filter_map(|volume| volume.volume_source.as_ref()) {
        references
            .secrets
            .extend(volume.secret.iter().map(|secret| secret.secret_name.clone()));
        let names = volume
            .config_map
            .iter()
            .filter_map(|map| map.local_object_reference.as_ref());
        references
            .config_maps
            .extend(names.map(|reference| reference.name.clone()));
        for source in volume.projected.iter().flat_map(|projected| &projected.sources) {
            let names = source
                .secret
                .iter()
                .filter_map(|secret| secret.local_object_reference.as_ref());
            references.secrets.extend(names.map(|reference| reference.name.clone()));
            let names = source
                .config_map
                .iter()
                .filter_map(|map| map.local_object_reference.as_ref());
            references
                .config_maps
                .extend(names.map(|reference| reference.name.clone()));
        }
    }
    for container in spec.init_containers.iter().chain(&spec.containers) {
        references.add_container(container);
    }
    for container in &spec.ephemeral_containers {
        references.add_ephemeral_container(container);
    }
    references
}

impl References {
    fn add_container(&mut self, container: &Container) {
        for source in container.env.iter().filter_map(|variable| variable.value_from.as_ref()) {
            let names = source
                .config_map_key_ref
                .iter()
                .filter_map(|key| key.local_object_reference.as_ref());
            self.config_maps.extend(names.map(|reference| reference.name.clone()));
            let names = source
                .secret_key_ref
                .iter()
                .filter_map(|key| key.local_object_reference.as_ref());
            self.secrets.extend(names.map(|reference| reference.name.clone()));
        }
        for source in &container.env_from {
            let names = source
                .config_map_ref
                .iter()
                .filter_map(|map| map.local_object_reference.as_ref());
            self.config_maps.extend(names.map(|reference| reference.name.clone()));
            let names = source
                .secret_ref
                .iter()
                .filter_map(|secret| secret.local_object_reference.as_ref());
            self.secrets.extend(names.map(|reference| reference.name.clone()));
        }
    }

    fn add_ephemeral_container(&mut self, container: &EphemeralContainer) {
        let Some(common) = &container.ephemeral_container_common else {
            return;
        };
        self.add_container(&Container {
            env: common.env.clone(),
            env_from: common.env_from.clone(),
            ..Container::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use trireme_logic::world::Mutation;
    use trireme_proto::api::{core::v1::PodSpec, meta::v1::ObjectMeta};

    use super::*;

    /// A world with one pod of this uid and version on the node `n1`.
    fn set_of(uid: &str, version: &str) -> AssignmentSet {
        let pod = Pod {
            metadata: Some(ObjectMeta {
                name: "web".to_owned(),
                namespace: "default".to_owned(),
                uid: uid.to_owned(),
                resource_version: version.to_owned(),
                ..ObjectMeta::default()
            }),
            spec: Some(PodSpec {
                node_name: "n1".to_owned(),
                ..PodSpec::default()
            }),
            ..Pod::default()
        };
        let mut world = World::new();
        world.apply(Mutation::Put(Arc::new(pod)), 1);
        AssignmentSet::of(&world, "n1")
    }

    fn told(set: &mut AssignmentSet, next: AssignmentSet) -> Option<(Vec<String>, Vec<String>)> {
        let difference = set.advance_to(next, false)?;
        let upserts = difference.upserts.iter();
        let upserts = upserts.map(|(_, object)| object.metadata().uid.clone()).collect();
        let removals = difference.removals.into_iter().map(|removal| removal.uid).collect();
        Some((upserts, removals))
    }

    #[test]
    fn a_node_is_told_what_is_new_and_what_is_gone() {
        let uids = |uids: &[&str]| uids.iter().map(|uid| (*uid).to_owned()).collect::<Vec<_>>();
        let mut set = AssignmentSet::default();
        assert_eq!(told(&mut set, set_of("a", "1")), Some((uids(&["a"]), uids(&[]))));
        assert_eq!(told(&mut set, set_of("a", "1")), None);
        assert_eq!(told(&mut set, set_of("a", "2")), Some((uids(&["a"]), uids(&[]))));
        // Another pod has its name: nodes know pods by uid.
        assert_eq!(told(&mut set, set_of("b", "3")), Some((uids(&["b"]), uids(&["a"]))));
        let nothing = AssignmentSet::default();
        assert_eq!(told(&mut set, nothing), Some((uids(&[]), uids(&["b"]))));
    }
}
