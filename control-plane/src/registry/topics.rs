//! The pods of a node, for those who watch only them.
//!
//! It is what most watchers of pods want: each node's agent and proxy. A change of a pod wakes those of its node alone.

use std::sync::LazyLock;

use bytes::Bytes;
use trireme_logic::{kind::Kind, kinds, object::KindOps};
use trireme_proto::{api::core::v1::Pod, parts, schema};
use trireme_store::kv::{About, Event, EventKind, Topics};

use super::{Stored, WatchRequest};

/// The field that tells a pod's node.
pub(super) const NODE: &str = "spec.nodeName";

/// The nodes of a pod: where it was and where it is. A pod that has none is of a node without a name.
#[derive(Debug)]
struct PodNodes;

/// The numbers of the fields that lead to a pod's node.
static NODE_NUMBERS: LazyLock<[u32; 2]> = LazyLock::new(|| {
    let pod = schema::kind("", "v1", "Pod");
    let spec = pod.and_then(|pod| pod.field("spec"));
    let node = spec.and_then(|spec| spec.message()?.field("nodeName"));
    spec.zip(node)
        .map(|(spec, node)| [spec.number, node.number])
        .expect("pods have nodes")
});

impl Topics for PodNodes {
    fn name(&self) -> &'static str {
        NODE
    }

    fn each(&self, event: &Event, found: &mut dyn FnMut(&[u8])) {
        let before = event.prev_kv.as_ref().map(|kv| node_of(&kv.value));
        let after = (event.kind == EventKind::Put).then(|| node_of(&event.kv.value));
        before.into_iter().for_each(&mut *found);
        after.filter(|after| before != Some(after)).into_iter().for_each(found);
    }
}

fn node_of(pod: &[u8]) -> &[u8] {
    parts::text_at(pod, &*NODE_NUMBERS)
}

/// Whether the objects of a kind have a node, which can be told without reading all of them.
pub(super) fn tells_nodes(ops: &dyn KindOps) -> bool {
    kinds::is_same(ops.info(), &Pod::INFO)
}

/// Whether an object of such a kind is of this node.
pub(super) fn is_on_node(pod: &Stored, node: &str) -> bool {
    node_of(pod.value()) == node.as_bytes()
}

/// What concerns a watch, if it is less than all of what it watches.
pub(super) fn about(ops: &dyn KindOps, request: &WatchRequest) -> Option<About> {
    // In a namespace there are few enough.
    if !tells_nodes(ops) || !request.namespace.is_empty() {
        return None;
    }
    let node = request.selection.fields().required_value(NODE)?;
    Some(About {
        topics: &PodNodes,
        topic: Bytes::copy_from_slice(node.as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use trireme_logic::{object::ObjectKey, testing::mk_pod};
    use trireme_store::kv::KeyValue;

    use super::*;
    use crate::registry::stored::encode;

    fn pod_on(node: &str) -> KeyValue {
        let mut pod = mk_pod("shop", "web");
        pod.spec.get_or_insert_default().node_name = node.to_owned();
        KeyValue {
            value: encode(&mut pod).expect("encoded"),
            ..KeyValue::default()
        }
    }

    fn nodes(kind: EventKind, before: Option<&str>, after: &str) -> Vec<String> {
        let event = Event {
            kind,
            kv: if kind == EventKind::Put {
                pod_on(after)
            } else {
                KeyValue::default()
            },
            prev_kv: before.map(pod_on),
        };
        let mut nodes = Vec::new();
        PodNodes.each(&event, &mut |node| {
            nodes.push(String::from_utf8_lossy(node).into_owned());
        });
        nodes
    }

    /// What is told of the bytes is what the object says.
    #[test]
    fn a_pod_is_of_the_node_that_it_names() {
        for node in ["", "a", "node-1"] {
            let ops = kinds::by_resource("", "v1", "pods").expect("pods");
            let stored = Stored::new(ops, ObjectKey::new("shop", "web"), pod_on(node).value, 7);
            assert!(tells_nodes(stored.ops()));
            let said = stored.object().expect("a pod").selectable_field(NODE).expect("a field");
            for asked in ["", "a", "node-1", "node-10"] {
                assert_eq!(is_on_node(&stored, asked), said == asked, "{node}, {asked}");
            }
        }
        assert!(!tells_nodes(kinds::by_resource("", "v1", "events").expect("events")));
    }

    #[test]
    fn a_change_is_about_where_the_pod_was_and_is() {
        assert_eq!(nodes(EventKind::Put, None, ""), [""]);
        assert_eq!(nodes(EventKind::Put, Some(""), "a"), ["", "a"]);
        assert_eq!(nodes(EventKind::Put, Some("a"), "a"), ["a"]);
        assert_eq!(nodes(EventKind::Delete, Some("a"), ""), ["a"]);
    }
}
