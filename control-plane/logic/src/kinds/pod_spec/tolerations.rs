//! Checks of tolerations.

use trireme_proto::api::core::v1::Toleration;

use crate::{
    field_error::FieldErrors,
    validation::{names, report},
};

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Checks the tolerations of a pod. The path is that of the list.
pub fn validate(tolerations: &[Toleration], errors: &mut FieldErrors) {
    for (index, toleration) in tolerations.iter().enumerate() {
        errors.index(index, |errors| one(toleration, errors));
    }
}

fn one(toleration: &Toleration, errors: &mut FieldErrors) {
    if !toleration.key.is_empty() {
        errors.field("key", |errors| {
            report(&toleration.key, names::qualified_name(&toleration.key), errors);
        });
    }
    let operator = toleration.operator.as_str();
    if toleration.key.is_empty() && operator != "Exists" {
        errors.field("operator", |errors| {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(operator, why);
        });
    }
    if toleration.toleration_seconds.is_some() && toleration.effect != "NoExecute" {
        errors.field("effect", |errors| {
            errors.invalid(
                &toleration.effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        });
    }
    match operator {
        "" | "Equal" => errors.field("operator", |errors| {
            report(&toleration.value, names::label_value(&toleration.value), errors);
        }),
        "Exists" if !toleration.value.is_empty() => errors.field("operator", |errors| {
            errors.invalid(&toleration.value, "value must be empty when `operator` is 'Exists'");
        }),
        "Exists" => {}
        _ => errors.field("operator", |errors| {
            errors.not_supported(operator, &["Equal", "Exists"]);
        }),
    }
    if !toleration.effect.is_empty() && !EFFECTS.contains(&toleration.effect.as_str()) {
        errors.field("effect", |errors| errors.not_supported(&toleration.effect, EFFECTS));
    }
}
