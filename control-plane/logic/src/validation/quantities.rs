//! Amounts of resources: their names, their bounds, and what a container asks for.

use std::{cmp::Ordering, collections::BTreeMap};

use trireme_proto::{
    api::{core::v1::ResourceRequirements, meta::v1::Quantity},
    quantity::Amount,
};

use super::{names, report};
use crate::field_error::FieldErrors;

/// Resources of containers whose names need no domain.
const STANDARD_CONTAINER_RESOURCES: &[&str] = &["cpu", "memory", "ephemeral-storage"];
/// Where names of huge pages begin.
const HUGE_PAGES_PREFIX: &str = "hugepages-";

/// The amount; nothing for text that is no quantity, which validation has refused by then.
pub fn amount(quantity: &Quantity) -> Amount {
    quantity.amount().unwrap_or_default()
}

/// Which of two quantities is more.
pub fn compare(one: &Quantity, other: &Quantity) -> Ordering {
    amount(one).cmp(&amount(other))
}

/// True for no amount at all.
pub fn is_zero(quantity: &Quantity) -> bool {
    amount(quantity).is_zero()
}

/// Requires a quantity that can be read and is not below zero.
pub fn not_negative(quantity: &Quantity, errors: &mut FieldErrors) {
    match quantity.amount() {
        Err(error) => errors.invalid(&quantity.string, error),
        Ok(amount) if amount.is_negative() => {
            errors.invalid(&quantity.string, "must be greater than or equal to 0");
        }
        Ok(_) => {}
    }
}

/// Requires a whole number of resources that come in pieces: pods and other objects, devices.
pub fn whole_if_counted(name: &str, quantity: &Quantity, errors: &mut FieldErrors) {
    let base = name
        .strip_prefix("requests.")
        .or_else(|| name.strip_prefix("limits."))
        .unwrap_or(name);
    let divisible =
        STANDARD_CONTAINER_RESOURCES.contains(&base) || base.starts_with(HUGE_PAGES_PREFIX) || base == "storage";
    let amount = amount(quantity);
    if !divisible && Amount::from_units(amount.value(), amount.format()) != amount {
        errors.invalid(&quantity.string, "must be an integer");
    }
}

/// Checks a list of resources of a node.
pub fn list(list: &BTreeMap<String, Quantity>, errors: &mut FieldErrors) {
    for (name, quantity) in list {
        errors.index(name, |errors| {
            report(name, names::qualified_name(name), errors);
            not_negative(quantity, errors);
            whole_if_counted(name, quantity, errors);
        });
    }
}

/// Checks what a container asks for and is limited to. The path is that of `resources`.
pub fn requirements(resources: &ResourceRequirements, errors: &mut FieldErrors) {
    for (field, list) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        errors.field(field, |errors| {
            for (name, quantity) in list {
                errors.index(name, |errors| {
                    container_resource_name(name, errors);
                    not_negative(quantity, errors);
                    whole_if_counted(name, quantity, errors);
                });
            }
        });
    }
    errors.field("requests", |errors| {
        for (name, request) in &resources.requests {
            let limit = resources.limits.get(name);
            match limit.map(|limit| (limit, compare(request, limit))) {
                Some((limit, Ordering::Greater)) => errors.invalid(
                    &request.string,
                    format_args!("must be less than or equal to {name} limit of {limit}"),
                ),
                Some((limit, Ordering::Less)) if !overcommits(name) => {
                    errors.invalid(
                        &request.string,
                        format_args!("must be equal to {name} limit of {limit}"),
                    );
                }
                Some(_) => {}
                None if !overcommits(name) => {
                    errors.required("Limit must be set for non overcommitable resources");
                }
                None => {}
            }
        }
    });
}

/// True for resources of which nodes may promise more than they have.
fn overcommits(name: &str) -> bool {
    STANDARD_CONTAINER_RESOURCES.contains(&name)
}

/// Checks the name of a resource that containers use.
pub fn container_resource_name(name: &str, errors: &mut FieldErrors) {
    report(name, names::qualified_name(name), errors);
    let standard = STANDARD_CONTAINER_RESOURCES.contains(&name) || name.starts_with(HUGE_PAGES_PREFIX);
    if !name.contains('/') && !standard {
        errors.invalid(name, "must be a standard resource for containers");
    }
}
