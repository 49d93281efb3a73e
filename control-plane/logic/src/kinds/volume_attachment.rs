//! VolumeAttachments: volumes that are to be attached to nodes, by the drivers that can.

use trireme_proto::api::{
    meta::v1::Time,
    storage::v1::{VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentStatus, VolumeError},
};

use super::{
    columns::{AGE, age, column},
    persistent_volume, volumes,
};
use crate::{
    field_error::FieldErrors,
    kind::{Kind, KindInfo, NameRule, metadata_of},
    limits,
    validation::{in_range, names, report, unchanged},
};

impl Kind for VolumeAttachment {
    const INFO: KindInfo = KindInfo {
        group: "storage.k8s.io",
        version: "v1",
        kind: "VolumeAttachment",
        plural: "volumeattachments",
        singular: "volumeattachment",
        short_names: &[],
        categories: &[],
        namespaced: false,
        subresources: &["status"],
        columns: &[
            column("Attacher", "The driver that attaches it."),
            column("PV", "The volume."),
            column("Node", "The node."),
            column("Attached", "Whether it is attached."),
            AGE,
        ],
        selectable_fields: &[],
        name_rule: NameRule::DnsSubdomain,
    };

    fn set_defaults(&mut self) {
        self.status.get_or_insert_default();
        let source = self.spec.get_or_insert_default().source.get_or_insert_default();
        if let Some(volume) = &mut source.inline_volume_spec {
            persistent_volume::spec_defaults(volume);
        }
    }

    fn prepare_create(&mut self) {
        self.status = Some(VolumeAttachmentStatus::default());
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
            errors.field("attacher", |errors| volumes::driver_name(&spec.attacher, errors));
            errors.field("source", |errors| {
                validate_source(&spec.source.clone().unwrap_or_default(), errors);
            });
            errors.field("nodeName", |errors| {
                report(&spec.node_name, names::dns_subdomain(&spec.node_name), errors);
            });
        });
        validate_status(self.status.as_ref(), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut FieldErrors) {
        errors.field("spec", |errors| unchanged(&self.spec, &old.spec, errors));
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut FieldErrors) {
        validate_status(self.status.as_ref(), errors);
    }

    fn cells(&self, now: Time) -> Vec<String> {
        let spec = self.spec.clone().unwrap_or_default();
        let volume = spec.source.and_then(|source| source.persistent_volume_name);
        vec![
            spec.attacher,
            volume.unwrap_or_default(),
            spec.node_name,
            self.status.as_ref().is_some_and(|status| status.attached).to_string(),
            age(metadata_of(self), now),
        ]
    }
}

fn validate_source(source: &VolumeAttachmentSource, errors: &mut FieldErrors) {
    let one_of_both = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (&source.persistent_volume_name, &source.inline_volume_spec) {
        (None, None) => errors.required(one_of_both),
        (Some(_), Some(_)) => errors.forbidden(one_of_both),
        (Some(name), None) => errors.field("persistentVolumeName", |errors| match name.as_str() {
            "" => errors.required("must specify non empty persistentVolumeName"),
            name => report(name, names::dns_subdomain(name), errors),
        }),
        (None, Some(volume)) => errors.field("inlineVolumeSpec", |errors| {
            persistent_volume::validate_inline(volume, errors);
        }),
    }
}

fn validate_status(status: Option<&VolumeAttachmentStatus>, errors: &mut FieldErrors) {
    let Some(status) = status else { return };
    errors.field("status", |errors| {
        let metadata = status.attachment_metadata.iter();
        let size_bytes: usize = metadata.map(|(key, value)| key.len() + value.len()).sum();
        if size_bytes > limits::ATTACHMENT_METADATA_SIZE_BYTES {
            errors.field("attachmentMetadata", |errors| {
                errors.too_long(limits::ATTACHMENT_METADATA_SIZE_BYTES);
            });
        }
        for (field, error) in [
            ("attachError", &status.attach_error),
            ("detachError", &status.detach_error),
        ] {
            if let Some(error) = error {
                errors.field(field, |errors| validate_error(error, errors));
            }
        }
    });
}

fn validate_error(error: &VolumeError, errors: &mut FieldErrors) {
    if error.message.len() > limits::VOLUME_ERROR_MESSAGE_BYTES {
        errors.field("message", |errors| errors.too_long(limits::VOLUME_ERROR_MESSAGE_BYTES));
    }
    if let Some(code) = error.error_code {
        errors.field("errorCode", |errors| in_range(code.into(), 0, i32::MAX.into(), errors));
    }
}
