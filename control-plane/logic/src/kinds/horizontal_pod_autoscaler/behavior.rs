//! How fast an autoscaler may change the number of pods: defaults and checks.

use trireme_proto::api::autoscaling::v2::{HorizontalPodAutoscalerBehavior, HpaScalingPolicy, HpaScalingRules};

use crate::{field_error::FieldErrors, limits, validation::quantities::not_negative};

/// Seconds of the periods of the policies that stand in for missing ones.
const DEFAULT_PERIOD_SECONDS: i32 = 15;

const SELECTIONS: &[&str] = &["Disabled", "Max", "Min"];
const POLICY_TYPES: &[&str] = &["Percent", "Pods"];

/// Fills up both directions once something is said of either.
pub(super) fn set_defaults(behavior: &mut HorizontalPodAutoscalerBehavior) {
    let policy = |kind: &str, value: i32| HpaScalingPolicy {
        r#type: kind.into(),
        value,
        period_seconds: DEFAULT_PERIOD_SECONDS,
    };
    let up = behavior.scale_up.get_or_insert_default();
    up.stabilization_window_seconds.get_or_insert(0);
    rules_defaults(up, vec![policy("Pods", 4), policy("Percent", 100)]);
    // The window downwards has a default that is set for the whole cluster, so it stays unset here.
    let down = behavior.scale_down.get_or_insert_default();
    rules_defaults(down, vec![policy("Percent", 100)]);
}

fn rules_defaults(rules: &mut HpaScalingRules, policies: Vec<HpaScalingPolicy>) {
    rules.select_policy.get_or_insert_with(|| "Max".into());
    if rules.policies.is_empty() {
        rules.policies = policies;
    }
}

/// Checks both directions. The path is that of the behavior.
pub(super) fn validate(behavior: &HorizontalPodAutoscalerBehavior, errors: &mut FieldErrors) {
    for (field, rules) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
        if let Some(rules) = rules {
            errors.field(field, |errors| validate_rules(rules, errors));
        }
    }
}

fn validate_rules(rules: &HpaScalingRules, errors: &mut FieldErrors) {
    let window = rules.stabilization_window_seconds.unwrap_or(0);
    errors.field("stabilizationWindowSeconds", |errors| {
        if window < 0 {
            errors.invalid(window, "must be greater than or equal to zero");
        }
        at_most(window, limits::STABILIZATION_WINDOW_SECONDS, errors);
    });
    if let Some(selection) = &rules.select_policy
        && !SELECTIONS.contains(&selection.as_str())
    {
        errors.field("selectPolicy", |errors| errors.not_supported(selection, SELECTIONS));
    }
    errors.field("policies", |errors| {
        if rules.policies.is_empty() {
            errors.required("must specify at least one Policy");
        }
        for (index, policy) in rules.policies.iter().enumerate() {
            errors.index(index, |errors| validate_policy(policy, errors));
        }
    });
    if let Some(tolerance) = &rules.tolerance {
        errors.field("tolerance", |errors| not_negative(tolerance, errors));
    }
}

fn validate_policy(policy: &HpaScalingPolicy, errors: &mut FieldErrors) {
    if !POLICY_TYPES.contains(&policy.r#type.as_str()) {
        errors.field("type", |errors| errors.not_supported(&policy.r#type, POLICY_TYPES));
    }
    for (field, value) in [("value", policy.value), ("periodSeconds", policy.period_seconds)] {
        if value <= 0 {
            errors.field(field, |errors| errors.invalid(value, "must be greater than zero"));
        }
    }
    errors.field("periodSeconds", |errors| {
        at_most(policy.period_seconds, limits::SCALING_PERIOD_SECONDS, errors);
    });
}

fn at_most(value: i32, bound: i32, errors: &mut FieldErrors) {
    if value > bound {
        errors.invalid(value, format_args!("must be less than or equal to {bound}"));
    }
}
