//! What the kinds that make pods have alike: their template, selector, columns, and counts that only grow.

use std::collections::BTreeMap;

use trireme_proto::api::{
    core::v1::{PodSpec, PodTemplateSpec},
    meta::v1::LabelSelector,
};

use super::{
    columns::{NONE, wide},
    pod_spec,
};
use crate::{
    field_error::FieldErrors,
    human::joined_or,
    kind::ColumnDefinition,
    validation::{AsJson, labels, not_negative},
};

/// Names of the containers.
pub(super) const CONTAINERS: ColumnDefinition = wide("Containers", "Names of the containers of the template.");
/// Images of the containers.
pub(super) const IMAGES: ColumnDefinition = wide("Images", "Images of the containers of the template.");
/// The selector.
pub(super) const SELECTOR: ColumnDefinition = wide("Selector", "Which pods are counted.");

/// Fills up a template.
pub(super) fn template_defaults(template: &mut Option<PodTemplateSpec>) {
    let template = template.get_or_insert_default();
    template.metadata.get_or_insert_default();
    pod_spec::defaults::set_defaults(template.spec.get_or_insert_default());
}

/// The cells of the template: names and images of its containers.
pub(super) fn template_cells(template: Option<&PodTemplateSpec>) -> [String; 2] {
    let containers = template
        .and_then(|template| template.spec.as_ref())
        .map_or(&[][..], |spec| &spec.containers);
    [
        joined_or(containers.iter().map(|container| &container.name), ""),
        joined_or(containers.iter().map(|container| &container.image), ""),
    ]
}

/// The cell of a label selector.
pub(super) fn selector_cell(selector: Option<&LabelSelector>) -> String {
    let text = selector.map(labels::selector_text).unwrap_or_default();
    if text.is_empty() { NONE.into() } else { text }
}

/// Checks what a spec of replicas, selector and template must be. The path is that of the spec.
pub(super) fn validate(
    replicas: Option<i32>,
    min_ready_seconds: i32,
    selector: Option<&LabelSelector>,
    template: Option<&PodTemplateSpec>,
    errors: &mut FieldErrors,
) {
    errors.field("replicas", |errors| not_negative(replicas.unwrap_or(0).into(), errors));
    errors.field("minReadySeconds", |errors| {
        not_negative(min_ready_seconds.into(), errors);
    });
    validate_selector(selector, "empty selector is invalid", errors);
    validate_template(
        "ReplicaSet",
        template,
        |pod_labels| selector.is_none_or(|selector| labels::matches(selector, pod_labels)),
        errors,
    );
}

/// Checks a selector that must select something; `empty` says what is wrong with one that names nothing.
pub(super) fn validate_selector(selector: Option<&LabelSelector>, empty: &str, errors: &mut FieldErrors) {
    errors.field("selector", |errors| match selector {
        None => errors.required(""),
        Some(selector) => {
            labels::label_selector(selector, errors);
            if labels::is_empty(selector) {
                errors.invalid(AsJson(selector), empty);
            }
        }
    });
}

/// Checks how often a name was taken: the count never goes down. The path is that of the status.
pub(super) fn validate_collisions(new: Option<i32>, old: Option<i32>, errors: &mut FieldErrors) {
    errors.field("collisionCount", |errors| {
        not_negative(new.unwrap_or(0).into(), errors);
        if new.unwrap_or(0) < old.unwrap_or(0) {
            errors.invalid(new.unwrap_or(0), "cannot be decremented");
        }
    });
}

/// Checks the template of a kind whose pods must be selected, and go on for ever.
pub(super) fn validate_template(
    kind: &str,
    template: Option<&PodTemplateSpec>,
    selects: impl FnOnce(&BTreeMap<String, String>) -> bool,
    errors: &mut FieldErrors,
) {
    errors.field("template", |errors| {
        let Some(template) = template else {
            return errors.required("");
        };
        let none = BTreeMap::new();
        let pod_labels = template.metadata.as_ref().map_or(&none, |metadata| &metadata.labels);
        if !selects(pod_labels) {
            errors.field("metadata.labels", |errors| {
                errors.invalid(AsJson(pod_labels), "`selector` does not match template `labels`");
            });
        }
        pod_spec::validate_template(template, errors);
        let spec = template.spec.as_ref();
        let policy = spec.map_or("", |spec: &PodSpec| &spec.restart_policy);
        if !matches!(policy, "Always" | "") {
            errors.field("spec.restartPolicy", |errors| errors.not_supported(policy, &["Always"]));
        }
        if spec.is_some_and(|spec| spec.active_deadline_seconds.is_some()) {
            errors.field("spec.activeDeadlineSeconds", |errors| {
                errors.forbidden(format_args!("activeDeadlineSeconds in {kind} is not Supported"));
            });
        }
    });
}
