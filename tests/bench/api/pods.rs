//! The objects that the benchmarks of the API work with.

use std::collections::BTreeMap;

use anyhow::Result;
use prost::Message as _;
use serde_json::json;
use trireme_proto::{
    api::{
        core::v1::{Container, Node, Pod, PodSpec},
        meta::v1::ObjectMeta,
    },
    json::{decode_value, encode_value},
};

/// Pods name a scheduler that does not exist, so that figures are those of the API.
const NO_SCHEDULER: &str = "none";
/// The annotation that brings a pod to its size.
const PADDING: &str = "bench.trireme.io/padding";
/// The annotation that changes.
const CHANGE: &str = "bench.trireme.io/change";
/// The image of every pod.
const IMAGE: &str = "trireme.local/hello:1";
/// The label that no two pods share.
pub const NUMBER_LABEL: &str = "bench.trireme.io/number";
/// Pods of one workload, and of one node.
pub const PODS_OF_ONE: usize = 30;

/// A pod as short as people write them.
pub fn short(namespace: &str, name: &str) -> Pod {
    Pod {
        metadata: Some(ObjectMeta {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            labels: BTreeMap::from([("app".to_owned(), "bench".to_owned())]),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            scheduler_name: NO_SCHEDULER.to_owned(),
            containers: vec![Container {
                name: "main".to_owned(),
                image: IMAGE.to_owned(),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

/// The JSON of a pod, as a client sends it.
///
/// # Errors
/// Never, of what this module makes.
pub fn json_of(pod: &Pod) -> Result<Vec<u8>> {
    let mut value = encode_value(pod)?;
    value["apiVersion"] = json!("v1");
    value["kind"] = json!("Pod");
    Ok(serde_json::to_vec(&value)?)
}

/// A node that nobody runs.
pub fn node(number: usize) -> Node {
    Node {
        metadata: Some(ObjectMeta {
            name: node_name(number),
            ..ObjectMeta::default()
        }),
        ..Node::default()
    }
}

/// The name of a node.
pub fn node_name(number: usize) -> String {
    format!("bench-node-{number:05}")
}

/// The node that a pod is on, of so many.
pub fn node_of(pod: usize, nodes: usize) -> usize {
    pod / PODS_OF_ONE % nodes
}

/// The name of a pod of a workload.
pub fn full_name(number: usize) -> String {
    format!("web-{:06}-{number:06}", number / PODS_OF_ONE)
}

/// A pod as a controller makes it, bound to a node, of `bytes` in protobuf.
///
/// It is never ready, and tolerates everything: its node is none that reports, and neither marking nor evicting pods is
/// what is measured.
///
/// # Errors
/// Never, unless the contract changes.
pub fn full(namespace: &str, number: usize, node: &str, bytes: usize) -> Result<Pod> {
    let settings: Vec<_> = (0..10)
        .map(|index| json!({"name": format!("SETTING_{index}"), "value": format!("value-{index}")}))
        .collect();
    let workload = number / PODS_OF_ONE;
    let value = json!({
        "metadata": {
            "name": full_name(number),
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/name": format!("web-{workload}"),
                "pod-template-hash": format!("{workload:010x}"),
                NUMBER_LABEL: number.to_string(),
            },
            "annotations": {},
        },
        "spec": {
            "nodeName": node,
            "schedulerName": NO_SCHEDULER,
            "tolerations": [{"operator": "Exists"}],
            "volumes": [
                {"name": "config", "configMap": {"name": "web"}},
                {"name": "scratch", "emptyDir": {}},
            ],
            "containers": [{
                "name": "main",
                "image": IMAGE,
                "env": settings,
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                "volumeMounts": [{"name": "config", "mountPath": "/config"}, {"name": "scratch", "mountPath": "/scratch"}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
            }],
        },
    });
    let mut pod: Pod = decode_value(&value)?.value;
    let padding = bytes.saturating_sub(pod.encoded_len() + PADDING.len() + 12);
    let metadata = pod.metadata.get_or_insert_default();
    metadata.annotations.insert(PADDING.to_owned(), "x".repeat(padding));
    Ok(pod)
}

/// A merge patch of such a pod, with something that tells it from the one before.
pub fn change(told: &str) -> Vec<u8> {
    json!({"metadata": {"annotations": {CHANGE: told}}})
        .to_string()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pod_has_the_size_that_was_asked_for() {
        for number in [0, 149_999] {
            let pod = full("default", number, &node_name(4_999), 2_048).expect("a pod");
            let bytes = pod.encoded_len();
            assert!((2_030..=2_060).contains(&bytes), "{bytes}");
        }
    }
}
