//! Images as archives: names, packing, reading and unpacking. No registry and no network: pulling is
//! the runtime's business.
//!
//! The archive format is an OCI image layout in an uncompressed tar file. Archives of `docker save`
//! are read too. Layers must be plain tar; compressed layers are refused with a clear error.

mod archive;
pub mod pack;
mod reference;
mod unpack;

pub use archive::{Archive, ArchiveImage, ImageSettings};
pub use reference::{is_latest, normalise};
pub use unpack::{resolve_beneath, unpack_layer};

use crate::paths::UnsafePath;
use std::path::{Path, PathBuf};

/// An image archive that cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file operation failed.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A part of the archive is not what the format says.
    #[error("the archive is malformed: {detail}")]
    Malformed {
        /// What is wrong.
        detail: String,
    },
    /// The archive uses something that this importer does not read.
    #[error("the archive uses what is not supported: {detail}")]
    Unsupported {
        /// What it uses.
        detail: String,
    },
    /// A bound is exceeded.
    #[error("the image is too large: {detail}")]
    TooLarge {
        /// Which bound.
        detail: String,
    },
    /// A file of the image would lie outside it.
    #[error("the image has a file outside its root")]
    Outside(#[from] UnsafePath),
    /// Bytes do not match the digest that names them.
    #[error("content of {digest} does not match its digest")]
    Digest {
        /// The digest as named.
        digest: String,
    },
    /// An image name is not well formed.
    #[error("{name:?} is not an image name")]
    Name {
        /// The name.
        name: String,
    },
}

impl ImageError {
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::Malformed { detail: detail.into() }
    }
}
