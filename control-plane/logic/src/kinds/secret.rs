//! Secrets: what only some pods may know.

use trireme_proto::api::{core::v1::Secret, meta::v1::Time};

use super::columns::{AGE, age, column};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
    validation::{IMMUTABLE, names, report},
};

/// The keys that a secret of some types must have.
const REQUIRED_KEYS: &[(&str, &[&str])] = &[
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
];
/// A token of a service account names the account here.
const SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";
const SERVICE_ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

impl Kind for Secret {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "Secret",
        plural: "secrets",
        singular: "secret",
        short_names: &[],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: &[
            column("Type", "What the secret is for."),
            column("Data", "How many entries there are."),
            AGE,
        ],
        selectable_fields: &["type"],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        if self.r#type.is_empty() {
            self.r#type = "Opaque".into();
        }
        // Text that was given as such is stored like everything else.
        for (key, text) in std::mem::take(&mut self.string_data) {
            self.data.insert(key, text.into());
        }
    }

    fn validate(&self, errors: &mut FieldErrors) {
        errors.field("data", |errors| {
            for key in self.data.keys() {
                errors.index(key, |errors| report(key, names::data_key(key), errors));
            }
            let size_bytes: usize = self.data.values().map(bytes::Bytes::len).sum();
            if size_bytes > limits::DATA_SIZE_BYTES {
                errors.too_long(limits::DATA_SIZE_BYTES);
            }
            let required = REQUIRED_KEYS.iter().find(|(of_type, _)| *of_type == self.r#type);
            for key in required.map_or(&[][..], |(_, keys)| keys) {
                if !self.data.contains_key(*key) {
                    errors.index(key, |errors| errors.required(""));
                }
            }
            if self.r#type == "kubernetes.io/basic-auth"
                && !["username", "password"].iter().any(|key| self.data.contains_key(*key))
            {
                errors.index("username", |errors| errors.required(""));
                errors.index("password", |errors| errors.required(""));
            }
        });
        let account = metadata_of(self).annotations.get(SERVICE_ACCOUNT_NAME);
        if self.r#type == SERVICE_ACCOUNT_TOKEN && account.is_none_or(String::is_empty) {
            errors.field("metadata.annotations", |errors| {
                errors.index(SERVICE_ACCOUNT_NAME, |errors| errors.required(""));
            });
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        if self.r#type != old.r#type {
            errors.field("type", |errors| errors.invalid(&self.r#type, IMMUTABLE));
        }
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
    }

    fn cells(&self, now: Time) -> Vec<String> {
        vec![
            self.r#type.clone(),
            self.data.len().to_string(),
            age(metadata_of(self), now),
        ]
    }

    fn selectable_field(&self, path: &str) -> Option<String> {
        (path == "type").then(|| self.r#type.clone())
    }
}
