//! The names of signers: a domain, a slash, and names with dots between.

use crate::{field_error::FieldErrors, limits, validation::names};

/// Checks the name of a signer. The path is that of the field.
pub(super) fn validate(name: &str, errors: &mut FieldErrors) {
    if name.is_empty() {
        return errors.required("");
    }
    let [domain, path] = name.split('/').collect::<Vec<_>>()[..] else {
        return errors.invalid(
            name,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        );
    };
    if domain.len() > limits::DNS_SUBDOMAIN_BYTES {
        errors.too_long(limits::DNS_SUBDOMAIN_BYTES);
    }
    labels(domain, names::dns_label, errors);
    if !domain.contains('.') {
        errors.invalid(
            domain,
            "should be a domain with at least two segments separated by dots",
        );
    }
    labels(path, names::dns_subdomain, errors);
    if name.len() > limits::SIGNER_NAME_BYTES {
        errors.too_long(limits::SIGNER_NAME_BYTES);
    }
}

/// Reports the first label that is against the rule.
fn labels(text: &str, rule: fn(&str) -> Vec<String>, errors: &mut FieldErrors) {
    let bad = text
        .split('.')
        .map(|label| (label, rule(label)))
        .find(|(_, complaints)| !complaints.is_empty());
    for complaint in bad.iter().flat_map(|(_, complaints)| complaints) {
        let label = bad.as_ref().map_or("", |(label, _)| label);
        errors.invalid(text, format_args!("validating label {label:?}: {complaint}"));
    }
}
