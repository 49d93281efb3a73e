//! Which fields a request can own at all, by the part of the object that it goes to.

use std::sync::LazyLock;

use super::{field_set::FieldSet, path::PathElement};

/// The part of an object that a request changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The object itself; without its status, if the kind has that apart.
    Object {
        /// The kind has the subresource `status`.
        status_apart: bool,
    },
    /// The status alone.
    Status,
    /// Another subresource, by its name.
    Other(&'static str),
}

const STATUS: PathElement = PathElement::known("status");

/// What the server alone sets, or what says which object it is: nobody's.
static NEVER_OWNED: LazyLock<FieldSet> = LazyLock::new(|| {
    const METADATA: PathElement = PathElement::known("metadata");
    const IN_METADATA: [&str; 9] = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let mut set = FieldSet::of_paths(&[
        &[PathElement::known("apiVersion")],
        &[PathElement::known("kind")],
        &[METADATA],
    ]);
    for name in IN_METADATA {
        set.insert(&[METADATA, PathElement::known(name)]);
    }
    set
});

impl Part {
    /// The name of the subresource; empty for the object itself.
    pub fn subresource(self) -> &'static str {
        match self {
            Self::Object { .. } => "",
            Self::Status => "status",
            Self::Other(name) => name,
        }
    }

    /// What of a set this part can change.
    #[must_use]
    pub fn reach(self, set: FieldSet) -> FieldSet {
        match self {
            Self::Object { status_apart: false } => set,
            Self::Object { status_apart: true } | Self::Other(_) => set.without(&STATUS),
            Self::Status => set.only(&STATUS),
        }
    }

    /// What of a set somebody can own through this part.
    #[must_use]
    pub fn ownable(self, set: FieldSet) -> FieldSet {
        self.reach(set).difference(&NEVER_OWNED)
    }
}
