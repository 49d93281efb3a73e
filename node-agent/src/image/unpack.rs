//! Unpacks image layers, without ever touching a file outside the target directory.
//!
//! Links inside an image are followed as the image would see them: with the target directory as the
//! root. The target must not be writable by anybody else meanwhile. Devices and sockets are left out:
//! they need privileges, and the process runtime has no use for them.

use super::ImageError;
use crate::limits;
use crate::paths::UnsafePath;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

/// Links followed for one path, as in the kernel.
const LINKS_MAX: usize = 40;
const WHITEOUT_PREFIX: &str = ".wh.";
const OPAQUE_WHITEOUT: &str = ".wh..wh..opq";

/// Where `path` leads inside `root`, with every link resolved as if `root` were `/`. The last
/// component is resolved too; parts that do not exist are taken as they are.
///
/// # Errors
/// Fails on a cycle of links. A `..` above the root stays at the root, as in a chroot.
pub fn resolve_beneath(root: &Path, path: &Path) -> Result<PathBuf, UnsafePath> {
    resolve(root, path, true)
}

fn resolve(root: &Path, path: &Path, follow_last: bool) -> Result<PathBuf, UnsafePath> {
    let refused = || UnsafePath {
        name: path.display().to_string(),
    };
    let mut pending: VecDeque<OsString> = parts(path);
    let mut resolved: Vec<OsString> = Vec::new();
    let mut links = 0;
    while let Some(part) = pending.pop_front() {
        if part == ".." {
            resolved.pop();
            continue;
        }
        let candidate = root.join(resolved.iter().collect::<PathBuf>()).join(&part);
        let is_last = pending.is_empty();
        match std::fs::read_link(&candidate) {
            Ok(target) if !is_last || follow_last => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(refused());
                }
                if target.is_absolute() {
                    resolved.clear();
                }
                for part in parts(&target).into_iter().rev() {
                    pending.push_front(part);
                }
            }
            _ => resolved.push(part),
        }
    }
    Ok(root.join(resolved.iter().collect::<PathBuf>()))
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// Unpacks one layer over what lies in `root`. `budget_bytes` bounds the bytes of files; the rest of
/// it is returned.
///
/// # Errors
/// Fails if the layer is no tar, names a path with `..` or from the root upwards, or is too large.
pub fn unpack_layer(layer: impl Read, root: &Path, budget_bytes: u64) -> Result<u64, ImageError> {
    let mut archive = tar::Archive::new(layer);
    let mut budget = budget_bytes;
    let entries = archive.entries().map_err(ImageError::io("read a layer for", root))?;
    for (count, entry) in entries.enumerate() {
        if count >= limits::IMAGE_FILES_MAX {
            return Err(ImageError::TooLarge {
                detail: "more files than an image may have".to_owned(),
            });
        }
        let mut entry = entry.map_err(ImageError::io("read a layer for", root))?;
        budget = budget.checked_sub(entry.size()).ok_or_else(|| ImageError::TooLarge {
            detail: format!("more than {} bytes", limits::IMAGE_UNPACKED_MAX_BYTES),
        })?;
        unpack_entry(&mut entry, root)?;
    }
    Ok(budget)
}

