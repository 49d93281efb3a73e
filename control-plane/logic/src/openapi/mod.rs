//! The API described for programs, as OpenAPI documents of versions 2 and 3.
//!
//! Which operations there are follows from the kinds and from [`discovery`](crate::discovery); what objects look like
//! follows from the `.proto` files. Definitions, operations, parameters and extensions are named as in Kubernetes,
//! since clients look for them by these names. The words are ours.
//!
//! The two versions say the same in two dialects. Version 2 is one document, which clients also want in protobuf
//! ([`gnostic`]); version 3 is one document a path below `/openapi/v3`.

mod collection;
mod definitions;
mod field;
pub mod gnostic;
mod item;
mod names;
mod operation;
mod parameters;
mod static_definitions;
mod v2;
mod v3;

pub use v2::document as v2_document;
pub use v3::{document as v3_document, paths as v3_paths};

/// The version of OpenAPI that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Version 2: references may have siblings, and there are no alternatives.
    V2,
    /// Version 3: references stand alone.
    V3,
}

impl Dialect {
    /// What references to definitions begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        }
    }
}

/// What the documents say of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    /// Name of the API.
    pub title: &'a str,
    /// Its version.
    pub version: &'a str,
}

#[cfg(test)]
mod tests;
