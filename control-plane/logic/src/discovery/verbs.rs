//! What can be done with the objects of a kind.

use crate::kind::KindInfo;

/// Verbs of kinds whose objects are stored, in Kubernetes' order.
const STORED: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// Verbs of stored kinds that are deleted one by one only.
const STORED_ONE_BY_ONE: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];

/// Verbs of kinds that are questions and orders: the answer to their creation is all there is of them.
const ONLY_CREATED: &[&str] = &["create"];

/// Whether objects of the kind are stored, rather than answered and forgotten.
pub fn is_stored(info: &KindInfo) -> bool {
    !(info.kind.ends_with("Review") || info.group.is_empty() && info.kind == "Binding")
}

/// What can be done with objects of the kind.
pub fn verbs(info: &KindInfo) -> &'static [&'static str] {
    match info {
        info if !is_stored(info) => ONLY_CREATED,
        // All namespaces at once are too much to lose by one slip.
        KindInfo {
            group: "",
            kind: "Namespace",
            ..
        } => STORED_ONE_BY_ONE,
        _ => STORED,
    }
}
