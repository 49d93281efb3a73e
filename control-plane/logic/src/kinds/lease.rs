//! Leases: by which a holder shows that it is alive.

use trireme_proto::api::{coordination::v1::Lease, meta::v1::Time};

use super::columns::{AGE, age, column};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::not_negative,
};

impl Kind for Lease {
    const INFO: KindInfo = KindInfo {
        group: "coordination.k8s.io",
        version: "v1",
        kind: "Lease",
        plural: "leases",
        singular: "lease",
        short_names: &[],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: &[column("Holder", "Who holds the lease."), AGE],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.spec.get_or_insert_default();
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| {
            if spec.lease_duration_seconds.is_some_and(|seconds| seconds <= 0) {
                errors.field("leaseDurationSeconds", |errors| {
                    errors.invalid(spec.lease_duration_seconds.unwrap_or(0), "must be greater than 0");
                });
            }
            errors.field("leaseTransitions", |errors| {
                not_negative(spec.lease_transitions.unwrap_or(0).into(), errors);
            });
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let holder = self
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.clone())
            .unwrap_or_default();
        vec![holder, age(metadata_of(self), now)]
    }
}
