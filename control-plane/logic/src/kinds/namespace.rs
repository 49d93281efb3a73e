//! Namespaces: the rooms that other objects live in.
//!
//! A namespace is deleted in two steps: it is marked and shows `Terminating` while it empties, and goes
//! when its finalizers are gone.

use trireme_proto::api::{core::v1::Namespace, meta::v1::Time};

use super::columns::{AGE, age, column};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::{names, report},
};

/// The label that every namespace carries with its own name, so that selectors can name it.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// The finalizer that holds a namespace until it is empty.
const FINALIZER: &str = "kubernetes";

impl Kind for Namespace {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short_names: &["ns"],
        categories: &[],
        namespaced: false,
        subresources: &["status", "finalize"],
        columns: &[column("Status", "Whether the namespace is in use or ending."), AGE],
        selectable_fields: &["status.phase"],
        name_rule: NameRule::DnsLabel,
    };

    fn set_defaults(&mut self) {
        let meta = self.metadata.get_or_insert_default();
        if !meta.name.is_empty() {
            meta.labels.insert(NAME_LABEL.into(), meta.name.clone());
        }
        self.spec.get_or_insert_default();
        let status = self.status.get_or_insert_default();
        if status.phase.is_empty() {
            status.phase = "Active".into();
        }
    }

    fn prepare_create(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if !spec.finalizers.iter().any(|name| name == FINALIZER) {
            spec.finalizers.push(FINALIZER.into());
        }
        let status = self.status.insert(Default::default());
        status.phase = "Active".into();
    }

    fn prepare_update(&mut self, old: &Self) {
        // Finalizers of the spec go by the `finalize` subresource alone.
        self.spec.clone_from(&old.spec);
        self.status.clone_from(&old.status);
    }

    fn prepare_status_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let finalizers = self.spec.iter().flat_map(|spec| &spec.finalizers);
        errors.field("spec", |errors| {
            errors.field("finalizers", |errors| {
                for (index, name) in finalizers.enumerate() {
                    errors.index(index, |errors| report(name, names::qualified_name(name), errors));
                }
            });
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        vec![phase(self).to_owned(), age(metadata_of(self), now)]
    }

    fn selectable_field(&self, path: &str) -> Option<String> {
        (path == "status.phase").then(|| phase(self).to_owned())
    }
}

fn phase(namespace: &Namespace) -> &str {
    namespace.status.as_ref().map_or("", |status| &status.phase)
}
