//! Where a volume's data is: what each source must say. Whether it is there, whoever mounts it finds out.

use trireme_proto::api::core::v1::{
    CsiPersistentVolumeSource, FcVolumeSource, FlockerVolumeSource, IscsiPersistentVolumeSource, NfsVolumeSource,
    PersistentVolumeSource, SecretReference, StorageOsPersistentVolumeSource,
};

use crate::{
    field_error::FieldErrors,
    kinds::{pod_spec, volumes},
    validation::{in_range, names, report},
};

/// Fills up a source.
pub(super) fn set_defaults(source: &mut PersistentVolumeSource) {
    fn default_text(value: &mut String, default: &str) {
        if value.is_empty() {
            *value = default.into();
        }
    }
    if let Some(host_path) = &mut source.host_path {
        host_path.r#type.get_or_insert_default();
    }
    if let Some(iscsi) = &mut source.iscsi {
        default_text(&mut iscsi.iscsi_interface, "default");
    }
    if let Some(rbd) = &mut source.rbd {
        default_text(&mut rbd.pool, "rbd");
        default_text(&mut rbd.user, "admin");
        default_text(&mut rbd.keyring, "/etc/ceph/keyring");
    }
    if let Some(scale_io) = &mut source.scale_io {
        default_text(&mut scale_io.storage_mode, "ThinProvisioned");
        default_text(&mut scale_io.fs_type, "xfs");
    }
    if let Some(disk) = &mut source.azure_disk {
        disk.caching_mode.get_or_insert_with(|| "ReadWrite".into());
        disk.kind.get_or_insert_with(|| "Shared".into());
        disk.fs_type.get_or_insert_with(|| "ext4".into());
        disk.read_only.get_or_insert(false);
    }
}

/// Checks that there is one source, and what it says. The path is that of the volume's spec.
pub(super) fn validate(source: &PersistentVolumeSource, errors: &mut FieldErrors) {
    let given = given(source);
    if given.is_empty() {
        errors.required("must specify a volume type");
    }
    for field in given.iter().skip(1) {
        errors.field(field, |errors| {
            errors.forbidden("may not specify more than 1 volume type");
        });
    }
    if let [field] = given[..] {
        errors.field(field, |errors| validate_one(source, errors));
    }
}

/// The sources that are given, by their fields.
fn given(source: &PersistentVolumeSource) -> Vec<&'static str> {
    let all = [
        ("hostPath", source.host_path.is_some()),
        ("gcePersistentDisk", source.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", source.aws_elastic_block_store.is_some()),
        ("glusterfs", source.glusterfs.is_some()),
        ("flocker", source.flocker.is_some()),
        ("nfs", source.nfs.is_some()),
        ("rbd", source.rbd.is_some()),
        ("quobyte", source.quobyte.is_some()),
        ("cephfs", source.cephfs.is_some()),
        ("iscsi", source.iscsi.is_some()),
        ("cinder", source.cinder.is_some()),
        ("fc", source.fc.is_some()),
        ("flexVolume", source.flex_volume.is_some()),
        ("azureFile", source.azure_file.is_some()),
        ("vsphereVolume", source.vsphere_volume.is_some()),
        ("photonPersistentDisk", source.photon_persistent_disk.is_some()),
        ("portworxVolume", source.portworx_volume.is_some()),
        ("azureDisk", source.azure_disk.is_some()),
        ("scaleIO", source.scale_io.is_some()),
        ("local", source.local.is_some()),
        ("storageos", source.storageos.is_some()),
        ("csi", source.csi.is_some()),
    ];
    all.into_iter()
        .filter(|(_, given)| *given)
        .map(|(field, _)| field)
        .collect()
}

/// Checks the one source that is given. The path is that of the source.
fn validate_one(source: &PersistentVolumeSource, errors: &mut FieldErrors) {
    if let Some(host_path) = &source.host_path {
        pod_spec::validate_host_path(host_path, errors);
    }
    if let Some(nfs) = &source.nfs {
        validate_nfs(nfs, errors);
    }
    if let Some(local) = &source.local {
        errors.field("path", |errors| match local.path.as_str() {
            "" => errors.required(""),
            path if path.split('/').any(|segment| segment == "..") => errors.invalid(path, "must not contain '..'"),
            _ => {}
        });
    }
    if let Some(csi) = &source.csi {
        validate_csi(csi, errors);
    }
    if let Some(iscsi) = &source.iscsi {
        validate_iscsi(iscsi, errors);
    }
    if let Some(fc) = &source.fc {
        validate_fc(fc, errors);
    }
    if let Some(storageos) = &source.storageos {
        validate_storageos(storageos, errors);
    }
    if let Some(flocker) = &source.flocker {
        validate_flocker(flocker, errors);
    }
    validate_clouds(source, errors);
    validate_networks(source, errors);
}

