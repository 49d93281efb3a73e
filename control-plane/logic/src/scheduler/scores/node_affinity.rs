//! Nodes that match more of the weight of a pod's preferred node affinity are better.

use super::Score;
use crate::{
    controllers::pods,
    scheduler::{class::Class, node_selector, node_state::NodeState},
};

/// See the file.
pub struct NodeAffinity;

impl Score for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn score(&self, class: &Class<'_>, _place: usize, node: &NodeState<'_>) -> i64 {
        let affinity = pods::spec(class.pod)
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref());
        let preferred = affinity.map_or(&[][..], |affinity| {
            &affinity.preferred_during_scheduling_ignored_during_execution
        });
        let matching = preferred.iter().filter(|term| {
            term.preference
                .as_ref()
                .is_some_and(|preference| node_selector::matches_term(preference, node))
        });
        matching.map(|term| i64::from(term.weight)).sum()
    }
}
