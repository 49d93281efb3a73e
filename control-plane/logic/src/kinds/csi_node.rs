//! CSINodes: the CSI drivers of each node. Nodes' drivers are registered by whoever runs them.

use std::collections::BTreeSet;

use trireme_proto::api::{
    meta::v1::Time,
    storage::v1::{CsiNode, CsiNodeDriver},
};

use super::{
    columns::{AGE, age, column},
    volumes,
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
    validation::{names, not_negative, report, unchanged},
};

impl Kind for CsiNode {
    const INFO: KindInfo = KindInfo {
        group: "storage.k8s.io",
        version: "v1",
        kind: "CSINode",
        plural: "csinodes",
        singular: "csinode",
        short_names: &[],
        categories: &[],
        namespaced: false,
        subresources: &[],
        columns: &[column("Drivers", "How many drivers the node has."), AGE],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.spec.get_or_insert_default();
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let mut seen = BTreeSet::new();
        errors.field("spec.drivers", |errors| {
            for (index, driver) in self.spec.iter().flat_map(|spec| &spec.drivers).enumerate() {
                errors.index(index, |errors| {
                    validate_driver(driver, errors);
                    if !seen.insert(&driver.name) {
                        errors.field("name", |errors| errors.duplicate(&driver.name));
                    }
                });
            }
        });
    }

    /// How many volumes a driver can have may change; the rest of it stays until it is registered anew.
    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        let lasting = |driver: &CsiNodeDriver| CsiNodeDriver {
            allocatable: None,
            ..driver.clone()
        };
        errors.field("spec.drivers", |errors| {
            for before in old.spec.iter().flat_map(|spec| &spec.drivers) {
                let now = self.spec.iter().flat_map(|spec| &spec.drivers);
                for driver in now.filter(|driver| driver.name == before.name) {
                    unchanged(&lasting(driver), &lasting(before), errors);
                }
            }
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let count = self.spec.as_ref().map_or(0, |spec| spec.drivers.len());
        vec![count.to_string(), age(metadata_of(self), now)]
    }
}

fn validate_driver(driver: &CsiNodeDriver, errors: &mut FieldErrors) {
    errors.field("name", |errors| volumes::driver_name(&driver.name, errors));
    errors.field("nodeID", |errors| {
        if driver.node_id.is_empty() {
            errors.required("");
        }
        if driver.node_id.len() > limits::CSI_NODE_ID_BYTES {
            errors.invalid(
                &driver.node_id,
                format_args!("must be {} characters or less", limits::CSI_NODE_ID_BYTES),
            );
        }
    });
    if let Some(count) = driver.allocatable.as_ref().and_then(|allocatable| allocatable.count) {
        errors.field("allocatable.count", |errors| not_negative(count.into(), errors));
    }
    let mut keys = BTreeSet::new();
    for key in &driver.topology_keys {
        if key.is_empty() {
            errors.required("");
        }
        if !keys.insert(key) {
            errors.duplicate(key);
        }
        report(key, names::qualified_name(key), errors);
    }
}
