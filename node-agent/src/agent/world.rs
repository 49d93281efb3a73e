//! The wanted set as the cluster told it, and the objects that its pods name.

use crate::pod::References;
use crate::session::AssignmentChange;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use trireme_proto::api::core::v1::Pod;
use trireme_proto::api::meta::v1::ObjectMeta;
use trireme_proto::v1::AssignedKind;

/// What the cluster wants of this node.
#[derive(Debug, Default)]
pub(in crate::agent) struct World {
    /// By uid.
    pub(in crate::agent) pods: BTreeMap<String, Pod>,
    pub(in crate::agent) references: Arc<References>,
    /// True once a complete set has arrived. Only then is what is not in it unwanted.
    pub(in crate::agent) is_complete: bool,
}

/// What a change touched.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::agent) struct Touched {
    /// Pods by uid.
    pub(in crate::agent) pods: BTreeSet<String>,
    /// Namespaces whose configuration or secrets changed.
    pub(in crate::agent) namespaces: BTreeSet<String>,
}

fn key(meta: Option<&ObjectMeta>) -> (String, String) {
    meta.map(|meta| (meta.namespace.clone(), meta.name.clone()))
        .unwrap_or_default()
}

impl World {
    /// Takes a change in.
    pub(in crate::agent) fn apply(&mut self, change: AssignmentChange) -> Touched {
        let mut touched = Touched::default();
        let mut references = (*self.references).clone();
        if change.complete {
            self.is_complete = true;
            touched.pods.extend(self.pods.keys().cloned());
            self.pods.clear();
            for (namespace, _) in references.config_maps.keys().chain(references.secrets.keys()) {
                touched.namespaces.insert(namespace.clone());
            }
            references = References::default();
        }
        for pod in change.pods {
            let uid = pod.metadata.as_ref().map(|meta| meta.uid.clone()).unwrap_or_default();
            touched.pods.insert(uid.clone());
            self.pods.insert(uid, pod);
        }
        for map in change.config_maps {
            let key = key(map.metadata.as_ref());
            touched.namespaces.insert(key.0.clone());
            references.config_maps.insert(key, map);
        }
        for secret in change.secrets {
            let key = key(secret.metadata.as_ref());
            touched.namespaces.insert(key.0.clone());
            references.secrets.insert(key, secret);
        }
        for removal in change.removals {
            let key = (removal.namespace, removal.name);
            match removal.kind {
                AssignedKind::Pod => {
                    self.pods.remove(&removal.uid);
                    touched.pods.insert(removal.uid);
                }
                AssignedKind::ConfigMap => {
                    touched.namespaces.insert(key.0.clone());
                    references.config_maps.remove(&key);
                }
                AssignedKind::Secret => {
                    touched.namespaces.insert(key.0.clone());
                    references.secrets.remove(&key);
                }
            }
        }
        self.references = Arc::new(references);
        touched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Removal;
    use trireme_proto::api::core::v1::ConfigMap;

    fn meta(name: &str, uid: &str) -> Option<ObjectMeta> {
        Some(ObjectMeta {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            ..ObjectMeta::default()
        })
    }

    fn pods(complete: bool, names: &[&str]) -> AssignmentChange {
        let pod = |name: &&str| Pod {
            metadata: meta(name, name),
            ..Pod::default()
        };
        AssignmentChange {
            complete,
            pods: names.iter().map(pod).collect(),
            ..AssignmentChange::default()
        }
    }

    #[test]
    fn a_complete_set_replaces_and_a_difference_adds() {
        let mut world = World::default();
        world.apply(pods(true, &["a", "b"]));
        world.apply(pods(false, &["c"]));
        assert_eq!(world.pods.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        let touched = world.apply(pods(true, &["c"]));
        assert_eq!(world.pods.keys().collect::<Vec<_>>(), ["c"]);
        assert_eq!(touched.pods.len(), 3, "pods that left are touched too");
    }

    #[test]
    fn a_removal_names_a_uid() {
        let mut world = World::default();
        world.apply(pods(true, &["a"]));
        let removal = |uid: &str| Removal {
            kind: AssignedKind::Pod,
            namespace: "default".to_owned(),
            name: "a".to_owned(),
            uid: uid.to_owned(),
        };
        world.apply(AssignmentChange {
            removals: vec![removal("namesake")],
            ..Default::default()
        });
        assert_eq!(world.pods.len(), 1);
        world.apply(AssignmentChange {
            removals: vec![removal("a")],
            ..Default::default()
        });
        assert!(world.pods.is_empty());
    }

    #[test]
    fn configuration_touches_its_namespace() {
        let mut world = World::default();
        let map = ConfigMap {
            metadata: meta("settings", "m"),
            ..ConfigMap::default()
        };
        let change = AssignmentChange {
            config_maps: vec![map],
            ..Default::default()
        };
        assert!(world.apply(change).namespaces.contains("default"));
        assert_eq!(world.references.config_maps.len(), 1);
    }
}
