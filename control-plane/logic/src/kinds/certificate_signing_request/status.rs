//! The state of a request: who may say what about it, and that nothing said is taken back.

use trireme_proto::api::certificates::v1::{CertificateSigningRequestCondition, CertificateSigningRequestStatus};

use super::pem;
use crate::field_error::FieldErrors;

/// Conditions that are there or not, and are never false.
const FINAL_TYPES: &[&str] = &["Approved", "Denied", "Failed"];
/// Conditions that only an approval may set.
const APPROVAL_TYPES: &[&str] = &["Approved", "Denied"];

/// The way by which a request is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// As a whole, which its state is no part of.
    Plain,
    /// By its status: the signer's way.
    Status,
    /// By its approval: the approver's way.
    Approval,
}

/// Checks a state by itself. What the stored one is excused for, the new one is as well.
pub(super) fn validate(
    status: Option<&CertificateSigningRequestStatus>,
    old: Option<&CertificateSigningRequestStatus>,
    errors: &mut FieldErrors,
) {
    let Some(status) = status else { return };
    errors.field("status", |errors| {
        errors.field("conditions", |errors| validate_conditions(&status.conditions, errors));
        if old.is_some_and(|old| old.certificate == status.certificate) {
            return;
        }
        errors.field("certificate", |errors| {
            if let Err(why) = pem::check_certificates(&status.certificate) {
                errors.invalid("<certificate data>", why);
            }
        });
    });
}

/// Checks what a change does to the state.
pub(super) fn validate_change(
    new: Option<&CertificateSigningRequestStatus>,
    old: Option<&CertificateSigningRequestStatus>,
    change: Change,
    errors: &mut FieldErrors,
) {
    let (new, old) = (new.cloned().unwrap_or_default(), old.cloned().unwrap_or_default());
    errors.field("status", |errors| {
        errors.field("conditions", |errors| {
            for kind in FINAL_TYPES {
                let (now, before) = (of_type(&new.conditions, kind), of_type(&old.conditions, kind));
                if now.len() < before.len() {
                    errors.forbidden(format_args!("updates may not remove a condition of type {kind:?}"));
                } else if change == Change::Approval || !APPROVAL_TYPES.contains(kind) {
                    // The approver's own, or anybody's.
                } else if now.len() > before.len() {
                    errors.forbidden(format_args!("updates may not add a condition of type {kind:?}"));
                } else if now != before {
                    errors.forbidden(format_args!("updates may not modify a condition of type {kind:?}"));
                }
            }
        });
        if new.certificate == old.certificate {
            return;
        }
        errors.field("certificate", |errors| {
            if change != Change::Status {
                errors.forbidden("updates may not set certificate content");
            } else if !old.certificate.is_empty() {
                errors.forbidden("updates may not modify existing certificate content");
            }
        });
    });
}

/// The cell of a state, such as `Approved,Issued`.
pub(super) fn cell(status: Option<&CertificateSigningRequestStatus>) -> String {
    let status = status.cloned().unwrap_or_default();
    let is = |kind: &str| status.conditions.iter().any(|condition| condition.r#type == kind);
    let mut text = if is("Denied") {
        "Denied"
    } else if is("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if is("Failed") {
        text.push_str(",Failed");
    }
    if !status.certificate.is_empty() {
        text.push_str(",Issued");
    }
    text
}

fn validate_conditions(conditions: &[CertificateSigningRequestCondition], errors: &mut FieldErrors) {
    for (index, condition) in conditions.iter().enumerate() {
        let earlier = &conditions[..index];
        errors.index(index, |errors| {
            errors.field("type", |errors| {
                if condition.r#type.is_empty() {
                    errors.required("");
                }
                if earlier.iter().any(|other| other.r#type == condition.r#type) {
                    errors.duplicate(&condition.r#type);
                }
            });
            let allowed: &[&str] = if FINAL_TYPES.contains(&condition.r#type.as_str()) {
                &["True"]
            } else {
                &["False", "True", "Unknown"]
            };
            errors.field("status", |errors| match condition.status.as_str() {
                "" => errors.required(""),
                status if !allowed.contains(&status) => errors.not_supported(status, allowed),
                _ => {}
            });
        });
        let contradicts = |other: &CertificateSigningRequestCondition| {
            other.r#type != condition.r#type && APPROVAL_TYPES.contains(&other.r#type.as_str())
        };
        if APPROVAL_TYPES.contains(&condition.r#type.as_str()) && earlier.iter().any(contradicts) {
            errors.invalid(
                &condition.r#type,
                "Approved and Denied conditions are mutually exclusive",
            );
        }
    }
}

fn of_type<'a>(
    conditions: &'a [CertificateSigningRequestCondition],
    kind: &str,
) -> Vec<&'a CertificateSigningRequestCondition> {
    conditions.iter().filter(|condition| condition.r#type == kind).collect()
}