/// The disks of clouds.
fn validate_clouds(source: &PersistentVolumeSource, errors: &mut FieldErrors) {
    if let Some(disk) = &source.gce_persistent_disk {
        required(&[("pdName", disk.pd_name.is_empty())], errors);
        errors.field("partition", |errors| in_range(disk.partition.into(), 0, 255, errors));
    }
    if let Some(disk) = &source.aws_elastic_block_store {
        required(&[("volumeID", disk.volume_id.is_empty())], errors);
        errors.field("partition", |errors| in_range(disk.partition.into(), 0, 255, errors));
    }
    if let Some(cinder) = &source.cinder {
        required(&[("volumeID", cinder.volume_id.is_empty())], errors);
        named_secret(cinder.secret_ref.as_ref(), errors);
    }
    if let Some(share) = &source.azure_file {
        required(
            &[
                ("secretName", share.secret_name.is_empty()),
                ("shareName", share.share_name.is_empty()),
                ("secretNamespace", share.secret_namespace.as_deref() == Some("")),
            ],
            errors,
        );
    }
    if let Some(disk) = &source.azure_disk {
        required(
            &[
                ("diskName", disk.disk_name.is_empty()),
                ("diskURI", disk.disk_uri.is_empty()),
            ],
            errors,
        );
        let modes = ["None", "ReadOnly", "ReadWrite"];
        if let Some(mode) = disk.caching_mode.as_deref().filter(|mode| !modes.contains(mode)) {
            errors.field("cachingMode", |errors| errors.not_supported(mode, &modes));
        }
    }
    if let Some(disk) = &source.vsphere_volume {
        required(&[("volumePath", disk.volume_path.is_empty())], errors);
    }
    if let Some(disk) = &source.photon_persistent_disk {
        required(&[("pdID", disk.pd_id.is_empty())], errors);
    }
}

/// The storage systems on the network that need no more than some names.
fn validate_networks(source: &PersistentVolumeSource, errors: &mut FieldErrors) {
    if let Some(gluster) = &source.glusterfs {
        required(
            &[
                ("endpoints", gluster.endpoints.is_empty()),
                ("path", gluster.path.is_empty()),
            ],
            errors,
        );
        if gluster.endpoints_namespace.as_deref() == Some("") {
            errors.field("endpointsNamespace", |errors| {
                errors.invalid("", "if the endpointnamespace is set, it must be a valid namespace name");
            });
        }
    }
    if let Some(rbd) = &source.rbd {
        required(
            &[("monitors", rbd.monitors.is_empty()), ("image", rbd.image.is_empty())],
            errors,
        );
    }
    if let Some(ceph) = &source.cephfs {
        required(&[("monitors", ceph.monitors.is_empty())], errors);
    }
    if let Some(quobyte) = &source.quobyte {
        required(
            &[
                ("registry", quobyte.registry.is_empty()),
                ("volume", quobyte.volume.is_empty()),
            ],
            errors,
        );
    }
    if let Some(flex) = &source.flex_volume {
        required(&[("driver", flex.driver.is_empty())], errors);
    }
    if let Some(portworx) = &source.portworx_volume {
        required(&[("volumeID", portworx.volume_id.is_empty())], errors);
    }
    if let Some(scale_io) = &source.scale_io {
        required(
            &[
                ("gateway", scale_io.gateway.is_empty()),
                ("system", scale_io.system.is_empty()),
                ("volumeName", scale_io.volume_name.is_empty()),
            ],
            errors,
        );
    }
}

fn validate_nfs(nfs: &NfsVolumeSource, errors: &mut FieldErrors) {
    required(
        &[("server", nfs.server.is_empty()), ("path", nfs.path.is_empty())],
        errors,
    );
    if !nfs.path.starts_with('/') {
        errors.field("path", |errors| errors.invalid(&nfs.path, "must be an absolute path"));
    }
}

