//! RoleBindings: roles that somebody is given in a namespace. They are stored; certificates decide who may do what.

use trireme_proto::api::{meta::v1::Time, rbac::v1::RoleBinding};

use super::rbac;
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
};

/// The kinds of roles that can be given so.
const ROLE_KINDS: &[&str] = &["Role", "ClusterRole"];

impl Kind for RoleBinding {
    const INFO: KindInfo = KindInfo {
        group: rbac::GROUP,
        version: "v1",
        kind: "RoleBinding",
        plural: "rolebindings",
        singular: "rolebinding",
        short_names: &[],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: rbac::BINDING_COLUMNS,
        selectable_fields: &[],
        name_rule: NameRule::PathSegment,
    };

    fn set_defaults(&mut self) {
        rbac::binding_defaults(&mut self.role_ref, &mut self.subjects);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        rbac::validate_binding(self.role_ref.as_ref(), ROLE_KINDS, &self.subjects, true, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        rbac::validate_binding_update(self.role_ref.as_ref(), old.role_ref.as_ref(), errors);
    }

    fn cells(&self, now: Time) -> Vec<String> {
        rbac::binding_cells(self.role_ref.as_ref(), &self.subjects, metadata_of(self), now)
    }
}
