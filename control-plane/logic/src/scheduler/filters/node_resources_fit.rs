//! A node takes no more pods than its resources allow. Every shortage is a reason of its own.

use super::Filter;
use crate::scheduler::{class::Class, node_state::NodeState, reasons::FilterReason};

/// See the file.
pub struct NodeResourcesFit;

impl Filter for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn check(&self, class: &Class<'_>, node: &NodeState<'_>, reasons: &mut Vec<FilterReason>) {
        let (wanted, used, offered) = (&class.request().resources, &node.usage.resources, &node.allocatable);
        if used.pods + wanted.pods > offered.pods {
            reasons.push(FilterReason::TooManyPods);
        }
        let mut check = |resource: &str, wanted: i64, used: i64, offered: i64| {
            // What a pod does not ask for cannot keep it out, even if the node is overcommitted.
            if wanted > 0 && wanted > offered.saturating_sub(used) {
                reasons.push(FilterReason::Insufficient {
                    resource: resource.to_owned(),
                });
            }
        };
        check("cpu", wanted.milli_cpu, used.milli_cpu, offered.milli_cpu);
        check("memory", wanted.memory_bytes, used.memory_bytes, offered.memory_bytes);
        check(
            "ephemeral-storage",
            wanted.ephemeral_storage_bytes,
            used.ephemeral_storage_bytes,
            offered.ephemeral_storage_bytes,
        );
        for (name, amount) in &wanted.extended {
            let used = used.extended.get(name).copied().unwrap_or(0);
            check(name, *amount, used, offered.extended.get(name).copied().unwrap_or(0));
        }
    }
}
