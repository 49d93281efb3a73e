//! Pods leave a node that fails after a while, not at once: a toleration with an end for both taints that
//! a failing node is given.

use trireme_proto::api::core::v1::{Pod, Toleration};

use super::{AdmissionLookup, AdmissionPlugin, AdmissionRequest, Operation};
use crate::{limits::DEFAULT_EVICTION_TOLERATION_SECONDS, object::Object};

/// The taints of a node that does not report, or reports that it is not ready.
const TAINTS: &[&str] = &["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// See the file's comment.
#[derive(Debug, Clone, Copy)]
pub struct DefaultTolerationSeconds;

impl AdmissionPlugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn mutate(&self, request: &AdmissionRequest, object: &mut dyn Object, _lookup: &dyn AdmissionLookup) {
        let Some(pod) = object
            .downcast_mut::<Pod>()
            .filter(|_| request.operation == Operation::Create)
        else {
            return;
        };
        let tolerations = &mut pod.spec.get_or_insert_default().tolerations;
        for taint in TAINTS {
            let tolerated = tolerations.iter().any(|toleration| {
                (toleration.key.is_empty() || toleration.key == *taint)
                    && matches!(toleration.effect.as_str(), "" | "NoExecute")
            });
            if !tolerated {
                tolerations.push(Toleration {
                    key: (*taint).into(),
                    operator: "Exists".into(),
                    effect: "NoExecute".into(),
                    toleration_seconds: Some(DEFAULT_EVICTION_TOLERATION_SECONDS),
                    ..Toleration::default()
                });
            }
        }
    }
}
