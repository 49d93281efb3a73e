//! What the world keeps of an object.
//!
//! Every server has all pods of the cluster in memory, so what no loop decides by is left out of them: it is most of a pod.
//! A loop therefore never replaces a pod; it writes the status, or who owns it, and the registry keeps the rest.

use trireme_proto::api::core::v1::{Container, EnvVar, EphemeralContainer, EphemeralContainerCommon, Pod, Volume};

use crate::{controllers::pods::DELETION_COST, object::Object};

/// Leaves out of an object what no loop decides by: who owns its fields, and of a pod what only its node needs.
pub fn take_excerpt(object: &mut dyn Object) {
    // Each entry would hold on to all the bytes that it was read from. Where a loop writes the object, the registry has
    // them still.
    object.metadata_mut().managed_fields = Vec::new();
    if let Some(pod) = object.downcast_mut::<Pod>() {
        excerpt_pod(pod);
    }
}

fn excerpt_pod(pod: &mut Pod) {
    if let Some(meta) = &mut pod.metadata {
        meta.annotations.retain(|name, _| name == DELETION_COST);
    }
    let Some(spec) = &mut pod.spec else { return };
    spec.volumes.retain(names_others);
    for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
        excerpt_container(container);
    }
    for container in &mut spec.ephemeral_containers {
        excerpt_ephemeral_container(container);
    }
}

/// What counts for placing a pod and for finding it, and the names of the objects that it needs on its node.
fn excerpt_container(container: &mut Container) {
    let whole = std::mem::take(container);
    *container = Container {
        name: whole.name,
        ports: whole.ports,
        resources: whole.resources,
        restart_policy: whole.restart_policy,
        env: without_values(whole.env),
        env_from: whole.env_from,
        ..Container::default()
    };
}

fn excerpt_ephemeral_container(container: &mut EphemeralContainer) {
    let whole = std::mem::take(container);
    let common = whole.ephemeral_container_common.map(|common| EphemeralContainerCommon {
        name: common.name,
        env: without_values(common.env),
        env_from: common.env_from,
        ..EphemeralContainerCommon::default()
    });
    container.ephemeral_container_common = common;
}

fn without_values(env: Vec<EnvVar>) -> Vec<EnvVar> {
    env.into_iter()
        .filter(|variable| variable.value_from.is_some())
        .collect()
}

/// Whether a volume is made of other objects.
fn names_others(volume: &Volume) -> bool {
    volume.volume_source.as_ref().is_some_and(|source| {
        source.config_map.is_some()
            || source.secret.is_some()
            || source.projected.is_some()
            || source.persistent_volume_claim.is_some()
            || source.ephemeral.is_some()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trireme_proto::json::{decode_value, encode_value};

    use super::*;
    use crate::{
        admission::usage_of,
        world::{PodRequest, Resources},
    };

    #[test]
    fn what_the_loops_decide_by_is_kept_and_the_rest_is_not() {
        let value = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "web",
                "labels": {"app": "web"},
                "annotations": {DELETION_COST: "7", "example.com/notes": "long"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"}],
                "managedFields": [{"manager": "m"}],
            },
            "spec": {
                "nodeName": "n1",
                "volumes": [
                    {"name": "scratch", "emptyDir": {}},
                    {"name": "config", "configMap": {"name": "settings"}},
                ],
                "initContainers": [{"name": "proxy", "image": "p:1", "restartPolicy": "Always"}],
                "containers": [{
                    "name": "main",
                    "image": "web:1",
                    "command": ["serve"],
                    "env": [
                        {"name": "MODE", "value": "fast"},
                        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}},
                    ],
                    "envFrom": [{"configMapRef": {"name": "more"}}],
                    "ports": [{"containerPort": 80, "hostPort": 8080}],
                    "resources": {"requests": {"cpu": "10m"}},
                    "volumeMounts": [{"name": "config", "mountPath": "/c"}],
                    "readinessProbe": {"httpGet": {"port": 80}},
                }],
            },
            "status": {"phase": "Running", "podIP": "10.0.0.1"},
        });
        let whole: Pod = decode_value(&value).expect("a pod").value;
        let mut excerpt = whole.clone();
        take_excerpt(&mut excerpt);
        let kept = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "web",
                "labels": {"app": "web"},
                "annotations": {DELETION_COST: "7"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"}],
            },
            "spec": {
                "nodeName": "n1",
                "volumes": [{"name": "config", "configMap": {"name": "settings"}}],
                "initContainers": [{"name": "proxy", "restartPolicy": "Always"}],
                "containers": [{
                    "name": "main",
                    "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}}],
                    "envFrom": [{"configMapRef": {"name": "more"}}],
                    "ports": [{"containerPort": 80, "hostPort": 8080}],
                    "resources": {"requests": {"cpu": "10m"}},
                }],
            },
            "status": {"phase": "Running", "podIP": "10.0.0.1"},
        });
        let kept: Pod = decode_value(&kept).expect("a pod").value;
        assert_eq!(
            encode_value(&excerpt).expect("JSON"),
            encode_value(&kept).expect("JSON")
        );

        let asked = PodRequest::of(&excerpt);
        assert_eq!(asked, PodRequest::of(&whole));
        assert_ne!(asked.resources, Resources::default());
        assert_eq!(usage_of(&excerpt), usage_of(&whole));
    }
}
