//! Reads image archives: which images a tar file holds, their settings and their layers.
//!
//! Every blob is checked against the digest that names it before it is used. Sizes and counts are
//! bounded before anything is read into memory (I9).

use super::ImageError;
use crate::limits;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// An open archive.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    entries: BTreeMap<String, Section>,
}

/// Where the bytes of one entry lie in the archive.
#[derive(Clone, Copy, Debug)]
struct Section {
    offset: u64,
    size: u64,
}

/// One image of an archive.
#[derive(Clone, Debug)]
pub struct ArchiveImage {
    /// Its names, completed.
    pub names: Vec<String>,
    /// Hexadecimal SHA-256 of its configuration: the image's id.
    pub id: String,
    /// How to run it.
    pub settings: ImageSettings,
    layers: Vec<Layer>,
}

#[derive(Clone, Debug)]
struct Layer {
    entry: String,
    digest: Option<String>,
}

/// How an image wants to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageSettings {
    /// Program and leading arguments.
    pub entrypoint: Option<Vec<String>>,
    /// Further arguments, or the whole command.
    pub cmd: Option<Vec<String>>,
    /// `NAME=value` entries.
    pub env: Option<Vec<String>>,
    /// Directory to start in.
    pub working_dir: Option<String>,
    /// `user[:group]`.
    pub user: Option<String>,
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    config: Option<ImageSettings>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Archive {
    /// Opens an archive and lists its entries.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is no tar file.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let file = File::open(path).map_err(ImageError::io("open", path))?;
        let mut tar = tar::Archive::new(file);
        let mut entries = BTreeMap::new();
        for entry in tar.entries_with_seek().map_err(ImageError::io("read", path))? {
            let entry = entry.map_err(ImageError::io("read", path))?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            if entries.len() >= limits::IMAGE_FILES_MAX {
                return Err(ImageError::TooLarge {
                    detail: "more files than an archive may have".to_owned(),
                });
            }
            let name = String::from_utf8_lossy(&entry.path_bytes())
                .trim_start_matches("./")
                .to_owned();
            entries.insert(
                name,
                Section {
                    offset: entry.raw_file_position(),
                    size: entry.size(),
                },
            );
        }
        Ok(Self {
            path: path.to_owned(),
            entries,
        })
    }

    /// The images of the archive.
    ///
    /// # Errors
    /// Fails if the archive is no image archive, or a blob does not match its digest.
    pub fn images(&self) -> Result<Vec<ArchiveImage>, ImageError> {
        if self.entries.contains_key("index.json") {
            let index: Index = parse("index.json", &self.read_small("index.json")?)?;
            index
                .manifests
                .iter()
                .map(|descriptor| self.oci_image(descriptor))
                .collect()
        } else if self.entries.contains_key("manifest.json") {
            let manifests: Vec<DockerManifest> = parse("manifest.json", &self.read_small("manifest.json")?)?;
            manifests.iter().map(|manifest| self.docker_image(manifest)).collect()
        } else {
            Err(ImageError::malformed("neither index.json nor manifest.json is there"))
        }
    }

    fn oci_image(&self, descriptor: &Descriptor) -> Result<ArchiveImage, ImageError> {
        if descriptor.media_type.contains("index") || descriptor.media_type.contains("manifest.list") {
            return Err(ImageError::Unsupported {
                detail: "an index of several platforms".to_owned(),
            });
        }
        let manifest: Manifest = parse("manifest", &self.read_blob(&descriptor.digest)?)?;
        let config: ConfigFile = parse("configuration", &self.read_blob(&manifest.config.digest)?)?;
        check_layer_count(manifest.layers.len())?;
        let mut layers = Vec::with_capacity(manifest.layers.len());
        for layer in &manifest.layers {
            if layer.media_type.ends_with("gzip") || layer.media_type.ends_with("zstd") {
                return Err(ImageError::Unsupported {
                    detail: format!("a layer of type {}", layer.media_type),
                });
            }
            layers.push(Layer {
                entry: blob_path(&layer.digest)?,
                digest: Some(layer.digest.clone()),
            });
        }
        let annotation = |key: &str| descriptor.annotations.get(key).cloned();
        let name = annotation("io.containerd.image.name").or_else(|| annotation("org.opencontainers.image.ref.name"));
        Ok(ArchiveImage {
            names: name
                .into_iter()
                .map(|name| super::normalise(&name))
                .collect::<Result<_, _>>()?,
            id: hex_of(&manifest.config.digest)?.to_owned(),
            settings: config.config.unwrap_or_default(),
            layers,
        })
    }

    fn docker_image(&self, manifest: &DockerManifest) -> Result<ArchiveImage, ImageError> {
        let content = self.read_small(&manifest.config)?;
        let config: ConfigFile = parse("configuration", &content)?;
        check_layer_count(manifest.layers.len())?;
        let names = manifest.repo_tags.iter().flatten();
        Ok(ArchiveImage {
            names: names.map(|name| super::normalise(name)).collect::<Result<_, _>>()?,
            id: hex::encode(Sha256::digest(&content)),
            settings: config.config.unwrap_or_default(),
            layers: manifest
                .layers
                .iter()
                .map(|entry| Layer {
                    entry: entry.clone(),
                    digest: None,
                })
                .collect(),
        })
    }

    /// Unpacks the layers of an image, lowest first, into an empty directory.
    ///
    /// # Errors
    /// Fails if a layer is missing, damaged, compressed, too large, or reaches outside.
    pub fn unpack(&self, image: &ArchiveImage, directory: &Path) -> Result<(), ImageError> {
        let mut budget = limits::IMAGE_UNPACKED_MAX_BYTES;
        for layer in &image.layers {
            if let Some(digest) = &layer.digest {
                self.check_digest(&layer.entry, digest)?;
            }
            budget = super::unpack_layer(self.open_entry(&layer.entry)?, directory, budget)?;
        }
        Ok(())
    }

    fn open_entry(&self, name: &str) -> Result<impl Read + use<>, ImageError> {
        let section = self
            .entries
            .get(name)
            .ok_or_else(|| ImageError::malformed(format!("{name} is missing")))?;
        let mut file = File::open(&self.path).map_err(ImageError::io("open", &self.path))?;
        file.seek(SeekFrom::Start(section.offset))
            .map_err(ImageError::io("read", &self.path))?;
        Ok(std::io::BufReader::new(file.take(section.size)))
    }

    fn read_small(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        let size = self.entries.get(name).map_or(0, |section| section.size);
        if size > limits::IMAGE_METADATA_MAX_BYTES {
            return Err(ImageError::TooLarge {
                detail: format!("{name} has {size} bytes"),
            });
        }
        let mut content = Vec::new();
        self.open_entry(name)?
            .read_to_end(&mut content)
            .map_err(ImageError::io("read", &self.path))?;
        Ok(content)
    }

    fn read_blob(&self, digest: &str) -> Result<Vec<u8>, ImageError> {
        let content = self.read_small(&blob_path(digest)?)?;
        if hex::encode(Sha256::digest(&content)) == hex_of(digest)? {
            Ok(content)
        } else {
            Err(ImageError::Digest {
                digest: digest.to_owned(),
            })
        }
    }

    fn check_digest(&self, entry: &str, digest: &str) -> Result<(), ImageError> {
        let mut reader = self.open_entry(entry)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = reader.read(&mut buffer).map_err(ImageError::io("read", &self.path))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
        }
        if hex::encode(hasher.finalize()) == hex_of(digest)? {
            Ok(())
        } else {
            Err(ImageError::Digest {
                digest: digest.to_owned(),
            })
        }
    }
}

fn check_layer_count(count: usize) -> Result<(), ImageError> {
    if count > limits::IMAGE_LAYERS_MAX {
        return Err(ImageError::TooLarge {
            detail: format!("{count} layers"),
        });
    }
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(what: &str, content: &'a [u8]) -> Result<T, ImageError> {
    serde_json::from_slice(content).map_err(|error| ImageError::malformed(format!("{what}: {error}")))
}

/// The hexadecimal part of a `sha256:...` digest.
fn hex_of(digest: &str) -> Result<&str, ImageError> {
    digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .ok_or_else(|| ImageError::malformed(format!("{digest:?} is no SHA-256 digest")))
}

fn blob_path(digest: &str) -> Result<String, ImageError> {
    Ok(format!("blobs/sha256/{}", hex_of(digest)?))
}