fn validate_csi(csi: &CsiPersistentVolumeSource, errors: &mut FieldErrors) {
    errors.field("driver", |errors| volumes::driver_name(&csi.driver, errors));
    required(&[("volumeHandle", csi.volume_handle.is_empty())], errors);
    for (field, secret) in [
        ("controllerPublishSecretRef", &csi.controller_publish_secret_ref),
        ("controllerExpandSecretRef", &csi.controller_expand_secret_ref),
        ("nodePublishSecretRef", &csi.node_publish_secret_ref),
        ("nodeExpandSecretRef", &csi.node_expand_secret_ref),
    ] {
        let Some(secret) = secret else { continue };
        errors.field(field, |errors| {
            errors.field("name", |errors| match secret.name.as_str() {
                "" => errors.required(""),
                name => report(name, names::dns_subdomain(name), errors),
            });
            errors.field("namespace", |errors| match secret.namespace.as_str() {
                "" => errors.required(""),
                namespace => report(namespace, names::dns_label(namespace), errors),
            });
        });
    }
}

fn validate_iscsi(iscsi: &IscsiPersistentVolumeSource, errors: &mut FieldErrors) {
    required(&[("targetPortal", iscsi.target_portal.is_empty())], errors);
    errors.field("iqn", |errors| match iscsi.iqn.as_str() {
        "" => errors.required(""),
        name => qualified_iscsi_name(name, errors),
    });
    errors.field("lun", |errors| in_range(iscsi.lun.into(), 0, 255, errors));
    if (iscsi.chap_auth_discovery || iscsi.chap_auth_session) && iscsi.secret_ref.is_none() {
        required(&[("secretRef", true)], errors);
    }
    if let Some(secret) = &iscsi.secret_ref {
        errors.field("secretRef", |errors| {
            required(&[("name", secret.name.is_empty())], errors);
        });
    }
    if let Some(name) = &iscsi.initiator_name {
        errors.field("initiatorName", |errors| qualified_iscsi_name(name, errors));
    }
}

fn qualified_iscsi_name(name: &str, errors: &mut FieldErrors) {
    if !["iqn", "eui", "naa"].iter().any(|prefix| name.starts_with(prefix)) {
        errors.invalid(name, "must be valid format starting with iqn, eui, or naa");
    }
}

fn validate_fc(fc: &FcVolumeSource, errors: &mut FieldErrors) {
    let why = "must specify either targetWWNs or wwids, but not both";
    errors.field("targetWWNs", |errors| {
        match (fc.target_wwns.is_empty(), fc.wwids.is_empty()) {
            (true, true) => errors.required(why),
            (false, false) => errors.invalid(&fc.target_wwns, why),
            _ => {}
        }
    });
    if fc.target_wwns.is_empty() {
        return;
    }
    errors.field("lun", |errors| match fc.lun {
        None => errors.required("lun is required if targetWWNs is specified"),
        Some(lun) => in_range(lun.into(), 0, 255, errors),
    });
}

fn validate_storageos(storageos: &StorageOsPersistentVolumeSource, errors: &mut FieldErrors) {
    errors.field("volumeName", |errors| match storageos.volume_name.as_str() {
        "" => errors.required(""),
        name => report(name, names::dns_label(name), errors),
    });
    if !storageos.volume_namespace.is_empty() {
        errors.field("volumeNamespace", |errors| {
            report(
                &storageos.volume_namespace,
                names::dns_label(&storageos.volume_namespace),
                errors,
            );
        });
    }
    if let Some(secret) = &storageos.secret_ref {
        errors.field("secretRef", |errors| {
            required(
                &[
                    ("name", secret.name.is_empty()),
                    ("namespace", secret.namespace.is_empty()),
                ],
                errors,
            );
        });
    }
}

fn validate_flocker(flocker: &FlockerVolumeSource, errors: &mut FieldErrors) {
    match (flocker.dataset_name.is_empty(), flocker.dataset_uuid.is_empty()) {
        (true, true) => errors.required("one of datasetName and datasetUUID is required"),
        (false, false) => errors.invalid(
            "resource",
            "datasetName and datasetUUID can not be specified simultaneously",
        ),
        _ => {}
    }
    if flocker.dataset_name.contains('/') {
        errors.field("datasetName", |errors| {
            errors.invalid(&flocker.dataset_name, "must not contain '/'");
        });
    }
}

fn named_secret(secret: Option<&SecretReference>, errors: &mut FieldErrors) {
    let Some(secret) = secret else { return };
    errors.field("secretRef", |errors| {
        required(
            &[
                ("name", secret.name.is_empty()),
                ("namespace", secret.namespace.is_empty()),
            ],
            errors,
        );
    });
}

/// Reports each field that is missing.
fn required(fields: &[(&str, bool)], errors: &mut FieldErrors) {
    for (field, _) in fields.iter().filter(|(_, is_missing)| *is_missing) {
        errors.field(field, |errors| errors.required(""));
    }
}
