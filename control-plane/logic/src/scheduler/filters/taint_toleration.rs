//! A node with a `NoSchedule` or `NoExecute` taint takes only pods that tolerate it.

use super::Filter;
use crate::{
    controllers::pods,
    scheduler::{class::Class, node_state::NodeState, reasons::FilterReason, tolerations},
};

/// See the file.
pub struct TaintToleration;

impl Filter for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn check(&self, class: &Class<'_>, node: &NodeState<'_>, reasons: &mut Vec<FilterReason>) {
        let list = &pods::spec(class.pod).tolerations;
        let mut hard = node
            .taints
            .iter()
            .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
        if let Some(taint) = hard.find(|taint| !tolerations::any_tolerates(list, taint)) {
            reasons.push(FilterReason::UntoleratedTaint {
                key: taint.key.clone(),
                value: taint.value.clone(),
            });
        }
    }
}
