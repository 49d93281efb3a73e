//! Files that only their owner may read, replaced as a whole or not at all, and on disk before the call returns.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use super::PkiError;

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Reads a whole text file.
///
/// # Errors
/// [`PkiError::File`].
pub fn read_text(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

/// Makes a directory, and those above it, that only its owner may enter.
///
/// # Errors
/// [`PkiError::File`].
pub fn create_private_directory(path: &Path) -> Result<(), PkiError> {
    let failed = |source| PkiError::File {
        action: "create directory",
        path: path.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY_MODE)).map_err(failed)
}

/// Writes a file, mode 0600: beside its place first, synced, then renamed over what was there, and the
/// directory synced, so that a crash leaves the old content or the new.
///
/// # Errors
/// [`PkiError::File`].
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), PkiError> {
    let failed = |source| PkiError::File {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let written = (|| {
        // What a crash left there may have another mode.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()
    })();
    written.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_private_and_replaced() {
        let directory = tempfile::tempdir().expect("directory");
        let place = directory.path().join("a").join("b");
        create_private_directory(&place).expect("created");
        let path = place.join("secret");
        for content in ["one", "two"] {
            write_private(&path, content.as_bytes()).expect("written");
            assert_eq!(read_text(&path).expect("read"), content);
        }
        let mode = |path: &Path| fs::metadata(path).expect("exists").permissions().mode() & 0o777;
        assert_eq!(mode(&path), FILE_MODE);
        assert_eq!(mode(&place), DIRECTORY_MODE);
        assert_eq!(
            fs::read_dir(&place).expect("listed").count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn failures_name_the_file() {
        let error = read_text(Path::new("/nonexistent/x")).expect_err("fails");
        assert_eq!(error.to_string(), "cannot read /nonexistent/x");
    }
}
