//! ResourceQuotas: how much of everything a namespace may use.
//!
//! What is used is charged in the same transaction that stores the using object; see
//! [`admission::quota`](crate::admission::quota).

use trireme_proto::api::{
    core::v1::{ResourceQuota, ResourceQuotaStatus},
    meta::v1::Time,
};

use super::columns::{AGE, age, column};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::{IMMUTABLE, names, quantities, report},
};

/// Parts of a namespace's objects that a quota may be restricted to.
const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
];

impl Kind for ResourceQuota {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "ResourceQuota",
        plural: "resourcequotas",
        singular: "resourcequota",
        short_names: &["quota"],
        categories: &[],
        namespaced: true,
        subresources: &["status"],
        columns: &[
            column("Request", "What is used of what there is, of counts and requests."),
            column("Limit", "What is used of what there is, of limits."),
            AGE,
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.spec.get_or_insert_default();
        self.status.get_or_insert_default();
    }

    fn prepare_create(&mut self) {
        self.status = Some(ResourceQuotaStatus::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| {
            errors.field("hard", |errors| {
                for (name, quantity) in &spec.hard {
                    errors.index(name, |errors| {
                        report(name, names::qualified_name(name), errors);
                        quantities::not_negative(quantity, errors);
                        quantities::whole_if_counted(name, quantity, errors);
                    });
                }
            });
            errors.field("scopes", |errors| {
                for scope in &spec.scopes {
                    if !SCOPES.contains(&scope.as_str()) {
                        errors.invalid(scope, "unsupported scope");
                    }
                }
                let both = |one: &str, other: &str| {
                    spec.scopes.iter().any(|scope| scope == one) && spec.scopes.iter().any(|scope| scope == other)
                };
                if both("BestEffort", "NotBestEffort") || both("Terminating", "NotTerminating") {
                    errors.invalid(&spec.scopes, "conflicting scopes");
                }
            });
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        let scopes = |quota: &Self| {
            let mut scopes = quota.spec.as_ref().map(|spec| spec.scopes.clone()).unwrap_or_default();
            scopes.sort_unstable();
            scopes
        };
        let (new, old) = (scopes(self), scopes(old));
        if new != old {
            errors.field("spec.scopes", |errors| errors.invalid(&new, IMMUTABLE));
        }
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let status = self.status.clone().unwrap_or_default();
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (name, hard) in &status.hard {
            let used = status.used.get(name).map_or("0", |used| &used.string);
            let cell = format!("{name}: {used}/{}", hard.string);
            if name.starts_with("limits") {
                limits.push(cell);
            } else {
                requests.push(cell);
            }
        }
        vec![requests.join(", "), limits.join(", "), age(metadata_of(self), now)]
    }
}
