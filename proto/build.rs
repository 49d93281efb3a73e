//! Compiles the `.proto` files: messages, gRPC clients and servers, Kubernetes JSON, and the schema table.
//!
//! No `protoc` is needed. prost knows nothing of Kubernetes' JSON (inlined messages, base64, times as
//! strings), so that part is generated here from the same descriptors.

#[path = "build/descriptors.rs"]
mod descriptors;
#[path = "build/json.rs"]
mod json;
#[path = "build/names.rs"]
mod names;
#[path = "build/schema.rs"]
mod schema;

use std::error::Error;
use std::path::{Path, PathBuf};

use descriptors::Descriptors;

/// Members that few pods set and that are large: without a box, each volume, container and variable would
/// carry room for all of them.
const BOXED: &[&str] = &[
    ".kubernetes.core.v1.Container.lifecycle",
    ".kubernetes.core.v1.Container.liveness_probe",
    ".kubernetes.core.v1.Container.readiness_probe",
    ".kubernetes.core.v1.Container.security_context",
    ".kubernetes.core.v1.Container.startup_probe",
    ".kubernetes.core.v1.EnvVar.value_from",
    ".kubernetes.core.v1.EphemeralContainerCommon.lifecycle",
    ".kubernetes.core.v1.EphemeralContainerCommon.liveness_probe",
    ".kubernetes.core.v1.EphemeralContainerCommon.readiness_probe",
    ".kubernetes.core.v1.EphemeralContainerCommon.security_context",
    ".kubernetes.core.v1.EphemeralContainerCommon.startup_probe",
    ".kubernetes.core.v1.PersistentVolumeSource.aws_elastic_block_store",
    ".kubernetes.core.v1.PersistentVolumeSource.azure_disk",
    ".kubernetes.core.v1.PersistentVolumeSource.azure_file",
    ".kubernetes.core.v1.PersistentVolumeSource.cephfs",
    ".kubernetes.core.v1.PersistentVolumeSource.cinder",
    ".kubernetes.core.v1.PersistentVolumeSource.csi",
    ".kubernetes.core.v1.PersistentVolumeSource.fc",
    ".kubernetes.core.v1.PersistentVolumeSource.flex_volume",
    ".kubernetes.core.v1.PersistentVolumeSource.flocker",
    ".kubernetes.core.v1.PersistentVolumeSource.gce_persistent_disk",
    ".kubernetes.core.v1.PersistentVolumeSource.glusterfs",
    ".kubernetes.core.v1.PersistentVolumeSource.iscsi",
    ".kubernetes.core.v1.PersistentVolumeSource.photon_persistent_disk",
    ".kubernetes.core.v1.PersistentVolumeSource.portworx_volume",
    ".kubernetes.core.v1.PersistentVolumeSource.quobyte",
    ".kubernetes.core.v1.PersistentVolumeSource.rbd",
    ".kubernetes.core.v1.PersistentVolumeSource.scale_io",
    ".kubernetes.core.v1.PersistentVolumeSource.storageos",
    ".kubernetes.core.v1.PersistentVolumeSource.vsphere_volume",
    ".kubernetes.core.v1.VolumeSource.aws_elastic_block_store",
    ".kubernetes.core.v1.VolumeSource.azure_disk",
    ".kubernetes.core.v1.VolumeSource.azure_file",
    ".kubernetes.core.v1.VolumeSource.cephfs",
    ".kubernetes.core.v1.VolumeSource.cinder",
    ".kubernetes.core.v1.VolumeSource.csi",
    ".kubernetes.core.v1.VolumeSource.ephemeral",
    ".kubernetes.core.v1.VolumeSource.fc",
    ".kubernetes.core.v1.VolumeSource.flex_volume",
    ".kubernetes.core.v1.VolumeSource.flocker",
    ".kubernetes.core.v1.VolumeSource.gce_persistent_disk",
    ".kubernetes.core.v1.VolumeSource.git_repo",
    ".kubernetes.core.v1.VolumeSource.glusterfs",
    ".kubernetes.core.v1.VolumeSource.image",
    ".kubernetes.core.v1.VolumeSource.iscsi",
    ".kubernetes.core.v1.VolumeSource.nfs",
    ".kubernetes.core.v1.VolumeSource.photon_persistent_disk",
    ".kubernetes.core.v1.VolumeSource.portworx_volume",
    ".kubernetes.core.v1.VolumeSource.quobyte",
    ".kubernetes.core.v1.VolumeSource.rbd",
    ".kubernetes.core.v1.VolumeSource.scale_io",
    ".kubernetes.core.v1.VolumeSource.storageos",
    ".kubernetes.core.v1.VolumeSource.vsphere_volume",
    ".kubernetes.storage.v1.VolumeAttachmentSource.inline_volume_spec",
];

fn main() -> Result<(), Box<dyn Error>> {
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    for folder in ["build", "kubernetes", "trireme", "cri", "etcd"] {
        println!("cargo::rerun-if-changed={folder}");
    }

    let descriptors = Descriptors::compile(Path::new("."))?;
    std::fs::write(out_dir.join("descriptors.bin"), descriptors.for_reflection(false))?;
    std::fs::write(out_dir.join("etcd_descriptors.bin"), descriptors.for_reflection(true))?;

    let mut builder = tonic_prost_build::configure()
        .out_dir(&out_dir)
        .emit_rerun_if_changed(false)
        .btree_map(".")
        .bytes(".");
    for path in BOXED {
        builder = builder.boxed(path);
    }
    builder.compile_fds(descriptors.for_prost())?;
    // Lets the library include the peer package whether or not it has messages yet.
    let peer = out_dir.join("trireme.peer.v1.rs");
    if !descriptors.has_package("trireme.peer.v1") {
        std::fs::write(peer, "")?;
    }

    let messages = descriptors.kubernetes_messages();
    for package in descriptors.kubernetes_packages() {
        let code = json::generate(&package, &messages);
        std::fs::write(out_dir.join(format!("{package}.json.rs")), code)?;
    }
    std::fs::write(out_dir.join("schema.rs"), schema::generate(&messages))?;
    Ok(())
}
