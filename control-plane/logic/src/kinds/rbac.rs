//! What roles and their bindings have alike: checks of rules and subjects, and the columns.

use trireme_proto::api::{
    meta::v1::{ObjectMeta, Time},
    rbac::v1::{PolicyRule, RoleRef, Subject},
};

use super::columns::{AGE, UNKNOWN, age, column, wide};
use crate::{
    field_error::FieldErrors,
    kind::ColumnDefinition,
    validation::{AsJson, names, report},
};

/// The API group of roles, and of users and groups.
pub(super) const GROUP: &str = "rbac.authorization.k8s.io";

/// The columns of a role.
pub(super) const ROLE_COLUMNS: &[ColumnDefinition] = &[column("Created At", "When the object was created.")];

/// The columns of a binding.
pub(super) const BINDING_COLUMNS: &[ColumnDefinition] = &[
    column("Role", "The role that is given."),
    AGE,
    wide("Users", "The users who are given it."),
    wide("Groups", "The groups that are given it."),
    wide("ServiceAccounts", "The service accounts that are given it."),
];

/// The cells of [`ROLE_COLUMNS`].
pub(super) fn role_cells(meta: &ObjectMeta) -> Vec<String> {
    let created = meta.creation_timestamp;
    vec![created.map_or_else(|| UNKNOWN.into(), |time| time.to_string())]
}

/// The cells of [`BINDING_COLUMNS`].
pub(super) fn binding_cells(role: Option<&RoleRef>, subjects: &[Subject], meta: &ObjectMeta, now: Time) -> Vec<String> {
    let of_kind = |kind: &str| {
        let names: Vec<String> = subjects
            .iter()
            .filter(|subject| subject.kind == kind)
            .map(|subject| match kind {
                "ServiceAccount" => format!("{}/{}", subject.namespace, subject.name),
                _ => subject.name.clone(),
            })
            .collect();
        names.join(", ")
    };
    vec![
        role.map_or_else(String::new, |role| format!("{}/{}", role.kind, role.name)),
        age(meta, now),
        of_kind("User"),
        of_kind("Group"),
        of_kind("ServiceAccount"),
    ]
}

/// Fills up a binding.
pub(super) fn binding_defaults(role: &mut Option<RoleRef>, subjects: &mut [Subject]) {
    let role = role.get_or_insert_default();
    if role.api_group.is_empty() {
        role.api_group = GROUP.into();
    }
    for subject in subjects {
        if subject.api_group.is_empty() && matches!(subject.kind.as_str(), "User" | "Group") {
            subject.api_group = GROUP.into();
        }
    }
}

/// Checks the rules of a role. The path is that of the object.
pub(super) fn validate_rules(rules: &[PolicyRule], namespaced: bool, errors: &mut FieldErrors) {
    errors.field("rules", |errors| {
        for (index, rule) in rules.iter().enumerate() {
            errors.index(index, |errors| validate_rule(rule, namespaced, errors));
        }
    });
}

/// Checks a binding. The path is that of the object.
pub(super) fn validate_binding(
    role: Option<&RoleRef>,
    role_kinds: &[&str],
    subjects: &[Subject],
    namespaced: bool,
    errors: &mut FieldErrors,
) {
    let role = role.cloned().unwrap_or_default();
    errors.field("roleRef", |errors| {
        if role.api_group != GROUP {
            errors.field("apiGroup", |errors| errors.not_supported(&role.api_group, &[GROUP]));
        }
        if !role_kinds.contains(&role.kind.as_str()) {
            errors.field("kind", |errors| errors.not_supported(&role.kind, role_kinds));
        }
        errors.field("name", |errors| match role.name.as_str() {
            "" => errors.required(""),
            name => report(name, names::path_segment(name), errors),
        });
    });
    errors.field("subjects", |errors| {
        for (index, subject) in subjects.iter().enumerate() {
            errors.index(index, |errors| validate_subject(subject, namespaced, errors));
        }
    });
}

/// What somebody was given stays what was given: another role is another binding.
pub(super) fn validate_binding_update(new: Option<&RoleRef>, old: Option<&RoleRef>, errors: &mut FieldErrors) {
    if new != old {
        errors.field("roleRef", |errors| {
            errors.invalid(AsJson(&new), "cannot change roleRef");
        });
    }
}

fn validate_rule(rule: &PolicyRule, namespaced: bool, errors: &mut FieldErrors) {
    if rule.verbs.is_empty() {
        errors.field("verbs", |errors| {
            errors.required("verbs must contain at least one value");
        });
    }
    if !rule.non_resource_urls.is_empty() {
        errors.field("nonResourceURLs", |errors| {
            if namespaced {
                errors.invalid(
                    AsJson(&rule.non_resource_urls),
                    "namespaced rules cannot apply to non-resource URLs",
                );
            }
            if !(rule.api_groups.is_empty() && rule.resources.is_empty() && rule.resource_names.is_empty()) {
                errors.invalid(
                    AsJson(&rule.non_resource_urls),
                    "rules cannot apply to both regular resources and non-resource URLs",
                );
            }
        });
        return;
    }
    if rule.api_groups.is_empty() {
        errors.field("apiGroups", |errors| {
            errors.required("resource rules must supply at least one api group");
        });
    }
    if rule.resources.is_empty() {
        errors.field("resources", |errors| {
            errors.required("resource rules must supply at least one resource");
        });
    }
}

fn validate_subject(subject: &Subject, namespaced: bool, errors: &mut FieldErrors) {
    let of_roles_group = |errors: &mut FieldErrors| {
        if subject.api_group != GROUP {
            errors.field("apiGroup", |errors| errors.not_supported(&subject.api_group, &[GROUP]));
        }
    };
    if subject.name.is_empty() {
        errors.field("name", |errors| errors.required(""));
    }
    match subject.kind.as_str() {
        "ServiceAccount" => {
            if !subject.name.is_empty() {
                errors.field("name", |errors| {
                    report(&subject.name, names::dns_subdomain(&subject.name), errors);
                });
            }
            if !subject.api_group.is_empty() {
                errors.field("apiGroup", |errors| errors.not_supported(&subject.api_group, &[""]));
            }
            if !namespaced && subject.namespace.is_empty() {
                errors.field("namespace", |errors| errors.required(""));
            }
        }
        "User" => {
            if subject.name.is_empty() {
                errors.field("name", |errors| errors.invalid("", "user name cannot be empty"));
            }
            of_roles_group(errors);
        }
        "Group" => {
            if subject.name.is_empty() {
                errors.field("name", |errors| errors.invalid("", "group name cannot be empty"));
            }
            of_roles_group(errors);
        }
        other => errors.field("kind", |errors| {
            errors.not_supported(other, &["ServiceAccount", "User", "Group"]);
        }),
    }
}
