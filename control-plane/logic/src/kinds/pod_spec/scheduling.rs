//! Checks of what a pod asks of the nodes it may run on: affinity and spread.

use std::collections::BTreeSet;

use trireme_proto::api::core::v1::{
    Affinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, TopologySpreadConstraint,
    WeightedPodAffinityTerm,
};

use crate::{
    field_error::FieldErrors,
    validation::{in_range, labels, names, one_of, report},
};

/// Checks affinity. The path is that of `affinity`.
pub(super) fn affinity(affinity: &Affinity, errors: &mut FieldErrors) {
    errors.field("nodeAffinity", |errors| {
        let Some(node) = &affinity.node_affinity else { return };
        if let Some(required) = &node.required_during_scheduling_ignored_during_execution {
            errors.field("requiredDuringSchedulingIgnoredDuringExecution", |errors| {
                node_selector(required, errors);
            });
        }
        errors.field("preferredDuringSchedulingIgnoredDuringExecution", |errors| {
            for (index, term) in node
                .preferred_during_scheduling_ignored_during_execution
                .iter()
                .enumerate()
            {
                errors.index(index, |errors| {
                    errors.field("weight", |errors| weight(term.weight, errors));
                    errors.field("preference", |errors| {
                        term.preference.iter().for_each(|term| node_selector_term(term, errors));
                    });
                });
            }
        });
    });
    if let Some(pods) = &affinity.pod_affinity {
        errors.field("podAffinity", |errors| {
            pod_terms(
                &pods.required_during_scheduling_ignored_during_execution,
                &pods.preferred_during_scheduling_ignored_during_execution,
                errors,
            );
        });
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        errors.field("podAntiAffinity", |errors| {
            pod_terms(
                &pods.required_during_scheduling_ignored_during_execution,
                &pods.preferred_during_scheduling_ignored_during_execution,
                errors,
            );
        });
    }
}

/// Checks spread constraints. The path is that of the list.
pub(super) fn spread(constraints: &[TopologySpreadConstraint], errors: &mut FieldErrors) {
    let mut seen = BTreeSet::new();
    for (index, constraint) in constraints.iter().enumerate() {
        errors.index(index, |errors| {
            if constraint.max_skew <= 0 {
                errors.field("maxSkew", |errors| {
                    errors.invalid(constraint.max_skew, "must be greater than zero");
                });
            }
            errors.field("topologyKey", |errors| topology_key(&constraint.topology_key, errors));
            errors.field("whenUnsatisfiable", |errors| {
                one_of(
                    &constraint.when_unsatisfiable,
                    &["DoNotSchedule", "ScheduleAnyway"],
                    errors,
                );
            });
            errors.field("labelSelector", |errors| {
                constraint
                    .label_selector
                    .iter()
                    .for_each(|selector| labels::label_selector(selector, errors));
            });
            if !seen.insert((&constraint.topology_key, &constraint.when_unsatisfiable)) {
                errors.duplicate(format!(
                    "{{{}, {}}}",
                    constraint.topology_key, constraint.when_unsatisfiable
                ));
            }
        });
    }
}

/// Checks a choice of nodes. The path is that of the selector.
pub(crate) fn node_selector(selector: &NodeSelector, errors: &mut FieldErrors) {
    errors.field("nodeSelectorTerms", |errors| {
        if selector.node_selector_terms.is_empty() {
            errors.required("must have at least one node selector term");
        }
        for (index, term) in selector.node_selector_terms.iter().enumerate() {
            errors.index(index, |errors| node_selector_term(term, errors));
        }
    });
}

fn node_selector_term(term: &NodeSelectorTerm, errors: &mut FieldErrors) {
    errors.field("matchExpressions", |errors| {
        for (index, requirement) in term.match_expressions.iter().enumerate() {
            errors.index(index, |errors| {
                node_requirement(requirement, errors);
                errors.field("key", |errors| {
                    report(&requirement.key, names::qualified_name(&requirement.key), errors);
                });
            });
        }
    });
    errors.field("matchFields", |errors| {
        for (index, requirement) in term.match_fields.iter().enumerate() {
            errors.index(index, |errors| {
                if requirement.key != "metadata.name" {
                    errors.field("key", |errors| {
                        errors.invalid(&requirement.key, "not a valid field selector key");
                    });
                }
                errors.field("operator", |errors| {
                    one_of(&requirement.operator, &["In", "NotIn"], errors);
                });
                if requirement.values.len() != 1 {
                    errors.field("values", |errors| errors.required("must have one element"));
                }
            });
        }
    });
}

fn node_requirement(requirement: &NodeSelectorRequirement, errors: &mut FieldErrors) {
    let count = requirement.values.len();
    match requirement.operator.as_str() {
        "In" | "NotIn" if count == 0 => errors.field("values", |errors| {
            errors.required("must be specified when `operator` is 'In' or 'NotIn'");
        }),
        "Exists" | "DoesNotExist" if count > 0 => errors.field("values", |errors| {
            errors.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }),
        "Gt" | "Lt" if count != 1 => errors.field("values", |errors| {
            errors.required("must be specified single value when `operator` is 'Lt' or 'Gt'");
        }),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.field("operator", |errors| {
            errors.invalid(other, "not a valid selector operator");
        }),
    }
}

fn pod_terms(required: &[PodAffinityTerm], preferred: &[WeightedPodAffinityTerm], errors: &mut FieldErrors) {
    errors.field("requiredDuringSchedulingIgnoredDuringExecution", |errors| {
        for (index, term) in required.iter().enumerate() {
            errors.index(index, |errors| pod_term(term, errors));
        }
    });
    errors.field("preferredDuringSchedulingIgnoredDuringExecution", |errors| {
        for (index, term) in preferred.iter().enumerate() {
            errors.index(index, |errors| {
                errors.field("weight", |errors| weight(term.weight, errors));
                errors.field("podAffinityTerm", |errors| {
                    term.pod_affinity_term.iter().for_each(|term| pod_term(term, errors));
                });
            });
        }
    });
}

fn pod_term(term: &PodAffinityTerm, errors: &mut FieldErrors) {
    errors.field("labelSelector", |errors| {
        term.label_selector
            .iter()
            .for_each(|selector| labels::label_selector(selector, errors));
    });
    errors.field("namespaceSelector", |errors| {
        term.namespace_selector
            .iter()
            .for_each(|selector| labels::label_selector(selector, errors));
    });
    errors.field("namespaces", |errors| {
        for (index, name) in term.namespaces.iter().enumerate() {
            errors.index(index, |errors| report(name, names::dns_label(name), errors));
        }
    });
    errors.field("topologyKey", |errors| topology_key(&term.topology_key, errors));
}

fn topology_key(key: &str, errors: &mut FieldErrors) {
    if key.is_empty() {
        errors.required("can not be empty");
    } else {
        report(key, names::qualified_name(key), errors);
    }
}

fn weight(weight: i32, errors: &mut FieldErrors) {
    in_range(weight.into(), 1, 100, errors);
}
