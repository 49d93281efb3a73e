//! Node selectors: required and preferred terms over a node's labels and its name.

use trireme_proto::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

use super::node_state::NodeState;

/// True if one of the terms matches. No term matches nothing.
pub(super) fn matches(selector: &NodeSelector, node: &NodeState<'_>) -> bool {
    selector.node_selector_terms.iter().any(|term| matches_term(term, node))
}

/// True if every requirement of the term holds. A term that asks for nothing matches nothing.
pub(super) fn matches_term(term: &NodeSelectorTerm, node: &NodeState<'_>) -> bool {
    if term.match_expressions.is_empty() && term.match_fields.is_empty() {
        return false;
    }
    let labels = term
        .match_expressions
        .iter()
        .all(|requirement| holds(requirement, node.labels.get(&requirement.key).map(String::as_str)));
    let fields = term
        .match_fields
        .iter()
        .all(|requirement| holds(requirement, (requirement.key == "metadata.name").then_some(node.name)));
    labels && fields
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let listed = |value: &str| requirement.values.iter().any(|listed| listed == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(requirement, value).is_some_and(|(have, bound)| have > bound),
        "Lt" => compare(requirement, value).is_some_and(|(have, bound)| have < bound),
        _ => false,
    }
}

/// The label and the bound as integers, if both are.
fn compare(requirement: &NodeSelectorRequirement, value: Option<&str>) -> Option<(i64, i64)> {
    let [bound] = requirement.values.as_slice() else {
        return None;
    };
    Some((value?.parse().ok()?, bound.parse().ok()?))
}
