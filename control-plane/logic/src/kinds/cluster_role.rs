//! ClusterRoles: things that somebody may do, in the whole cluster or wherever it is bound. They are stored; certificates
//! decide who may do what.

use trireme_proto::api::{meta::v1::Time, rbac::v1::ClusterRole};

use super::rbac;
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::labels,
};

impl Kind for ClusterRole {
    const INFO: KindInfo = KindInfo {
        group: rbac::GROUP,
        version: "v1",
        kind: "ClusterRole",
        plural: "clusterroles",
        singular: "clusterrole",
        short_names: &[],
        categories: &[],
        namespaced: false,
        subresources: &[],
        columns: rbac::ROLE_COLUMNS,
        selectable_fields: &[],
        name_rule: NameRule::PathSegment,
    };

    fn validate(&self, errors: &mut FieldErrors) {
        rbac::validate_rules(&self.rules, false, errors);
        if let Some(aggregation) = &self.aggregation_rule {
            errors.field("aggregationRule.clusterRoleSelectors", |errors| {
                if aggregation.cluster_role_selectors.is_empty() {
                    errors.required("at least one clusterRoleSelector required if aggregationRule is non-nil");
                }
                for (index, selector) in aggregation.cluster_role_selectors.iter().enumerate() {
                    errors.index(index, |errors| labels::label_selector(selector, errors));
                }
            });
        }
    }

    fn cells(&self, _now: Time) -> Vec<String> {
        rbac::role_cells(metadata_of(self))
    }
}
