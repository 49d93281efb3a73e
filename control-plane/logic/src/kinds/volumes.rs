//! What the kinds about volumes have alike: access modes, classes, sizes, names of drivers.

use std::collections::BTreeMap;

use trireme_proto::api::meta::v1::{ObjectMeta, Quantity};

use crate::{
    field_error::FieldErrors,
    limits,
    validation::{names, quantities, report},
};

/// The older way to name the class of a volume or claim.
pub(super) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
/// What a volume's size is called among its resources.
pub(crate) const STORAGE: &str = "storage";
/// What a cell shows for something that is not set.
pub(super) const UNSET: &str = "<unset>";
/// What a volume is presented as.
pub(super) const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];

/// How a volume may be shared, with the abbreviations that tables use.
const ACCESS_MODES: &[(&str, &str)] = &[
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    (ONE_POD, "RWOP"),
];
/// The access mode that goes with no other.
const ONE_POD: &str = "ReadWriteOncePod";

/// The class: by the older annotation if there is one, else by the field.
pub(super) fn class<'a>(meta: &'a ObjectMeta, field: Option<&'a String>) -> Option<&'a str> {
    meta.annotations.get(CLASS_ANNOTATION).or(field).map(String::as_str)
}

/// The cell of access modes, such as `RWO,ROX`.
pub(super) fn access_modes_cell(modes: &[String]) -> String {
    let short: Vec<&str> = ACCESS_MODES
        .iter()
        .filter(|(mode, _)| modes.iter().any(|given| given == mode))
        .map(|(_, short)| *short)
        .collect();
    short.join(",")
}

/// The cell of a size.
pub(super) fn size_cell(resources: &BTreeMap<String, Quantity>) -> String {
    resources.get(STORAGE).map_or_else(|| "0".into(), ToString::to_string)
}

/// Checks access modes. The path is that of the list; `when_empty` is what is said if there are none.
pub(super) fn access_modes(modes: &[String], when_empty: &str, errors: &mut FieldErrors) {
    if modes.is_empty() {
        errors.required(when_empty);
    }
    let known = |mode: &&String| ACCESS_MODES.iter().any(|(known, _)| known == mode);
    for mode in modes.iter().filter(|mode| !known(mode)) {
        errors.not_supported(
            mode,
            &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"],
        );
    }
    let of_one_pod = modes.iter().any(|mode| mode == ONE_POD);
    if of_one_pod && modes.iter().any(|mode| known(&mode) && mode != ONE_POD) {
        errors.forbidden("may not use ReadWriteOncePod with other access modes");
    }
}

/// Checks a size: there is something of it.
pub(super) fn size(quantity: &Quantity, errors: &mut FieldErrors) {
    match quantity.amount() {
        Err(error) => errors.invalid(&quantity.string, error),
        Ok(amount) if amount.is_zero() || amount.is_negative() => {
            errors.invalid(&quantity.string, "must be greater than zero");
        }
        Ok(_) => {}
    }
}

/// Checks the name of a class. The path is that of the field.
pub(super) fn class_name(name: &str, errors: &mut FieldErrors) {
    report(name, names::dns_subdomain(name), errors);
}

/// Checks the name of a CSI driver, which is a domain in any case. The path is that of the field.
pub(super) fn driver_name(name: &str, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required("");
    }
    if name.len() > limits::CSI_DRIVER_NAME_BYTES {
        errors.too_long(limits::CSI_DRIVER_NAME_BYTES);
    }
    report(name, names::dns_subdomain(&name.to_lowercase()), errors);
}

/// Checks amounts that a status reports. The path is that of the map.
pub(super) fn reported_sizes(sizes: &BTreeMap<String, Quantity>, errors: &mut FieldErrors) {
    for (name, quantity) in sizes {
        if quantities::amount(quantity).is_negative() {
            errors.index(name, |errors| {
                errors.invalid(&quantity.string, "must be a valid resource quantity");
            });
        }
    }
}
