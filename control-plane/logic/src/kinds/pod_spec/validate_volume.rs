//! Checks of volumes.

use std::collections::BTreeSet;

use trireme_proto::api::core::v1::{
    DownwardApiVolumeFile, HostPathVolumeSource, KeyToPath, Volume, VolumeProjection, VolumeSource,
};

use crate::{
    field_error::FieldErrors,
    validation::{names, quantities, report},
};

/// Checks volumes and returns their names. The path is that of the list.
pub(super) fn volumes<'a>(volumes: &'a [Volume], errors: &mut FieldErrors) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        errors.index(index, |errors| {
            errors.field("name", |errors| match volume.name.as_str() {
                "" => errors.required(""),
                name => {
                    report(name, names::dns_label(name), errors);
                    if !seen.insert(name) {
                        errors.duplicate(name);
                    }
                }
            });
            match &volume.volume_source {
                Some(source) => volume_source(source, errors),
                None => errors.required("must specify a volume type"),
            }
        });
    }
    seen
}

fn volume_source(source: &VolumeSource, errors: &mut FieldErrors) {
    match count_sources(source) {
        0 => errors.required("must specify a volume type"),
        1 => {}
        _ => errors.forbidden("may not specify more than 1 volume type"),
    }
    if let Some(host_path) = &source.host_path {
        errors.field("hostPath", |errors| self::host_path(host_path, errors));
    }
    if let Some(limit) = source
        .empty_dir
        .as_ref()
        .and_then(|directory| directory.size_limit.as_ref())
    {
        errors.field("emptyDir.sizeLimit", |errors| quantities::not_negative(limit, errors));
    }
    if let Some(secret) = &source.secret {
        errors.field("secret", |errors| {
            if secret.secret_name.is_empty() {
                errors.field("secretName", |errors| errors.required(""));
            }
            files(&secret.items, secret.default_mode, errors);
        });
    }
    if let Some(config_map) = &source.config_map {
        errors.field("configMap", |errors| {
            if config_map
                .local_object_reference
                .as_ref()
                .is_none_or(|reference| reference.name.is_empty())
            {
                errors.field("name", |errors| errors.required(""));
            }
            files(&config_map.items, config_map.default_mode, errors);
        });
    }
    if let Some(downward) = &source.downward_api {
        errors.field("downwardAPI", |errors| {
            files(&[], downward.default_mode, errors);
            downward_files(&downward.items, errors);
        });
    }
    if let Some(claim) = &source.persistent_volume_claim
        && claim.claim_name.is_empty()
    {
        errors.field("persistentVolumeClaim.claimName", |errors| errors.required(""));
    }
    if let Some(projected) = &source.projected {
        errors.field("projected", |errors| {
            files(&[], projected.default_mode, errors);
            errors.field("sources", |errors| {
                for (index, projection) in projected.sources.iter().enumerate() {
                    errors.index(index, |errors| projected_source(projection, errors));
                }
            });
        });
    }
}

/// Checks a file or folder of the node. The path is that of the source.
pub(crate) fn host_path(host_path: &HostPathVolumeSource, errors: &mut FieldErrors) {
    errors.field("path", |errors| match host_path.path.as_str() {
        "" => errors.required(""),
        path if path.split('/').any(|segment| segment == "..") => {
            errors.invalid(path, "must not contain '..'");
        }
        _ => {}
    });
    errors.field("type", |errors| {
        let types = [
            "",
            "DirectoryOrCreate",
            "Directory",
            "FileOrCreate",
            "File",
            "Socket",
            "CharDevice",
            "BlockDevice",
        ];
        let given = host_path.r#type.as_deref().unwrap_or_default();
        if !types.contains(&given) {
            errors.not_supported(given, &types[1..]);
        }
    });
}

fn count_sources(source: &VolumeSource) -> usize {
    [
        source.host_path.is_some(),
        source.empty_dir.is_some(),
        source.gce_persistent_disk.is_some(),
        source.aws_elastic_block_store.is_some(),
        source.git_repo.is_some(),
        source.secret.is_some(),
        source.nfs.is_some(),
        source.iscsi.is_some(),
        source.glusterfs.is_some(),
        source.persistent_volume_claim.is_some(),
        source.rbd.is_some(),
        source.flex_volume.is_some(),
        source.cinder.is_some(),
        source.cephfs.is_some(),
        source.flocker.is_some(),
        source.downward_api.is_some(),
        source.fc.is_some(),
        source.azure_file.is_some(),
        source.config_map.is_some(),
        source.vsphere_volume.is_some(),
        source.quobyte.is_some(),
        source.azure_disk.is_some(),
        source.photon_persistent_disk.is_some(),
        source.portworx_volume.is_some(),
        source.scale_io.is_some(),
        source.projected.is_some(),
        source.storageos.is_some(),
        source.csi.is_some(),
        source.ephemeral.is_some(),
        source.image.is_some(),
    ]
    .into_iter()
    .filter(|given| *given)
    .count()
}

fn projected_source(projection: &VolumeProjection, errors: &mut FieldErrors) {
    if let Some(secret) = &projection.secret {
        errors.field("secret", |errors| files(&secret.items, None, errors));
    }
    if let Some(config_map) = &projection.config_map {
        errors.field("configMap", |errors| files(&config_map.items, None, errors));
    }
    if let Some(downward) = &projection.downward_api {
        errors.field("downwardAPI", |errors| downward_files(&downward.items, errors));
    }
    if let Some(token) = &projection.service_account_token {
        errors.field("serviceAccountToken.path", |errors| relative_path(&token.path, errors));
    }
}

fn files(items: &[KeyToPath], default_mode: Option<i32>, errors: &mut FieldErrors) {
    if let Some(mode) = default_mode {
        errors.field("defaultMode", |errors| file_mode(mode, errors));
    }
    errors.field("items", |errors| {
        for (index, item) in items.iter().enumerate() {
            errors.index(index, |errors| {
                if item.key.is_empty() {
                    errors.field("key", |errors| errors.required(""));
                }
                errors.field("path", |errors| relative_path(&item.path, errors));
                if let Some(mode) = item.mode {
                    errors.field("mode", |errors| file_mode(mode, errors));
                }
            });
        }
    });
}

fn downward_files(items: &[DownwardApiVolumeFile], errors: &mut FieldErrors) {
    errors.field("items", |errors| {
        for (index, item) in items.iter().enumerate() {
            errors.index(index, |errors| {
                errors.field("path", |errors| relative_path(&item.path, errors));
                if item.field_ref.is_none() && item.resource_field_ref.is_none() {
                    errors.required("one of fieldRef and resourceFieldRef is required");
                }
                if let Some(mode) = item.mode {
                    errors.field("mode", |errors| file_mode(mode, errors));
                }
            });
        }
    });
}

fn relative_path(path: &str, errors: &mut FieldErrors) {
    if path.is_empty() {
        errors.required("");
    } else if path.starts_with('/') {
        errors.invalid(path, "must be a relative path");
    } else if path.split('/').any(|segment| segment == "..") {
        errors.invalid(path, "must not contain '..'");
    }
}

fn file_mode(mode: i32, errors: &mut FieldErrors) {
    if !(0..=0o777).contains(&mode) {
        errors.invalid(mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}
