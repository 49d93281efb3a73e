//! Reviews: kinds whose objects are questions. A create answers at once; nothing is stored, so there is nothing to
//! read, list, change or delete.
//!
//! A review is a [`Kind`](crate::kind::Kind) like any other, so that it is decoded, checked, encoded and discovered in
//! the same way; that it is in [`REVIEWS`] and not in [`KINDS`](super::KINDS) is what makes it one. What the answer is,
//! the control plane knows, which knows who asks.

mod local_subject_access_review;
mod self_subject_access_review;
mod self_subject_review;
mod self_subject_rules_review;
mod subject_access_review;

use trireme_proto::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{
        LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
        SelfSubjectRulesReview, SubjectAccessReview,
    },
    meta::v1::{ObjectMeta, Time},
};

use crate::{
    field_error::FieldErrors,
    kind::{KindInfo, NameRule},
    object::{KindOps, OpsOf},
    validation::AsJson,
};

/// Every review, in the order in which discovery lists them. Each is served by `create` alone.
pub static REVIEWS: &[&dyn KindOps] = &[
    &OpsOf::<SelfSubjectReview>::new(),
    &OpsOf::<LocalSubjectAccessReview>::new(),
    &OpsOf::<SelfSubjectAccessReview>::new(),
    &OpsOf::<SelfSubjectRulesReview>::new(),
    &OpsOf::<SubjectAccessReview>::new(),
];

/// The review served under a group, version and plural name. An empty version is the one there is.
pub fn review_by_resource(group: &str, version: &str, plural: &str) -> Option<&'static dyn KindOps> {
    REVIEWS.iter().copied().find(|ops| {
        let info = ops.info();
        info.group == group && info.plural == plural && (version.is_empty() || info.version == version)
    })
}

/// The facts of a review: its names and its place, and nothing to show or select by.
const fn review_info(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    namespaced: bool,
) -> KindInfo {
    KindInfo {
        group,
        version: "v1",
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        namespaced,
        subresources: &[],
        columns: &[],
        selectable_fields: &[],
        name_rule: NameRule::PathSegment,
    }
}

/// Checks that one thing is asked, and one alone. The path is that of the spec.
fn validate_question(
    resource: Option<&ResourceAttributes>,
    path: Option<&NonResourceAttributes>,
    errors: &mut FieldErrors,
) {
    match (resource, path) {
        (Some(_), Some(path)) => errors.field("nonResourceAttributes", |errors| {
            errors.invalid(
                AsJson(path),
                "cannot be specified in combination with resourceAttributes",
            );
        }),
        (None, None) => errors.field("resourceAttributes", |errors| {
            errors.invalid(
                AsJson(&path),
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            );
        }),
        _ => {}
    }
}

/// Checks that somebody is asked about. The path is that of the spec.
fn validate_somebody(user: &str, groups: &[String], errors: &mut FieldErrors) {
    if user.is_empty() && groups.is_empty() {
        errors.field("user", |errors| {
            errors.invalid(user, "at least one of user or group must be specified");
        });
    }
}

/// A question has no name and no labels; whether it may have a namespace, its kind says.
fn validate_metadata(meta: Option<&ObjectMeta>, may_have_namespace: bool, errors: &mut FieldErrors) {
    let mut rest = meta.cloned().unwrap_or_default();
    rest.managed_fields.clear();
    // Clients that write protobuf say "no time" by an empty one.
    rest.creation_timestamp = rest.creation_timestamp.filter(|time| *time != Time::default());
    let mut why = "must be empty";
    if may_have_namespace {
        rest.namespace.clear();
        why = "must be empty except for namespace";
    }
    if rest != ObjectMeta::default() {
        errors.field("metadata", |errors| errors.invalid(AsJson(&meta), why));
    }
}

#[cfg(test)]
mod tests;
