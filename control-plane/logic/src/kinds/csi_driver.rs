//! CSIDrivers: what the CSI drivers of the cluster need and can do.

use std::collections::BTreeSet;

use trireme_proto::api::{
    meta::v1::Time,
    storage::v1::{CsiDriver, CsiDriverSpec, TokenRequest},
};

use super::{
    bump_generation,
    columns::{AGE, NONE, age, column},
    volumes::UNSET,
};
use crate::{
    field_error::FieldErrors,
    human::joined_or,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
    validation::unchanged,
};

impl Kind for CsiDriver {
    const INFO: KindInfo = KindInfo {
        group: "storage.k8s.io",
        version: "v1",
        kind: "CSIDriver",
        plural: "csidrivers",
        singular: "csidriver",
        short_names: &[],
        categories: &[],
        namespaced: false,
        subresources: &[],
        columns: &[
            column(
                "AttachRequired",
                "Whether volumes are attached before they are mounted.",
            ),
            column("PodInfoOnMount", "Whether it is told for which pod it mounts."),
            column("StorageCapacity", "Whether the scheduler considers its capacity."),
            column("TokenRequests", "For whom it is given tokens."),
            column("RequiresRepublish", "Whether mounts are published again."),
            column("Modes", "How volumes of it may live."),
            AGE,
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.attach_required.get_or_insert(true);
        spec.pod_info_on_mount.get_or_insert(false);
        spec.storage_capacity.get_or_insert(false);
        spec.fs_group_policy
            .get_or_insert_with(|| "ReadWriteOnceWithFSType".into());
        if spec.volume_lifecycle_modes.is_empty() {
            spec.volume_lifecycle_modes.push("Persistent".into());
        }
        spec.requires_republish.get_or_insert(false);
        spec.se_linux_mount.get_or_insert(false);
    }

    fn prepare_update(&mut self, old: &Self) {
        bump_generation(&mut self.metadata, self.spec != old.spec);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| validate_spec(&spec, errors));
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        let (new, old) = (
            self.spec.clone().unwrap_or_default(),
            old.spec.clone().unwrap_or_default(),
        );
        errors.field("spec", |errors| {
            errors.field("attachedRequired", |errors| {
                unchanged(&new.attach_required, &old.attach_required, errors);
            });
            errors.field("volumeLifecycleModes", |errors| {
                unchanged(&new.volume_lifecycle_modes, &old.volume_lifecycle_modes, errors);
            });
        });
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let spec = self.spec.clone().unwrap_or_default();
        let flag = |value: Option<bool>, default: bool| value.unwrap_or(default).to_string();
        vec![
            flag(spec.attach_required, true),
            flag(spec.pod_info_on_mount, false),
            flag(spec.storage_capacity, false),
            if spec.token_requests.is_empty() {
                UNSET.into()
            } else {
                joined_or(spec.token_requests.iter().map(|request| &request.audience), "")
            },
            flag(spec.requires_republish, false),
            joined_or(&spec.volume_lifecycle_modes, NONE),
            age(metadata_of(self), now),
        ]
    }
}

fn validate_spec(spec: &CsiDriverSpec, errors: &mut FieldErrors) {
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    if let Some(policy) = spec
        .fs_group_policy
        .as_deref()
        .filter(|policy| !policies.contains(policy))
    {
        errors.field("fsGroupPolicy", |errors| errors.not_supported(policy, &policies));
    }
    errors.field("tokenRequests", |errors| validate_tokens(&spec.token_requests, errors));
    errors.field("volumeLifecycleModes", |errors| {
        for mode in &spec.volume_lifecycle_modes {
            if !matches!(mode.as_str(), "Persistent" | "Ephemeral") {
                errors.not_supported(mode, &["Persistent", "Ephemeral"]);
            }
        }
    });
    if let Some(seconds) = spec.node_allocatable_update_period_seconds
        && seconds < limits::NODE_ALLOCATABLE_UPDATE_SECONDS_MIN
    {
        errors.field("nodeAllocatableUpdatePeriodSeconds", |errors| {
            errors.invalid(seconds, "must be greater than or equal to 10 seconds");
        });
    }
    if let Some(in_secrets) = spec.service_account_token_in_secrets
        && spec.token_requests.is_empty()
    {
        errors.field("serviceAccountTokenInSecrets", |errors| {
            errors.invalid(
                in_secrets,
                "serviceAccountTokenInSecrets is set but no tokenRequests are specified",
            );
        });
    }
}

fn validate_tokens(requests: &[TokenRequest], errors: &mut FieldErrors) {
    let mut audiences = BTreeSet::new();
    for (index, request) in requests.iter().enumerate() {
        errors.index(index, |errors| {
            if !audiences.insert(&request.audience) {
                return errors.field("audience", |errors| errors.duplicate(&request.audience));
            }
            let Some(seconds) = request.expiration_seconds else {
                return;
            };
            errors.field("expirationSeconds", |errors| {
                if seconds < limits::TOKEN_EXPIRATION_SECONDS_MIN {
                    errors.invalid(seconds, "may not specify a duration less than 10 minutes");
                }
                if seconds > limits::TOKEN_EXPIRATION_SECONDS_MAX {
                    errors.invalid(seconds, "may not specify a duration larger than 2^32 seconds");
                }
            });
        });
    }
}
