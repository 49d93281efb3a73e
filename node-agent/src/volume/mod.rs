//! Volumes: materialised as directories below the agent's data directory, then mounted by the runtime.
//!
//! `content` decides which files a volume has (pure); this file writes them. Every path that comes
//! from an object is joined component by component, so nothing is written outside the pod's own
//! directory. A host path is the one exception, by its nature.

mod content;
pub(crate) mod usage;

use crate::paths::{Layout, join_component, join_relative, make_private_directory, remove_tree};
use crate::pod::env::Context;
use crate::pod::spec::spec_of;
use crate::runtime::ContainerConfig;
use content::{Content, File};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use trireme_proto::api::core::v1::HostPathVolumeSource;

/// Anybody in the pod may write an empty directory, as in Kubernetes.
const EMPTY_DIRECTORY_MODE: u32 = 0o777;
const HOST_DIRECTORY_MODE: u32 = 0o755;
const HOSTS_FILE_MODE: u32 = 0o644;
const PROJECTED_DIRECTORY_MODE: u32 = 0o755;

/// A volume that cannot be made, in one sentence for the pod's status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// What the object says cannot be done, or names something that is not there.
    #[error("volume {volume:?}: {detail}")]
    Content { volume: String, detail: String },
    /// A file operation failed.
    #[error("volume {volume:?} cannot be written")]
    Io {
        volume: String,
        #[source]
        source: io::Error,
    },
}

/// Brings all volumes of a pod to what the objects say. Repeating it changes nothing.
pub(crate) fn prepare(context: &Context<'_>, layout: &Layout, uid: &str) -> Result<(), VolumeError> {
    let failed = |source| VolumeError::Io {
        volume: "all".to_owned(),
        source,
    };
    let pod_directory = layout.pod(uid).map_err(|error| failed(io::Error::other(error)))?;
    let volumes = pod_directory.join("volumes");
    make_private_directory(&volumes).map_err(failed)?;
    // Containers of other users must be able to pass through to their volumes.
    for directory in [&pod_directory, &volumes] {
        set_mode(directory, 0o711).map_err(failed)?;
    }
    for volume in &spec_of(context.pod).volumes {
        let refused = |detail: String| VolumeError::Content {
            volume: volume.name.clone(),
            detail,
        };
        let content = content::of(context, volume).map_err(|problem| refused(problem.0))?;
        let place = join_component(&volumes, &volume.name).map_err(|error| refused(error.to_string()))?;
        let io_failed = |source| VolumeError::Io {
            volume: volume.name.clone(),
            source,
        };
        match content {
            Content::Empty => make_open_directory(&place).map_err(io_failed)?,
            Content::Files(files) => write_files(&place, &files).map_err(io_failed)?,
            Content::Host(host) => check_host_path(&host).map_err(refused)?,
        }
    }
    Ok(())
}

/// Removes a pod's volumes and logs.
pub(crate) fn remove(layout: &Layout, uid: &str) -> io::Result<()> {
    for directory in [layout.pod(uid), layout.pod_logs(uid)] {
        remove_tree(&directory.map_err(io::Error::other)?)?;
    }
    Ok(())
}

/// Resolves the mounts of parts of volumes. A link on the way is refused, since what runs in the pod
/// could have made it to reach a file of the host.
pub(crate) fn resolve_sub_paths(container: &mut ContainerConfig) -> io::Result<()> {
    for mount in &mut container.mounts {
        let sub_path = std::mem::take(&mut mount.sub_path);
        if !sub_path.as_os_str().is_empty() {
            mount.host_path = resolve_without_links(&mount.host_path, &sub_path)?;
        }
    }
    Ok(())
}

