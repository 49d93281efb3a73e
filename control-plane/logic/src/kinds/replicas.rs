//! What the kinds that keep a number of like pods have alike: columns, cells, and the counts in their status.

use trireme_proto::api::{
    apps::v1::ReplicaSetStatus,
    core::v1::{PodTemplateSpec, ReplicationControllerStatus},
    meta::v1::{ObjectMeta, Time},
};

use super::{
    columns::{AGE, age, column},
    workload::{self, CONTAINERS, IMAGES, SELECTOR},
};
use crate::{field_error::FieldErrors, kind::ColumnDefinition, validation::not_negative};

/// The columns of such a kind.
pub(super) const COLUMNS: &[ColumnDefinition] = &[
    column("Desired", "Pods that are wanted."),
    column("Current", "Pods that exist."),
    column("Ready", "Pods that are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

/// The counts in the status of such a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) replicas: i32,
    fully_labeled: i32,
    ready: i32,
    available: i32,
    observed_generation: i64,
}

macro_rules! counts_of {
    ($status:ty) => {
        impl From<&Option<$status>> for Counts {
            fn from(status: &Option<$status>) -> Self {
                status.as_ref().map_or_else(Self::default, |status| Self {
                    replicas: status.replicas,
                    fully_labeled: status.fully_labeled_replicas,
                    ready: status.ready_replicas,
                    available: status.available_replicas,
                    observed_generation: status.observed_generation,
                })
            }
        }
    };
}

counts_of!(ReplicaSetStatus);
counts_of!(ReplicationControllerStatus);

impl Counts {
    /// Checks them. The path is that of the status.
    pub(super) fn validate(self, errors: &mut FieldErrors) {
        errors.field("observedGeneration", |errors| {
            not_negative(self.observed_generation, errors);
        });
        for (field, value) in [
            ("replicas", self.replicas),
            ("fullyLabeledReplicas", self.fully_labeled),
            ("readyReplicas", self.ready),
            ("availableReplicas", self.available),
        ] {
            errors.field(field, |errors| {
                not_negative(value.into(), errors);
                if value > self.replicas {
                    errors.invalid(value, "cannot be greater than status.replicas");
                }
            });
        }
        if self.available > self.ready {
            errors.field("availableReplicas", |errors| {
                errors.invalid(self.available, "cannot be greater than readyReplicas");
            });
        }
    }

    /// The cells of [`COLUMNS`]. `wanted` is the number of pods that are wanted, `selector` which they are.
    pub(super) fn cells(
        self,
        wanted: Option<i32>,
        meta: &ObjectMeta,
        template: Option<&PodTemplateSpec>,
        selector: String,
        now: Time,
    ) -> Vec<String> {
        let [containers, images] = workload::template_cells(template);
        vec![
            wanted.unwrap_or(0).to_string(),
            self.replicas.to_string(),
            self.ready.to_string(),
            age(meta, now),
            containers,
            images,
            selector,
        ]
    }
}
