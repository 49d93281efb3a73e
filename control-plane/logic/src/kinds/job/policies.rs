//! Checks of what a job makes of failed and successful pods.

use std::collections::BTreeSet;

use trireme_proto::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
    SuccessPolicyRule,
};

use super::{indexes, validate::is_indexed};
use crate::{
    field_error::FieldErrors,
    limits,
    validation::{AsJson, conditions::STATUSES, names, not_negative, report},
};

const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: &[&str] = &["In", "NotIn"];

/// Checks the policies of a job. The path is that of the spec.
pub(super) fn validate(spec: &JobSpec, errors: &mut FieldErrors) {
    if let Some(policy) = &spec.pod_failure_policy {
        errors.field("podFailurePolicy.rules", |errors| {
            if policy.rules.len() > limits::JOB_POLICY_RULES {
                errors.too_many(policy.rules.len(), limits::JOB_POLICY_RULES);
            }
            for (index, rule) in policy.rules.iter().enumerate() {
                errors.index(index, |errors| failure_rule(spec, rule, errors));
            }
        });
    }
    if let Some(policy) = &spec.success_policy {
        errors.field("successPolicy", |errors| {
            if !is_indexed(spec) {
                return errors.invalid(AsJson(policy), "requires indexed completion mode");
            }
            errors.field("rules", |errors| success_rules(spec, &policy.rules, errors));
        });
    }
    if let Some(policy) = &spec.pod_replacement_policy {
        let supported: &[&str] = match spec.pod_failure_policy {
            Some(_) => &["Failed"],
            None => &["Failed", "TerminatingOrFailed"],
        };
        if !supported.contains(&policy.as_str()) {
            errors.field("podReplacementPolicy", |errors| {
                errors.not_supported(policy, supported);
            });
        }
    }
}

/// Requires one of a few words, which are named also if none is given.
fn one_of(value: &str, supported: &[&str], errors: &mut FieldErrors) {
    if value.is_empty() {
        let list: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        errors.required(format_args!("valid values: [{}]", list.join(" ")));
    } else if !supported.contains(&value) {
        errors.not_supported(value, supported);
    }
}

fn failure_rule(spec: &JobSpec, rule: &PodFailurePolicyRule, errors: &mut FieldErrors) {
    errors.field("action", |errors| {
        one_of(&rule.action, ACTIONS, errors);
        if rule.action == "FailIndex" && spec.backoff_limit_per_index.is_none() {
            errors.invalid(&rule.action, "requires the backoffLimitPerIndex to be set");
        }
    });
    if let Some(requirement) = &rule.on_exit_codes {
        errors.field("onExitCodes", |errors| exit_codes(spec, requirement, errors));
    }
    errors.field("onPodConditions", |errors| {
        pod_conditions(&rule.on_pod_conditions, errors);
    });
    match (&rule.on_exit_codes, rule.on_pod_conditions.is_empty()) {
        (Some(_), false) => {
            errors.invalid_unshown("specifying both OnExitCodes and OnPodConditions is not supported");
        }
        (None, true) => {
            errors.invalid_unshown("specifying one of OnExitCodes and OnPodConditions is required");
        }
        (Some(_), true) | (None, false) => {}
    }
}

fn exit_codes(spec: &JobSpec, requirement: &PodFailurePolicyOnExitCodesRequirement, errors: &mut FieldErrors) {
    errors.field("operator", |errors| one_of(&requirement.operator, OPERATORS, errors));
    if let Some(name) = &requirement.container_name {
        let pod = spec.template.as_ref().and_then(|template| template.spec.as_ref());
        let mut containers = pod
            .iter()
            .flat_map(|pod| pod.containers.iter().chain(&pod.init_containers));
        if !containers.any(|container| container.name == *name) {
            errors.field("containerName", |errors| {
                errors.invalid(
                    name,
                    "must be one of the container or initContainer names in the pod template",
                );
            });
        }
    }
    let values = &requirement.values;
    errors.field("values", |errors| {
        if values.is_empty() {
            errors.invalid(values, "at least one value is required");
        }
        if values.len() > limits::EXIT_CODES_PER_RULE {
            errors.too_many(values.len(), limits::EXIT_CODES_PER_RULE);
        }
        let mut seen = BTreeSet::new();
        for (index, value) in values.iter().enumerate() {
            errors.index(index, |errors| {
                if requirement.operator == "In" && *value == 0 {
                    errors.invalid(value, "must not be 0 for the In operator");
                }
                if !seen.insert(value) {
                    errors.duplicate(value);
                }
            });
        }
        if !values.is_sorted() {
            errors.invalid(AsJson(values), "must be ordered");
        }
    });
}

fn pod_conditions(patterns: &[PodFailurePolicyOnPodConditionsPattern], errors: &mut FieldErrors) {
    if patterns.len() > limits::CONDITIONS_PER_RULE {
        errors.too_many(patterns.len(), limits::CONDITIONS_PER_RULE);
    }
    for (index, pattern) in patterns.iter().enumerate() {
        errors.index(index, |errors| {
            errors.field("type", |errors| {
                report(&pattern.r#type, names::qualified_name(&pattern.r#type), errors);
            });
            errors.field("status", |errors| one_of(&pattern.status, STATUSES, errors));
        });
    }
}

fn success_rules(spec: &JobSpec, rules: &[SuccessPolicyRule], errors: &mut FieldErrors) {
    if rules.is_empty() {
        errors.required("at least one rules must be specified when the successPolicy is specified");
    }
    if rules.len() > limits::JOB_POLICY_RULES {
        errors.too_many(rules.len(), limits::JOB_POLICY_RULES);
    }
    // That there are none is complained about elsewhere.
    let completions = spec.completions.unwrap_or(0);
    for (index, rule) in rules.iter().enumerate() {
        errors.index(index, |errors| success_rule(completions, rule, errors));
    }
}

fn success_rule(completions: i32, rule: &SuccessPolicyRule, errors: &mut FieldErrors) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        errors.required("at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut named = None;
    if let Some(text) = &rule.succeeded_indexes {
        errors.field("succeededIndexes", |errors| {
            if text.len() > limits::SUCCEEDED_INDEXES_BYTES {
                errors.too_long(limits::SUCCEEDED_INDEXES_BYTES);
            }
            match indexes::parse(text, completions) {
                Ok(ranges) => named = Some(indexes::count(&ranges)),
                Err(why) => {
                    named = Some(0);
                    errors.invalid(text, format_args!("error parsing succeededIndexes: {why}"));
                }
            }
        });
    }
    let Some(count) = rule.succeeded_count else { return };
    errors.field("succeededCount", |errors| {
        not_negative(count.into(), errors);
        if count > completions {
            errors.invalid(
                count,
                format_args!("must be less than or equal to {completions} (the number of specified completions)"),
            );
        }
        if let Some(named) = named.filter(|named| count > *named) {
            errors.invalid(
                count,
                format_args!(
                    "must be less than or equal to {named} (the number of indexes in the specified succeededIndexes field)"
                ),
            );
        }
    });
}