fn resolve_without_links(root: &Path, relative: &Path) -> io::Result<PathBuf> {
    let target = join_relative(root, relative).map_err(io::Error::other)?;
    let mut current = root.to_owned();
    for component in relative.components() {
        current.push(component);
        match std::fs::symlink_metadata(&current) {
            Ok(metadata) if metadata.is_symlink() => {
                return Err(io::Error::other(format!("{} is a link", current.display())));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_open_directory(&current)?,
            Err(error) => return Err(error),
        }
    }
    Ok(target)
}

fn make_open_directory(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        std::fs::create_dir(path)?;
        set_mode(path, EMPTY_DIRECTORY_MODE)?;
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Makes `directory` hold exactly `files`. Each file is replaced atomically, so a reader sees its old
/// or its new content.
fn write_files(directory: &Path, files: &BTreeMap<PathBuf, File>) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    set_mode(directory, PROJECTED_DIRECTORY_MODE)?;
    for (relative, file) in files {
        let path = join_relative(directory, relative).map_err(io::Error::other)?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let is_same = std::fs::read(&path).is_ok_and(|content| content == file.content);
        if !is_same {
            replace_file(&path, file)?;
        }
        set_mode(&path, file.mode)?;
    }
    remove_others(directory, directory, files)
}

fn replace_file(path: &Path, file: &File) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".trireme-new");
    let temporary = path.with_file_name(name);
    let mut options = std::fs::OpenOptions::new();
    let mut handle = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(file.mode)
        .open(&temporary)?;
    io::Write::write_all(&mut handle, &file.content)?;
    std::fs::rename(&temporary, path)
}

fn remove_others(root: &Path, directory: &Path, files: &BTreeMap<PathBuf, File>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let relative = path.strip_prefix(root).map_err(io::Error::other)?;
        if path.is_dir() && !path.is_symlink() {
            remove_others(root, &path, files)?;
            if !files.keys().any(|file| file.starts_with(relative)) {
                std::fs::remove_dir(&path)?;
            }
        } else if !files.contains_key(relative) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Replaces the content of a file without replacing the file: a container that has it mounted sees the new content.
pub(crate) fn write_in_place(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        make_private_directory(parent)?;
    }
    std::fs::write(path, content)?;
    set_mode(path, HOSTS_FILE_MODE)
}

fn check_host_path(host: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&host.path);
    let explain = |error: io::Error| format!("{}: {error}", host.path);
    match host.r#type.as_deref().unwrap_or_default() {
        "" => Ok(()),
        "DirectoryOrCreate" if !path.exists() => std::fs::create_dir_all(path)
            .and_then(|()| set_mode(path, HOST_DIRECTORY_MODE))
            .map_err(explain),
        "FileOrCreate" if !path.exists() => std::fs::File::create(path).map(|_| ()).map_err(explain),
        "Directory" | "DirectoryOrCreate" if path.is_dir() => Ok(()),
        "File" | "FileOrCreate" if path.is_file() => Ok(()),
        kind @ ("Directory" | "DirectoryOrCreate" | "File" | "FileOrCreate") => {
            Err(format!("{} is not of the type {kind}", host.path))
        }
        "Socket" | "CharDevice" | "BlockDevice" if path.exists() => Ok(()),
        kind => Err(format!("{} is not there, or {kind:?} is no known type", host.path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File {
            content: text.as_bytes().to_vec(),
            mode: 0o640,
        }
    }

    #[test]
    fn a_directory_is_brought_to_exactly_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("volume");
        let first = BTreeMap::from([(PathBuf::from("a"), file("1")), (PathBuf::from("deep/b"), file("2"))]);
        write_files(&place, &first).unwrap();
        assert_eq!(std::fs::read_to_string(place.join("deep/b")).unwrap(), "2");
        let mode = std::fs::metadata(place.join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let second = BTreeMap::from([(PathBuf::from("a"), file("changed"))]);
        write_files(&place, &second).unwrap();
        assert_eq!(std::fs::read_to_string(place.join("a")).unwrap(), "changed");
        assert!(!place.join("deep").exists());
    }

    #[test]
    fn files_do_not_leave_their_volume() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("volume");
        for bad in ["../evil", "/etc/evil", "a/../../evil"] {
            assert!(
                write_files(&place, &BTreeMap::from([(PathBuf::from(bad), file("x"))])).is_err(),
                "{bad}"
            );
        }
        assert!(!directory.path().join("evil").exists());
    }

    #[test]
    fn a_sub_path_through_a_link_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("volume");
        std::fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("link")).unwrap();
        assert!(resolve_without_links(&root, Path::new("link/passwd")).is_err());
        assert!(resolve_without_links(&root, Path::new("../x")).is_err());
        assert_eq!(
            resolve_without_links(&root, Path::new("a/b")).unwrap(),
            root.join("a/b")
        );
        assert!(root.join("a/b").is_dir());
    }
}
