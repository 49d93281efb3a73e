//! ConfigMaps: configuration for pods.

use trireme_proto::api::{core::v1::ConfigMap, meta::v1::Time};

use super::columns::{AGE, age, column};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
    validation::{names, report},
};

impl Kind for ConfigMap {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short_names: &["cm"],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: &[column("Data", "How many entries there are."), AGE],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn validate(&self, errors: &mut FieldErrors) {
        errors.field("data", |errors| {
            for key in self.data.keys() {
                errors.index(key, |errors| {
                    report(key, names::data_key(key), errors);
                    if self.binary_data.contains_key(key) {
                        errors.invalid(key, "duplicate of key present in binaryData");
                    }
                });
            }
        });
        errors.field("binaryData", |errors| {
            for key in self.binary_data.keys() {
                errors.index(key, |errors| report(key, names::data_key(key), errors));
            }
        });
        let size_bytes = self.data.values().map(String::len).sum::<usize>()
            + self.binary_data.values().map(bytes::Bytes::len).sum::<usize>();
        if size_bytes > limits::DATA_SIZE_BYTES {
            errors.too_long(limits::DATA_SIZE_BYTES);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        if old.immutable != Some(true) {
            return;
        }
        if self.immutable != Some(true) {
            errors.field("immutable", |errors| {
                errors.forbidden("field is immutable when `immutable` is set");
            });
        }
        if self.data != old.data {
            errors.field("data", |errors| {
                errors.forbidden("field is immutable when `immutable` is set");
            });
        }
        if self.binary_data != old.binary_data {
            errors.field("binaryData", |errors| {
                errors.forbidden("field is immutable when `immutable` is set");
            });
        }
    }

    fn cells(&self, now: Time) -> Vec<String> {
        vec![
            (self.data.len() + self.binary_data.len()).to_string(),
            age(metadata_of(self), now),
        ]
    }
}
