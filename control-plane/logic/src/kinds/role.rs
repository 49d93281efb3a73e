//! Roles: things that somebody may do in a namespace. They are stored; certificates decide who may do what.

use trireme_proto::api::{meta::v1::Time, rbac::v1::Role};

use super::rbac;
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
};

impl Kind for Role {
    const INFO: KindInfo = KindInfo {
        group: rbac::GROUP,
        version: "v1",
        kind: "Role",
        plural: "roles",
        singular: "role",
        short_names: &[],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: rbac::ROLE_COLUMNS,
        selectable_fields: &[],
        name_rule: NameRule::PathSegment,
    };

    fn validate(&self, errors: &mut FieldErrors) {
        rbac::validate_rules(&self.rules, true, errors);
    }

    fn cells(&self, _now: Time) -> Vec<String> {
        rbac::role_cells(metadata_of(self))
    }
}
