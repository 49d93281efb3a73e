//! PersistentVolumes: storage of the cluster, for one claim at a time. Nothing in the cluster binds or makes them; they
//! are stored for those who do.

mod source;
mod spec;

use trireme_proto::api::{
    core::v1::{PersistentVolume, PersistentVolumeSource, PersistentVolumeSpec, PersistentVolumeStatus},
    meta::v1::Time,
};

pub(super) use self::spec::validate_inline;
use super::{
    columns::{AGE, age, column, wide},
    volumes::{self, UNSET},
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    validation::unchanged,
};

/// The phase of a volume that nobody has looked at yet.
const PENDING: &str = "Pending";

impl Kind for PersistentVolume {
    const INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "PersistentVolume",
        plural: "persistentvolumes",
        singular: "persistentvolume",
        short_names: &["pv"],
        categories: &[],
        namespaced: false,
        subresources: &["status"],
        columns: &[
            column("Capacity", "How large it is."),
            column("Access Modes", "How it may be shared."),
            column("Reclaim Policy", "What happens to the data once its claim is gone."),
            column("Status", "Its phase."),
            column("Claim", "The claim it is bound to."),
            column("StorageClass", "Its class."),
            column("VolumeAttributesClass", "The class of its settings that can change."),
            column("Reason", "Why its phase is what it is."),
            AGE,
            wide("VolumeMode", "What it is presented as."),
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        let status = self.status.get_or_insert_default();
        if status.phase.is_empty() {
            status.phase = PENDING.into();
        }
        let spec = self.spec.get_or_insert_default();
        if spec.persistent_volume_reclaim_policy.is_empty() {
            spec.persistent_volume_reclaim_policy = "Retain".into();
        }
        spec_defaults(spec);
    }

    fn prepare_create(&mut self) {
        self.status = Some(PersistentVolumeStatus {
            phase: PENDING.into(),
            ..PersistentVolumeStatus::default()
        });
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn stamp(&mut self, old: Option<&Self>, now: Time) {
        let before = old.and_then(|old| old.status.clone()).unwrap_or_default();
        let status = self.status.get_or_insert_default();
        let (since, since_before) = (
            &mut status.last_phase_transition_time,
            before.last_phase_transition_time,
        );
        if old.is_some() && status.phase == before.phase {
            *since = since.take().or(since_before);
        } else if since.is_none() || *since == since_before {
            *since = Some(now);
        }
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.field("spec", |errors| spec::validate(&spec, errors));
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        let (new, old) = (
            self.spec.clone().unwrap_or_default(),
            old.spec.clone().unwrap_or_default(),
        );
        if source_without_added_secret(&new, &old) != old.persistent_volume_source {
            errors.field("spec.persistentvolumesource", |errors| {
                errors.forbidden("spec.persistentvolumesource is immutable after creation");
            });
        }
        errors.field("volumeMode", |errors| {
            unchanged(&new.volume_mode, &old.volume_mode, errors);
        });
        if old.node_affinity.is_some() {
            errors.field("nodeAffinity", |errors| {
                unchanged(&new.node_affinity, &old.node_affinity, errors);
            });
        }
        if old.volume_attributes_class_name.is_some() && new.volume_attributes_class_name.is_none() {
            errors.field("spec.volumeAttributesClassName", |errors| {
                errors.forbidden("update from non-nil value to nil is forbidden");
            });
        }
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let (spec, status) = (
            self.spec.clone().unwrap_or_default(),
            self.status.clone().unwrap_or_default(),
        );
        let meta = metadata_of(self);
        let phase = match meta.deletion_timestamp {
            Some(_) => "Terminating",
            None => &status.phase,
        };
        let claim = spec.claim_ref.as_ref();
        vec![
            volumes::size_cell(&spec.capacity),
            volumes::access_modes_cell(&spec.access_modes),
            spec.persistent_volume_reclaim_policy.clone(),
            phase.to_owned(),
            claim.map_or_else(String::new, |claim| format!("{}/{}", claim.namespace, claim.name)),
            volumes::class(meta, Some(&spec.storage_class_name))
                .unwrap_or_default()
                .to_owned(),
            spec.volume_attributes_class_name
                .clone()
                .unwrap_or_else(|| UNSET.into()),
            status.reason.clone(),
            age(meta, now),
            spec.volume_mode.clone().unwrap_or_else(|| UNSET.into()),
        ]
    }
}

/// What a volume is filled up with, also one that is told of in line.
pub(super) fn spec_defaults(spec: &mut PersistentVolumeSpec) {
    spec.volume_mode.get_or_insert_with(|| "Filesystem".into());
    if let Some(source) = &mut spec.persistent_volume_source {
        source::set_defaults(source);
    }
}

/// The source as it is to be compared with the old one: a secret for making volumes larger may be added later.
fn source_without_added_secret(
    new: &PersistentVolumeSpec,
    old: &PersistentVolumeSpec,
) -> Option<PersistentVolumeSource> {
    let mut source = new.persistent_volume_source.clone();
    let lacked_secret = old
        .persistent_volume_source
        .as_ref()
        .and_then(|source| source.csi.as_ref())
        .is_some_and(|csi| csi.controller_expand_secret_ref.is_none());
    if lacked_secret && let Some(csi) = source.as_mut().and_then(|source| source.csi.as_mut()) {
        csi.controller_expand_secret_ref = None;
    }
    source
}
