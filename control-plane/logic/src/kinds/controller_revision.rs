//! ControllerRevisions: states of a workload's template, which its controller keeps to go back to.

use serde_json::Value;
use trireme_proto::api::{
    apps::v1::ControllerRevision,
    meta::v1::{OwnerReference, Time},
};

use super::columns::{AGE, NONE, age, column};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::{not_negative, unchanged},
};

impl Kind for ControllerRevision {
    const INFO: KindInfo = KindInfo {
        group: "apps",
        version: "v1",
        kind: "ControllerRevision",
        plural: "controllerrevisions",
        singular: "controllerrevision",
        short_names: &[],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: &[
            column("Controller", "The workload whose state it is."),
            column("Revision", "Its place in the order of the states."),
            AGE,
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn validate(&self, errors: &mut FieldErrors) {
        errors.field("revision", |errors| not_negative(self.revision, errors));
        errors.field("data", |errors| match state(self) {
            Ok(Value::Null) => errors.required("data is mandatory"),
            Ok(Value::Object(_)) => {}
            Ok(_) => errors.required("data must be a valid JSON object"),
            Err(why) => errors.invalid_unshown(format_args!("error parsing data: {why}")),
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        // Compared as JSON: what came in another encoding is spelt otherwise.
        errors.field("data", |errors| {
            unchanged(
                &state(self).unwrap_or_default(),
                &state(old).unwrap_or_default(),
                errors,
            );
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let meta = metadata_of(self);
        let controller = meta
            .owner_references
            .iter()
            .find(|owner| owner.controller == Some(true));
        vec![
            controller.map_or_else(|| NONE.to_owned(), controller_cell),
            self.revision.to_string(),
            age(meta, now),
        ]
    }
}

/// The state as JSON, or why it is none.
fn state(revision: &ControllerRevision) -> Result<Value, String> {
    match revision.data.as_ref().filter(|data| !data.raw.is_empty()) {
        None => Ok(Value::Null),
        Some(data) => serde_json::from_slice(&data.raw).map_err(|error| error.to_string()),
    }
}

/// `statefulset.apps/web`
fn controller_cell(owner: &OwnerReference) -> String {
    let kind = owner.kind.to_lowercase();
    match owner.api_version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", owner.name),
        None => format!("{kind}/{}", owner.name),
    }
}
