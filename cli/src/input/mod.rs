//! What comes in: manifests from files, folders and standard input.

pub(crate) mod manifest;
pub(crate) mod yaml;