fn unpack_entry<R: Read>(entry: &mut tar::Entry<'_, R>, root: &Path) -> Result<(), ImageError> {
    let path = entry
        .path()
        .map_err(ImageError::io("read a layer for", root))?
        .into_owned();
    // An image has no business with `..`; a name from `/` is the usual sloppiness and harmless.
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(UnsafePath {
            name: path.display().to_string(),
        }
        .into());
    }
    let Some(name) = path.file_name().map(OsString::from) else {
        return Ok(());
    };
    let parent = resolve_beneath(root, path.parent().unwrap_or(Path::new("")))?;
    std::fs::create_dir_all(&parent).map_err(ImageError::io("create", &parent))?;
    if let Some(hidden) = name.to_str().and_then(|name| name.strip_prefix(WHITEOUT_PREFIX)) {
        return apply_whiteout(&parent, hidden, name.to_str() == Some(OPAQUE_WHITEOUT));
    }
    let target = parent.join(&name);
    let kind = entry.header().entry_type();
    let mode = entry.header().mode().unwrap_or(0o755) & 0o777;
    if kind.is_dir() {
        return make_directory(&target, mode);
    }
    if !(kind.is_file() || kind.is_symlink() || kind.is_hard_link()) {
        return Ok(());
    }
    clear(&target)?;
    if kind.is_file() {
        let mut file = std::fs::File::create(&target).map_err(ImageError::io("create", &target))?;
        std::io::copy(entry, &mut file).map_err(ImageError::io("write", &target))?;
        file.set_permissions(std::fs::Permissions::from_mode(mode | 0o400))
            .map_err(ImageError::io("set the mode of", &target))?;
        return Ok(());
    }
    let link = entry.link_name().map_err(ImageError::io("read a layer for", root))?;
    let link = link.ok_or_else(|| ImageError::malformed(format!("{} links nowhere", path.display())))?;
    if kind.is_symlink() {
        return std::os::unix::fs::symlink(&link, &target).map_err(ImageError::io("link", &target));
    }
    // The source of a hard link must itself lie inside; it is not followed if it is a link.
    if link.components().any(|component| component == Component::ParentDir) {
        return Err(UnsafePath {
            name: link.display().to_string(),
        }
        .into());
    }
    let source = resolve(root, &link, false)?;
    std::fs::hard_link(&source, &target).map_err(ImageError::io("link", &target))
}

fn make_directory(target: &Path, mode: u32) -> Result<(), ImageError> {
    match std::fs::symlink_metadata(target) {
        Ok(metadata) if metadata.is_dir() => {}
        // A link to a directory stays: later layers write through it.
        Ok(metadata) if metadata.is_symlink() => return Ok(()),
        Ok(_) => clear(target)?,
        Err(_) => {}
    }
    std::fs::create_dir_all(target).map_err(ImageError::io("create", target))?;
    // The owner must be able to go on unpacking into it.
    std::fs::set_permissions(target, std::fs::Permissions::from_mode(mode | 0o700))
        .map_err(ImageError::io("set the mode of", target))
}

fn apply_whiteout(parent: &Path, hidden: &str, opaque: bool) -> Result<(), ImageError> {
    if !opaque {
        let target = crate::paths::join_component(parent, hidden)?;
        return clear(&target);
    }
    for child in std::fs::read_dir(parent).map_err(ImageError::io("list", parent))? {
        clear(&child.map_err(ImageError::io("list", parent))?.path())?;
    }
    Ok(())
}

