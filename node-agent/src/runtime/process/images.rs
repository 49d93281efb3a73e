//! The process runtime's images: archives unpacked into directories.
//!
//! `images/<id>/` holds `root/` and `settings.json`; `names/<hash of name>` holds the id. An image is
//! unpacked beside its place and renamed into it, so what is in place is whole.

use super::super::{ImageInfo, RuntimeError};
use crate::image::{Archive, ArchiveImage, ImageError, ImageSettings, normalise};
use crate::paths::{self, write_file_durably};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

const SETTINGS_FILE: &str = "settings.json";

/// An image in the store.
#[derive(Clone, Debug)]
pub(super) struct StoredImage {
    pub(super) id: String,
    pub(super) root: PathBuf,
    pub(super) settings: ImageSettings,
}

#[derive(Clone, Debug)]
pub(super) struct ImageStore {
    images: PathBuf,
    names: PathBuf,
}

impl ImageStore {
    pub(super) fn open(directory: &Path) -> Result<Self, RuntimeError> {
        let store = Self {
            images: directory.join("images"),
            names: directory.join("names"),
        };
        for directory in [&store.images, &store.names] {
            paths::make_private_directory(directory).map_err(io("making the image store"))?;
        }
        Ok(store)
    }

    /// Takes in every image of an archive; gives their names.
    pub(super) fn import(&self, path: &Path) -> Result<Vec<String>, RuntimeError> {
        let archive = Archive::open(path)?;
        let mut names = Vec::new();
        for image in archive.images()? {
            self.place(&archive, &image)?;
            for name in &image.names {
                let file = self.name_file(name);
                write_file_durably(&file, image.id.as_bytes(), 0o600).map_err(io("naming an image"))?;
                names.push(name.clone());
            }
        }
        Ok(names)
    }

    fn place(&self, archive: &Archive, image: &ArchiveImage) -> Result<(), RuntimeError> {
        let place = paths::join_component(&self.images, &image.id).map_err(ImageError::from)?;
        if place.exists() {
            return Ok(());
        }
        let temporary = self.images.join(format!("{}.new", image.id));
        paths::remove_tree(&temporary).map_err(io("unpacking an image"))?;
        let root = temporary.join("root");
        paths::make_private_directory(&root).map_err(io("unpacking an image"))?;
        archive.unpack(image, &root)?;
        let settings = serde_json::to_vec(&image.settings).map_err(|error| io("unpacking an image")(error.into()))?;
        write_file_durably(&temporary.join(SETTINGS_FILE), &settings, 0o600).map_err(io("unpacking an image"))?;
        std::fs::rename(&temporary, &place).map_err(io("unpacking an image"))
    }

    pub(super) fn find(&self, name: &str) -> Result<Option<StoredImage>, RuntimeError> {
        let name = normalise(name)?;
        let id = match std::fs::read_to_string(self.name_file(&name)) {
            Ok(id) => id,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("looking up an image")(error)),
        };
        let place = paths::join_component(&self.images, &id).map_err(ImageError::from)?;
        let settings = std::fs::read(place.join(SETTINGS_FILE)).map_err(io("reading an image's settings"))?;
        let settings =
            serde_json::from_slice(&settings).map_err(|error| io("reading an image's settings")(error.into()))?;
        Ok(Some(StoredImage {
            id,
            root: place.join("root"),
            settings,
        }))
    }

    pub(super) fn info(&self, name: &str) -> Result<Option<ImageInfo>, RuntimeError> {
        let found = self.find(name)?;
        Ok(found.map(|image| ImageInfo {
            id: format!("sha256:{}", image.id),
            names: vec![name.to_owned()],
        }))
    }

    fn name_file(&self, name: &str) -> PathBuf {
        self.names.join(hex::encode(Sha256::digest(name.as_bytes())))
    }
}

fn io(operation: &'static str) -> impl FnOnce(std::io::Error) -> RuntimeError {
    move |source| RuntimeError::Io { operation, source }
}
