//! LimitRanges: how little and how much each pod or container of a namespace may ask for.

use std::collections::{BTreeMap, BTreeSet};

use trireme_proto::api::{
    core::v1::{LimitRange, LimitRangeItem},
    meta::v1::{Quantity, Time},
};

use super::columns::{UNKNOWN, column};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::{names, quantities, report},
};

/// What an item may be about.
const TYPES: &[&str] = &["Container", "PersistentVolumeClaim", "Pod"];

impl Kind for LimitRange {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "LimitRange",
        plural: "limitranges",
        singular: "limitrange",
        short_names: &["limits"],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: &[column("Created At", "When the object was created.")],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        for item in &mut self.spec.get_or_insert_default().limits {
            if item.r#type == "Container" {
                item_defaults(item);
            }
        }
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec.limits", |errors| {
            let mut seen = BTreeSet::new();
            for (index, item) in spec.limits.iter().enumerate() {
                errors.index(index, |errors| {
                    validate_item(item, errors);
                    if !seen.insert(&item.r#type) {
                        errors.field("type", |errors| errors.duplicate(&item.r#type));
                    }
                });
            }
        });
    }

    fn cells(&self, _now: Time) -> Vec<String> {
        let created = metadata_of(self).creation_timestamp;
        vec![created.map_or_else(|| UNKNOWN.to_owned(), |created| created.to_string())]
    }
}

/// A missing default limit is the maximum; a missing default request is the default limit, or the minimum.
fn item_defaults(item: &mut LimitRangeItem) {
    let LimitRangeItem {
        max,
        min,
        default,
        default_request,
        ..
    } = item;
    fill(default, max);
    fill(default_request, default);
    fill(default_request, min);
}

fn fill(list: &mut BTreeMap<String, Quantity>, from: &BTreeMap<String, Quantity>) {
    for (name, quantity) in from {
        list.entry(name.clone()).or_insert_with(|| quantity.clone());
    }
}

fn validate_item(item: &LimitRangeItem, errors: &mut FieldErrors) {
    errors.field("type", |errors| {
        if !TYPES.contains(&item.r#type.as_str()) {
            errors.not_supported(&item.r#type, TYPES);
        }
    });
    let lists = [
        ("min", &item.min),
        ("defaultRequest", &item.default_request),
        ("default", &item.default),
        ("max", &item.max),
        ("maxLimitRequestRatio", &item.max_limit_request_ratio),
    ];
    for (field, list) in lists {
        errors.field(field, |errors| {
            if item.r#type == "Pod" && field.starts_with("default") && !list.is_empty() {
                errors.forbidden("may not be specified when `type` is 'Pod'");
            }
            for (name, quantity) in list {
                errors.index(name, |errors| {
                    report(name, names::qualified_name(name), errors);
                    quantities::not_negative(quantity, errors);
                });
            }
        });
    }
    // Each of these may not be more than any that comes after it.
    for (position, (field, list)) in lists[..4].iter().enumerate() {
        for (other_field, other) in &lists[position + 1..4] {
            in_order(field, list, other_field, other, errors);
        }
    }
}

fn in_order(
    field: &str,
    list: &BTreeMap<String, Quantity>,
    other_field: &str,
    other: &BTreeMap<String, Quantity>,
    errors: &mut FieldErrors,
) {
    for (name, quantity) in list {
        let Some(bound) = other.get(name) else { continue };
        if quantities::compare(quantity, bound).is_gt() {
            errors.field(field, |errors| {
                errors.index(name, |errors| {
                    errors.invalid(
                        &quantity.string,
                        format_args!(
                            "{field} value {} is greater than {other_field} value {}",
                            quantity.string, bound.string
                        ),
                    );
                });
            });
        }
    }
}
