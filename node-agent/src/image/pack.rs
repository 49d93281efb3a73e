//! Packs one program into an image archive, so that no registry and no other tool is needed.
//!
//! The same input gives the same bytes: no times, no user names, entries in a fixed order.

use super::ImageError;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::io::Write;
use std::path::Path;

/// The image that holds a pod's namespaces open.
pub const PAUSE_IMAGE: &str = "trireme.local/pause:1";
/// The demonstration's image.
pub const HELLO_IMAGE: &str = "trireme.local/hello:1";

/// What to pack.
#[derive(Clone, Copy, Debug)]
pub struct PackRequest<'a> {
    /// A static program.
    pub binary: &'a Path,
    /// The image's name, such as `trireme.local/hello:1`.
    pub name: &'a str,
    /// The absolute path of the program in the image; it becomes the entry point.
    pub entrypoint: &'a str,
    /// Arguments after the entry point, which a pod may replace.
    pub arguments: &'a [String],
}

/// Writes an image archive (OCI layout in a tar file) to `output`.
///
/// # Errors
/// Fails if the program cannot be read, the name or the entry point is not well formed, or the
/// archive cannot be written.
pub fn pack_image(request: PackRequest<'_>, output: &Path) -> Result<(), ImageError> {
    let name = super::normalise(request.name)?;
    let inside = Path::new(request.entrypoint.trim_start_matches('/'));
    crate::paths::join_relative(Path::new("/"), inside)?;
    if inside.as_os_str().is_empty() {
        return Err(ImageError::malformed("an image needs an entry point"));
    }
    let program = std::fs::read(request.binary).map_err(ImageError::io("read", request.binary))?;
    let write_error = ImageError::io("write", output);
    write_archive(&program, &name, inside, request.arguments, output).map_err(write_error)
}

fn write_archive(
    program: &[u8],
    name: &str,
    inside: &Path,
    arguments: &[String],
    output: &Path,
) -> std::io::Result<()> {
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, inside, program, 0o755)?;
    let layer = layer.into_inner()?;
    let config = serde_json::to_vec(&json!({
        "architecture": oci_architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": [Path::new("/").join(inside)],
            "Cmd": arguments,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        "history": [{ "created_by": "trireme image pack" }],
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }))?;
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name,
    });
    let index = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": [entry] }))?;

    let mut archive = tar::Builder::new(std::io::BufWriter::new(std::fs::File::create(output)?));
    append(
        &mut archive,
        Path::new("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
        0o644,
    )?;
    append(&mut archive, Path::new("index.json"), &index, 0o644)?;
    for blob in [&manifest, &config, &layer] {
        let path = format!("blobs/sha256/{}", hex::encode(Sha256::digest(blob)));
        append(&mut archive, Path::new(&path), blob, 0o644)?;
    }
    archive.into_inner()?.flush()
}

fn append<W: Write>(archive: &mut tar::Builder<W>, path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, path, content)
}

fn descriptor(media_type: &str, content: &[u8]) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": digest(content), "size": content.len() })
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

fn oci_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Archive;

    #[test]
    fn a_packed_image_unpacks_to_the_same_program() {
        let directory = tempfile::tempdir().unwrap();
        let binary = directory.path().join("program");
        std::fs::write(&binary, b"the program").unwrap();
        let output = directory.path().join("image.tar");
        let request = PackRequest {
            binary: &binary,
            name: "trireme.local/hello:1",
            entrypoint: "/bin/hello",
            arguments: &["serve".to_owned()],
        };
        pack_image(request, &output).unwrap();
        let first = std::fs::read(&output).unwrap();
        pack_image(request, &output).unwrap();
        assert_eq!(
            first,
            std::fs::read(&output).unwrap(),
            "packing twice gives the same bytes"
        );

        let archive = Archive::open(&output).unwrap();
        let images = archive.images().unwrap();
        assert_eq!(images[0].names, ["trireme.local/hello:1"]);
        assert_eq!(images[0].settings.entrypoint, Some(vec!["/bin/hello".to_owned()]));
        let root = directory.path().join("root");
        std::fs::create_dir(&root).unwrap();
        archive.unpack(&images[0], &root).unwrap();
        assert_eq!(std::fs::read(root.join("bin/hello")).unwrap(), b"the program");
    }

    #[test]
    fn a_damaged_blob_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let binary = directory.path().join("program");
        std::fs::write(&binary, b"the program").unwrap();
        let output = directory.path().join("image.tar");
        let request = PackRequest {
            binary: &binary,
            name: "a.b/c:1",
            entrypoint: "/c",
            arguments: &[],
        };
        pack_image(request, &output).unwrap();
        let mut bytes = std::fs::read(&output).unwrap();
        let at = bytes.windows(11).position(|window| window == b"the program").unwrap();
        bytes[at] ^= 1;
        std::fs::write(&output, bytes).unwrap();
        let archive = Archive::open(&output).unwrap();
        let images = archive.images().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir(&root).unwrap();
        assert!(matches!(
            archive.unpack(&images[0], &root),
            Err(ImageError::Digest { .. })
        ));
    }

    #[test]
    fn an_entry_point_outside_is_refused() {
        let request = PackRequest {
            binary: Path::new("/dev/null"),
            name: "a.b/c:1",
            entrypoint: "/../c",
            arguments: &[],
        };
        assert!(matches!(
            pack_image(request, Path::new("/nonexistent")),
            Err(ImageError::Outside(_))
        ));
    }
}
