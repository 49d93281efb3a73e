//! Operations on the objects of a kind together: list, create, delete all.

use super::{
    item::own_kind,
    names,
    operation::{Body, Content, LIST_TYPES, OBJECT_TYPES, Operation},
    parameters,
};
use crate::{
    discovery::{Version, verbs},
    kind::KindInfo,
};

/// The path of the objects of one namespace, or of all if they live in none.
pub(super) fn path(version: &Version, info: &KindInfo) -> String {
    if info.namespaced {
        format!("{}/namespaces/{{namespace}}/{}", version.path(), info.plural)
    } else {
        format!("{}/{}", version.path(), info.plural)
    }
}

/// The kind in names of operations: `NamespacedPod`, or `Node`.
pub(super) fn scoped_kind(info: &KindInfo) -> String {
    let scope = if info.namespaced { "Namespaced" } else { "" };
    format!("{scope}{}", info.kind)
}

/// The operations.
pub(super) fn operations(version: &Version, info: &KindInfo) -> Vec<Operation> {
    let served = verbs(info);
    let mut operations = Vec::new();
    if served.contains(&"list") {
        let of = scoped_kind(info);
        operations.push(list(version, info, path(version, info), &of));
        if info.namespaced {
            let everywhere = format!("{}/{}", version.path(), info.plural);
            operations.push(list(
                version,
                info,
                everywhere,
                &format!("{}ForAllNamespaces", info.kind),
            ));
        }
    }
    if served.contains(&"create") {
        operations.push(create(version, info));
    }
    if served.contains(&"deletecollection") {
        operations.push(delete_all(version, info));
    }
    operations
}

fn list(version: &Version, info: &KindInfo, path: String, of: &str) -> Operation {
    let kind = own_kind(info);
    Operation {
        path,
        method: "get",
        id: format!("list{}{of}", names::group_version(version.group, version.name)),
        description: format!("Lists or watches objects of kind {}.", info.kind),
        tag: names::tag(version.group, version.name),
        action: "list",
        kind: Some(kind.clone()),
        query: parameters::LIST,
        body: None,
        answers: vec![(200, Content::List(kind))],
        produces: LIST_TYPES,
    }
}

fn create(version: &Version, info: &KindInfo) -> Operation {
    let kind = own_kind(info);
    let content = Content::Kind(kind.clone());
    Operation {
        path: path(version, info),
        method: "post",
        id: format!(
            "create{}{}",
            names::group_version(version.group, version.name),
            scoped_kind(info)
        ),
        description: format!("Creates an object of kind {}.", info.kind),
        tag: names::tag(version.group, version.name),
        action: "post",
        kind: Some(kind),
        query: parameters::WRITE,
        body: Some(Body {
            content: content.clone(),
            consumes: OBJECT_TYPES,
            required: true,
        }),
        answers: [200, 201, 202].map(|status| (status, content.clone())).to_vec(),
        produces: OBJECT_TYPES,
    }
}

fn delete_all(version: &Version, info: &KindInfo) -> Operation {
    Operation {
        path: path(version, info),
        method: "delete",
        id: format!(
            "delete{}Collection{}",
            names::group_version(version.group, version.name),
            scoped_kind(info)
        ),
        description: format!("Deletes objects of kind {}.", info.kind),
        tag: names::tag(version.group, version.name),
        action: "deletecollection",
        kind: Some(own_kind(info)),
        query: parameters::DELETE_COLLECTION,
        body: Some(Body {
            content: Content::Meta("DeleteOptions"),
            consumes: OBJECT_TYPES,
            required: false,
        }),
        answers: vec![(200, Content::Meta("Status"))],
        produces: OBJECT_TYPES,
    }
}
