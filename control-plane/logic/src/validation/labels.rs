//! Labels and label selectors.

use std::collections::BTreeMap;

use trireme_proto::{api::meta::v1::LabelSelector, selector};

use super::{names, report};
use crate::field_error::FieldErrors;

/// Checks keys and values of labels. The path is that of the map.
pub fn labels(labels: &BTreeMap<String, String>, errors: &mut FieldErrors) {
    for (key, value) in labels {
        report(key, names::qualified_name(key), errors);
        report(value, names::label_value(value), errors);
    }
}

/// Checks a label selector. The path is that of the selector.
pub fn label_selector(selector: &LabelSelector, errors: &mut FieldErrors) {
    errors.field("matchLabels", |errors| labels(&selector.match_labels, errors));
    errors.field("matchExpressions", |errors| {
        for (index, requirement) in selector.match_expressions.iter().enumerate() {
            errors.index(index, |errors| {
                expression(&requirement.key, &requirement.operator, &requirement.values, errors);
            });
        }
    });
}

/// True for a selector that names nothing, and so selects everything.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.is_empty() && selector.match_expressions.is_empty()
}

/// True if the selector selects the labels. One that is not valid selects nothing.
pub fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector::LabelSelector::try_from(selector).is_ok_and(|selector| selector.matches(labels))
}

/// The selector as people write it: `app=web,tier in (a,b),!canary`; nothing for one that is not valid.
pub fn selector_text(selector: &LabelSelector) -> String {
    selector::LabelSelector::try_from(selector)
        .map(|selector| selector.to_string())
        .unwrap_or_default()
}

/// Equality requirements as people write them: `app=web,tier=a`.
pub fn map_text(labels: &BTreeMap<String, String>) -> String {
    labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

fn expression(key: &str, operator: &str, values: &[String], errors: &mut FieldErrors) {
    match operator {
        "In" | "NotIn" if values.is_empty() => errors.field("values", |errors| {
            errors.required("must be specified when `operator` is 'In' or 'NotIn'");
        }),
        "In" | "NotIn" => {}
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.field("values", |errors| {
            errors.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }),
        "Exists" | "DoesNotExist" => {}
        _ => errors.field("operator", |errors| {
            errors.invalid(operator, "not a valid selector operator");
        }),
    }
    errors.field("key", |errors| report(key, names::qualified_name(key), errors));
    errors.field("values", |errors| {
        for (index, value) in values.iter().enumerate() {
            errors.index(index, |errors| report(value, names::label_value(value), errors));
        }
    });
}
