//! Conditions of the form that newer kinds share.

use std::collections::BTreeSet;

use trireme_proto::api::meta::v1::Condition;

use super::{names, report};
use crate::{field_error::FieldErrors, limits};

/// The values of a condition's status.
pub const STATUSES: &[&str] = &["False", "True", "Unknown"];

/// Checks conditions, each of a type of its own. The path is that of the list.
pub fn conditions(conditions: &[Condition], errors: &mut FieldErrors) {
    let mut types = BTreeSet::new();
    for (index, condition) in conditions.iter().enumerate() {
        errors.index(index, |errors| {
            if !types.insert(&condition.r#type) {
                errors.field("type", |errors| errors.duplicate(&condition.r#type));
            }
            one(condition, errors);
        });
    }
}

fn one(condition: &Condition, errors: &mut FieldErrors) {
    errors.field("type", |errors| {
        report(&condition.r#type, names::qualified_name(&condition.r#type), errors);
    });
    if !STATUSES.contains(&condition.status.as_str()) {
        errors.field("status", |errors| errors.not_supported(&condition.status, STATUSES));
    }
    if condition.observed_generation < 0 {
        errors.field("observedGeneration", |errors| {
            errors.invalid(condition.observed_generation, "must be greater than or equal to zero");
        });
    }
    if condition.last_transition_time.is_none_or(|time| time.is_zero()) {
        errors.field("lastTransitionTime", |errors| errors.required("must be set"));
    }
    errors.field("reason", |errors| {
        if condition.reason.is_empty() {
            return errors.required("must be set");
        }
        report(&condition.reason, names::condition_reason(&condition.reason), errors);
        if condition.reason.len() > limits::CONDITION_REASON_BYTES {
            errors.too_long(limits::CONDITION_REASON_BYTES);
        }
    });
    if condition.message.len() > limits::CONDITION_MESSAGE_BYTES {
        errors.field("message", |errors| errors.too_long(limits::CONDITION_MESSAGE_BYTES));
    }
}
