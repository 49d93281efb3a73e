//! What can be asked of the API, in a form that both versions are written from.

use super::{collection, item, names, parameters::Names};
use crate::discovery::{Group, GroupVersionKind, Version};

/// Media types of objects, the one that generated clients choose first.
pub(super) const OBJECT_TYPES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// The same for lists, which may become watches.
pub(super) const LIST_TYPES: &[&str] = &[
    "application/json",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf",
    "application/vnd.kubernetes.protobuf;stream=watch",
    "application/yaml",
];

/// Media types of patches.
pub(super) const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// What bytes of no fixed form are.
pub(super) const ANY_TYPE: &[&str] = &["*/*"];

/// One operation.
#[derive(Debug)]
pub(super) struct Operation {
    /// Its path, with parameters in braces.
    pub(super) path: String,
    /// HTTP method in small letters.
    pub(super) method: &'static str,
    /// Its unique name.
    pub(super) id: String,
    /// What it does.
    pub(super) description: String,
    /// Where it belongs, such as `core_v1`.
    pub(super) tag: String,
    /// What it is to Kubernetes, such as `list`; empty for documents.
    pub(super) action: &'static str,
    /// The kind it is about.
    pub(super) kind: Option<GroupVersionKind>,
    /// Parameters of the query.
    pub(super) query: Names,
    /// What it takes.
    pub(super) body: Option<Body>,
    /// What it gives when it succeeds: statuses and contents.
    pub(super) answers: Vec<(u16, Content)>,
    /// In which media types.
    pub(super) produces: &'static [&'static str],
}

/// What an operation takes.
#[derive(Debug)]
pub(super) struct Body {
    /// The content.
    pub(super) content: Content,
    /// Its media types.
    pub(super) consumes: &'static [&'static str],
    /// True if nothing can be done without it.
    pub(super) required: bool,
}

/// What a request or an answer carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Text or bytes.
    Text,
    /// An object.
    Kind(GroupVersionKind),
    /// A list of objects.
    List(GroupVersionKind),
    /// A message that all kinds share, such as `Status`.
    Meta(&'static str),
    /// A message that is in no `.proto` file, such as `APIGroup`.
    Static(&'static str),
}

impl Operation {
    /// An operation that reads a document.
    fn document(path: String, id: String, tag: String, description: String, name: &'static str) -> Self {
        Self {
            path,
            method: "get",
            id,
            description,
            tag,
            action: "",
            kind: None,
            query: &[],
            body: None,
            answers: vec![(200, Content::Static(name))],
            produces: OBJECT_TYPES,
        }
    }
}

/// The operation of `/version/`.
pub(super) fn of_server() -> Vec<Operation> {
    let mut operation = Operation::document(
        "/version/".to_owned(),
        "getCodeVersion".to_owned(),
        "version".to_owned(),
        "Reads the version of the server.".to_owned(),
        "Info",
    );
    operation.produces = &["application/json"];
    vec![operation]
}

/// The operation of `/api/`.
pub(super) fn of_core() -> Vec<Operation> {
    vec![Operation::document(
        "/api/".to_owned(),
        "getCoreAPIVersions".to_owned(),
        "core".to_owned(),
        "Reads which versions of the core group there are.".to_owned(),
        "APIVersions",
    )]
}

/// The operation of `/apis/`.
pub(super) fn of_groups() -> Vec<Operation> {
    vec![Operation::document(
        "/apis/".to_owned(),
        "getAPIVersions".to_owned(),
        "apis".to_owned(),
        "Reads which groups there are.".to_owned(),
        "APIGroupList",
    )]
}

/// The operation of a group as such. The core group has none.
pub(super) fn of_group(group: &Group) -> Vec<Operation> {
    if group.name.is_empty() {
        return Vec::new();
    }
    vec![Operation::document(
        format!("/apis/{}/", group.name),
        format!("get{}APIGroup", names::group(group.name)),
        names::group_tag(group.name),
        format!("Reads which versions of the group {} there are.", group.name),
        "APIGroup",
    )]
}

/// The operations of a version: its list of resources, and all that can be done with each.
pub(super) fn of_version(version: &Version) -> Vec<Operation> {
    let resources = Operation::document(
        format!("{}/", version.path()),
        format!("get{}APIResources", names::group_version(version.group, version.name)),
        names::tag(version.group, version.name),
        format!("Reads which resources {} has.", version.api_version()),
        "APIResourceList",
    );
    let mut operations = vec![resources];
    for ops in &version.kinds {
        operations.extend(collection::operations(version, ops.info()));
        operations.extend(item::operations(version, ops.info()));
    }
    operations
}

/// The names of the parameters in a path, in their order.
pub(super) fn path_parameters(path: &str) -> Vec<&str> {
    let in_braces = |segment: &'_ str| segment.starts_with('{') && segment.ends_with('}');
    path.split('/')
        .filter(|segment| in_braces(segment))
        .map(|segment| &segment[1..segment.len() - 1])
        .collect()
}

/// What a parameter of a path means.
pub(super) fn path_parameter_description(name: &str) -> &'static str {
    match name {
        "namespace" => "The namespace of the object.",
        "path" => "The path on the other server.",
        _ => "The name of the object.",
    }
}
