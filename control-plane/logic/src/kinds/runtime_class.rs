//! RuntimeClasses: ways to run containers. Stored; nodes of this cluster have one way.

use trireme_proto::api::{core::v1::ResourceRequirements, meta::v1::Time, node::v1::RuntimeClass};

use super::{
    columns::{AGE, age, column},
    pod_spec,
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::{labels, names, quantities, report, unchanged},
};

impl Kind for RuntimeClass {
    const INFO: KindInfo = KindInfo {
        group: "node.k8s.io",
        version: "v1",
        kind: "RuntimeClass",
        plural: "runtimeclasses",
        singular: "runtimeclass",
        short_names: &[],
        categories: &[],
        namespaced: false,
        subresources: &[],
        columns: &[column("Handler", "What the node's runtime calls it."), AGE],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn validate(&self, errors: &mut FieldErrors) {
        errors.field("handler", |errors| {
            report(&self.handler, names::dns_label(&self.handler), errors);
        });
        if let Some(overhead) = &self.overhead {
            let limits = ResourceRequirements {
                limits: overhead.pod_fixed.clone(),
                ..ResourceRequirements::default()
            };
            errors.field("overhead", |errors| quantities::requirements(&limits, errors));
        }
        if let Some(scheduling) = &self.scheduling {
            errors.field("scheduling", |errors| {
                errors.field("nodeSelector", |errors| {
                    labels::labels(&scheduling.node_selector, errors);
                });
                errors.field("tolerations", |errors| {
                    pod_spec::validate_tolerations(&scheduling.tolerations, errors);
                });
            });
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        errors.field("handler", |errors| unchanged(&self.handler, &old.handler, errors));
    }

    fn cells(&self, now: Time) -> Vec<String> {
        vec![self.handler.clone(), age(metadata_of(self), now)]
    }
}