/// Removes whatever is at `target`, never what a link there points to.
fn clear(target: &Path) -> Result<(), ImageError> {
    match std::fs::symlink_metadata(target) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(target).map_err(ImageError::io("remove", target)),
        Ok(_) => std::fs::remove_file(target).map_err(ImageError::io("remove", target)),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::EntryType;

    /// One entry of a test layer: path, kind, link target or content.
    type TestEntry<'a> = (&'a str, EntryType, &'a str);

    fn layer(entries: &[TestEntry<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, text) in entries {
            let mut header = tar::Header::new_ustar();
            let name = &mut header.as_old_mut().name;
            name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            if kind.is_file() {
                header.set_size(text.len() as u64);
            } else {
                header.set_size(0);
                let link = &mut header.as_old_mut().linkname;
                link[..text.len()].copy_from_slice(text.as_bytes());
            }
            header.set_cksum();
            builder
                .append(&header, if kind.is_file() { text.as_bytes() } else { &[] })
                .unwrap();
        }
        builder.into_inner().unwrap()
    }

    /// Unpacks into `<temp>/root` beside a file `<temp>/secret`, and checks that nothing outside changed.
    fn check(entries: &[TestEntry<'_>], succeeds: bool) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(directory.path().join("secret"), "untouched").unwrap();
        let outcome = unpack_layer(layer(entries).as_slice(), &root, 1_000_000);
        assert_eq!(outcome.is_ok(), succeeds, "{outcome:?}");
        assert_eq!(
            std::fs::read_to_string(directory.path().join("secret")).unwrap(),
            "untouched"
        );
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            2,
            "something was made outside"
        );
        directory
    }

    #[test]
    fn files_directories_and_links_are_unpacked() {
        let directory = check(
            &[
                ("usr/bin", EntryType::Directory, ""),
                ("bin", EntryType::Symlink, "usr/bin"),
                ("bin/hello", EntryType::Regular, "content"),
                ("twin", EntryType::Link, "usr/bin/hello"),
            ],
            true,
        );
        let root = directory.path().join("root");
        assert_eq!(std::fs::read_to_string(root.join("usr/bin/hello")).unwrap(), "content");
        assert_eq!(std::fs::read_to_string(root.join("twin")).unwrap(), "content");
        assert_eq!(
            resolve_beneath(&root, Path::new("/bin/hello")).unwrap(),
            root.join("usr/bin/hello")
        );
    }

    #[test]
    fn parent_components_are_refused() {
        check(&[("../secret", EntryType::Regular, "evil")], false);
        check(&[("a/../../secret", EntryType::Regular, "evil")], false);
        check(&[("a", EntryType::Link, "../secret")], false);
    }

    #[test]
    fn a_write_through_a_link_stays_inside() {
        let directory = check(
            &[
                ("out", EntryType::Symlink, "../../.."),
                ("out/secret", EntryType::Regular, "evil"),
            ],
            true,
        );
        assert_eq!(
            std::fs::read_to_string(directory.path().join("root/secret")).unwrap(),
            "evil"
        );
        check(
            &[
                ("abs", EntryType::Symlink, "/"),
                ("abs/tmp/x/secret", EntryType::Regular, "evil"),
            ],
            true,
        );
    }

    #[test]
    fn a_file_over_a_link_replaces_the_link() {
        let directory = check(
            &[
                ("a", EntryType::Symlink, "../secret"),
                ("a", EntryType::Regular, "evil"),
            ],
            true,
        );
        assert!(
            std::fs::symlink_metadata(directory.path().join("root/a"))
                .unwrap()
                .is_file()
        );
    }

    #[test]
    fn a_hard_link_to_a_link_does_not_reach_outside() {
        let directory = check(
            &[
                ("a", EntryType::Symlink, "../secret"),
                ("b", EntryType::Link, "a"),
                ("b", EntryType::Regular, "evil"),
            ],
            true,
        );
        assert_eq!(
            std::fs::read_to_string(directory.path().join("root/b")).unwrap(),
            "evil"
        );
    }

    #[test]
    fn absolute_names_land_inside() {
        let directory = check(&[("/etc/passwd", EntryType::Regular, "mine")], true);
        assert_eq!(
            std::fs::read_to_string(directory.path().join("root/etc/passwd")).unwrap(),
            "mine"
        );
    }

    #[test]
    fn link_cycles_are_refused() {
        check(
            &[
                ("a", EntryType::Symlink, "b"),
                ("b", EntryType::Symlink, "a"),
                ("a/file", EntryType::Regular, "x"),
            ],
            false,
        );
    }

    #[test]
    fn whiteouts_remove_what_lower_layers_had() {
        let directory = check(
            &[
                ("etc/old", EntryType::Regular, "x"),
                ("etc/.wh.old", EntryType::Regular, ""),
                ("var/a", EntryType::Regular, "x"),
                ("var/.wh..wh..opq", EntryType::Regular, ""),
            ],
            true,
        );
        assert!(!directory.path().join("root/etc/old").exists());
        assert!(!directory.path().join("root/var/a").exists());
    }

    #[test]
    fn the_budget_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = layer(&[("a", EntryType::Regular, "12345")]);
        assert!(matches!(
            unpack_layer(bytes.as_slice(), directory.path(), 4),
            Err(ImageError::TooLarge { .. })
        ));
        assert_eq!(unpack_layer(bytes.as_slice(), directory.path(), 5).unwrap(), 0);
    }
}
